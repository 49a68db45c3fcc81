#include "quant/evaluate.h"

#include <math.h>
#include <string.h>

#include "op/op.h"
#include "op/q8.h"
#include "quant/network_error.h"

#define BATCH 8

/* Ties go to the lower class; what is no number comes last. */
static bool is_better(const float *scores, int64_t a, int64_t b)
{
    if (isnan(scores[a]) != isnan(scores[b]))
        return isnan(scores[b]);
    return scores[a] > scores[b] || (!(scores[b] > scores[a]) && a < b);
}

/* Moves heap[i] down to where both below it are better: the worst of n is heap[0]. */
static void sift_down(const float *scores, int64_t *heap, int n, int i)
{
    for (;;) {
        int worst = i;
        int64_t moved = heap[i];

        for (int below = 2 * i + 1; below <= 2 * i + 2 && below < n; below++)
            if (is_better(scores, heap[worst], heap[below]))
                worst = below;
        if (worst == i)
            return;
        heap[i] = heap[worst];
        heap[worst] = moved;
        i = worst;
    }
}

/* A heap of the k best so far, the worst of them on top: n log k, for k comes from clients. */
void qd_top_k(const float *scores, int64_t n, int k, int64_t *ret_classes)
{
    for (int i = 0; i < k; i++)
        ret_classes[i] = i;
    for (int i = k / 2 - 1; i >= 0; i--)
        sift_down(scores, ret_classes, k, i);
    for (int64_t c = k; c < n && k > 0; c++) {
        if (!is_better(scores, c, ret_classes[0]))
            continue;
        ret_classes[0] = c;
        sift_down(scores, ret_classes, k, 0);
    }
    for (int last = k - 1; last > 0; last--) {
        int64_t worst = ret_classes[0];

        ret_classes[0] = ret_classes[last];
        ret_classes[last] = worst;
        sift_down(scores, ret_classes, last, 0);
    }
}

/* Sums over pictures. */
struct sums {
    size_t n, n_labelled;
    double fp32_top1, fp32_top5, int8_top1, int8_top5, agree, sqnr, kl;
};

static void compare(const float *f, const float *q, int64_t n, int label, struct sums *s)
{
    int k = n < 5 ? (int)n : 5;
    int64_t top_f[5] = {0}, top_q[5] = {0};
    struct qd_comparison c;

    qd_top_k(f, n, k, top_f);
    qd_top_k(q, n, k, top_q);
    qd_compare_outputs(f, q, n, &c);
    s->n++;
    s->agree += c.agrees;
    s->sqnr += c.db;
    s->kl += c.kl;
    if (label < 0)
        return;
    s->n_labelled++;
    s->fp32_top1 += top_f[0] == label;
    s->int8_top1 += top_q[0] == label;
    for (int i = 0; i < k; i++) {
        s->fp32_top5 += top_f[i] == label;
        s->int8_top5 += top_q[i] == label;
    }
}

struct evaluation {
    struct qd_frame *fp32, *int8;
    uint8_t *inputs[BATCH];
    enum qd_status statuses[BATCH];
    struct qd_error errors[BATCH];
    struct sums sums;
    size_t n_skipped;
    struct qd_error first;
};

/* Loads n pictures into the fp32 frame; copies the good ones together into both frames. Returns how many are good. */
static int load(struct evaluation *e, const struct qd_image_file *const *files, int n,
                const struct qd_evaluation_options *options, int *ret_labels)
{
    size_t size = qd_preprocess_bytes(options->preprocess);
    int n_good = 0;

    for (int i = 0; i < n; i++)
        e->inputs[i] = qd_frame_input(e->fp32, i);
    qd_batch_load(files, n, options->preprocess, &options->limits, options->n_threads, e->inputs, e->statuses,
                  e->errors);
    for (int i = 0; i < n; i++) {
        if (e->statuses[i] != QD_OK) {
            e->n_skipped++;
            if (!e->first.text[0])
                e->first = e->errors[i];
            continue;
        }
        if (n_good != i)
            memcpy(e->inputs[n_good], e->inputs[i], size);
        memcpy(qd_frame_input(e->int8, n_good), e->inputs[n_good], size);
        ret_labels[n_good++] = files[i]->label;
    }
    return n_good;
}

static enum qd_status run(struct evaluation *e, const struct qd_graph *graph, const struct qd_image_file *const *files,
                          size_t n_files, const struct qd_evaluation_options *options, struct qd_error *err)
{
    int logits = qd_logits_of(graph, 0), labels[BATCH];
    int64_t count = logits == QD_NO_VALUE ? 0 : qd_shape_count(&graph->values[logits].shape);

    if (!count)
        return qd_error_set(err, QD_UNSUPPORTED,
                            "output '%s' is no float that the network computes: nothing to compare",
                            graph->values[graph->outputs[0]].name);
    for (size_t at = 0; at < n_files; at += BATCH) {
        int n = n_files - at < BATCH ? (int)(n_files - at) : BATCH;
        enum qd_status status = qd_progress_step(options->progress, "comparing int8 with fp32", at, n_files, err);

        if (status != QD_OK)
            return status;
        n = load(e, files + at, n, options, labels);
        qd_frame_run(e->fp32, n, options->n_threads);
        qd_frame_run(e->int8, n, options->n_threads);
        for (int i = 0; i < n; i++)
            compare(qd_frame_value_f32(e->fp32, logits, i), qd_frame_value_f32(e->int8, logits, i), count, labels[i],
                    &e->sums);
    }
    if (!e->sums.n)
        return qd_error_set(err, QD_INVALID, "none of %zu pictures can be read; the first: %s", n_files, e->first.text);
    return QD_OK;
}

