#include "serve/runner.h"

#include <math.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "serve/metrics.h"
#include "util/clock.h"

/* Plans and frames of one model. */
struct kept {
    struct qd_model *model; /* sizes holds the reference */
    struct qd_sizes *sizes;
    struct kept *next;
};

struct qd_runner {
    struct qd_model_options options;
    struct qd_monitor *monitor;
    struct kept *kept, *forgotten;
};

/* A batch under way. */
struct batch {
    const struct qd_runner *runner;
    const struct qd_model *model; /* at the batch's size */
    struct qd_frame *frame;
    struct qd_slot slots[QD_MAX_BATCH];
    struct qd_sample *samples[QD_MAX_BATCH]; /* NULL: not one for the monitor */
    int n;
};

enum qd_status qd_runner_new(const struct qd_model_options *options, struct qd_monitor *monitor,
                             struct qd_runner **ret, struct qd_error *err)
{
    struct qd_runner *runner = qd_alloc(sizeof(*runner));

    if (!runner)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a runner");
    runner->options = *options;
    runner->monitor = monitor;
    *ret = runner;
    return QD_OK;
}

static bool wants_none(const struct qd_model *model, void *context)
{
    (void)model;
    (void)context;
    return false;
}

void qd_runner_forget(struct qd_runner *runner, bool (*is_wanted)(const struct qd_model *model, void *context),
                      void *context)
{
    struct kept **at = &runner->kept;

    while (*at) {
        struct kept *kept = *at;

        if (is_wanted(kept->model, context)) {
            at = &kept->next;
            continue;
        }
        *at = kept->next;
        kept->next = runner->forgotten;
        runner->forgotten = kept;
    }
}

void qd_runner_free_forgotten(struct qd_runner *runner)
{
    while (runner->forgotten) {
        struct kept *kept = runner->forgotten;

        runner->forgotten = kept->next;
        qd_sizes_free(kept->sizes);
        qd_free(kept);
    }
}

void qd_runner_free(struct qd_runner *runner)
{
    if (!runner)
        return;
    qd_runner_forget(runner, wants_none, NULL);
    qd_runner_free_forgotten(runner);
    qd_free(runner);
}

static enum qd_status find_sizes(struct qd_runner *runner, struct qd_model *model, struct qd_sizes **ret,
                                 struct qd_error *err)
{
    struct kept *kept;
    enum qd_status status;

    for (kept = runner->kept; kept; kept = kept->next) {
        if (kept->model == model) {
            *ret = kept->sizes;
            return QD_OK;
        }
    }
    kept = qd_alloc(sizeof(*kept));
    if (!kept)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a model's frames");
    status = qd_sizes_new(model, &runner->options, &kept->sizes, err);
    if (status != QD_OK) {
        qd_free(kept);
        return status;
    }
    kept->model = model;
    kept->next = runner->kept;
    runner->kept = kept;
    *ret = kept->sizes;
    return QD_OK;
}

static enum qd_status allocate_results(const struct qd_model *model, struct qd_request *request, struct qd_error *err)
{
    const struct qd_graph *graph = model->graph;
    size_t total = 0;

    if (!request->n_outputs || request->results[0].data)
        return QD_OK;
    for (int o = 0; o < request->n_outputs; o++) {
        const struct qd_value *value = &graph->values[graph->outputs[request->outputs[o]]];
        struct qd_result *result = &request->results[o];

        result->dtype = value->dtype;
        result->shape = value->shape;
        result->image_bytes =
            (size_t)qd_plan_output_count(model->result.int8, request->outputs[o]) * qd_dtype_size(value->dtype);
        total += result->image_bytes * (size_t)request->n_images;
    }
    if (total > request->limit_bytes)
        return qd_error_set(err, QD_TOO_LARGE,
                            "the outputs of %d pictures take %zu bytes: expected at most %zu; ask for fewer",
                            request->n_images, total, request->limit_bytes);
    for (int o = 0; o < request->n_outputs; o++) {
        struct qd_result *result = &request->results[o];

        result->data = qd_alloc(result->image_bytes * (size_t)request->n_images);
        if (result->data)
            continue;
        while (o--) {
            qd_free(request->results[o].data);
            request->results[o].data = NULL;
        }
        return qd_error_set(err, QD_NO_MEMORY, "no memory for outputs");
    }
    return QD_OK;
}

