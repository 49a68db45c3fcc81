/*
 * The kernels by tier, for the tables in cpu.c: what kernel.h's struct qd_kernels says of each member is its contract.
 * Threads: all are pure functions of their arguments.
 */
#ifndef QD_KERNEL_TIERS_H
#define QD_KERNEL_TIERS_H

#include "kernel/kernel.h"
#include "kernel/kernel_f32.h"

#define QD_CONV_TIER(tier)                                                                                             \
    size_t qd_conv_pack_size_##tier(int n, int n_runs, int run_k);                                                     \
    void qd_conv_pack_##tier(void *packed, const int8_t *w, int n, int n_runs, int run_k);                             \
    void qd_conv_##tier(const struct qd_conv_params *params)
#define QD_DEPTHWISE_TIER(tier)                                                                                        \
    size_t qd_depthwise_pack_size_##tier(int c, int taps);                                                             \
    void qd_depthwise_pack_##tier(void *packed, const int8_t *w, int c, int taps);                                     \
    void qd_depthwise_##tier(const struct qd_depthwise_params *params)
#define QD_POOL_TIER(tier)                                                                                             \
    void qd_max_pool_##tier(const struct qd_pool_params *params);                                                      \
    void qd_average_pool_##tier(const struct qd_pool_params *params);                                                  \
    void qd_sum_rows_##tier(const uint8_t *in, ptrdiff_t stride, size_t m, int c, int32_t *sums)
#define QD_ELEMENTWISE_TIER(tier)                                                                                      \
    void qd_add_##tier(const struct qd_add_params *params);                                                            \
    void qd_mul_##tier(const struct qd_mul_params *params);                                                            \
    void qd_affine_##tier(const struct qd_affine_params *params);                                                      \
    void qd_shuffle_##tier(const uint8_t *in, uint8_t *out, size_t m, int c, int groups);                              \
    void qd_lookup_##tier(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256]);                        \
    void qd_quantize_##tier(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero);                 \
    void qd_dequantize_##tier(const uint8_t *in, float *out, size_t n, float scale, int zero)

#define QD_F32_TIER(tier)                                                                                              \
    void qd_conv_f32_##tier(const struct qd_conv_f32_params *params);                                                  \
    void qd_depthwise_f32_##tier(const struct qd_conv_f32_params *params);                                             \
    void qd_max_pool_f32_##tier(const struct qd_conv_f32_params *params);                                              \
    void qd_matvec_f32_##tier(const struct qd_matvec_f32_params *params);                                              \
    void qd_activate_f32_##tier(const struct qd_activation *act, const float *residual, float *x, size_t n);           \
    void qd_conv_blocks_f32_##tier(const struct qd_conv_f32_params *params);                                           \
    void qd_depthwise_blocks_f32_##tier(const struct qd_conv_f32_params *params);                                      \
    void qd_max_pool_blocks_f32_##tier(const struct qd_conv_f32_params *params);                                       \
    void qd_to_blocks_f32_##tier(const float *in, float *out, int c, size_t pixels);                                   \
    void qd_from_blocks_f32_##tier(const float *in, float *out, int c, size_t pixels)

QD_F32_TIER(scalar);
QD_F32_TIER(avx2);
QD_F32_TIER(avx512);

int64_t qd_peak_scalar(int64_t iterations, int32_t *sink);
int64_t qd_peak_avx2(int64_t iterations, int32_t *sink);
int64_t qd_peak_avxvnni(int64_t iterations, int32_t *sink);
int64_t qd_peak_vnni(int64_t iterations, int32_t *sink);
int64_t qd_peak_amx(int64_t iterations, int32_t *sink);

QD_CONV_TIER(scalar);
QD_DEPTHWISE_TIER(scalar);
QD_POOL_TIER(scalar);
QD_ELEMENTWISE_TIER(scalar);

QD_CONV_TIER(avx2);
QD_DEPTHWISE_TIER(avx2);
QD_POOL_TIER(avx2);
QD_ELEMENTWISE_TIER(avx2);

QD_CONV_TIER(avxvnni);

QD_CONV_TIER(vnni);
QD_DEPTHWISE_TIER(vnni);
void qd_affine_vnni(const struct qd_affine_params *params);
/* Of those CPUs of the vnni tier that have AVX-512 VBMI. */
void qd_lookup_vbmi(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256]);

QD_CONV_TIER(amx);

#endif
