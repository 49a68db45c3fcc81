/* The f32 product of matrices, for the operators that are one: Gemm, MatMul, Einsum. */
#ifndef QD_OP_PRODUCT_H
#define QD_OP_PRODUCT_H

#include "op/op.h"

/* out[m][n] = a[m][k] * b[k][n]; scratch of qd_product_scratch's bytes, 64-byte aligned. */
void qd_product_f32(const struct qd_kernels_f32 *kernels, const float *a, const float *b, int64_t m, int64_t n,
                    int64_t k, float *out, void *scratch);
size_t qd_product_scratch(int64_t n, int64_t k);

#endif
