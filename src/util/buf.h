/*
 * A growing byte buffer with a mandatory maximum: what comes from outside never grows past what was stated.
 * The owner calls qd_buf_done. One thread at a time.
 */
#ifndef QD_UTIL_BUF_H
#define QD_UTIL_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "util/status.h"

struct qd_buf {
    uint8_t *bytes; /* a zero byte always follows the last one, so that text can be read as a string */
    size_t size;
    size_t capacity;
    size_t limit_bytes;
};

void qd_buf_init(struct qd_buf *buf, size_t limit_bytes);
void qd_buf_done(struct qd_buf *buf);

/* Room for size more bytes and a zero byte behind them; the caller writes them to bytes + size and counts size up. */
enum qd_status qd_buf_reserve(struct qd_buf *buf, size_t size, struct qd_error *err);

/* QD_TOO_LARGE past the limit (the buffer keeps what it had), QD_NO_MEMORY. */
enum qd_status qd_buf_append(struct qd_buf *buf, const void *bytes, size_t size, struct qd_error *err);
enum qd_status qd_buf_printf(struct qd_buf *buf, struct qd_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
