/*
 * Calibration methods: from the distributions of the tensors that share a scale to that scale. Each is a file and a row
 * of qd_methods[]. They keep no state and may run in parallel.
 */
#ifndef QD_QUANT_METHOD_H
#define QD_QUANT_METHOD_H

#include <stdbool.h>

#include "quant/histogram.h"
#include "tensor/tensor.h"

/* The tensors of one class, as bins. */
struct qd_distribution {
    const struct qd_bin *const *bins; /* by tensor */
    const size_t *n_bins;
    int n_tensors;
    float min, max;    /* over all, 0 included */
    uint64_t n_values; /* over all, zeros included, which no bin holds */
};

/* What the numbers may be, for the hardware that they are for. */
struct qd_calibration_form {
    int activation_bits, weight_bits; /* 4 .. 8 */
    int multiplier_bits;              /* of requantisation, 1 (a shift) .. 24 */
    bool layerwise;                   /* one step per tensor: no channel steps */
    bool plain_zero;                  /* zero points 0 and 2^(bits - 1) only: unsigned, or plain signed integers */
    bool power_of_two;                /* every scale a power of two */
};

/* Multipliers of fewer bits cannot stand for every ratio of two scales: scales then have to fit them. */
#define QD_NARROW_MULTIPLIER 8

struct qd_method {
    const char *name;
    int version; /* part of the scale cache's key: a change of results is a new version */
    /* bits: 4 to 8. Scale 1 and zero point 0 where nothing but zeros was seen. Cannot fail. */
    struct qd_qparams (*choose)(const struct qd_distribution *distribution, int bits);
    bool staged; /* the stages of refine.h follow */
};

const struct qd_method *qd_method_find(const char *name);
const struct qd_method *qd_method_at(int i); /* NULL past the end */
/* "adlq, mse, ...", all rows, cut to text_size; returns text. */
const char *qd_method_list(char *text, size_t text_size);
#define QD_METHOD_LIST_SIZE 160
#define QD_MAX_METHODS 16

/*
 * The nearest to q in error that the form allows: zero points 0 and 2^(bits - 1) alone where it has plain_zero, and a
 * step that is a power of two where that is asked for.
 */
struct qd_qparams qd_constrain(const struct qd_distribution *distribution, struct qd_qparams q,
                               const struct qd_calibration_form *form, bool power_of_two);

/* The summed squared error of a class. */
double qd_distribution_error(const struct qd_distribution *distribution, struct qd_qparams q);

/* All levels over [min, max], min <= 0 <= max, with the zero point rounded; scale 1 where the range is empty. */
struct qd_qparams qd_qparams_of_range(float min, float max, int bits);

/*
 * What methods that are published for symmetric signed numbers become here. A tensor that is never negative: zero point
 * 0, levels 0 .. clip. Any other: zero point 2^(bits - 1), the levels of signed integers, the highest at clip and the
 * lowest a step below -clip. A clip beyond the largest magnitude is that magnitude.
 */
struct qd_qparams qd_qparams_of_clip(const struct qd_distribution *distribution, double clip, int bits);

/*
 * ACIQ (method_aciq.c): the clip of least expected error for 2^bits levels over [-clip, clip], in units of the standard
 * deviation (Gauss) and of b = E|x| (Laplace). One-sided distributions, half-normal and exponential, have as many
 * levels over half the width: pass a bit more.
 */
double qd_aciq_gauss(int bits);
double qd_aciq_laplace(int bits);

/* OCTAV (method_octav.c): the clip where its iteration ends; 0 where there are no bins. */
double qd_octav_clip(const struct qd_distribution *distribution, int bits);

/*
 * KL calibration (method_entropy.c): how many of n_bins bins of |x| to keep so that n_levels levels over them lose the
 * least information; in n_levels .. n_bins, n_bins at most 2048.
 */
int qd_entropy_threshold(const double *counts, int n_bins, int n_levels);

extern const struct qd_method qd_method_adlq, qd_method_mse, qd_method_minmax, qd_method_percentile_99_99,
    qd_method_percentile_99_999, qd_method_entropy, qd_method_aciq, qd_method_octav, qd_method_pow2_max;

#endif
