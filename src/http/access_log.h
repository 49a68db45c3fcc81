/*
 * The access log: one JSON object per line and request. ASCII only: whatever else a client sends is escaped. Lines are
 * gathered and written once per turn of the server's thread, to which all of this belongs. A disk that is full costs
 * lines, not requests.
 */
#ifndef QD_HTTP_ACCESS_LOG_H
#define QD_HTTP_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"

struct qd_exchange;

struct qd_access_log {
    const char *path; /* "": none; "-": standard output */
    int fd;           /* -1: none */
    struct qd_buf lines;
    bool mid_line;   /* the last write ended within a line */
    uint64_t n_lost; /* lines, since the last time that the log told of them */
    int64_t told_us;
};

/* Opens (again): path stays the caller's. QD_IO: an open log is kept. */
enum qd_status qd_access_log_open(struct qd_access_log *log, const char *path, struct qd_error *err);
void qd_access_log_close(struct qd_access_log *log);

/* A finished request; aborted: it got no whole answer. */
void qd_access_log_add(struct qd_access_log *log, const struct qd_exchange *exchange, bool aborted);

/* Writes what was gathered. */
void qd_access_log_flush(struct qd_access_log *log);

/* text as a JSON string with its quotes; bytes beyond ASCII, and control characters, as \u00XX. */
enum qd_status qd_json_quote(struct qd_buf *out, const char *text, struct qd_error *err);

#endif
