#include "quant/histogram.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "util/mem.h"

void qd_histogram_done(struct qd_histogram *histogram)
{
    for (int sign = 0; sign < 2; sign++)
        for (int e = 0; e < 256; e++)
            qd_free(histogram->octaves[sign][e]);
    memset(histogram, 0, sizeof(*histogram));
}

#define BLOCK 1024 /* values that stay in L1 between the passes over them */

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* The bits of those that have a bin: neither zeros nor NaN and infinities. Without branches: half may be zeros. */
static size_t take_binned(struct qd_histogram *h, const float *x, size_t n, uint32_t *ret)
{
    size_t n_taken = 0, n_zero = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(x[i]), magnitude = bits & 0x7fffffff;

        ret[n_taken] = bits;
        n_taken += magnitude - 1 < 0x7f800000 - 1;
        n_zero += magnitude == 0;
    }
    h->n_zero += n_zero;
    h->n_not_finite += n - n_taken - n_zero;
    return n_taken;
}

/* Among floats of one sign the larger bits are the larger magnitude. */
struct extremes {
    int32_t positive;  /* bits of the largest, 0 where there is none */
    uint32_t negative; /* bits of the lowest, those of -0 where there is none */
};

static enum qd_status add_binned(struct qd_histogram *h, const uint32_t *bits, size_t n, struct extremes *extremes,
                                 struct qd_error *err)
{
    struct extremes found = *extremes;

    for (size_t i = 0; i < n; i++) {
        struct qd_octave **octave = &h->octaves[bits[i] >> 31][(bits[i] >> 23) & 255];
        uint32_t low = bits[i] & ((1 << QD_BIN_INNER_BITS) - 1);
        struct qd_octave_bin *bin;

        if (!*octave)
            *octave = qd_alloc(sizeof(**octave));
        if (!*octave)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a histogram");
        bin = &(*octave)->bins[(bits[i] >> QD_BIN_INNER_BITS) & (QD_OCTAVE_BINS - 1)];
        bin->count++;
        bin->sum += low;
        bin->squares += (uint64_t)low * low;
        found.positive = (int32_t)bits[i] > found.positive ? (int32_t)bits[i] : found.positive;
        found.negative = bits[i] > found.negative ? bits[i] : found.negative;
    }
    *extremes = found;
    return QD_OK;
}

enum qd_status qd_histogram_add(struct qd_histogram *h, const float *x, size_t n, struct qd_error *err)
{
    struct extremes extremes = {0, 0x80000000};
    float min, max;

    for (size_t at = 0; at < n; at += BLOCK) {
        uint32_t bits[BLOCK];
        size_t n_taken = take_binned(h, x + at, n - at < BLOCK ? n - at : BLOCK, bits);
        enum qd_status status = add_binned(h, bits, n_taken, &extremes, err);

        if (status != QD_OK)
            return status;
    }
    min = float_of(extremes.negative);
    max = float_of((uint32_t)extremes.positive);
    h->min = min < h->min ? min : h->min;
    h->max = max > h->max ? max : h->max;
    h->n += n;
    return QD_OK;
}

/* Mantissa units to a value: x = (base + low) * unit, base the bin's lowest mantissa. */
static void fill_bin(struct qd_bin *bin, int negative, int exponent, int index, const struct qd_octave *octave)
{
    double unit = ldexp(1, (exponent ? exponent : 1) - 150);
    double base = (exponent ? (double)(1 << 23) : 0) + (double)(index << QD_BIN_INNER_BITS);
    double n = (double)octave->bins[index].count, sum = (double)octave->bins[index].sum;

    bin->n = n;
    bin->sum = (n * base + sum) * unit;
    bin->squares = (n * base * base + 2 * base * sum + (double)octave->bins[index].squares) * unit * unit;
    bin->low = base * unit;
    bin->high = (base + (double)(1 << QD_BIN_INNER_BITS)) * unit;
    if (negative) {
        double low = bin->low;

        bin->low = -bin->high;
        bin->high = -low;
        bin->sum = -bin->sum;
    }
}

enum qd_status qd_histogram_bins(const struct qd_histogram *h, struct qd_bin **ret, size_t *ret_n, struct qd_error *err)
{
    struct qd_bin *bins = NULL;
    size_t n_octaves = 0, n = 0;
    enum qd_status status;