static double share(double hits, size_t n)
{
    return n ? hits / (double)n : (double)NAN;
}

enum qd_status qd_evaluate(const struct qd_plan *fp32, const struct qd_plan *int8,
                           const struct qd_image_file *const *files, size_t n_files,
                           const struct qd_evaluation_options *options, struct qd_accuracy *ret, struct qd_error *err)
{
    struct evaluation *e = qd_alloc(sizeof(*e));
    enum qd_status status;

    if (!e)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to evaluate");
    status = qd_frame_new(fp32, options->n_threads, &e->fp32, err);
    if (status == QD_OK)
        status = qd_frame_new(int8, options->n_threads, &e->int8, err);
    if (status == QD_OK)
        status = run(e, qd_plan_graph(int8), files, n_files, options, err);
    if (status == QD_OK)
        *ret = (struct qd_accuracy){
            .n_images = e->sums.n,
            .n_skipped = e->n_skipped,
            .fp32_top1 = share(e->sums.fp32_top1, e->sums.n_labelled),
            .fp32_top5 = share(e->sums.fp32_top5, e->sums.n_labelled),
            .int8_top1 = share(e->sums.int8_top1, e->sums.n_labelled),
            .int8_top5 = share(e->sums.int8_top5, e->sums.n_labelled),
            .agreement = share(e->sums.agree, e->sums.n),
            .sqnr_db = share(e->sums.sqnr, e->sums.n),
            .kl = share(e->sums.kl, e->sums.n),
        };
    if (status == QD_OK)
        memcpy(ret->first_skipped, e->first.text, sizeof(ret->first_skipped));
    qd_frame_free(e->fp32);
    qd_frame_free(e->int8);
    qd_free(e);
    return status;
}

/* What rounding does to a tensor, over pictures: by itself, and in the int8 run. */
struct noise {
    double signal, alone, cumulative;
    uint64_t n, n_clipped;
};

uint64_t qd_clipped_count(const struct qd_value *value, const float *fp32)
{
    int64_t count = qd_shape_count(&value->shape), c = qd_value_is_picture(value) ? value->shape.dims[1] : 1;
    int64_t pixels = c ? count / c : 0;
    float lowest = -0.5F - (float)value->q.zero_point;
    float highest = 0.5F + (float)((1 << value->q.bits) - 1 - value->q.zero_point);
    uint64_t n = 0;

    for (int64_t i = 0; i < c; i++) {
        float step = value->q.scale * (value->channel_steps ? value->channel_steps[i] : 1);
        float low = lowest * step, high = highest * step;
        uint32_t n_channel = 0; /* 32 bits, as the floats: it becomes vectors */

        for (int64_t p = 0; p < pixels; p++)
            n_channel += (fp32[i * pixels + p] < low) | (fp32[i * pixels + p] > high);
        n += n_channel;
    }
    return n;
}

/* The fp32 value rounded to the levels and back. */
static float round_alone(const struct qd_qparams *q, float step, float x)
{
    float level = rintf(x / step) + (float)q->zero_point, highest = (float)((1 << q->bits) - 1);

    return (fminf(fmaxf(level, 0), highest) - (float)q->zero_point) * step;
}

/* One picture's: fp32 in ONNX order, of the int8 run its bytes in storage order or, where it left floats, those. */
static void add_noise(const struct qd_value *value, const float *fp32, const uint8_t *bytes, const float *floats,
                      struct noise *noise)
{
    int64_t count = qd_shape_count(&value->shape), c = qd_value_is_picture(value) ? value->shape.dims[1] : 1;
    int64_t pixels = c ? count / c : 0;

    for (int64_t i = 0; i < c; i++) {
        float step = value->q.scale * (value->channel_steps ? value->channel_steps[i] : 1);

        for (int64_t p = 0; p < pixels; p++) {
            float x = fp32[i * pixels + p];
            float y = bytes ? (float)(bytes[p * c + i] - value->q.zero_point) * step : floats[i * pixels + p];
            double alone = (double)(x - round_alone(&value->q, step, x));

            noise->signal += (double)x * (double)x;
            noise->alone += alone * alone;
            noise->cumulative += (double)(x - y) * (double)(x - y);
        }
    }
    noise->n += (uint64_t)count;
    noise->n_clipped += qd_clipped_count(value, fp32);
}

