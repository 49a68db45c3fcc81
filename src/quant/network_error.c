#include "quant/network_error.h"

#include <math.h>
#include <string.h>

#include "engine/plan.h"

#define BATCH 8
#define KL_NOISE 0.0001 /* nats, and so much of a small one */
#define KL_SLACK 1.1    /* KL is a few images' doing: so much more of it is chance */

static double log_sum_exp(const float *x, int64_t n)
{
    double largest = -INFINITY, sum = 0;

    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, (double)x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - largest);
    return largest + log(sum);
}

/* -1: none is a number. */
static int64_t largest_of(const float *x, int64_t n)
{
    int64_t best = -1;

    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i]) && (best < 0 || x[i] > x[best]))
            best = i;
    return best;
}

void qd_compare_outputs(const float *fp32, const float *int8, int64_t n, struct qd_comparison *ret)
{
    double signal = 0, noise = 0, kl = 0, zf = log_sum_exp(fp32, n), zq = log_sum_exp(int8, n);

    for (int64_t i = 0; i < n; i++) {
        double difference = (double)fp32[i] - (double)int8[i];

        signal += (double)fp32[i] * (double)fp32[i];
        noise += difference * difference;
        kl += exp((double)fp32[i] - zf) * (difference - zf + zq);
    }
    /* What is not finite has nothing to do with the picture. */
    ret->db = !isfinite(noise) || !isfinite(signal) ? -100
              : noise > 0                           ? fmin(fmax(10 * log10(signal / noise), -100), 100)
                                                    : 100;
    ret->kl = kl > 0 ? kl : 0;
    ret->agrees = largest_of(fp32, n) >= 0 && largest_of(fp32, n) == largest_of(int8, n);
}

static void add_image(const struct qd_graph *graph, const struct qd_statistics *s, const struct qd_frame *frame,
                      int image, int number, struct qd_network_error *sums)
{
    const float *fp32 = s->outputs[number];
    int n_compared = 0;

    for (int o = 0; o < graph->n_outputs; o++)
        n_compared += qd_logits_of(graph, o) != QD_NO_VALUE;
    for (int o = 0, first = 1; o < graph->n_outputs; o++) {
        int v = qd_logits_of(graph, o);
        struct qd_comparison c;
        int64_t count;

        if (v == QD_NO_VALUE)
            continue;
        count = qd_shape_count(&graph->values[v].shape);
        qd_compare_outputs(fp32, qd_frame_value_f32(frame, v, image), count, &c);
        sums->db[number & 1] += c.db / n_compared;
        if (first) {
            sums->has_classes = qd_shape_is_row(&graph->values[v].shape);
            sums->kl[number & 1] += c.kl;
            sums->agreement[number & 1] += c.agrees;
        }
        first = 0;
        fp32 += count;
    }
}

enum qd_status qd_network_error_measure(const struct qd_graph *graph, const struct qd_statistics *s, int n_images,
                                        const struct qd_kernels *kernels, int n_threads, struct qd_network_error *ret,
                                        struct qd_error *err)
{
    struct qd_plan_options options = {.precision = QD_PRECISION_Q8, .max_batch = BATCH, .kernels = kernels};
    struct qd_network_error sums = {.db = {0}};
    struct qd_plan *plan = NULL;
    struct qd_frame *frame = NULL;
    size_t input_size;
    int h, w, c;
    enum qd_status status = qd_plan_new(graph, &options, &plan, err);

    if (status == QD_OK)
        status = qd_frame_new(plan, n_threads, &frame, err);
    if (status != QD_OK) {
        qd_plan_free(plan);
        return status;
    }
    qd_plan_input_size(plan, &h, &w, &c);
    input_size = (size_t)h * (size_t)w * (size_t)c;
    n_images = n_images < s->n_kept ? n_images : s->n_kept;
    for (int at = 0; at < n_images; at += BATCH) {
        int n = n_images - at < BATCH ? n_images - at : BATCH;

        for (int i = 0; i < n; i++)
            memcpy(qd_frame_input(frame, i), s->inputs[at + i], input_size);
        qd_frame_run(frame, n, n_threads);
        for (int i = 0; i < n; i++)
            add_image(graph, s, frame, i, at + i, &sums);
    }
    for (int half = 0; half < 2; half++) {
        int n = (n_images + 1 - half) / 2;

        sums.db[half] = n ? sums.db[half] / n : (double)NAN;
        sums.kl[half] = n ? sums.kl[half] / n : (double)NAN;
        sums.agreement[half] = n ? sums.agreement[half] / n : (double)NAN;
    }
    sums.n_refused = qd_plan_n_refused(plan);
    qd_frame_free(frame);
    qd_plan_free(plan);
    *ret = sums;
    return QD_OK;
}

bool qd_network_error_is_better(const struct qd_network_error *a, const struct qd_network_error *b)
{
    int n_halves = 0;

    for (int half = 0; half < 2; half++) {
        if (isnan(b->db[half]))
            continue; /* it has no image */
        n_halves++;
        if (!(a->db[half] > b->db[half]))
            return false;
        if (a->has_classes && !(a->kl[half] <= KL_SLACK * b->kl[half] + KL_NOISE))
            return false;
    }
    return n_halves && a->n_refused <= b->n_refused;
}
