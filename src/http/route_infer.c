/*
 * POST /infer: one picture as the body, a batch as multipart/form-data or as JSON with base64. The connection is
 * suspended while the pictures wait; the batcher's thread resumes it.
 */
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"
#include "util/clock.h"

/* jansson recurses: its own limit is 2048 levels; ours is lower. */
#define MAX_JSON_DEPTH 32

struct qd_infer {
    struct qd_request request;
    struct qd_exchange *exchange;
    bool is_batch;         /* the answer to one bad picture is in its place, not the whole */
    struct qd_arena arena; /* arrays, and pictures decoded from base64 */
    struct qd_buf parts;   /* pictures of a multipart body, one after the other */
    const void **bytes;
    size_t *sizes, *offsets;
    int n, capacity;
    enum qd_status submitted;
    struct qd_error submit_error;
};

void qd_infer_free(struct qd_infer *infer)
{
    if (!infer)
        return;
    qd_model_unref(infer->request.model);
    qd_buf_done(&infer->parts);
    qd_arena_done(&infer->arena);
    qd_free(infer);
}

static enum qd_status add_image(struct qd_infer *infer, const void *bytes, size_t size, struct qd_error *err)
{
    if (infer->n == infer->capacity)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d pictures in a request, found more", infer->capacity);
    infer->bytes[infer->n] = bytes;
    infer->sizes[infer->n++] = size;
    return QD_OK;
}

static bool is_type(const char *content_type, const char *type)
{
    size_t length = strlen(type);

    return content_type && strncasecmp(content_type, type, length) == 0 &&
           (!content_type[length] || strchr("; \t", content_type[length]));
}

struct multipart {
    struct qd_infer *infer;
    struct qd_error *err;
    enum qd_status status;
};

/* A piece of a part; offset 0 begins one. Pictures are kept by offset, because the buffer moves as it grows. */
static enum MHD_Result on_part(void *context, enum MHD_ValueKind kind, const char *key, const char *filename,
                               const char *content_type, const char *transfer_encoding, const char *data,
                               uint64_t offset, size_t size)
{
    struct multipart *m = context;
    struct qd_infer *infer = m->infer;

    (void)kind;
    (void)key;
    (void)filename;
    (void)content_type;
    (void)transfer_encoding;
    if (offset == 0) {
        if (infer->n < infer->capacity)
            infer->offsets[infer->n] = infer->parts.size;
        m->status = add_image(infer, NULL, 0, m->err);
    }
    if (m->status == QD_OK)
        m->status = qd_buf_append(&infer->parts, data, size, m->err);
    if (m->status == QD_OK)
        infer->sizes[infer->n - 1] += size;
    return m->status == QD_OK ? MHD_YES : MHD_NO;
}

static enum qd_status read_multipart(struct qd_infer *infer, struct qd_error *err)
{
    struct qd_exchange *exchange = infer->exchange;
    struct multipart m = {infer, err, QD_OK};
    struct MHD_PostProcessor *processor = MHD_create_post_processor(exchange->connection, 65536, on_part, &m);

    if (!processor)
        return qd_error_set(err, QD_INVALID, "multipart/form-data: expected a boundary in Content-Type");
    infer->is_batch = true;
    qd_buf_init(&infer->parts, exchange->body.limit_bytes);
    if (exchange->body.size)
        MHD_post_process(processor, (const char *)exchange->body.bytes, exchange->body.size);
    if (MHD_destroy_post_processor(processor) != MHD_YES && m.status == QD_OK)
        m.status = qd_error_set(err, QD_INVALID, "multipart/form-data: the body is broken or cut");
    for (int i = 0; i < infer->n; i++)
        infer->bytes[i] = infer->parts.bytes + infer->offsets[i];
    if (m.status == QD_OK && !infer->n)
        m.status = qd_error_set(err, QD_INVALID, "multipart/form-data: expected at least one part, found none");
    return m.status;
}

/* Nesting of brackets outside strings, before a recursive parser sees the text. */
static bool is_too_deep(const uint8_t *text, size_t size)
{
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < size; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '[' || text[i] == '{') && ++depth > MAX_JSON_DEPTH)
            return true;
        else if (!in_string && (text[i] == ']' || text[i] == '}'))
            depth--;
    }
    return false;
}

