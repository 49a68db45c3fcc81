/* The native calls: POST /infer, and TorchServe's /predictions and /ping, which take the same bodies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/infer.h"
#include "util/clock.h"

#define MAX_TOP_K 16
#define DEFAULT_TOP_K 5

static const int first_output[1] = {0};

struct top {
    int n;
    int64_t classes[MAX_TOP_K];
    float scores[MAX_TOP_K];
};

static enum qd_status read_top_k(const struct qd_exchange *exchange, int *ret, struct qd_error *err)
{
    const char *text = qd_exchange_query(exchange, "top_k");
    char *end;
    long k = text ? strtol(text, &end, 10) : DEFAULT_TOP_K;

    if (text && (end == text || *end || k < 1 || k > MAX_TOP_K))
        return qd_error_set(err, QD_INVALID, "top_k: expected 1 to %d, found '%.20s'", MAX_TOP_K, text);
    *ret = (int)k;
    return QD_OK;
}

static void find_top(const struct qd_infer *infer, int image, struct top *ret)
{
    const struct qd_result *result = &infer->request.results[0];
    const float *scores = (const float *)(const void *)(result->data + (size_t)image * result->image_bytes);
    int64_t count = (int64_t)(result->image_bytes / sizeof(float));

    ret->n = infer->top_k < count ? infer->top_k : (int)count;
    qd_top_k(scores, count, ret->n, ret->classes);
    for (int i = 0; i < ret->n; i++)
        ret->scores[i] = scores[ret->classes[i]];
}

static json_t *answer_to_json(const struct qd_infer *infer, int image)
{
    const struct qd_answer *answer = &infer->request.answers[image];
    json_t *list;
    struct top top;

    if (answer->status != QD_OK)
        return json_pack("{s:s, s:s}", "error", answer->error.text, "code", qd_status_name(answer->status));
    find_top(infer, image, &top);
    list = json_array();
    for (int i = 0; i < top.n; i++) {
        json_t *entry = json_pack("{s:I, s:o}", "class", (json_int_t)top.classes[i], "score",
                                  qd_json_real((double)top.scores[i]));
        const char *label = qd_model_label(infer->request.model, top.classes[i]);

        if (label)
            json_object_set_new(entry, "label", json_string(label));
        json_array_append_new(list, entry);
    }
    return json_pack("{s:o}", "top", list);
}

/* What stops a whole request: no model, the deadline, too large an answer. A bad picture in a batch stops only itself. */
static bool stops_all(const struct qd_infer *infer, const struct qd_answer *answer)
{
    return answer->status != QD_OK &&
           (!infer->is_batch || answer->status == QD_DEADLINE || answer->status == QD_UNAVAILABLE ||
            answer->status == QD_NO_MEMORY || answer->status == QD_CANCELLED || !infer->request.results[0].data);
}

/* True where the request as a whole has failed, and that is answered. */
static bool reply_failure(struct qd_exchange *exchange)
{
    const struct qd_infer *infer = exchange->infer;
    const struct qd_answer *first = &infer->request.answers[0];

    if (!stops_all(infer, first))
        return false;
    if (infer->request.form == QD_INPUT_ENCODED && (first->status == QD_INVALID || first->status == QD_UNSUPPORTED) &&
        infer->request.results[0].data)
        qd_reply_error_as(exchange, 422, qd_status_name(first->status), first->error.text);
    else
        qd_reply_error(exchange, first->status, &first->error);
    return true;
}

static void reply_infer(struct qd_exchange *exchange)
{
    struct qd_infer *infer = exchange->infer;
    const struct qd_request *request = &infer->request;
    int64_t start = qd_now_us();
    json_t *results;

    if (reply_failure(exchange))
        return;
    results = json_array();
    for (int i = 0; i < request->n_images; i++)
        json_array_append_new(results, answer_to_json(infer, i));
    qd_reply_json(exchange, 200,
                  json_pack("{s:s, s:i, s:i, s:i, s:o, s:{s:I, s:I, s:I}}", "model", request->model->config.name,
                            "version", request->model->config.version, "generation", request->model->generation,
                            "batch_size", request->batch_size, "results", results, "timing_us", "queue",
                            (json_int_t)request->queue_us, "decode", (json_int_t)request->decode_us, "compute",
                            (json_int_t)request->compute_us));
    qd_metrics_observe_respond(exchange->entry, qd_now_us() - start);
}

static void run(struct qd_exchange *exchange, const char *name, const char *version,
                void (*reply)(struct qd_exchange *exchange),
                enum qd_status (*read)(struct qd_infer *infer, struct qd_error *err))
{
    struct qd_error err = {""};
    enum qd_status status = qd_infer_new(exchange, name, version, reply, &err);

    if (status == QD_OK)
        status = read_top_k(exchange, &exchange->infer->top_k, &err);
    if (status == QD_OK)
        status = read(exchange->infer, &err);
    if (status == QD_OK)
        status = qd_infer_submit(exchange->infer, first_output, 1, &err);
    if (status != QD_OK)
        qd_reply_error(exchange, status, &err);
}

void qd_route_infer(struct qd_exchange *exchange)
{
    run(exchange, qd_exchange_query(exchange, "model"), qd_exchange_query(exchange, "version"), reply_infer,
        qd_pictures_read);
}

/* {"label": score, ...}; a class without a label goes by its number. */
static json_t *prediction_to_json(const struct qd_infer *infer, int image)
{
    json_t *json = json_object();
    struct top top;

    find_top(infer, image, &top);
    for (int i = 0; i < top.n; i++) {
        const char *label = qd_model_label(infer->request.model, top.classes[i]);
        char number[24];

        snprintf(number, sizeof(number), "%lld", (long long)top.classes[i]);
        json_object_set_new(json, label ? label : number, qd_json_real((double)top.scores[i]));
    }
    return json;
}

static void reply_predictions(struct qd_exchange *exchange)
{
    if (!reply_failure(exchange))
        qd_reply_json(exchange, 200, prediction_to_json(exchange->infer, 0));
}

/* TorchServe's clients name no type (curl -T), or put the picture into a form. */
static enum qd_status read_prediction(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_buf *body = &infer->exchange->body;
    const char *type = qd_exchange_header(infer->exchange, "Content-Type");
    enum qd_status status;

    if (!type || strncmp(type, "multipart/", 10) != 0)
        return qd_infer_add(infer, body->size ? (const void *)body->bytes : "", body->size, err);
    status = qd_pictures_read(infer, err);
    infer->is_batch = false;
    if (status == QD_OK && infer->n != 1)
        status = qd_error_set(err, QD_INVALID, "expected one picture, found %d", infer->n);
    return status;
}

void qd_route_predictions(struct qd_exchange *exchange)
{
    run(exchange, exchange->arguments[0], exchange->arguments[1], reply_predictions, read_prediction);
}

void qd_route_ping(struct qd_exchange *exchange)
{
    bool is_ready =
        !atomic_load(&exchange->http->draining) && qd_registry_is_ready(exchange->http->options.registry);

    qd_reply_json(exchange, is_ready ? 200 : 503, json_pack("{s:s}", "status", is_ready ? "Healthy" : "Unhealthy"));
}
