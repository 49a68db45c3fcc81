/*
 * adlq's scale: the step D and zero point Z of least squared error over the summed distributions. Z is 0 where nothing
 * is negative. The error is not unimodal in D, so a logarithmic scan over six octaves comes first, on coarser bins
 * because most of its steps are far from the best; then a golden section around its best, on the exact ones.
 */
#include <math.h>

#include "quant/method.h"
#include "util/mem.h"

#define SCAN_STEPS 48
#define SCAN_OCTAVES 6.0
#define GOLDEN_STEPS 12
#define MERGED 8 /* neighbouring bins that the scan takes as one */

/* The best zero point for a step, from a start: steps of 16, 4, 1. */
static int best_zero(const struct qd_distribution *d, struct qd_qparams q, double *ret_error)
{
    int max = (1 << q.bits) - 1, best = q.zero_point;
    double least = qd_distribution_error(d, q);

    for (int step = max / 16 ? max / 16 : 1; step > 0; step /= 4) {
        for (int direction = -1; direction <= 1; direction += 2) {
            for (;;) {
                struct qd_qparams next = q;
                double error;

                next.zero_point = best + direction * step;
                if (next.zero_point < 0 || next.zero_point > max)
                    break;
                error = qd_distribution_error(d, next);
                if (error >= least)
                    break;
                least = error;
                best = next.zero_point;
            }
        }
    }
    *ret_error = least;
    return best;
}

/* The error at a step, with its best zero point near the start. */
static double try_step(const struct qd_distribution *d, double step, int bits, int start, struct qd_qparams *ret)
{
    double error;
    struct qd_qparams q = {.scale = (float)step, .zero_point = start, .bits = bits};

    if (d->min >= 0) {
        q.zero_point = 0;
        *ret = q;
        return qd_distribution_error(d, q);
    }
    q.zero_point = best_zero(d, q, &error);
    *ret = q;
    return error;
}

/* Eight bins of one sign as one; the sums stay exact. */
static size_t merge_bins(const struct qd_bin *bins, size_t n, struct qd_bin *out)
{
    size_t n_out = 0;

    for (size_t i = 0; i < n; i++) {
        struct qd_bin *last = n_out ? &out[n_out - 1] : NULL;

        if (i % MERGED && last && (last->low < 0) == (bins[i].low < 0)) {
            last->high = bins[i].high;
            last->n += bins[i].n;
            last->sum += bins[i].sum;
            last->squares += bins[i].squares;
        } else {
            out[n_out++] = bins[i];
        }
    }
    return n_out;
}

struct best {
    struct qd_qparams q;
    double error, exponent; /* log2 of the step */
};

static void scan(const struct qd_distribution *d, double widest, int start, struct best *best)
{
    for (int i = 0; i <= SCAN_STEPS; i++) {
        double exponent = log2(widest) - SCAN_OCTAVES * i / SCAN_STEPS;
        struct qd_qparams q;
        double error = try_step(d, exp2(exponent), best->q.bits, start, &q);

        if (error < best->error)
            *best = (struct best){q, error, exponent};
    }
}

static void refine(const struct qd_distribution *d, struct best *best)
{
    const double golden = 0.6180339887498949;
    double low = best->exponent - SCAN_OCTAVES / SCAN_STEPS, high = best->exponent + SCAN_OCTAVES / SCAN_STEPS;

    for (int i = 0; i < GOLDEN_STEPS; i++) {
        double at[2] = {high - golden * (high - low), low + golden * (high - low)}, error[2];

        for (int j = 0; j < 2; j++) {
            struct qd_qparams q;

            error[j] = try_step(d, exp2(at[j]), best->q.bits, best->q.zero_point, &q);
            if (error[j] < best->error)
                *best = (struct best){q, error[j], at[j]};
        }
        if (error[0] < error[1])
            high = at[1];
        else
            low = at[0];
    }
}

/* The scan on merged bins; without memory for them, on the exact ones: slower, the same kind of result. */
static void scan_merged(const struct qd_distribution *d, double widest, int start, struct best *best)
{
    struct qd_arena arena = {0};
    const struct qd_bin **bins = qd_arena_array(&arena, (size_t)d->n_tensors, sizeof(*bins));
    size_t *n_bins = qd_arena_array(&arena, (size_t)d->n_tensors, sizeof(*n_bins));
    struct qd_distribution coarse = *d;
    bool merged = bins && n_bins;

    for (int i = 0; i < d->n_tensors && merged; i++) {
        struct qd_bin *out = qd_arena_array(&arena, d->n_bins[i], sizeof(*out));

        merged = out != NULL;
        if (merged) {
            n_bins[i] = merge_bins(d->bins[i], d->n_bins[i], out);
            bins[i] = out;
        }
    }
    coarse.bins = bins;
    coarse.n_bins = n_bins;
    scan(merged ? &coarse : d, widest, start, best);
    qd_arena_done(&arena);
}

static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    double widest = ((double)d->max - (double)d->min) / ((1 << bits) - 1);
    struct qd_qparams whole = qd_method_minmax.choose(d, bits);
    struct best best = {whole, INFINITY, log2(widest)};
    double whole_error;

    if (!(widest > 0x1p-100))
        return whole;
    scan_merged(d, widest, whole.zero_point, &best);
    best.error = qd_distribution_error(d, best.q);
    refine(d, &best);
    whole_error = qd_distribution_error(d, whole);
    return whole_error < best.error ? whole : best.q;
}

const struct qd_method qd_method_adlq = {"adlq", 7, choose, true};
