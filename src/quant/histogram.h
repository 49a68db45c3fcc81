/*
 * The distribution of a tensor's values, exact where it matters and independent of order.
 *
 * A float goes to bin bits(|x|) >> 15: 8 exponent bits and the top 8 of the mantissa, 256 bins per octave, octaves
 * allocated when touched, one table for x > 0 and one for x < 0. A bin holds the count, the sum and the sum of squares of
 * the low 15 bits as integers, so the sums of x and x^2 over a bin are exact and adding is associative: the same bytes
 * for any thread count, image order or batch size. One thread at a time.
 */
#ifndef QD_QUANT_HISTOGRAM_H
#define QD_QUANT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "util/status.h"

#define QD_OCTAVE_BINS 256    /* by the top of the mantissa */
#define QD_BIN_INNER_BITS 15  /* of the mantissa, below those */
#define QD_UPPER_HALF_BIN 106 /* the first of an octave's bins whose middle is above the root of two */

struct qd_octave_bin {
    uint64_t count, sum, squares;
};

struct qd_octave {
    struct qd_octave_bin bins[QD_OCTAVE_BINS];
};

struct qd_histogram {
    struct qd_octave *octaves[2][256]; /* [x < 0][exponent] */
    uint64_t n, n_zero, n_not_finite;
    float min, max; /* of the finite values, 0 included; 0 where there are none */
};

/* A bin of signed values in ascending order, ready for sums: n values in [low, high) with their exact moments. */
struct qd_bin {
    double low, high, n, sum, squares;
};

/* A zeroed struct is an empty histogram. */
void qd_histogram_done(struct qd_histogram *histogram);

/* Adds n floats. QD_NO_MEMORY: some were not added. */
enum qd_status qd_histogram_add(struct qd_histogram *histogram, const float *x, size_t n, struct qd_error *err);

/* All bins but zero's, which no quantization with an exact zero moves; *ret is qd_free'd by the caller. */
enum qd_status qd_histogram_bins(const struct qd_histogram *histogram, struct qd_bin **ret, size_t *ret_n,
                                 struct qd_error *err);

/*
 * The squared error of quantizing the bins' values to (q - zero_point) * scale, q in 0 .. max. Exact where no rounding
 * boundary falls inside a bin (always for a power-of-two scale); else the bin's values are taken as uniform in it.
 */
double qd_bins_error(const struct qd_bin *bins, size_t n, double scale, int zero_point, int max);

/* Shares of the values below the lowest and above the highest level. */
double qd_bins_clipped(const struct qd_bin *bins, size_t n, double scale, int zero_point, int max, uint64_t n_values);

/*
 * The bins' values by |x|, into n_halves bins of half an octave each: ret_counts[0] from 2^low (low a multiple of one
 * half) up. A bin goes where its middle lies, what lies outside into the first and last.
 */
void qd_bins_halves(const struct qd_bin *bins, size_t n, double low, double *ret_counts, int n_halves);

/* The sum of squares of all values. */
double qd_bins_energy(const struct qd_bin *bins, size_t n);

#endif
