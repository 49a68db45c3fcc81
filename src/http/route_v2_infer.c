/* POST /v2/models/{m}[/versions/{v}]/infer */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/v2.h"
#include "util/clock.h"

#define MAX_QUICK_BYTES 65536 /* of outputs: the HTTP thread writes those itself */

/* Numbers as JSON; what JSON cannot say is null. */
static enum qd_status print_element(struct qd_buf *out, enum qd_dtype dtype, const uint8_t *data, int64_t i,
                                    struct qd_error *err)
{
    switch (dtype) {
    case QD_F32: {
        float value = ((const float *)(const void *)data)[i];

        return isfinite(value) ? qd_buf_printf(out, err, "%.9g", (double)value) : qd_buf_append(out, "null", 4, err);
    }
    case QD_I64:
        return qd_buf_printf(out, err, "%lld", (long long)((const int64_t *)(const void *)data)[i]);
    case QD_I32:
        return qd_buf_printf(out, err, "%d", ((const int32_t *)(const void *)data)[i]);
    case QD_S8:
        return qd_buf_printf(out, err, "%d", ((const int8_t *)data)[i]);
    case QD_BOOL:
        return qd_buf_printf(out, err, data[i] ? "true" : "false");
    default:
        return qd_buf_printf(out, err, "%u", data[i]);
    }
}

/* "text" with its quotes and escapes. */
static enum qd_status print_string(struct qd_buf *out, const char *text, struct qd_error *err)
{
    json_t *string = json_string(text);
    char *dumped = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    enum qd_status status = dumped ? qd_buf_append(out, dumped, strlen(dumped), err)
                                   : qd_buf_append(out, "\"\"", 2, err); /* not UTF-8, or no memory */

    free(dumped);
    json_decref(string);
    return status;
}

/* "score:index[:label]", Triton's form of a class, into the JSON or behind it. */
static enum qd_status print_class(const struct qd_infer *infer, float score, int64_t class_index, struct qd_buf *out,
                                  struct qd_buf *binary, struct qd_error *err)
{
    const char *label = qd_model_label(infer->request.model, class_index);
    char text[512];
    uint32_t length;
    uint8_t header[4];
    enum qd_status status;

    snprintf(text, sizeof(text), "%f:%lld%s%s", (double)score, (long long)class_index, label ? ":" : "",
             label ? label : "");
    if (!binary)
        return print_string(out, text, err);
    length = (uint32_t)strlen(text);
    for (int i = 0; i < 4; i++)
        header[i] = (uint8_t)(length >> 8 * i);
    status = qd_buf_append(binary, header, 4, err);
    return status == QD_OK ? qd_buf_append(binary, text, length, err) : status;
}

/* The k best classes of each picture; binary NULL: in the JSON. */
static enum qd_status print_classes(struct qd_infer *infer, int o, int k, struct qd_buf *out, struct qd_buf *binary,
                                    struct qd_error *err)
{
    const struct qd_result *result = &infer->request.results[o];
    int64_t *classes = qd_arena_array(&infer->arena, (size_t)k, sizeof(*classes));
    enum qd_status status = QD_OK;

    if (!classes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for classes");
    for (int i = 0; i < infer->n && status == QD_OK; i++) {
        const float *scores = (const float *)(const void *)(result->data + (size_t)i * result->image_bytes);

        qd_top_k(scores, (int64_t)(result->image_bytes / sizeof(float)), k, classes);
        for (int j = 0; j < k && status == QD_OK; j++) {
            if ((i || j) && !binary)
                status = qd_buf_append(out, ",", 1, err);
            if (status == QD_OK)
                status = print_class(infer, scores[classes[j]], classes[j], out, binary, err);
        }
    }
    return status;
}

static enum qd_status print_elements(const struct qd_result *result, size_t size, struct qd_buf *out,
                                     struct qd_error *err)
{
    int64_t count = (int64_t)(size / qd_dtype_size(result->dtype));
    enum qd_status status = QD_OK;

