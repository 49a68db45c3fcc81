/*
 * The connections: who is connected, how far each is, and for how long it may stay there. A client that is too slow is
 * cut, one too many is refused with an answer. All of it belongs to the server's thread.
 */
#ifndef QD_HTTP_CLIENT_H
#define QD_HTTP_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct MHD_Connection;
struct qd_http;
struct qd_listener;

enum qd_client_stage {
    QD_CLIENT_IDLE,  /* between requests: timeout_s, whatever trickles in */
    QD_CLIENT_HEAD,  /* the request line is there: body_timeout_s */
    QD_CLIENT_BODY,  /* body_timeout_s for the whole, timeout_s between two pieces */
    QD_CLIENT_WORK,  /* waits for its answer: as long as that takes */
    QD_CLIENT_REPLY, /* takes its answer: body_timeout_s */
    QD_CLIENT_CUT,   /* its time is over; it is closed as soon as the connection is looked at */
};

/* One connection. */
struct qd_client {
    struct qd_client *previous, *next;
    struct qd_http *http;
    int fd;
    enum qd_client_stage stage;
    int64_t since_us, active_us; /* when the stage began; when the last piece of a body came */
    struct sockaddr_storage address;
    bool is_tls, is_unix, is_loopback;
    bool has_left; /* in the middle of a request */
    bool linger; /* it is told to close before all that it sends was read: read on a little, or a reset eats the answer
                  */
};

#define QD_MAX_LINGERERS 64

/* All of them. A lingerer is a closed connection whose socket is read empty for a moment. */
struct qd_clients {
    struct qd_client *first;
    int n;
    int n_refused; /* since the last time that the log told of it */
    int64_t told_us;
    struct {
        int fd;
        int64_t until_us;
    } lingerers[QD_MAX_LINGERERS];
    int n_lingerers;
    struct qd_client *starting; /* handed to the connection that is being added */
};

/* A new connection, fd, from listener: begins it, or answers 503 and closes. The fd is taken. */
void qd_client_accept(struct qd_http *http, const struct qd_listener *listener, int fd,
                      const struct sockaddr_storage *address, socklen_t size);

/* The record of a connection; never NULL within a request. */
struct qd_client *qd_client_of(struct MHD_Connection *connection);

void qd_client_set_stage(struct qd_client *client, enum qd_client_stage stage);

/*
 * Ends a connection of which nothing of an answer has been sent yet from this side: with status, such as "408 Request
 * Timeout", and an error body; under TLS without a word.
 */
void qd_client_cut(struct qd_client *client, const char *status, const char *code, const char *text);

/* Cuts those whose time is over; while draining, closes those that have been idle for a moment. */
void qd_clients_sweep(struct qd_http *http, int64_t now_us);

/* Reads lingerers empty; closes those that ended, or whose time is over; all of them: until the end. */
void qd_lingerers_read(struct qd_clients *clients, int64_t now_us, bool close_all);

/* Whose connection it is: an IPv4 address, or an IPv6 network of 64 bits, which is what one subscriber has. 0: neither. */
uint64_t qd_client_key(const struct sockaddr_storage *address);

/* The address as text, for the log: "192.0.2.1", "2001:db8::1", "unix". */
void qd_client_text(const struct qd_client *client, char ret[INET6_ADDRSTRLEN]);

#endif
