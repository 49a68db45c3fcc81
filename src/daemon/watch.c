#include "daemon/watch.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "serve/model_config.h"
#include "serve/versions.h"
#include "util/clock.h"
#include "util/file.h"
#include "util/log.h"
#include "util/mem.h"

#define QUIET_MS 1000
#define LONGEST_WAIT_MS 30000 /* where it never gets quiet */
#define EVENTS                                                                                                         \
    (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

struct watched {
    int wd;
    bool seen; /* by the last walk */
};

struct qd_watch {
    char *folder;
    void (*changed)(void *context);
    void *context;
    pthread_t thread;
    int inotify, stop; /* stop: an eventfd */
    struct watched *list;
    size_t n, capacity;
    bool warned;
};

/* Watches one folder, or marks it as still there. */
static enum qd_status add(struct qd_watch *w, const char *path, struct qd_error *err)
{
    int wd = inotify_add_watch(w->inotify, path, EVENTS | IN_ONLYDIR);
    enum qd_status status;

    if (wd < 0 && errno != ENOSPC && errno != ENOMEM)
        return QD_OK; /* it vanished, or is not ours to read: then it does not serve either */
    if (wd < 0)
        return qd_error_set(err, QD_IO, "'%s': %s", path,
                            errno == ENOSPC ? "the limit fs.inotify.max_user_watches is reached" : strerror(errno));
    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].wd == wd) {
            w->list[i].seen = true;
            return QD_OK;
        }
    }
    status = qd_grow((void **)&w->list, &w->capacity, w->n + 1, sizeof(*w->list), err);
    if (status == QD_OK)
        w->list[w->n++] = (struct watched){wd, true};
    return status;
}

/* depth 0: the repository, 1: a model (or a version, where the repository is one model), 2: a version, or pictures. */
static enum qd_status walk(struct qd_watch *w, const char *path, int depth, struct qd_error *err)
{
    enum qd_status status = add(w, path, err);
    DIR *dir = status == QD_OK && depth < 2 ? opendir(path) : NULL;
    struct dirent *entry;

    while (dir && status == QD_OK && (entry = readdir(dir))) {
        char below[PATH_MAX];

        /* Below a model its versions, and its pictures: as long as some are copied, it is not quiet. */
        if (entry->d_name[0] == '.' ||
            (depth == 1 && !qd_version_of(entry->d_name) && !qd_is_usual_folder(entry->d_name)) ||
            snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= (int)sizeof(below) || !qd_is_folder(below))
            continue;
        status = walk(w, below, depth + 1, err);
    }
    if (dir)
        closedir(dir);
    return status;
}

/* What is there now, and no more what was. */
static enum qd_status walk_all(struct qd_watch *w, struct qd_error *err)
{
    enum qd_status status;
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++)
        w->list[i].seen = false;
    status = walk(w, w->folder, qd_is_model_folder(w->folder) ? 1 : 0, err);
    for (size_t i = 0; i < w->n; i++) {
        if (w->list[i].seen || status != QD_OK)
            w->list[n++] = w->list[i];
        else
            (void)inotify_rm_watch(w->inotify, w->list[i].wd);
    }
    w->n = n;
    return status;
}

/* Takes what there is. Returns whether something happened; what happens by taking a watch away does not count. */
static bool read_events(struct qd_watch *w)
{
    union {
        struct inotify_event event; /* for its alignment */
        char bytes[16384];
    } buffer;
    bool happened = false;
    ssize_t n;

    while ((n = read(w->inotify, buffer.bytes, sizeof(buffer.bytes))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(buffer.bytes + at);

            happened |= !(event->mask & IN_IGNORED);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return happened;
}

static void *run(void *context)
{
    struct qd_watch *w = context;
    int64_t first_us = 0; /* of the events that wait for quiet; 0: none */

    for (;;) {
        struct pollfd fds[] = {{w->inotify, POLLIN, 0}, {w->stop, POLLIN, 0}};
        bool is_absent = w->n == 0; /* the repository itself: nothing will tell that it is back */
        int n = poll(fds, 2, first_us || is_absent ? QUIET_MS : -1);
        struct qd_error err = {""};

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || fds[1].revents)
            return NULL;
        if ((n > 0 && read_events(w)) || is_absent) {
            /* At once, so that what happens in new folders is seen, too. */
            if (walk_all(w, &err) != QD_OK && !w->warned) {
                w->warned = true;
                qd_log(QD_LOG_WARNING, "not all changes of the model repository will be noticed: %s", err.text);
            }
            if (!is_absent || w->n) {
                first_us = first_us ? first_us : qd_now_us();
                n = is_absent ? 1 : n; /* it is back: to be waited for until it is quiet */
            }
        }
        if (first_us && (n == 0 || qd_now_us() - first_us > LONGEST_WAIT_MS * (int64_t)1000)) {
            first_us = 0;
            w->changed(w->context);
        }
    }
}

enum qd_status qd_watch_new(const char *folder, void (*changed)(void *context), void *context, struct qd_watch **ret,
                            struct qd_error *err)
{
    struct qd_watch *w = qd_alloc(sizeof(*w));
    enum qd_status status = QD_OK;

    if (!w)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a watch");
    w->changed = changed;
    w->context = context;
    w->folder = qd_strdup(folder);
    w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    w->stop = eventfd(0, EFD_CLOEXEC);
    if (!w->folder)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for a watch");
    else if (w->inotify < 0 || w->stop < 0)
        status = qd_error_set(err, QD_IO, "inotify: %s",
                              errno == EMFILE ? "the limit fs.inotify.max_user_instances is reached" : strerror(errno));
    if (status == QD_OK)
        status = walk_all(w, err);
    if (status == QD_OK && pthread_create(&w->thread, NULL, run, w) != 0)
        status = qd_error_set(err, QD_IO, "cannot start a thread");
    if (status != QD_OK) {
        if (w->stop >= 0)
            close(w->stop);
        w->stop = -1; /* no thread */
        qd_watch_free(w);
        return status;
    }
    *ret = w;
    return QD_OK;
}

void qd_watch_free(struct qd_watch *w)
{
    const uint64_t one = 1;

    if (!w)
        return;
    if (w->stop >= 0) {
        if (write(w->stop, &one, sizeof(one)) == sizeof(one))
            pthread_join(w->thread, NULL);
        close(w->stop);
    }
    if (w->inotify >= 0)
        close(w->inotify);
    qd_free(w->list);
    qd_free(w->folder);
    qd_free(w);
}