    for (int64_t i = 0; i < count && status == QD_OK; i++) {
        if (i)
            status = qd_buf_append(out, ",", 1, err);
        if (status == QD_OK)
            status = print_element(out, result->dtype, result->data, i, err);
    }
    return status;
}

/* What follows an output's shape: the elements (or k classes), or how many bytes of them come behind the JSON. */
static enum qd_status print_data(struct qd_infer *infer, int o, int k, struct qd_buf *out, struct qd_buf *binary,
                                 struct qd_error *err)
{
    const struct qd_result *result = &infer->request.results[o];
    size_t size = result->image_bytes * (size_t)infer->n, before = binary->size;
    enum qd_status status;

    if (infer->v2->outputs[o].binary) {
        status = k ? print_classes(infer, o, k, out, binary, err) : qd_buf_append(binary, result->data, size, err);
        return status == QD_OK ? qd_buf_printf(out, err, ",\"parameters\":{\"binary_data_size\":%zu}}",
                                               binary->size - before)
                               : status;
    }
    status = qd_buf_printf(out, err, ",\"data\":[");
    if (status == QD_OK)
        status = k ? print_classes(infer, o, k, out, NULL, err) : print_elements(result, size, out, err);
    return status == QD_OK ? qd_buf_append(out, "]}", 2, err) : status;
}

/* A leading dimension of 1 is the batch; where there is none, pictures are stacked. */
static enum qd_status print_shape(const struct qd_infer *infer, const struct qd_shape *shape, struct qd_buf *out,
                                  struct qd_error *err)
{
    int first = shape->n_dims && shape->dims[0] == 1 ? 1 : 0;
    enum qd_status status = qd_buf_printf(out, err, ",\"shape\":[%d", infer->n);

    for (int d = first; d < shape->n_dims && status == QD_OK; d++)
        status = qd_buf_printf(out, err, ",%lld", (long long)shape->dims[d]);
    return status == QD_OK ? qd_buf_append(out, "]", 1, err) : status;
}

static enum qd_status print_output(struct qd_infer *infer, int o, struct qd_buf *out, struct qd_buf *binary,
                                   struct qd_error *err)
{
    const struct qd_result *result = &infer->request.results[o];
    int64_t count = (int64_t)(result->image_bytes / qd_dtype_size(result->dtype));
    int k = infer->v2->outputs[o].classification;
    struct qd_shape shape = result->shape;
    enum qd_status status = qd_buf_printf(out, err, "%s{\"name\":", o ? "," : "");

    k = k < count ? k : (int)count;
    if (k)
        shape = (struct qd_shape){2, {1, k}};
    if (status == QD_OK)
        status = print_string(out, infer->v2->outputs[o].name, err);
    if (status == QD_OK)
        status = qd_buf_printf(out, err, ",\"datatype\":\"%s\"", k ? "BYTES" : qd_v2_datatype(result->dtype));
    if (status == QD_OK)
        status = print_shape(infer, &shape, out, err);
    return status == QD_OK ? print_data(infer, o, k, out, binary, err) : status;
}

static enum qd_status print_answer(struct qd_infer *infer, struct qd_buf *out, struct qd_buf *binary,
                                   struct qd_error *err)
{
    const struct qd_request *request = &infer->request;
    enum qd_status status = qd_buf_printf(out, err, "{\"model_name\":");

