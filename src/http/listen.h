/*
 * The sockets that are listened on: addresses of the setting `listen`, or what the service manager passed. One thread
 * at a time.
 */
#ifndef QD_HTTP_LISTEN_H
#define QD_HTTP_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#include "util/status.h"

#define QD_MAX_LISTENERS 16
#define QD_BACKLOG 1024

struct qd_listener {
    int fd;   /* -1: closed */
    int port; /* 0: a unix socket */
    bool is_unix;
    bool is_waiting;                /* bound, but not listening yet */
    bool is_passed;                 /* the service manager's, which keeps it open */
    bool is_shared;                 /* with SO_REUSEPORT */
    unsigned long long older_inode; /* of the one other socket that had the shared port before; 0: none, or several */
    char path[108];                 /* of a unix socket that is ours to remove */
    dev_t device;
    ino_t inode;
};

struct qd_listeners {
    struct qd_listener items[QD_MAX_LISTENERS];
    int n;
};

/*
 * Takes the sockets that were passed (LISTEN_FDS, LISTEN_PID), else opens the addresses of text. With reuse_port, ports
 * are bound but do not listen. On failure nothing stays open. QD_INVALID: not an address; QD_IO.
 */
enum qd_status qd_listeners_open(struct qd_listeners *listeners, const char *text, const char *mode, bool reuse_port,
                                 struct qd_error *err);

/* The same text and mode, without opening anything. */
enum qd_status qd_listeners_check(const char *text, const char *mode, struct qd_error *err);

/* Closes the socket, and removes the file of a unix socket if it is still ours. */
void qd_listener_close(struct qd_listener *listener);

/* reuse.c: a shared port during a hot restart. */

/* Starts to listen, and notes who had the port before. */
enum qd_status qd_listener_join(struct qd_listener *listener, struct qd_error *err);

/*
 * Where exactly one other instance shares the port: has the kernel give it every new connection. False: there is none,
 * or the kernel cannot. Connections whose handshake is under way arrive here still.
 */
bool qd_listener_hand_over(const struct qd_listener *listener);

#endif
