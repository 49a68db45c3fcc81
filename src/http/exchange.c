/* One request from its first line to its log line: the library's callbacks. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"
#include "util/clock.h"

/* What is thrown away of a body that is too large before the connection is cut. */
#define MAX_DISCARDED_FACTOR 4
#define MAX_EXPECTED 1048576

const char *qd_exchange_query(const struct qd_exchange *exchange, const char *key)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, key);
}

const char *qd_exchange_header(const struct qd_exchange *exchange, const char *key)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, key);
}

static enum MHD_Result send_reply(struct qd_exchange *exchange)
{
    if (exchange->entry)
        qd_metrics_observe_request(exchange->entry, exchange->status, qd_now_us() - exchange->start_us,
                                   exchange->infer ? qd_infer_queue_us(exchange->infer) : 0);
    return qd_reply_send(exchange);
}

/* The request line has come; its text is overwritten when it is taken apart. */
void *qd_exchange_new(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct qd_http *http = context;
    struct qd_exchange *exchange = qd_alloc(sizeof(*exchange));

    if (!exchange)
        return NULL;
    exchange->http = http;
    exchange->connection = connection;
    exchange->client = qd_client_of(connection);
    exchange->start_us = qd_now_us();
    exchange->json_size = -1;
    exchange->uri = qd_strdup(uri);
    qd_buf_init(&exchange->body, http->options.max_body_bytes);
    qd_client_set_stage(exchange->client, QD_CLIENT_HEAD);
    return exchange;
}

enum qd_status qd_exchange_hold(struct qd_exchange *exchange, size_t n_bytes, struct qd_error *err)
{
    struct qd_http *http = exchange->http;

    http->held_bytes += n_bytes;
    exchange->held_bytes += n_bytes;
    if (http->held_bytes > http->options.max_held_bytes)
        return qd_error_set(err, QD_UNAVAILABLE,
                            "expected bodies and answers of at most %zu bytes at once (max_held_bytes), found more",
                            http->options.max_held_bytes);
    return QD_OK;
}

/* The body's memory counts while it is held: many bodies at once must not be more than one machine has. */
static enum qd_status count_held(struct qd_exchange *exchange, struct qd_error *err)
{
    return qd_exchange_hold(exchange, exchange->body.capacity - exchange->held_bytes, err);
}

static void drop_body(struct qd_exchange *exchange)
{
    exchange->http->held_bytes -= exchange->held_bytes;
    exchange->held_bytes = 0;
    qd_buf_done(&exchange->body);
}

/* The first piece: room for all of it, where its length is known and not much. */
static void expect_body(struct qd_exchange *exchange)
{
    const char *text = qd_exchange_header(exchange, "Content-Length");
    unsigned long long length = text ? strtoull(text, NULL, 10) : 0;
    struct qd_error unused = {""};

    if (length <= MAX_EXPECTED && !exchange->decoder)
        qd_buf_reserve(&exchange->body, (size_t)length, &unused);
}

static void take_body(struct qd_exchange *exchange, const char *data, size_t size)
{
    if (!exchange->n_bytes_in)
        expect_body(exchange);
    exchange->n_bytes_in += size;
    exchange->client->active_us = qd_now_us();
    if (exchange->body_too_large || exchange->answered || exchange->body_status != QD_OK)
        return;
    exchange->body_status = exchange->decoder
                                ? qd_decoder_add(exchange->decoder, data, size, &exchange->body, &exchange->body_error)
                                : qd_buf_append(&exchange->body, data, size, &exchange->body_error);
    if (exchange->body_status == QD_OK)
        exchange->body_status = count_held(exchange, &exchange->body_error);
    if (exchange->body_status == QD_OK)
        return;
    exchange->body_too_large = exchange->body_status == QD_TOO_LARGE;
    if (exchange->body_too_large)
        qd_error_context(&exchange->body_error, QD_TOO_LARGE, "body");
    drop_body(exchange);
}

