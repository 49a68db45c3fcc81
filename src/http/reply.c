#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

/* The one table from status to HTTP. */
int qd_http_status(enum qd_status status)
{
    static const int codes[QD_N_STATUS] = {
        [QD_OK] = 200,        [QD_INVALID] = 400,  [QD_UNSUPPORTED] = 415, [QD_NOT_FOUND] = 404,
        [QD_TOO_LARGE] = 413, [QD_NO_MEMORY] = 503, [QD_IO] = 500,         [QD_CONFLICT] = 409,
        [QD_FULL] = 429,      [QD_DEADLINE] = 504, [QD_UNAVAILABLE] = 503, [QD_CANCELLED] = 409,
    };

    return codes[status];
}

/* The reply, or 503 without memory. */
static void set_reply(struct qd_exchange *exchange, int status, const char *content_type, void *reply, size_t size,
                      void (*free_reply)(void *))
{
    if (exchange->free_reply)
        exchange->free_reply(exchange->reply);
    exchange->reply = reply;
    exchange->reply_size = reply ? size : 0;
    exchange->free_reply = reply ? free_reply : NULL;
    exchange->status = reply ? status : 503;
    exchange->content_type = content_type;
    exchange->answered = true;
}

void qd_reply_text(struct qd_exchange *exchange, int status, const char *content_type, const void *text, size_t size)
{
    void *copy = malloc(size ? size : 1);

    if (copy && size)
        memcpy(copy, text, size);
    set_reply(exchange, status, content_type, copy, size, free);
}

void qd_reply_take(struct qd_exchange *exchange, int status, const char *content_type, struct qd_buf *buf)
{
    set_reply(exchange, status, content_type, buf->bytes, buf->size, qd_free);
    buf->bytes = NULL;
    qd_buf_done(buf);
}

void qd_reply_json(struct qd_exchange *exchange, int status, json_t *json)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;

    json_decref(json);
    set_reply(exchange, status, "application/json", text, text ? strlen(text) : 0, free);
}

void qd_reply_error_as(struct qd_exchange *exchange, int http_status, const char *code, const char *text)
{
    /* %s of text that is not UTF-8 (a name from the client) fails: then without it. */
    json_t *json = json_pack("{s:s, s:s}", "error", text, "code", code);

    if (!json)
        json = json_pack("{s:s, s:s}", "error", "the request holds text that is not UTF-8", "code", code);
    if (http_status == 429 || http_status == 503)
        exchange->retry_after_s = 1;
    qd_reply_json(exchange, http_status, json);
}

void qd_reply_error(struct qd_exchange *exchange, enum qd_status status, const struct qd_error *err)
{
    qd_reply_error_as(exchange, qd_http_status(status), qd_status_name(status), err->text);
}
