/*
 * The only folder that knows HTTP: sockets, a server over libmicrohttpd, a table of routes, replies.
 *
 * One thread (server.c) accepts and runs all connections, plain and TLS; a connection whose pictures wait is suspended
 * and costs nothing. All that belongs to connections is that thread's alone and needs no lock.
 */
#ifndef QD_HTTP_HTTP_H
#define QD_HTTP_HTTP_H

#include "serve/jobs.h"
#include "serve/registry.h"

struct qd_http;

/* The texts live as long as the server; an empty one means: not set. */
struct qd_http_options {
    const char *listen;      /* "127.0.0.1:8100", "[::1]:8100", "unix:/run/quantd.sock", several of them; port 0: any free one */
    const char *socket_mode; /* of a unix socket: octal digits */
    bool reuse_port;         /* share the port with another instance; it is opened by qd_http_open only */
    const char *admin_token_file, *tls_cert, *tls_key, *cors_origin, *access_log;
    size_t max_body_bytes;   /* after decompression */
    size_t max_held_bytes;   /* of all bodies at once */
    size_t max_header_bytes; /* request line and headers */
    size_t max_answer_bytes; /* of the outputs of one request */
    int64_t max_pixels;      /* of a picture */
    int max_connections;
    int max_connections_per_client; /* 0: no limit of its own */
    int timeout_s;           /* of a connection that sends nothing */
    int body_timeout_s;      /* for a whole body, and for taking a whole answer */
    int max_images;          /* of one request */
    struct qd_registry *registry;
    struct qd_jobs *jobs;
    const char *isa;
};

/* Checks what can be checked without opening a socket: addresses, mode, token, certificate, origin. */
enum qd_status qd_http_check(const struct qd_http_options *options, struct qd_error *err);

/* QD_IO: an address, a file or the log cannot be used (the text says why). */
enum qd_status qd_http_start(const struct qd_http_options *options, struct qd_http **ret, struct qd_error *err);

/* The models are loaded: takes connections on ports that are shared, too. Otherwise ports are open since the start. */
enum qd_status qd_http_open(struct qd_http *http, struct qd_error *err);

/* Where it listens, ports first: "port 8100 (TLS), unix:/run/quantd.sock". */
void qd_http_places(const struct qd_http *http, char *ret_text, size_t size);

/* Reads token and certificate again and reopens the access log, soon; what cannot be read leaves the old one in use. */
void qd_http_reload(struct qd_http *http);

/* Counts up at least every second while the server's thread runs: a watchdog's sign of life. */
unsigned qd_http_turns(const struct qd_http *http);

/*
 * From now on: not ready, no new connections. What is queued is accepted still; every connection gets one more answer
 * ("Connection: close"); those that stay idle are closed after a moment.
 */
void qd_http_drain(struct qd_http *http);
/* Nothing is left to wait for. */
bool qd_http_is_drained(const struct qd_http *http);
/* Requests that are being answered. */
int qd_http_n_active(const struct qd_http *http);
/* No request may be waiting for a batcher any more. */
void qd_http_stop(struct qd_http *http);

#endif