/* (pixel * scale - mean) / std, undone: exact for values that come of pictures, nearest for others. */
static enum qd_status pixels_of_values(const struct qd_preprocess *p, const float *values, bool channels_last,
                                       uint8_t *out, struct qd_error *err)
{
    int64_t area = (int64_t)p->crop_h * p->crop_w, n_channels = qd_preprocess_channels(p);

    for (int64_t c = 0; c < n_channels; c++) {
        float slope = p->std[c] / p->scale, offset = p->mean[c] / p->scale;

        for (int64_t i = 0; i < area; i++) {
            int64_t at = channels_last ? i * n_channels + c : c * area + i;
            float pixel = values[at] * slope + offset;

            if (!isfinite(values[at]))
                return qd_error_set(err, QD_INVALID, "element %lld: expected a finite number, found %s", (long long)at,
                                    isnan(values[at]) ? "NaN" : "infinity");
            out[i * n_channels + c] = (uint8_t)lrintf(fminf(fmaxf(pixel, 0), 255));
        }
    }
    return QD_OK;
}

static enum qd_status read_input(const struct batch *b, const struct qd_slot *slot, uint8_t *out, struct qd_error *err)
{
    const struct qd_preprocess *p = &b->model->config.preprocess;
    const struct qd_request *request = slot->request;
    const void *bytes = request->bytes[slot->image];
    int n_channels = qd_preprocess_channels(p);

    switch (request->form) {
    case QD_INPUT_ENCODED:
        return qd_preprocess_run(p, bytes, request->sizes[slot->image], &b->runner->options.limits, out, err);
    case QD_INPUT_PIXELS:
        if (request->channels_last)
            memcpy(out, bytes, qd_preprocess_bytes(p));
        else
            qd_transpose_u8(bytes, out, n_channels, (int64_t)p->crop_h * p->crop_w);
        return QD_OK;
    case QD_INPUT_VALUES:
        return pixels_of_values(p, bytes, request->channels_last, out, err);
    }
    return QD_OK;
}

static void read_one(struct batch *b, int i)
{
    struct qd_answer *answer = &b->slots[i].request->answers[b->slots[i].image];
    uint8_t *input = qd_frame_input(b->frame, i);

    answer->status = read_input(b, &b->slots[i], input, &answer->error);
    /* The slot runs all the same: a defined picture in its place keeps the others where they are. */
    if (answer->status != QD_OK)
        memset(input, 0, qd_preprocess_bytes(&b->model->config.preprocess));
    else if (b->samples[i]) /* now: a run may put other things in the input's place */
        memcpy(b->samples[i]->pixels, input, b->samples[i]->pixels_bytes);
}

/* Decoding and the network in one parallel region. */
static void run(struct batch *b, int64_t *ret_decode_us, int64_t *ret_compute_us)
{
    int64_t start = qd_now_us(), decoded = start;

#ifdef _OPENMP
#pragma omp parallel num_threads(qd_frame_team(b->frame, b->runner->options.n_threads))
    {
#pragma omp for schedule(dynamic, 1)
        for (int i = 0; i < b->n; i++)
            read_one(b, i);
        if (omp_get_thread_num() == 0)
            decoded = qd_now_us();
        qd_frame_run_share(b->frame, b->n, omp_get_thread_num(), omp_get_num_threads());
    }
#else
    for (int i = 0; i < b->n; i++)
        read_one(b, i);
    decoded = qd_now_us();
    qd_frame_run_share(b->frame, b->n, 0, 1);
#endif
    *ret_decode_us = decoded - start;
    *ret_compute_us = qd_now_us() - decoded;
}

