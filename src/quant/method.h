/*
 * Calibration methods: from the distributions of the tensors that share a scale to that scale. Each is a file and a row
 * of qd_methods[].
 */
#ifndef QD_QUANT_METHOD_H
#define QD_QUANT_METHOD_H

#include "quant/histogram.h"
#include "tensor/tensor.h"

/* The tensors of one class, as bins. */
struct qd_distribution {
    const struct qd_bin *const *bins; /* by tensor */
    const size_t *n_bins;
    int n_tensors;
    float min, max; /* over all, 0 included */
};

struct qd_method {
    const char *name;
    int version; /* part of the scale cache's key: a change of results is a new version */
    struct qd_qparams (*choose)(const struct qd_distribution *distribution, int bits);
};

const struct qd_method *qd_method_find(const char *name);
const struct qd_method *qd_method_at(int i); /* NULL past the end */

/* The summed squared error of a class. */
double qd_distribution_error(const struct qd_distribution *distribution, struct qd_qparams q);

extern const struct qd_method qd_method_minmax, qd_method_mse, qd_method_adlq;

#endif