/* A value belongs to one thread, which takes the pictures in order: the sums do not depend on the threads. */
static void measure_batch(const struct evaluation *e, const struct qd_graph *graph, int n, int n_threads,
                          const int *values, int n_values, uint8_t *const *rooms, struct noise *noises)
{
    (void)n_threads;
#pragma omp parallel for schedule(dynamic, 1) num_threads(n_threads)
    for (int s = 0; s < n_values; s++) {
        uint8_t *room = rooms[qd_this_thread()];

        for (int i = 0; i < n && values[s] >= 0; i++) {
            const float *fp32 = qd_frame_value_f32(e->fp32, values[s], i);
            const uint8_t *bytes = qd_frame_copy_q8(e->int8, values[s], i, room) ? room : NULL;
            const float *floats = bytes ? NULL : qd_frame_value_f32(e->int8, values[s], i);

            if (fp32 && (bytes || floats))
                add_noise(&graph->values[values[s]], fp32, bytes, floats, &noises[s]);
        }
    }
}

static double sqnr_db(double signal, double noise)
{
    if (signal <= 0)
        return (double)NAN;
    return noise > 0 ? 10 * log10(signal / noise) : 100;
}

/* What qd_measure_layers works with. */
struct layers {
    struct evaluation evaluation;
    struct qd_plan *fp32, *int8;
    struct qd_arena arena;
    int *values; /* by entry of the scales: which value of the graph */
    struct noise *noises;
    uint8_t **rooms; /* by thread: bytes of one value */
};

static enum qd_status prepare_layers(struct layers *l, const struct qd_graph *graph, const struct qd_kernels *kernels,
                                     int n_threads, const struct qd_scales *scales, struct qd_error *err)
{
    struct qd_plan_options options = {
        .precision = QD_PRECISION_F32, .max_batch = BATCH, .kernels = kernels, .keep_all = true};
    size_t size = (size_t)qd_largest_count(graph);
    enum qd_status status;

    l->values = qd_arena_array(&l->arena, scales->n_values + 1, sizeof(*l->values));
    l->noises = qd_arena_array(&l->arena, scales->n_values + 1, sizeof(*l->noises));
    l->rooms = qd_arena_array(&l->arena, (size_t)n_threads, sizeof(*l->rooms));
    if (!l->values || !l->noises || !l->rooms)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a report");
    for (int t = 0; t < n_threads; t++)
        if (!(l->rooms[t] = qd_arena_alloc(&l->arena, size)))
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a report");
    for (size_t s = 0; s < scales->n_values; s++)
        l->values[s] = qd_graph_find_value(graph, scales->values[s].name);
    status = qd_plan_new(graph, &options, &l->fp32, err);
    options.precision = QD_PRECISION_Q8;
    if (status == QD_OK)
        status = qd_plan_new(graph, &options, &l->int8, err);
    if (status == QD_OK)
        status = qd_frame_new(l->fp32, n_threads, &l->evaluation.fp32, err);
    return status == QD_OK ? qd_frame_new(l->int8, n_threads, &l->evaluation.int8, err) : status;
}

enum qd_status qd_measure_layers(const struct qd_graph *graph, const struct qd_kernels *kernels,
                                 const struct qd_image_file *const *files, size_t n_files,
                                 const struct qd_evaluation_options *options, struct qd_scales *scales,
                                 struct qd_error *err)
{
    struct layers *l = qd_alloc(sizeof(*l));
    int labels[BATCH];
    enum qd_status status;

    if (!l)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a report");
    status = prepare_layers(l, graph, kernels, options->n_threads, scales, err);
    for (size_t at = 0; at < n_files && status == QD_OK; at += BATCH) {
        int n = n_files - at < BATCH ? (int)(n_files - at) : BATCH;

        status = qd_progress_step(options->progress, "measuring layers", at, n_files, err);
        if (status != QD_OK)
            break;
        n = load(&l->evaluation, files + at, n, options, labels);
        qd_frame_run(l->evaluation.fp32, n, options->n_threads);
        qd_frame_run(l->evaluation.int8, n, options->n_threads);
        measure_batch(&l->evaluation, graph, n, options->n_threads, l->values, (int)scales->n_values, l->rooms,
                      l->noises);
    }
    for (size_t s = 0; s < scales->n_values && status == QD_OK; s++) {
        const struct noise *noise = &l->noises[s];

        if (!noise->n)
            continue;
        scales->values[s].sqnr_db = sqnr_db(noise->signal, noise->alone);
        scales->values[s].clip_ratio = (double)noise->n_clipped / (double)noise->n;
        scales->values[s].cumulative_db = sqnr_db(noise->signal, noise->cumulative);
    }
    qd_frame_free(l->evaluation.fp32);
    qd_frame_free(l->evaluation.int8);
    qd_plan_free(l->fp32);
    qd_plan_free(l->int8);
    qd_arena_done(&l->arena);
    qd_free(l);
    return status;
}
