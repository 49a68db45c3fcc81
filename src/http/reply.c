#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

#define MIN_GZIP_BYTES 1024
#define MAX_GZIP_BYTES ((size_t)1 << 20) /* beyond, all other connections would wait for it too long */

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

/* Tensors and pictures do not shrink. */
static bool is_text(const char *content_type)
{
    return content_type &&
           (strncmp(content_type, "text/", 5) == 0 || strncmp(content_type, "application/json", 16) == 0 ||
            strncmp(content_type, "application/yaml", 16) == 0);
}

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    if (value && value[0])
        MHD_add_response_header(response, name, value);
}

/* What a browser asks before, and needs after, a call from a page of another origin. */
static void add_cors(struct qd_exchange *exchange, struct MHD_Response *response)
{
    const char *origin = qd_access_origin(exchange);

    if (!exchange->http->options.cors_origin[0])
        return;
    add(response, "Access-Control-Allow-Origin", origin);
    if (!origin)
        return;
    add(response, "Access-Control-Expose-Headers",
        "X-Request-Id, Location, Retry-After, Inference-Header-Content-Length, traceparent");
    if (!exchange->is_preflight)
        return;
    add(response, "Access-Control-Allow-Methods", exchange->allow);
    add(response, "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Content-Encoding, Inference-Header-Content-Length, X-Request-Id, traceparent, "
        "tracestate");
    add(response, "Access-Control-Max-Age", "600");
}

static void add_trace(struct qd_exchange *exchange, struct MHD_Response *response)
{
    const char *state = qd_exchange_header(exchange, "tracestate");

    add(response, "X-Request-Id", exchange->request_id);
    if (!exchange->trace_id[0])
        return;
    add(response, "traceparent", qd_exchange_header(exchange, "traceparent"));
    if (qd_tracestate(state))
        add(response, "tracestate", state);
}

static void add_headers(struct qd_exchange *exchange, struct MHD_Response *response, bool may_be_gzip, bool is_gzip)
{
    bool has_cors = exchange->http->options.cors_origin[0] != 0;
    char seconds[16] = "", json_size[24] = "";

    if (exchange->retry_after_s)
        snprintf(seconds, sizeof(seconds), "%d", exchange->retry_after_s);
    if (exchange->json_size >= 0)
        snprintf(json_size, sizeof(json_size), "%lld", (long long)exchange->json_size);
    add(response, "Content-Type", exchange->content_type);
    add(response, "Inference-Header-Content-Length", json_size);
    add(response, "Content-Encoding", is_gzip ? "gzip" : NULL);
    add(response, "Vary", may_be_gzip && has_cors ? "Accept-Encoding, Origin"
                          : may_be_gzip           ? "Accept-Encoding"
                          : has_cors              ? "Origin"
                                                  : NULL);
    add(response, "Location", exchange->location);
    add(response, "Allow", exchange->allow);
    add(response, "Retry-After", seconds);
    add(response, "WWW-Authenticate", exchange->authenticate);
    add(response, "Accept-Encoding", exchange->status == 415 ? QD_ENCODINGS : NULL);
    add(response, "X-Content-Type-Options", "nosniff");
    if (exchange->is_page) {
        add(response, "Content-Security-Policy", exchange->http->page.policy);
        add(response, "Referrer-Policy", "same-origin");
        add(response, "Cache-Control", "no-cache");
        add(response, "ETag", exchange->http->page.tag);
    }
    if (exchange->must_close || atomic_load(&exchange->http->draining))
        add(response, "Connection", "close");
    add_trace(exchange, response);
    add_cors(exchange, response);
}

/* In the reply's place, where the client takes it and it is smaller. */
static bool compress(struct qd_exchange *exchange)
{
    size_t size = exchange->reply_size;
    void *smaller;

    if (!qd_accepts_gzip(qd_exchange_header(exchange, "Accept-Encoding")))
        return false;
    smaller = qd_gzip(exchange->reply, &size);
    if (smaller)
        set_reply(exchange, exchange->status, exchange->content_type, smaller, size, free);
    return smaller;
}

enum MHD_Result qd_reply_send(struct qd_exchange *exchange)
{
    bool may_be_gzip = exchange->reply_size >= MIN_GZIP_BYTES && exchange->reply_size <= MAX_GZIP_BYTES &&
                       is_text(exchange->content_type);
    bool is_gzip = may_be_gzip && compress(exchange);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
        exchange->reply_size, exchange->reply, exchange->free_reply);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    exchange->free_reply = NULL; /* the response owns it */
    exchange->n_bytes_out = strcmp(exchange->method, "HEAD") == 0 ? 0 : exchange->reply_size;
    add_headers(exchange, response, may_be_gzip, is_gzip);
    qd_client_set_stage(exchange->client, QD_CLIENT_REPLY);
    result = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return result;
}
