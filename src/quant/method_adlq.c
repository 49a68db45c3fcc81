/*
 * adlq's scale: the step D and zero point Z of least squared error over the summed distributions. Z is 0 where nothing
 * is negative. The error is not unimodal in D, so a logarithmic scan over six octaves comes first, then a golden section
 * around its best.
 */
#include <math.h>

#include "quant/method.h"

#define SCAN_STEPS 48
#define SCAN_OCTAVES 6.0
#define GOLDEN_STEPS 20

/* The best zero point for a step, near a start: steps of 16, 4, 1. */
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

/* The error at a step, with its best zero point. */
static double try_step(const struct qd_distribution *d, double step, int bits, struct qd_qparams *ret)
{
    int max = (1 << bits) - 1;
    double span = (double)d->max - (double)d->min, error;
    struct qd_qparams q = {.scale = (float)step, .bits = bits};

    if (d->min >= 0) {
        *ret = q;
        return qd_distribution_error(d, q);
    }
    q.zero_point = (int)fmin(fmax(rint(-(double)d->min / span * max), 0), max);
    q.zero_point = best_zero(d, q, &error);
    *ret = q;
    return error;
}

static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    double widest = ((double)d->max - (double)d->min) / ((1 << bits) - 1), low, high, least = INFINITY;
    const double golden = 0.6180339887498949;
    struct qd_qparams best = qd_method_minmax.choose(d, bits);
    int at = 0;

    if (!(widest > 0x1p-100))
        return best;
    least = qd_distribution_error(d, best);
    for (int i = 0; i <= SCAN_STEPS; i++) {
        struct qd_qparams q;
        double error = try_step(d, widest * exp2(-SCAN_OCTAVES * i / SCAN_STEPS), bits, &q);

        if (error < least) {
            least = error;
            best = q;
            at = i;
        }
    }
    low = log2(widest) - SCAN_OCTAVES * (at + 1) / SCAN_STEPS;
    high = log2(widest) - SCAN_OCTAVES * (at - 1) / SCAN_STEPS;
    for (int i = 0; i < GOLDEN_STEPS; i++) {
        double a = high - golden * (high - low), b = low + golden * (high - low);
        struct qd_qparams qa, qb;
        double error_a = try_step(d, exp2(a), bits, &qa), error_b = try_step(d, exp2(b), bits, &qb);

        if (error_a < least) {
            least = error_a;
            best = qa;
        }
        if (error_b < least) {
            least = error_b;
            best = qb;
        }
        if (error_a < error_b)
            high = b;
        else
            low = a;
    }
    return best;
}

const struct qd_method qd_method_adlq = {"adlq", 1, choose};
