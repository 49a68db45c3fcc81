/*
 * KL calibration as TensorRT (Migacz, "8-bit inference with TensorRT", 2017) and ONNX Runtime's EntropyCalibrater do
 * it: |x| in 2048 bins, and the threshold T whose 128 levels lose the least information, D(P || Q): P is the bins below
 * T with all beyond T piled on the last, Q the same bins without that pile, levelled to 128 values and spread over the
 * bins that are not empty. 128 is 2^(bits - 1), the magnitudes of a signed number, for unsigned tensors too, as both
 * do. As NVIDIA's pytorch-quantization levels: with real borders, so that no level gets a remainder of up to 127 bins.
 * As ONNX Runtime: the range is [-T, T] within the observed one, asymmetric, and an empty bin in front of the pile
 * counts 1e-4. Every T from 128 bins on is tried (ONNX Runtime's default of 128 bins for 128 levels leaves one). Exact
 * zeros do not count: they are exact at every T.
 */
#include <assert.h>
#include <math.h>

#include "quant/method.h"

#define N_BINS 2048
#define EMPTY_BIN 1e-4

/* Adds a log bin to the linear ones, as if uniform inside. */
static void spread(const struct qd_bin *bin, double width, double *counts)
{
    double low = fmin(fabs(bin->low), fabs(bin->high)) / width, high = fmax(fabs(bin->low), fabs(bin->high)) / width;
    int first = (int)fmin(low, N_BINS - 1), last = (int)fmin(high, N_BINS - 1);

    for (int i = first; i <= last; i++) {
        /* The last bin holds the maximum, whose log bin may end beyond it. */
        double from = fmax(low, i), to = i == N_BINS - 1 ? high : fmin(high, i + 1);

        if (to > from)
            counts[i] += bin->n * (to - from) / (high - low);
    }
}

/* Of what a threshold's divergence is a sum: over all bins in front of i. */
struct prefix {
    double count[N_BINS + 1], log[N_BINS + 1]; /* c and c log c */
    int n_used[N_BINS + 1];
};

static double x_log_x(double x)
{
    return x > 0 ? x * log(x) : 0;
}

/* D(P || Q) for the first n bins. With p the counts, q the levelled ones: sums of p log p and of p log q. */
static double divergence(const double *counts, const struct prefix *sum, int n, int n_bins, int n_levels)
{
    double total = sum->count[n_bins], inside = sum->count[n], outliers = total - inside;
    double p_log_p = sum->log[n - 1] + x_log_x(counts[n - 1] + outliers), p_log_q = 0, last_q = EMPTY_BIN;

    if (!(inside > 0))
        return INFINITY;
    for (int level = 0; level < n_levels; level++) {
        /* Bin j belongs to level j * n_levels / n. */
        int from = (level * n + n_levels - 1) / n_levels, to = ((level + 1) * n + n_levels - 1) / n_levels;
        double count = sum->count[to] - sum->count[from];
        int n_used = sum->n_used[to] - sum->n_used[from];

        if (!n_used)
            continue;
        p_log_q += count * log(count / n_used);
        if (level == n_levels - 1 && counts[n - 1] > 0)
            last_q = count / n_used;
    }
    p_log_q += outliers * log(last_q);
    return (p_log_p - p_log_q) / total - log(total / inside);
}

int qd_entropy_threshold(const double *counts, int n_bins, int n_levels)
{
    struct prefix sum;
    double least = INFINITY;
    int best = n_bins;

    assert(n_levels <= n_bins && n_bins <= N_BINS);
    sum.count[0] = sum.log[0] = sum.n_used[0] = 0;
    for (int i = 0; i < n_bins; i++) {
        sum.count[i + 1] = sum.count[i] + counts[i];
        sum.log[i + 1] = sum.log[i] + x_log_x(counts[i]);
        sum.n_used[i + 1] = sum.n_used[i] + (counts[i] > 0);
    }
    for (int n = n_levels; n <= n_bins; n++) {
        double loss = divergence(counts, &sum, n, n_bins, n_levels);

        if (loss < least) {
            least = loss;
            best = n;
        }
    }
    return best;
}

static struct qd_qparams choose(const struct qd_distribution *d, int bits)
{
    double counts[N_BINS] = {0}, width = fmax(-(double)d->min, (double)d->max) / N_BINS;
    float threshold;

    if (!(width > 0x1p-100))
        return qd_qparams_of_range(d->min, d->max, bits);
    for (int t = 0; t < d->n_tensors; t++)
        for (size_t i = 0; i < d->n_bins[t]; i++)
            spread(&d->bins[t][i], width, counts);
    threshold = (float)(width * qd_entropy_threshold(counts, N_BINS, 1 << (bits - 1)));
    return qd_qparams_of_range(fmaxf(d->min, -threshold), fminf(d->max, threshold), bits);
}

const struct qd_method qd_method_entropy = {"entropy", 1, choose, false};
