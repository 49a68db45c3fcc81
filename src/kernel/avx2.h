/* What the AVX2 files share; static inline only. */
#ifndef QD_KERNEL_AVX2_H
#define QD_KERNEL_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "kernel/kernel.h"

/* The requantisation of requant.h in vectors: everything but mult, offset and residual, which move along. */
struct qd_requant_avx2 {
    __m256 residual_mult, slope, zero;
    __m256i clamp_min, clamp_max;
    enum qd_requant_act act;
};

static inline struct qd_requant_avx2 qd_requant_load_avx2(const struct qd_requant *q)
{
    struct qd_requant_avx2 v = {
        _mm256_set1_ps(q->residual_mult), _mm256_set1_ps(q->slope), _mm256_set1_ps(q->zero),
        _mm256_set1_epi32(q->clamp_min),  _mm256_set1_epi32(q->clamp_max), q->act,
    };

    return v;
}

static inline __m256i qd_clamp_avx2(__m256 u, __m256i low, __m256i high)
{
    return _mm256_min_epi32(_mm256_max_epi32(_mm256_cvtps_epi32(u), low), high);
}

/* Eight u8 as floats. */
static inline __m256 qd_load8_ps_avx2(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

/* Eight accumulators of channels c..c+7 to int32 steps, clamped; residual NULL or at channel c. */
static inline __m256i qd_requant8_avx2(const struct qd_requant_avx2 *v, __m256i acc, const float *mult,
                                       const float *offset, const uint8_t *residual)
{
    __m256 t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(mult), _mm256_loadu_ps(offset));

    if (residual)
        t = _mm256_fmadd_ps(qd_load8_ps_avx2(residual), v->residual_mult, t);
    if (v->act == QD_REQUANT_LEAKY) {
        t = _mm256_blendv_ps(t, _mm256_mul_ps(t, v->slope), _mm256_cmp_ps(t, _mm256_setzero_ps(), _CMP_LT_OQ));
        t = _mm256_add_ps(t, v->zero);
    } else if (v->act == QD_REQUANT_HARDSWISH) {
        __m256 gate = _mm256_fmadd_ps(t, v->slope, _mm256_set1_ps(0.5f));

        gate = _mm256_min_ps(_mm256_max_ps(gate, _mm256_setzero_ps()), _mm256_set1_ps(1.0f));
        t = _mm256_add_ps(_mm256_mul_ps(t, gate), v->zero);
    }
    return qd_clamp_avx2(t, v->clamp_min, v->clamp_max);
}

/* Sixteen int32 in 0..255 as bytes, in order. */
static inline __m128i qd_pack16_avx2(__m256i low, __m256i high)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);

    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

/* The first n of sixteen bytes. */
static inline void qd_store_bytes_avx2(uint8_t *out, __m128i bytes, int n)
{
    uint8_t copy[16];

    if (n >= 16) {
        _mm_storeu_si128((__m128i *)(void *)out, bytes);
        return;
    }
    _mm_storeu_si128((__m128i *)(void *)copy, bytes);
    memcpy(out, copy, (size_t)n);
}

#endif
