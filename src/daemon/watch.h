/*
 * Watches a model repository by inotify: its folder, those of the models and of their versions, through symbolic links;
 * not the pictures. A copy of a model is many events: one call follows once it was quiet for a second. One thread of
 * its own.
 */
#ifndef QD_DAEMON_WATCH_H
#define QD_DAEMON_WATCH_H

#include "util/status.h"

struct qd_watch;

/*
 * changed is called in the watch's thread. QD_IO: inotify is not there or its limits are reached (the text says which).
 * A limit that is reached later is logged.
 */
enum qd_status qd_watch_new(const char *folder, void (*changed)(void *context), void *context, struct qd_watch **ret,
                            struct qd_error *err);
void qd_watch_free(struct qd_watch *watch); /* NULL is fine */

#endif
