/* Products with a matrix: what Gemm, MatMul, quantd.Linear and Einsum share. */
#ifndef QD_OP_PRODUCT_H
#define QD_OP_PRODUCT_H

#include "op/op.h"

/* out[m][n] = a[m][k] * b[k][n]; scratch of qd_product_scratch's bytes, 64-byte aligned. */
void qd_product_f32(const struct qd_kernels_f32 *kernels, const float *a, const float *b, int64_t m, int64_t n,
                    int64_t k, float *out, void *scratch);
size_t qd_product_scratch(int64_t n, int64_t k);

/* A constant matrix that an activation is multiplied with: alpha * b. */
struct qd_product_matrix {
    const float *b; /* [k][n], or [n][k] where transposed */
    bool transposed;
    float alpha;
    int64_t k, n;
};

/*
 * The product as a layer, without a bias. A picture is one row of all its elements: a convolution over the whole of it.
 * Anything else is rows of k elements, each of them a pixel. No memory: QD_NO_MEMORY.
 */
enum qd_status qd_product_layer(const struct qd_value *in, const struct qd_product_matrix *matrix,
                                struct qd_arena *arena, struct qd_layer *ret, struct qd_error *err);

/* supports_q8 of such a layer whose matrix is [k][n]: there is a row, and k is one that the kernels take. */
bool qd_product_supports_q8(const struct qd_value *in, int64_t k);

#endif