static enum qd_status add_base64(struct qd_infer *infer, const json_t *item, struct qd_error *err)
{
    const json_t *b64 = json_object_get(item, "b64");
    struct base64_decode_ctx decoder;
    uint8_t *bytes;
    size_t size;

    if (!json_is_string(b64))
        return qd_error_set(err, QD_INVALID, "images[%d]: expected {\"b64\": \"...\"}", infer->n);
    bytes = qd_arena_alloc(&infer->arena, BASE64_DECODE_LENGTH(json_string_length(b64)) + 1);
    if (!bytes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for pictures");
    base64_decode_init(&decoder);
    size = BASE64_DECODE_LENGTH(json_string_length(b64));
    if (!base64_decode_update(&decoder, &size, bytes, json_string_length(b64), json_string_value(b64)) ||
        !base64_decode_final(&decoder))
        return qd_error_set(err, QD_INVALID, "images[%d].b64: not base64", infer->n);
    return add_image(infer, bytes, size, err);
}

static enum qd_status read_json(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_buf *body = &infer->exchange->body;
    const json_t *images;
    json_error_t where;
    json_t *root;
    enum qd_status status = QD_OK;

    if (is_too_deep(body->bytes, body->size))
        return qd_error_set(err, QD_INVALID, "JSON: expected at most %d levels, found more", MAX_JSON_DEPTH);
    root = json_loadb(body->bytes ? (const char *)body->bytes : "", body->size, 0, &where);
    if (!root)
        return qd_error_set(err, QD_INVALID, "JSON, line %d: %.160s", where.line, where.text);
    images = json_object_get(root, "images");
    infer->is_batch = true;
    if (!json_is_array(images) || !json_array_size(images))
        status = qd_error_set(err, QD_INVALID, "JSON: expected {\"images\": [{\"b64\": \"...\"}]}");
    for (size_t i = 0; i < json_array_size(images) && status == QD_OK; i++)
        status = add_base64(infer, json_array_get(images, i), err);
    json_decref(root);
    return status;
}

/* QD_UNSUPPORTED becomes 415. */
static enum qd_status read_images(struct qd_infer *infer, struct qd_error *err)
{
    struct qd_exchange *exchange = infer->exchange;
    const char *type = qd_exchange_header(exchange, "Content-Type");

    if (is_type(type, "multipart/form-data"))
        return read_multipart(infer, err);
    if (is_type(type, "application/json"))
        return read_json(infer, err);
    if (!is_type(type, "image/jpeg") && !is_type(type, "image/png") && !is_type(type, "image/jpg"))
        return qd_error_set(err, QD_UNSUPPORTED,
                            "Content-Type: expected image/jpeg, image/png, multipart/form-data or application/json, found '%.60s'",
                            type ? type : "none");
    return add_image(infer, exchange->body.bytes ? (const void *)exchange->body.bytes : "", exchange->body.size, err);
}

/* In the batcher's thread. */
static void on_done(struct qd_request *request)
{
    struct qd_infer *infer = request->context;

    qd_exchange_resume(infer->exchange);
}

static enum qd_status read_top_k(const struct qd_exchange *exchange, int *ret, struct qd_error *err)
{
    const char *text = qd_exchange_query(exchange, "top_k");
    char *end;
    long k = text ? strtol(text, &end, 10) : 5;

    if (text && (end == text || *end || k < 1 || k > 16))
        return qd_error_set(err, QD_INVALID, "top_k: expected 1 to 16, found '%.20s'", text);
    *ret = (int)k;
    return QD_OK;
}

static enum qd_status submit(struct qd_exchange *exchange, struct qd_infer *infer, struct qd_error *err)
{
    struct qd_request *request = &infer->request;

    request->n_images = infer->n;
    request->bytes = infer->bytes;
    request->sizes = infer->sizes;
    request->answers = qd_arena_array(&infer->arena, (size_t)infer->n, sizeof(*request->answers));
    request->done = on_done;
    request->context = infer;
    if (!request->answers)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for answers");
    /* Suspended first: the batcher may be done before submit returns. A refusal is replied after resuming, too. */
    MHD_suspend_connection(exchange->connection);
    exchange->waiting = true;
    infer->submitted = qd_batcher_submit(exchange->entry->batcher, request, &infer->submit_error);
    if (infer->submitted != QD_OK)
        qd_exchange_resume(exchange);
    return QD_OK;
}

static struct qd_infer *new_infer(struct qd_exchange *exchange)
{
    struct qd_infer *infer = qd_alloc(sizeof(*infer));

