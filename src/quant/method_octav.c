/*
 * OCTAV (Sakr et al., "Optimal clipping and magnitude-aware differentiation for improved quantization-aware training",
 * ICML 2022): Newton's iteration to the clip s of least expected squared error, rounding plus clipping, on the tensor's
 * own distribution:
 *     s <- E[|x| 1(|x| > s)] / (c P(0 < |x| <= s) + P(|x| > s)),  c = 4^-bits / 3 signed, 4^-bits / 12 unsigned.
 * Symmetric. Zeros do not count, so probabilities are shares of the others. A bin that s cuts is taken as uniform.
 */
#include <math.h>

#include "quant/method.h"

#define NEWTON_STEPS 32 /* about 16 are enough */

/* Counts of |x| up to s and beyond, and the sum of |x| beyond. */
struct tail {
    double n_inside, n_beyond, sum_beyond;
};

static void add_bin(const struct qd_bin *bin, double s, struct tail *tail)
{
    double low = fmin(fabs(bin->low), fabs(bin->high)), high = fmax(fabs(bin->low), fabs(bin->high));

    if (high <= s) {
        tail->n_inside += bin->n;
    } else if (low >= s) {
        tail->n_beyond += bin->n;
        tail->sum_beyond += fabs(bin->sum);
    } else {
        double n_beyond = bin->n * (high - s) / (high - low);

        tail->n_inside += bin->n - n_beyond;
        tail->n_beyond += n_beyond;
        tail->sum_beyond += n_beyond * (high + s) / 2;
    }
}

double qd_octav_clip(const struct qd_distribution *d, int bits)
{
    double c = ldexp(1, -2 * bits) / (d->min < 0 ? 3 : 12), s = 0;

    for (int step = 0; step < NEWTON_STEPS; step++) {
        struct tail tail = {0};
        double last = s;

        for (int t = 0; t < d->n_tensors; t++)
            for (size_t i = 0; i < d->n_bins[t]; i++)
                add_bin(&d->bins[t][i], s, &tail);
        if (!(c * tail.n_inside + tail.n_beyond > 0))
            return 0;
        s = tail.sum_beyond / (c * tail.n_inside + tail.n_beyond);
        if (fabs(s - last) <= 1e-9 * s)
            break;
    }
    return s;
}

static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    return qd_qparams_of_clip(d, qd_octav_clip(d, bits), bits);
}

const struct qd_method qd_method_octav = {"octav", 1, choose, false};
