/*
 * Percentiles, asymmetric as ONNX Runtime's PercentileCalibrater: of all values, zeros included, half of the share that
 * is cut lies beyond each end of the range. Inside a bin values are taken as uniform. Where both ends fall on zero,
 * because hardly anything else was seen, the whole range stays.
 */
#include <math.h>

#include "quant/method.h"

#define BISECTIONS 48

/* How many values lie beyond |x| = at on one side. */
static double count_beyond(const struct qd_distribution *d, bool negative, double at)
{
    double count = 0;

    for (int t = 0; t < d->n_tensors; t++) {
        for (size_t i = 0; i < d->n_bins[t]; i++) {
            const struct qd_bin *bin = &d->bins[t][i];
            double low = negative ? -bin->high : bin->low, high = negative ? -bin->low : bin->high;

            if (high > at && (bin->low < 0) == negative)
                count += low >= at ? bin->n : bin->n * (high - at) / (high - low);
        }
    }
    return count;
}

/* The magnitude that n_cut values of one side lie beyond; 0 where the side has no more than those. */
static double cut_side(const struct qd_distribution *d, bool negative, double n_cut)
{
    double low = 0, high = negative ? -(double)d->min : (double)d->max;

    if (count_beyond(d, negative, 0) <= n_cut)
        return 0;
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = (low + high) / 2;

        if (count_beyond(d, negative, middle) > n_cut)
            low = middle;
        else
            high = middle;
    }
    return high;
}

static struct qd_qparams choose(const struct qd_distribution *d, int bits, double percent)
{
    double n_cut = (double)d->n_values * (100 - percent) / 200;
    float min = -(float)cut_side(d, true, n_cut), max = (float)cut_side(d, false, n_cut);

    return min < max ? qd_qparams_of_range(min, max, bits) : qd_qparams_of_range(d->min, d->max, bits);
}

static struct qd_qparams choose_99_99(const struct qd_distribution *d, int bits)
{
    return choose(d, bits, 99.99);
}

static struct qd_qparams choose_99_999(const struct qd_distribution *d, int bits)
{
    return choose(d, bits, 99.999);
}

const struct qd_method qd_method_percentile_99_99 = {"percentile-99.99", 1, choose_99_99, false};
const struct qd_method qd_method_percentile_99_999 = {"percentile-99.999", 1, choose_99_999, false};
