/* POST /v2/models/{m}[/versions/{v}]/infer */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/v2.h"
#include "util/clock.h"

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

/* "score:index[:label]", Triton's form of a class. */
struct class_text {
    char text[512];
};

/* The k best classes of each picture, or NULL without memory. */
static struct class_text *find_classes(struct qd_infer *infer, int o, int *ret_k)
{
    const struct qd_result *result = &infer->request.results[o];
    int64_t count = (int64_t)(result->image_bytes / sizeof(float)), *classes;
    int k = infer->v2->outputs[o].classification;
    struct class_text *texts;

    k = k < count ? k : (int)count;
    classes = qd_arena_array(&infer->arena, (size_t)k, sizeof(*classes));
    texts = qd_arena_array(&infer->arena, (size_t)k * (size_t)infer->n, sizeof(*texts));
    if (!classes || !texts)
        return NULL;
    for (int i = 0; i < infer->n; i++) {
        const float *scores = (const float *)(const void *)(result->data + (size_t)i * result->image_bytes);

        qd_top_k(scores, count, k, classes);
        for (int j = 0; j < k; j++) {
            const char *label = qd_model_label(infer->request.model, classes[j]);

            snprintf(texts[i * k + j].text, sizeof(texts[0].text), "%f:%lld%s%s", (double)scores[classes[j]],
                     (long long)classes[j], label ? ":" : "", label ? label : "");
        }
    }
    *ret_k = k;
    return texts;
}

/* What follows an output's shape: the elements, or how many bytes of them come behind the JSON. */
static enum qd_status print_data(struct qd_infer *infer, int o, const struct class_text *texts, size_t n_texts,
                                 struct qd_buf *out, struct qd_buf *binary, struct qd_error *err)
{
    const struct qd_result *result = &infer->request.results[o];
    size_t size = result->image_bytes * (size_t)infer->n, before = binary->size;
    int64_t count = texts ? (int64_t)n_texts : (int64_t)(size / qd_dtype_size(result->dtype));
    enum qd_status status = QD_OK;

    if (infer->v2->outputs[o].binary) {
        if (!texts)
            status = qd_buf_append(binary, result->data, size, err);
        for (size_t i = 0; texts && i < n_texts && status == QD_OK; i++) {
            uint32_t length = (uint32_t)strlen(texts[i].text);
            uint8_t header[4] = {(uint8_t)length, (uint8_t)(length >> 8), (uint8_t)(length >> 16),
                                 (uint8_t)(length >> 24)};

            status = qd_buf_append(binary, header, 4, err);
            if (status == QD_OK)
                status = qd_buf_append(binary, texts[i].text, length, err);
        }
        return status == QD_OK ? qd_buf_printf(out, err, ",\"parameters\":{\"binary_data_size\":%zu}}",
                                               binary->size - before)
                               : status;
    }
    status = qd_buf_printf(out, err, ",\"data\":[");
    for (int64_t i = 0; i < count && status == QD_OK; i++) {
        if (i)
            status = qd_buf_append(out, ",", 1, err);
        if (status == QD_OK)
            status = texts ? print_string(out, texts[i].text, err)
                           : print_element(out, result->dtype, result->data, i, err);
    }
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
    struct class_text *texts = NULL;
    struct qd_shape shape = result->shape;
    int k = 0;
    enum qd_status status = qd_buf_printf(out, err, "%s{\"name\":", o ? "," : "");

    if (infer->v2->outputs[o].classification) {
        texts = find_classes(infer, o, &k);
        if (!texts)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for classes");
        shape = (struct qd_shape){2, {1, k}};
    }
    if (status == QD_OK)
        status = print_string(out, infer->v2->outputs[o].name, err);
    if (status == QD_OK)
        status = qd_buf_printf(out, err, ",\"datatype\":\"%s\"", texts ? "BYTES" : qd_v2_datatype(result->dtype));
    if (status == QD_OK)
        status = print_shape(infer, &shape, out, err);
    return status == QD_OK ? print_data(infer, o, texts, (size_t)k * (size_t)infer->n, out, binary, err) : status;
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

static void reply_v2(struct qd_exchange *exchange)
{
    struct qd_infer *infer = exchange->infer;
    /* A number takes 14 bytes of JSON at most for 4 of the tensor. */
    size_t limit = exchange->http->options.max_answer_bytes * 4 + 65536;
    int64_t start = qd_now_us();
    struct qd_error err = {""};
    struct qd_buf out, binary;
    enum qd_status status;

    if (reply_failure(exchange))
        return;
    qd_buf_init(&out, limit);
    qd_buf_init(&binary, limit);
    status = print_answer(infer, &out, &binary, &err);
    if (status == QD_OK && binary.size) {
        exchange->json_size = (int64_t)out.size;
        status = qd_buf_append(&out, binary.bytes, binary.size, &err);
    }
    if (status == QD_OK) {
        qd_reply_take(exchange, 200, exchange->json_size < 0 ? "application/json" : "application/octet-stream", &out);
    } else {
        exchange->json_size = -1;
        qd_reply_error(exchange, status, &err);
    }
    qd_buf_done(&out);
    qd_buf_done(&binary);
    qd_metrics_observe_us(&exchange->entry->metrics->stage_us[QD_STAGE_RESPOND], qd_now_us() - start);
}

void qd_route_v2_infer(struct qd_exchange *exchange)
{
    struct qd_error err = {""};
    enum qd_status status =
        qd_infer_new(exchange, exchange->arguments[0], exchange->arguments[1], reply_v2, &err);

    if (status == QD_OK)
        status = qd_v2_request_read(exchange->infer, &err);
    if (status == QD_OK)
        status = qd_infer_submit(exchange->infer, exchange->infer->v2->indices, exchange->infer->v2->n_outputs, &err);
    if (status != QD_OK)
        qd_reply_error(exchange, status, &err);
}
