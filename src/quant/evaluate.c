#include "quant/evaluate.h"

#include <math.h>
#include <string.h>

#include "op/op.h"
#include "op/q8.h"
#include "quant/network_error.h"

#define BATCH 8

void qd_top_k(const float *scores, int64_t n, int k, int64_t *ret_classes)
{
    for (int i = 0; i < k; i++) {
        int64_t best = -1;

        for (int64_t c = 0; c < n; c++) {
            bool taken = false;

            for (int j = 0; j < i; j++)
                taken |= ret_classes[j] == c;
            if (!taken && (best < 0 || scores[c] > scores[best]))
                best = c;
        }
        ret_classes[i] = best;
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
    qd_batch_load(files, n, options->preprocess, &options->limits, options->n_threads, e->inputs, e->statuses, e->errors);
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
    int64_t count = qd_shape_count(&graph->values[logits].shape);

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

/* Signal and noise of one tensor of one picture: floats in ONNX order against bytes in storage order. */
static void tensor_noise(const struct qd_value *value, const float *f, const uint8_t *bytes, double *signal,
                         double *noise)
{
    int64_t count = qd_shape_count(&value->shape), c = value->shape.n_dims == 4 ? value->shape.dims[1] : 1;
    int64_t pixels = c ? count / c : 0;

    for (int64_t i = 0; i < c; i++) {
        for (int64_t p = 0; p < pixels; p++) {
            double x = (double)f[i * pixels + p];
            double y = (bytes[p * c + i] - value->q.zero_point) * (double)value->q.scale;

            *signal += x * x;
            *noise += (x - y) * (x - y);
        }
    }
}

static void measure_batch(const struct evaluation *e, const struct qd_graph *graph, int n, struct qd_scales *scales,
                          uint8_t *bytes, double *signal, double *noise)
{
    for (size_t s = 0; s < scales->n_values; s++) {
        int v = qd_graph_find_value(graph, scales->values[s].name);

        for (int i = 0; i < n && v >= 0; i++) {
            const float *f = qd_frame_value_f32(e->fp32, v, i);

            if (f && qd_frame_copy_q8(e->int8, v, i, bytes))
                tensor_noise(&graph->values[v], f, bytes, &signal[s], &noise[s]);
        }
    }
}

/* Of any activation; at least 1. */
static int64_t largest_count(const struct qd_graph *graph)
{
    int64_t largest = 1;

    for (int v = 0; v < graph->n_values; v++) {
        int64_t count = graph->values[v].data ? 0 : qd_shape_count(&graph->values[v].shape);

        largest = count > largest ? count : largest;
    }
    return largest;
}

enum qd_status qd_measure_layers(const struct qd_graph *graph, const struct qd_kernels *kernels,
                                 const struct qd_image_file *const *files, size_t n_files,
                                 const struct qd_evaluation_options *options, struct qd_scales *scales,
                                 struct qd_error *err)
{
    struct qd_plan_options plan_options = {
        .precision = QD_PRECISION_F32, .max_batch = BATCH, .kernels = kernels, .keep_all = true};
    struct evaluation *e = qd_alloc(sizeof(*e));
    double *signal = qd_alloc_array(scales->n_values + 1, sizeof(double));
    double *noise = qd_alloc_array(scales->n_values + 1, sizeof(double));
    struct qd_plan *fp32 = NULL, *int8 = NULL;
    uint8_t *bytes = qd_alloc((size_t)largest_count(graph));
    int labels[BATCH];
    enum qd_status status = e && signal && noise && bytes ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a report");

    if (status == QD_OK)
        status = qd_plan_new(graph, &plan_options, &fp32, err);
    plan_options.precision = QD_PRECISION_Q8;
    if (status == QD_OK)
        status = qd_plan_new(graph, &plan_options, &int8, err);
    if (status == QD_OK)
        status = qd_frame_new(fp32, options->n_threads, &e->fp32, err);
    if (status == QD_OK)
        status = qd_frame_new(int8, options->n_threads, &e->int8, err);
    for (size_t at = 0; at < n_files && status == QD_OK; at += BATCH) {
        int n = n_files - at < BATCH ? (int)(n_files - at) : BATCH;

        status = qd_progress_step(options->progress, "measuring layers", at, n_files, err);
        if (status != QD_OK)
            break;
        n = load(e, files + at, n, options, labels);
        qd_frame_run(e->fp32, n, options->n_threads);
        qd_frame_run(e->int8, n, options->n_threads);
        measure_batch(e, graph, n, scales, bytes, signal, noise);
    }
    for (size_t s = 0; s < scales->n_values && status == QD_OK; s++)
        scales->values[s].cumulative_db =
            signal[s] > 0 ? (noise[s] > 0 ? 10 * log10(signal[s] / noise[s]) : 100) : (double)NAN;
    if (e) {
        qd_frame_free(e->fp32);
        qd_frame_free(e->int8);
    }
    qd_plan_free(fp32);
    qd_plan_free(int8);
    qd_free(bytes);
    qd_free(signal);
    qd_free(noise);
    qd_free(e);
    return status;
}
