#define _GNU_SOURCE /* POLLRDHUP */
#include "http/v2.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

void qd_infer_free(struct qd_infer *infer)
{
    if (!infer)
        return;
    for (int o = 0; infer->request.results && o < infer->request.n_outputs; o++)
        qd_free(infer->request.results[o].data);
    qd_model_unref(infer->request.model);
    if (infer->v2) {
        json_decref(infer->v2->root);
        qd_buf_done(&infer->v2->out);
    }
    qd_buf_done(&infer->parts);
    qd_arena_done(&infer->arena);
    qd_free(infer);
}

int64_t qd_infer_queue_us(const struct qd_infer *infer)
{
    return infer->request.queue_us;
}

/* A suspended connection is not watched by the server: this asks the socket itself. */
static bool is_gone(const struct qd_request *request)
{
    const struct qd_infer *infer = request->context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(infer->exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd fd = {.events = POLLRDHUP};

    if (!info)
        return false;
    fd.fd = info->connect_fd;
    return poll(&fd, 1, 0) == 1 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* One whole number of the query, fallback where it is absent. */
static enum qd_status query_int(const struct qd_exchange *exchange, const char *key, int64_t fallback, int64_t *ret,
                                struct qd_error *err)
{
    const char *text = qd_exchange_query(exchange, key);
    char *end;

    *ret = text ? strtoll(text, &end, 10) : fallback;
    if (text && (end == text || *end))
        return qd_error_set(err, QD_INVALID, "%s: expected a whole number, found '%.20s'", key, text);
    return QD_OK;
}

enum qd_status qd_infer_set_priority(struct qd_infer *infer, int64_t priority, struct qd_error *err)
{
    if (priority < 0 || priority > QD_N_PRIORITIES)
        return qd_error_set(err, QD_INVALID, "priority: expected 1 (first) to %d, or 0, found %lld", QD_N_PRIORITIES,
                            (long long)priority);
    infer->request.priority = priority ? (int)priority - 1 : QD_NORMAL_PRIORITY;
    return QD_OK;
}

/* Another size than the model's own is for networks that leave it open. */
static enum qd_status set_size(struct qd_infer *infer, int64_t h, int64_t w, struct qd_error *err)
{
    const struct qd_model *model = infer->request.model;
    const struct qd_preprocess *p = &model->config.preprocess;

    if ((h != p->crop_h && !model->graph->free_height) || (w != p->crop_w && !model->graph->free_width))
        return qd_error_set(err, QD_INVALID, "the model's height and width are fixed: expected %d x %d, found %lld x %lld",
                            p->crop_h, p->crop_w, (long long)h, (long long)w);
    if (h * w > infer->exchange->http->options.max_pixels)
        return qd_error_set(err, QD_TOO_LARGE, "%lld x %lld pixels: expected at most %lld (max_pixels)", (long long)h,
                            (long long)w, (long long)infer->exchange->http->options.max_pixels);
    infer->request.h = h == p->crop_h && w == p->crop_w ? 0 : (int)h;
    infer->request.w = infer->request.h ? (int)w : 0;
    return QD_OK;
}

/* "?size=HxW" */
static enum qd_status read_size(struct qd_infer *infer, struct qd_error *err)
{
    const char *text = qd_exchange_query(infer->exchange, "size");
    char *end;
    long h, w = 0;

    if (!text)
        return QD_OK;
    h = strtol(text, &end, 10);
    if (end != text && *end == 'x')
        w = strtol(end + 1, &end, 10);
    if (*end || h < 1 || w < 1 || h > 16384 || w > 16384)
        return qd_error_set(err, QD_INVALID, "size: expected HEIGHTxWIDTH such as 480x640, found '%.20s'", text);
    return set_size(infer, h, w, err);
}

static enum qd_status read_options(struct qd_infer *infer, struct qd_error *err)
{
    int64_t priority;
    enum qd_status status = query_int(infer->exchange, "priority", 0, &priority, err);

    if (status == QD_OK)
        status = qd_infer_set_priority(infer, priority, err);
    if (status == QD_OK)
        status = query_int(infer->exchange, "timeout_us", 0, &infer->request.timeout_us, err);
    if (status == QD_OK)
        status = read_size(infer, err);
    return status;
}

enum qd_status qd_infer_new(struct qd_exchange *exchange, const char *name, const char *version,
                            void (*reply)(struct qd_exchange *exchange), struct qd_error *err)
{
    struct qd_infer *infer = qd_alloc(sizeof(*infer));
    struct qd_registry *registry = exchange->http->options.registry;
    int number = 0;
    enum qd_status status;

    if (!infer)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a request");
    exchange->infer = infer;
    infer->exchange = exchange;
    infer->reply = reply;
    infer->capacity = exchange->http->options.max_images;
    infer->request.client = qd_client_key(&exchange->client->address);
    infer->request.limit_bytes = exchange->http->options.max_answer_bytes;
    infer->bytes = qd_arena_array(&infer->arena, (size_t)infer->capacity, sizeof(*infer->bytes));
    infer->sizes = qd_arena_array(&infer->arena, (size_t)infer->capacity, sizeof(*infer->sizes));
    if (!infer->bytes || !infer->sizes)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a request");
    status = qd_read_version(version, &number, err);
    if (status == QD_OK)
        status = qd_registry_use(registry, name, number, &exchange->entry, &infer->request.model, err);
    return status == QD_OK ? read_options(infer, err) : status;
}

enum qd_status qd_infer_add(struct qd_infer *infer, const void *bytes, size_t size, struct qd_error *err)
{
    if (infer->n == infer->capacity)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d pictures in a request, found more",
                            infer->capacity);
    infer->bytes[infer->n] = bytes;
    infer->sizes[infer->n++] = size;
    return QD_OK;
}

/* Which order the dimensions are in; the model's own where both would do. */
static bool read_layout(const struct qd_infer *infer, const int64_t dims[4], bool *ret_last)
{
    const struct qd_model *model = infer->request.model;
    bool prefers_last = model->graph->channels_last;

    for (int i = 0; i < 2; i++) {
        *ret_last = i ? !prefers_last : prefers_last;
        if (dims[*ret_last ? 3 : 1] == qd_preprocess_channels(&model->config.preprocess))
            return true;
    }
    return false;
}

enum qd_status qd_infer_set_shape(struct qd_infer *infer, enum qd_input_form form, const int64_t dims[4],
                                  struct qd_error *err)
{
    int n_channels = qd_preprocess_channels(&infer->request.model->config.preprocess);
    bool last = false;

    if (!read_layout(infer, dims, &last) || dims[0] < 1 || dims[1] < 1 || dims[2] < 1 || dims[3] < 1 ||
        dims[1] > 65536 || dims[2] > 65536 || dims[3] > 65536)
        return qd_error_set(err, QD_INVALID,
                            "expected a shape [n, %d, height, width] or [n, height, width, %d], found [%lld, %lld, "
                            "%lld, %lld]",
                            n_channels, n_channels, (long long)dims[0], (long long)dims[1], (long long)dims[2],
                            (long long)dims[3]);
    if (dims[0] > infer->capacity)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d pictures in a request, found %lld",
                            infer->capacity, (long long)dims[0]);
    infer->request.form = form;
    infer->request.channels_last = last;
    return set_size(infer, dims[last ? 1 : 2], dims[last ? 2 : 3], err);
}

