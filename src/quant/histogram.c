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

static enum qd_status touch_octave(struct qd_histogram *h, unsigned sign, unsigned exponent, struct qd_error *err)
{
    h->octaves[sign][exponent] = qd_alloc(sizeof(struct qd_octave));
    if (!h->octaves[sign][exponent])
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a histogram");
    return QD_OK;
}

enum qd_status qd_histogram_add(struct qd_histogram *h, const float *x, size_t n, struct qd_error *err)
{
    uint64_t n_zero = 0;
    float min = h->min, max = h->max;

    for (size_t i = 0; i < n; i++) {
        struct qd_octave *octave;
        uint32_t bits, low;
        unsigned sign, exponent, bin;

        memcpy(&bits, &x[i], sizeof(bits));
        sign = bits >> 31;
        bits &= 0x7fffffff;
        exponent = bits >> 23;
        if (exponent == 255) {
            h->n_not_finite++;
            continue;
        }
        if (!bits) {
            n_zero++;
            continue;
        }
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
        octave = h->octaves[sign][exponent];
        if (!octave) {
            enum qd_status status = touch_octave(h, sign, exponent, err);

            if (status != QD_OK)
                return status;
            octave = h->octaves[sign][exponent];
        }
        bin = (bits >> 15) & 255;
        low = bits & 0x7fff;
        octave->count[bin]++;
        octave->sum[bin] += low;
        octave->squares[bin] += (uint64_t)low * low;
    }
    h->n += n;
    h->n_zero += n_zero;
    h->min = min;
    h->max = max;
    return QD_OK;
}

/* Mantissa units to a value: x = (base + low) * unit, base the bin's lowest mantissa. */
static void fill_bin(struct qd_bin *bin, int negative, int exponent, int index, const struct qd_octave *octave)
{
    double unit = ldexp(1, (exponent ? exponent : 1) - 150);
    double base = (exponent ? (double)(1 << 23) : 0) + (double)(index << 15);
    double n = (double)octave->count[index], sum = (double)octave->sum[index];

    bin->n = n;
    bin->sum = (n * base + sum) * unit;
    bin->squares = (n * base * base + 2 * base * sum + (double)octave->squares[index]) * unit * unit;
    bin->low = base * unit;
    bin->high = (base + (double)(1 << 15)) * unit;
    if (negative) {
        double low = bin->low;

        bin->low = -bin->high;
        bin->high = -low;
        bin->sum = -bin->sum;
    }
}

enum qd_status qd_histogram_bins(const struct qd_histogram *h, struct qd_bin **ret, size_t *ret_n,
                                 struct qd_error *err)
{
    struct qd_bin *bins = NULL;
    size_t n_octaves = 0, n = 0;
    enum qd_status status;

    for (int e = 0; e < 256; e++)
        n_octaves += (h->octaves[0][e] != NULL) + (h->octaves[1][e] != NULL);
    status = qd_alloc_for((void **)&bins, n_octaves * 256 + 1, sizeof(*bins), "a histogram", err);
    if (status != QD_OK)
        return status;
    for (int e = 255; e >= 0; e--)
        for (int i = 255; i >= 0; i--)
            if (h->octaves[1][e] && h->octaves[1][e]->count[i])
                fill_bin(&bins[n++], 1, e, i, h->octaves[1][e]);
    for (int e = 0; e < 256; e++)
        for (int i = 0; i < 256; i++)
            if (h->octaves[0][e] && h->octaves[0][e]->count[i])
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
        bool low_inside = q == 0 || bins[i].low >= r - scale / 2, high_inside = q == max || bins[i].high <= r + scale / 2;

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

double qd_bins_energy(const struct qd_bin *bins, size_t n)
{
    double energy = 0;

    for (size_t i = 0; i < n; i++)
        energy += bins[i].squares;
    return energy;
}
