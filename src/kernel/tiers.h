/* The kernels of each tier, for the tables in cpu.c and for tiers that fall back on one below. */
#ifndef QD_KERNEL_TIERS_H
#define QD_KERNEL_TIERS_H

#include "kernel/kernel.h"

/* Every tier that computes convolutions over windows shares these walks. */
size_t qd_gemm_pack_size_scalar(int n, int k);
void qd_gemm_pack_scalar(void *packed, const int8_t *w, int n, int k);
void qd_gemm_scalar(const struct qd_gemm_params *params);
size_t qd_depthwise_pack_size_scalar(int c, int taps);
void qd_depthwise_pack_scalar(void *packed, const int8_t *w, int c, int taps);
void qd_depthwise_scalar(const struct qd_depthwise_params *params);
void qd_add_scalar(const struct qd_add_params *params);
void qd_mul_scalar(const struct qd_mul_params *params);
void qd_max_pool_scalar(const struct qd_pool_params *params);
void qd_average_pool_scalar(const struct qd_pool_params *params);
void qd_sum_rows_scalar(const uint8_t *in, size_t m, int c, int32_t *sums);
void qd_lookup_scalar(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256]);
void qd_quantize_scalar(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero);
void qd_dequantize_scalar(const uint8_t *in, float *out, size_t n, float scale, int zero);

size_t qd_gemm_pack_size_avx2(int n, int k);
void qd_gemm_pack_avx2(void *packed, const int8_t *w, int n, int k);
void qd_gemm_avx2(const struct qd_gemm_params *params);
size_t qd_depthwise_pack_size_avx2(int c, int taps);
void qd_depthwise_pack_avx2(void *packed, const int8_t *w, int c, int taps);
void qd_depthwise_avx2(const struct qd_depthwise_params *params);
void qd_add_avx2(const struct qd_add_params *params);
void qd_mul_avx2(const struct qd_mul_params *params);
void qd_max_pool_avx2(const struct qd_pool_params *params);
void qd_average_pool_avx2(const struct qd_pool_params *params);
void qd_sum_rows_avx2(const uint8_t *in, size_t m, int c, int32_t *sums);
void qd_quantize_avx2(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero);
void qd_dequantize_avx2(const uint8_t *in, float *out, size_t n, float scale, int zero);

size_t qd_gemm_pack_size_vnni(int n, int k);
void qd_gemm_pack_vnni(void *packed, const int8_t *w, int n, int k);
void qd_gemm_vnni(const struct qd_gemm_params *params);

#endif