enum qd_status qd_infer_add_tensor(struct qd_infer *infer, const int64_t dims[4], const void *bytes,
                                   struct qd_error *err)
{
    size_t element = infer->request.form == QD_INPUT_VALUES ? sizeof(float) : 1;
    size_t image_size = (size_t)(dims[1] * dims[2] * dims[3]) * element;
    const uint8_t *from = bytes;
    enum qd_status status = QD_OK;

    if (element > 1 && (uintptr_t)from % element) {
        uint8_t *aligned = qd_arena_alloc(&infer->arena, image_size * (size_t)dims[0]);

        if (!aligned)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a tensor");
        memcpy(aligned, from, image_size * (size_t)dims[0]);
        from = aligned;
    }
    for (int64_t i = 0; i < dims[0] && status == QD_OK; i++)
        status = qd_infer_add(infer, from + (size_t)i * image_size, image_size, err);
    return status;
}

/* JPEG or PNG, by the first bytes. */
static bool is_encoded(const uint8_t *bytes, size_t size)
{
    return (size >= 3 && memcmp(bytes, "\377\330\377", 3) == 0) || (size >= 8 && memcmp(bytes, "\211PNG\r\n\032\n", 8) == 0);
}

enum qd_status qd_infer_add_raw(struct qd_infer *infer, const void *bytes, size_t size, struct qd_error *err)
{
    const struct qd_preprocess *p = &infer->request.model->config.preprocess;
    int c = qd_preprocess_channels(p);
    bool last = infer->request.model->graph->channels_last;
    size_t pixels = (size_t)p->crop_h * (size_t)p->crop_w * (size_t)c, floats = pixels * sizeof(float);
    int64_t n = (int64_t)(size / floats);
    int64_t in_order[4] = {n, last ? p->crop_h : c, last ? p->crop_w : p->crop_h, last ? c : p->crop_w};
    int64_t nhwc[4] = {(int64_t)(size / pixels), p->crop_h, p->crop_w, c};