    if (!infer)
        return NULL;
    infer->exchange = exchange;
    infer->capacity = exchange->http->options.max_images;
    infer->bytes = qd_arena_array(&infer->arena, (size_t)infer->capacity, sizeof(*infer->bytes));
    infer->sizes = qd_arena_array(&infer->arena, (size_t)infer->capacity, sizeof(*infer->sizes));
    infer->offsets = qd_arena_array(&infer->arena, (size_t)infer->capacity, sizeof(*infer->offsets));
    if (!infer->bytes || !infer->sizes || !infer->offsets) {
        qd_infer_free(infer);
        return NULL;
    }
    return infer;
}

void qd_route_infer(struct qd_exchange *exchange)
{
    struct qd_error err = {""};
    enum qd_status status = qd_registry_find(exchange->http->options.registry, qd_exchange_query(exchange, "model"),
                                             &exchange->entry, &err);

    if (status == QD_OK && !(exchange->infer = new_infer(exchange)))
        status = qd_error_set(&err, QD_NO_MEMORY, "no memory for a request");
    if (status == QD_OK)
        status = read_top_k(exchange, &exchange->infer->request.top_k, &err);
    if (status == QD_OK)
        status = read_images(exchange->infer, &err);
    if (status == QD_OK)
        status = submit(exchange, exchange->infer, &err);
    if (status != QD_OK)
        qd_reply_error(exchange, status, &err);
}

static json_t *answer_to_json(const struct qd_model *model, const struct qd_answer *answer)
{
    json_t *top;

    if (answer->status != QD_OK)
        return json_pack("{s:s, s:s}", "error", answer->error.text, "code", qd_status_name(answer->status));
    top = json_array();
    for (int i = 0; i < answer->n_top; i++) {
        json_t *entry = json_pack("{s:I, s:o}", "class", (json_int_t)answer->top[i].class_index, "score",
                                  qd_json_real((double)answer->top[i].score));
        const char *label = qd_model_label(model, answer->top[i].class_index);

        if (label)
            json_object_set_new(entry, "label", json_string(label));
        json_array_append_new(top, entry);
    }
    return json_pack("{s:o}", "top", top);
}

/* What stops a whole request: no model, the deadline. A bad picture in a batch stops only itself. */
static bool is_request_failure(enum qd_status status)
{
    return status == QD_DEADLINE || status == QD_UNAVAILABLE || status == QD_NO_MEMORY;
}

void qd_infer_reply(struct qd_exchange *exchange)
{
    struct qd_infer *infer = exchange->infer;
    struct qd_request *request = &infer->request;
    const struct qd_model *model = request->model;
    const struct qd_answer *first = &request->answers[0];
    int64_t start = qd_now_us();
    json_t *results;

    if (infer->submitted != QD_OK) {
        qd_reply_error(exchange, infer->submitted, &infer->submit_error);
        return;
    }
    if (first->status != QD_OK && is_request_failure(first->status)) {
        qd_reply_error(exchange, first->status, &first->error);
        return;
    }
    if (first->status != QD_OK && !infer->is_batch) {
        int code = first->status == QD_TOO_LARGE ? 413 : 422;

        qd_reply_error_as(exchange, code, qd_status_name(first->status), first->error.text);
        return;
    }
    exchange->version = model->config.version;
    exchange->generation = model->generation;
    exchange->batch_size = request->batch_size;
    results = json_array();
    for (int i = 0; i < request->n_images; i++)
        json_array_append_new(results, answer_to_json(model, &request->answers[i]));
    qd_reply_json(exchange, 200,
                  json_pack("{s:s, s:i, s:i, s:i, s:o, s:{s:I, s:I, s:I}}", "model", model->config.name, "version",
                            model->config.version, "generation", model->generation, "batch_size", request->batch_size,
                            "results", results, "timing_us", "queue", (json_int_t)request->queue_us, "decode",
                            (json_int_t)request->decode_us, "compute", (json_int_t)request->compute_us));
    qd_metrics_observe_us(&exchange->entry->metrics.stage_us[QD_STAGE_RESPOND], qd_now_us() - start);
}
