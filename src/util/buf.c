#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/mem.h"

void qd_buf_init(struct qd_buf *buf, size_t limit_bytes)
{
    memset(buf, 0, sizeof(*buf));
    buf->limit_bytes = limit_bytes;
}

void qd_buf_done(struct qd_buf *buf)
{
    qd_free(buf->bytes);
    memset(buf, 0, sizeof(*buf));
}

enum qd_status qd_buf_reserve(struct qd_buf *buf, size_t size, struct qd_error *err)
{
    if (size > buf->limit_bytes || buf->size > buf->limit_bytes - size)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %zu bytes, found more", buf->limit_bytes);
    return qd_grow((void **)&buf->bytes, &buf->capacity, buf->size + size + 1, 1, err);
}

enum qd_status qd_buf_append(struct qd_buf *buf, const void *bytes, size_t size, struct qd_error *err)
{
    enum qd_status status = qd_buf_reserve(buf, size, err);

    if (status != QD_OK)
        return status;
    if (size)
        memcpy(buf->bytes + buf->size, bytes, size);
    buf->size += size;
    buf->bytes[buf->size] = 0;
    return QD_OK;
}

enum qd_status qd_buf_printf(struct qd_buf *buf, struct qd_error *err, const char *format, ...)
{
    enum qd_status status;
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return qd_error_set(err, QD_INVALID, "text cannot be formatted");
    status = qd_buf_reserve(buf, (size_t)length, err);
    if (status != QD_OK)
        return status;
    va_start(args, format);
    vsnprintf((char *)buf->bytes + buf->size, (size_t)length + 1, format, args);
    va_end(args);
    buf->size += (size_t)length;
    return QD_OK;
}