    bool is_values = size && size % floats == 0;
    enum qd_status status;

    if (is_encoded(bytes, size))
        return qd_infer_add(infer, bytes, size, err);
    if (is_values || (size && size % pixels == 0)) {
        const int64_t *dims = is_values ? in_order : nhwc;

        status = qd_infer_set_shape(infer, is_values ? QD_INPUT_VALUES : QD_INPUT_PIXELS, dims, err);
        return status == QD_OK ? qd_infer_add_tensor(infer, dims, bytes, err) : status;
    }
    return qd_error_set(err, QD_INVALID,
                        "a raw body: expected a JPEG or PNG picture, or n * %zu bytes (float) or n * %zu bytes (uint8) "
                        "of a tensor, found %zu bytes",
                        floats, pixels, size);
}

/* In a runner's thread. */
static void on_done(struct qd_request *request)
{
    struct qd_infer *infer = request->context;

    if (infer->prepare)
        infer->prepare(infer);
    qd_exchange_resume(infer->exchange);
}

static void reply(struct qd_exchange *exchange)
{
    struct qd_infer *infer = exchange->infer;

    exchange->version = infer->request.model->config.version;
    exchange->generation = infer->request.model->generation;
    exchange->batch_size = infer->request.batch_size;
    if (infer->submitted != QD_OK)
        qd_reply_error(exchange, infer->submitted, &infer->submit_error);
    else
        infer->reply(exchange);
}

enum qd_status qd_infer_submit(struct qd_infer *infer, const int *outputs, int n_outputs, struct qd_error *err)
{
    struct qd_exchange *exchange = infer->exchange;
    struct qd_request *request = &infer->request;
    enum qd_status status;

    request->n_images = infer->n;
    request->bytes = infer->bytes;
    request->sizes = infer->sizes;
    request->answers = qd_arena_array(&infer->arena, (size_t)infer->n, sizeof(*request->answers));
    request->results = qd_arena_array(&infer->arena, (size_t)n_outputs, sizeof(*request->results));
    request->outputs = outputs;
    request->n_outputs = n_outputs;
    request->is_gone = is_gone;
    request->done = on_done;
    request->context = infer;
    if (!request->answers || !request->results)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for answers");
    status = qd_exchange_hold(exchange, infer->arena.used_bytes + infer->parts.capacity, err);
    if (status != QD_OK)
        return status;
    /* Suspended first: a runner may be done before submit returns. A refusal is replied after resuming, too. */
    MHD_suspend_connection(exchange->connection);
    exchange->waiting = true;
    exchange->resume = reply;
    infer->submitted = qd_batcher_submit(exchange->entry->batcher, request, &infer->submit_error);
    if (infer->submitted != QD_OK)
        qd_exchange_resume(exchange);
    return QD_OK;
}