/* Room for the outputs of all the request's pictures, made when its first picture runs. */
static enum qd_status make_results(const struct qd_model *model, struct qd_request *request, struct qd_error *err)
{
    enum qd_status status;

    pthread_mutex_lock(&request->results_lock);
    status = allocate_results(model, request, err);
    pthread_mutex_unlock(&request->results_lock);
    return status;
}

/* What is served at the model's own size may be one for the monitor. */
static void pick_samples(struct batch *b, struct qd_model *model, struct qd_metrics *metrics)
{
    for (int i = 0; i < b->n && b->model == model; i++)
        b->samples[i] = qd_monitor_pick(b->runner->monitor, model, metrics);
}

static void put_sample(const struct batch *b, int i, bool is_good)
{
    struct qd_sample *sample = b->samples[i];

    if (!sample)
        return;
    if (is_good)
        memcpy(sample->answer, qd_frame_output(b->frame, 0, i), sample->answer_bytes);
    qd_monitor_put(b->runner->monitor, sample, is_good);
}

static void copy_outputs(const struct batch *b, int i)
{
    struct qd_request *request = b->slots[i].request;
    size_t image = (size_t)b->slots[i].image;

    for (int o = 0; o < request->n_outputs; o++) {
        struct qd_result *result = &request->results[o];

        memcpy(result->data + image * result->image_bytes, qd_frame_output(b->frame, request->outputs[o], i),
               result->image_bytes);
    }
}

static void fail_all(const struct qd_slot *slots, int n, enum qd_status status, const struct qd_error *err)
{
    for (int i = 0; i < n; i++) {
        slots[i].request->answers[slots[i].image].status = status;
        slots[i].request->answers[slots[i].image].error = *err;
    }
}

/* The queue is looked through for late requests every now and then only. */
static enum qd_status fail_late(const struct qd_request *request, int64_t now_us, struct qd_error *err)
{
    return qd_error_set(err, QD_DEADLINE, "waited %lld ms, the deadline is %lld ms",
                        (long long)(now_us - request->submitted_us) / 1000,
                        (long long)(request->deadline_us - request->submitted_us) / 1000);
}

void qd_runner_run(struct qd_runner *runner, const struct qd_slot *slots, int n, struct qd_metrics *metrics,
                   struct qd_batch_times *ret_times)
{
    const struct qd_request *first = slots[0].request;
    struct batch b = {.runner = runner};
    int64_t start = qd_now_us(), decode_us = 0, compute_us = 0;
    struct qd_sizes *sizes = NULL;
    struct qd_error err = {""};
    enum qd_status status = find_sizes(runner, first->model, &sizes, &err);

    *ret_times = (struct qd_batch_times){0};
    if (status == QD_OK)
        status = qd_sizes_get(sizes, first->h, first->w, &b.model, &b.frame, &err);
    if (status != QD_OK) {
        fail_all(slots, n, status, &err);
        return;
    }
    for (int i = 0; i < n; i++) {
        struct qd_error own = {""};

        status = start > slots[i].request->deadline_us ? fail_late(slots[i].request, start, &own)
                                                       : make_results(b.model, slots[i].request, &own);
        if (status == QD_DEADLINE && slots[i].image == 0)
            atomic_fetch_add(&metrics->rejected[QD_REJECT_DEADLINE], 1);
        if (status == QD_OK)
            b.slots[b.n++] = slots[i];
        else
            fail_all(&slots[i], 1, status, &own);
    }
    if (!b.n)
        return;
    pick_samples(&b, first->model, metrics);
    run(&b, &decode_us, &compute_us);
    for (int i = 0; i < b.n; i++) {
        struct qd_request *request = b.slots[i].request;

        if (request->answers[b.slots[i].image].status == QD_OK)
            copy_outputs(&b, i);
        put_sample(&b, i, request->answers[b.slots[i].image].status == QD_OK);
        qd_metrics_observe_us(&metrics->stage_us[QD_STAGE_QUEUE], start - request->submitted_us);
    }
    *ret_times = (struct qd_batch_times){b.n, start, decode_us, compute_us};
}