/* A body without end: there is no point of the protocol at which to answer it. */
static enum MHD_Result give_up_body(struct qd_exchange *exchange)
{
    exchange->status = 413;
    qd_client_cut(exchange->client, "413 Content Too Large", qd_status_name(QD_TOO_LARGE), exchange->body_error.text);
    return MHD_NO;
}

/* Headers only. What needs no body is answered at once where the client waits for a word, or must not go on. */
static enum MHD_Result begin(struct qd_exchange *exchange, const char *method, const char *path, const char *version)
{
    const char *expects = qd_exchange_header(exchange, "Expect");

    exchange->begun = true;
    strncpy(exchange->method, method, sizeof(exchange->method) - 1);
    qd_request_id(&exchange->http->ids, qd_exchange_header(exchange, "X-Request-Id"), exchange->request_id);
    qd_traceparent(qd_exchange_header(exchange, "traceparent"), exchange->trace_id);
    qd_request_check(exchange, method, path, version);
    qd_client_set_stage(exchange->client, QD_CLIENT_BODY);
    if (!exchange->answered || (!exchange->must_close && !(expects && strcasecmp(expects, "100-continue") == 0)))
        return MHD_YES;
    exchange->client->linger = true;
    return send_reply(exchange);
}

enum MHD_Result qd_exchange_handle(void *context, struct MHD_Connection *connection, const char *path,
                                   const char *method, const char *version, const char *upload_data,
                                   size_t *upload_size, void **state)
{
    struct qd_http *http = context;
    struct qd_exchange *exchange = *state;

    (void)connection;
    if (!exchange)
        return MHD_NO;
    if (!exchange->begun)
        return begin(exchange, method, path, version);
    if (*upload_size) {
        take_body(exchange, upload_data, *upload_size);
        *upload_size = 0;
        return exchange->n_bytes_in > MAX_DISCARDED_FACTOR * (http->options.max_body_bytes + 65536)
                   ? give_up_body(exchange)
                   : MHD_YES;
    }
    if (!exchange->counted) {
        exchange->counted = true;
        atomic_fetch_add(&http->n_active, 1);
        qd_client_set_stage(exchange->client, QD_CLIENT_WORK);
        if (exchange->decoder && exchange->n_bytes_in && !exchange->answered && exchange->body_status == QD_OK)
            exchange->body_status = qd_decoder_finish(exchange->decoder, &exchange->body_error);
    }
    if (exchange->waiting) {
        exchange->waiting = false;
        exchange->resume(exchange);
    } else if (!exchange->answered && exchange->body_status != QD_OK) {
        qd_reply_error(exchange, exchange->body_status, &exchange->body_error);
    } else if (!exchange->answered) {
        exchange->route->run(exchange);
    }
    return exchange->answered ? send_reply(exchange) : MHD_YES;
}

void qd_exchange_finished(void *context, struct MHD_Connection *connection, void **state,
                          enum MHD_RequestTerminationCode code)
{
    struct qd_http *http = context;
    struct qd_exchange *exchange = *state;
    bool was_cut;

    (void)connection;
    if (!exchange)
        return;
    was_cut = exchange->client->stage == QD_CLIENT_CUT && !exchange->client->has_left;
    if (was_cut && !exchange->status)
        exchange->status = 408;
    if (!exchange->method[0])
        strcpy(exchange->method, "-");
    /* An answer of the library's own, to something that is not HTTP: it closes before it has read everything. */
    if (!exchange->status && !exchange->client->has_left)
        exchange->client->linger = true;
    qd_access_log_add(&http->log, exchange, code != MHD_REQUEST_TERMINATED_COMPLETED_OK);
    qd_client_set_stage(exchange->client, QD_CLIENT_IDLE);
    if (exchange->counted)
        atomic_fetch_sub(&http->n_active, 1);
    qd_infer_free(exchange->infer);
    qd_task_free(exchange->task);
    qd_decoder_free(exchange->decoder);
    drop_body(exchange);
    if (exchange->free_reply)
        exchange->free_reply(exchange->reply);
    qd_free(exchange->uri);
    qd_free(exchange);
    *state = NULL;
}
