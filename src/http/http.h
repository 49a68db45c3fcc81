/*
 * The only folder that knows HTTP: a server over libmicrohttpd, a table of routes, replies.
 *
 * One thread (epoll) runs all connections; a connection whose pictures wait is suspended and costs nothing.
 */
#ifndef QD_HTTP_HTTP_H
#define QD_HTTP_HTTP_H

#include "serve/jobs.h"
#include "serve/registry.h"

struct qd_http;

struct qd_http_options {
    const char *listen; /* "127.0.0.1:8100", "[::1]:8100"; port 0: any free one */
    size_t max_body_bytes;
    size_t max_answer_bytes; /* of the outputs of one request */
    int max_connections;
    int timeout_s;      /* of a connection that sends or takes nothing */
    int max_images;     /* of one request */
    struct qd_registry *registry;
    struct qd_jobs *jobs;
    const char *isa;
};

/* QD_IO: the address cannot be used (the text says why). */
enum qd_status qd_http_start(const struct qd_http_options *options, struct qd_http **ret, struct qd_error *err);

/* The port that is listened on. */
int qd_http_port(const struct qd_http *http);

/* From now on: not ready, no new work; open requests go on. */
void qd_http_drain(struct qd_http *http);
/* Requests that are being answered. */
int qd_http_n_active(const struct qd_http *http);
/* No request may be waiting for a batcher any more. */
void qd_http_stop(struct qd_http *http);

#endif
