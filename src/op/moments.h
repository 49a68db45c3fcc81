/* Mean and deviation: what the normalizations over parts of a picture share. */
#ifndef QD_OP_MOMENTS_H
#define QD_OP_MOMENTS_H

#include <stdint.h>

struct qd_moments {
    double mean, inverse; /* inverse: 1 / sqrt(variance + epsilon) */
};

/* Of n neighbouring floats, in double; the order of the sums is the same on every CPU. */
struct qd_moments qd_moments_of(const float *x, int64_t n, float epsilon);

/* y[i] = (x[i] - mean) * inverse * scale + bias */
void qd_moments_apply(const struct qd_moments *moments, const float *x, float scale, float bias, float *y, int64_t n);

#endif
