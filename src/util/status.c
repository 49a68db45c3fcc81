#include "util/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[QD_N_STATUS] = {
    [QD_OK] = "ok",
    [QD_INVALID] = "invalid",
    [QD_UNSUPPORTED] = "unsupported",
    [QD_NOT_FOUND] = "not_found",
    [QD_TOO_LARGE] = "too_large",
    [QD_NO_MEMORY] = "no_memory",
    [QD_IO] = "io_error",
    [QD_CONFLICT] = "conflict",
    [QD_FULL] = "queue_full",
    [QD_DEADLINE] = "deadline_passed",
    [QD_UNAVAILABLE] = "unavailable",
    [QD_CANCELLED] = "cancelled",
};

static void mark_cut(struct qd_error *err, int length)
{
    if (length >= QD_ERROR_TEXT_SIZE)
        memcpy(err->text + QD_ERROR_TEXT_SIZE - 4, "...", 4);
}

enum qd_status qd_error_set(struct qd_error *err, enum qd_status status, const char *format, ...)
{
    va_list args;

    if (!err || err->text[0])
        return status;
    va_start(args, format);
    mark_cut(err, vsnprintf(err->text, sizeof(err->text), format, args));
    va_end(args);
    return status;
}

enum qd_status qd_error_context(struct qd_error *err, enum qd_status status, const char *format, ...)
{
    char cause[QD_ERROR_TEXT_SIZE];
    va_list args;
    int length;

    if (!err)
        return status;
    memcpy(cause, err->text, sizeof(cause));
    va_start(args, format);
    length = vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    if (length < QD_ERROR_TEXT_SIZE && cause[0])
        length += snprintf(err->text + length, sizeof(err->text) - (size_t)length, ": %s", cause);
    mark_cut(err, length);
    return status;
}

const char *qd_status_name(enum qd_status status)
{
    return status >= 0 && status < QD_N_STATUS ? status_names[status] : "unknown";
}