    for (int e = 0; e < 256; e++)
        n_octaves += (h->octaves[0][e] != NULL) + (h->octaves[1][e] != NULL);
    status = qd_alloc_for((void **)&bins, n_octaves * QD_OCTAVE_BINS + 1, sizeof(*bins), "a histogram", err);
    if (status != QD_OK)
        return status;
    for (int e = 255; e >= 0; e--)
        for (int i = QD_OCTAVE_BINS - 1; i >= 0; i--)
            if (h->octaves[1][e] && h->octaves[1][e]->bins[i].count)
                fill_bin(&bins[n++], 1, e, i, h->octaves[1][e]);
    for (int e = 0; e < 256; e++)
        for (int i = 0; i < QD_OCTAVE_BINS; i++)
            if (h->octaves[0][e] && h->octaves[0][e]->bins[i].count)
                fill_bin(&bins[n++], 0, e, i, h->octaves[0][e]);
    *ret = bins;
    *ret_n = n;
    return QD_OK;
}

static double level_of(double x, double scale, int zero_point, int max)
{
    double q = rint(x / scale) + zero_point;

    return q < 0 ? 0 : q > max ? max : q;
}

/* The error of n values uniform in [a, b) against the real value r. */
static double uniform_error(double n, double a, double b, double r)
{
    double u = a - r, v = b - r;

    return n * (u * u + u * v + v * v) / 3;
}

/* A bin that several levels share: cut at the rounding boundaries. */
static double split_error(const struct qd_bin *bin, double scale, int zero_point, int max)
{
    double error = 0, width = bin->high - bin->low, from = bin->low;
    double last = level_of(bin->high, scale, zero_point, max);

    for (double q = level_of(bin->low, scale, zero_point, max); from < bin->high; q++) {
        double to = q >= last ? bin->high : (q - zero_point + 0.5) * scale;

        to = to > bin->high ? bin->high : to;
        if (to > from)
            error += uniform_error(bin->n * (to - from) / width, from, to, (q - zero_point) * scale);
        from = to > from ? to : from;
        if (q >= last)
            break;
    }
    return error;
}

double qd_bins_error(const struct qd_bin *bins, size_t n, double scale, int zero_point, int max)
{
    double error = 0;

    for (size_t i = 0; i < n; i++) {
        double q = level_of((bins[i].low + bins[i].high) / 2, scale, zero_point, max), r = (q - zero_point) * scale;
        bool low_inside = q == 0 || bins[i].low >= r - scale / 2,
             high_inside = q == max || bins[i].high <= r + scale / 2;

        /* A value on the boundary itself is as far from one level as from the other. */
        if (low_inside && high_inside)
            error += bins[i].squares - 2 * r * bins[i].sum + bins[i].n * r * r;
        else
            error += split_error(&bins[i], scale, zero_point, max);
    }
    return error > 0 ? error : 0;
}

double qd_bins_clipped(const struct qd_bin *bins, size_t n, double scale, int zero_point, int max, uint64_t n_values)
{
    double lowest = (-zero_point - 0.5) * scale, highest = (max - zero_point + 0.5) * scale, clipped = 0;

    for (size_t i = 0; i < n; i++)
        if (bins[i].high <= lowest || bins[i].low >= highest)
            clipped += bins[i].n;
    return n_values ? clipped / (double)n_values : 0;
}

void qd_bins_halves(const struct qd_bin *bins, size_t n, double low, double *ret_counts, int n_halves)
{
    for (int i = 0; i < n_halves; i++)
        ret_counts[i] = 0;
    for (size_t i = 0; i < n; i++) {
        double middle = fabs((bins[i].low + bins[i].high) / 2);
        int at = (int)floor(2 * (log2(middle) - low));

        ret_counts[at < 0 ? 0 : at >= n_halves ? n_halves - 1 : at] += bins[i].n;
    }
}

double qd_bins_energy(const struct qd_bin *bins, size_t n)
{
    double energy = 0;

    for (size_t i = 0; i < n; i++)
        energy += bins[i].squares;
    return energy;
}