    if (status == QD_OK)
        status = print_string(out, request->model->config.name, err);
    if (status == QD_OK)
        status = qd_buf_printf(out, err, ",\"model_version\":\"%d\"", request->model->config.version);
    if (status == QD_OK && infer->v2->id)
        status = qd_buf_printf(out, err, ",\"id\":");
    if (status == QD_OK && infer->v2->id)
        status = print_string(out, infer->v2->id, err);
    if (status == QD_OK)
        status = qd_buf_printf(out, err, ",\"parameters\":{\"calibration_generation\":%d,\"batch_size\":%d},\"outputs\":[",
                               request->model->generation, request->batch_size);
    for (int o = 0; o < request->n_outputs && status == QD_OK; o++)
        status = print_output(infer, o, out, binary, err);
    return status == QD_OK ? qd_buf_append(out, "]}", 2, err) : status;
}

/* One picture that failed fails the request: the protocol has no place for it among the outputs. */
static bool reply_failure(struct qd_exchange *exchange)
{
    const struct qd_infer *infer = exchange->infer;

    for (int i = 0; i < infer->n; i++) {
        const struct qd_answer *answer = &infer->request.answers[i];
        struct qd_error err = answer->error;

        if (answer->status == QD_OK)
            continue;
        if (infer->n > 1)
            qd_error_context(&err, answer->status, "picture %d", i);
        if (infer->request.form == QD_INPUT_ENCODED && infer->request.results[0].data &&
            (answer->status == QD_INVALID || answer->status == QD_UNSUPPORTED))
            qd_reply_error_as(exchange, 422, qd_status_name(answer->status), err.text);
        else
            qd_reply_error(exchange, answer->status, &err);
        return true;
    }
    return false;
}

/* Writes the answer into infer->v2, after which the outputs are not needed any more. */
static void write_answer(struct qd_infer *infer)
{
    /* A number takes 14 bytes of JSON at most for 4 of the tensor. */
    size_t limit = infer->exchange->http->options.max_answer_bytes * 4 + 65536;
    struct qd_v2 *v2 = infer->v2;
    struct qd_buf binary;

    qd_buf_init(&v2->out, limit);
    qd_buf_init(&binary, limit);
    v2->json_size = -1;
    v2->status = print_answer(infer, &v2->out, &binary, &v2->err);
    if (v2->status == QD_OK && binary.size) {
        v2->json_size = (int64_t)v2->out.size;
        v2->status = qd_buf_append(&v2->out, binary.bytes, binary.size, &v2->err);
    }
    v2->is_written = true;
    qd_buf_done(&binary);
    for (int o = 0; o < infer->request.n_outputs; o++) {
        qd_free(infer->request.results[o].data);
        infer->request.results[o].data = NULL;
    }
}

/* In the runner's thread: a long answer is written here, so that the HTTP thread is there for others meanwhile. */
static void prepare(struct qd_infer *infer)
{
    size_t size = 0;

    for (int i = 0; i < infer->n; i++)
        if (infer->request.answers[i].status != QD_OK)
            return;
    for (int o = 0; o < infer->request.n_outputs; o++)
        size += infer->request.results[o].image_bytes * (size_t)infer->n;
    if (size > MAX_QUICK_BYTES)
        write_answer(infer);
}

static void reply_v2(struct qd_exchange *exchange)
{
    struct qd_infer *infer = exchange->infer;
    struct qd_v2 *v2 = infer->v2;
    int64_t start = qd_now_us();

    if (!v2->is_written && reply_failure(exchange))
        return;
    if (!v2->is_written)
        write_answer(infer);
    if (v2->status == QD_OK)
        v2->status = qd_exchange_hold(exchange, v2->out.capacity, &v2->err);
    if (v2->status == QD_OK) {
        exchange->json_size = v2->json_size;
        qd_reply_take(exchange, 200, v2->json_size < 0 ? "application/json" : "application/octet-stream", &v2->out);
    } else {
        qd_reply_error(exchange, v2->status, &v2->err);
    }
    qd_metrics_observe_respond(exchange->entry, qd_now_us() - start);
}

void qd_route_v2_infer(struct qd_exchange *exchange)
{
    struct qd_error err = {""};
    enum qd_status status =
        qd_infer_new(exchange, exchange->arguments[0], exchange->arguments[1], reply_v2, &err);

    if (status == QD_OK)
        status = qd_v2_request_read(exchange->infer, &err);
    if (status == QD_OK) {
        exchange->infer->prepare = prepare;
        status = qd_infer_submit(exchange->infer, exchange->infer->v2->indices, exchange->infer->v2->n_outputs, &err);
    }
    if (status != QD_OK)
        qd_reply_error(exchange, status, &err);
}
