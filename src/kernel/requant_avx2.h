/*
 * requant.h's formula, eight values at a time. Static inline only: included by files built for AVX2 and FMA.
 * The clamp from below is made on the bytes (qd_pack_avx2's max): see requant.h for why that is the same.
 */
#ifndef QD_KERNEL_REQUANT_AVX2_H
#define QD_KERNEL_REQUANT_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/kernel.h"

#define ALWAYS_INLINE_AVX2 static inline __attribute__((always_inline))

struct qd_requant_avx2 {
    __m256 residual_mult, zero, high;
    __m128i low;
    enum qd_requant_act act;
    const struct qd_piecewise *piecewise;
};

ALWAYS_INLINE_AVX2 struct qd_requant_avx2 qd_requant_avx2_of(const struct qd_requant *requant)
{
    struct qd_requant_avx2 r = {
        .residual_mult = _mm256_set1_ps(requant->residual_mult),
        .zero = _mm256_set1_ps(requant->zero),
        .high = _mm256_set1_ps(requant->clamp_max),
        .low = _mm_set1_epi8((char)requant->clamp_min),
        .act = requant->act,
        .piecewise = requant->piecewise,
    };
    return r;
}

/* Clamps from above and rounds. min gives its second operand where one is NaN: the conversion's most negative int. */
ALWAYS_INLINE_AVX2 __m256i qd_round_avx2(__m256 t, __m256 high)
{
    return _mm256_cvtps_epi32(_mm256_min_ps(high, t));
}

/* One coefficient of each lane's segment: two halves of eight, chosen by bit 3 of s, which is the sign of upper. */
ALWAYS_INLINE_AVX2 __m256 qd_piecewise_pick_avx2(const float c[16], __m256i s, __m256 upper)
{
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(_mm256_loadu_ps(c), s),
                            _mm256_permutevar8x32_ps(_mm256_loadu_ps(c + 8), s), upper);
}

/* The max gives its second operand where t is NaN, as in requant.h. */
ALWAYS_INLINE_AVX2 __m256 qd_piecewise_avx2(const struct qd_piecewise *p, __m256 t)
{
    __m256 first = _mm256_set1_ps(QD_PIECEWISE_FIRST), last = _mm256_set1_ps(QD_PIECEWISE_FIRST + 15), value;
    __m256 u = _mm256_fmadd_ps(t, _mm256_set1_ps(p->scale), _mm256_set1_ps(p->first));
    __m256i s = _mm256_castps_si256(_mm256_min_ps(_mm256_max_ps(u, first), last));
    __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(s, 28));

    value = qd_piecewise_pick_avx2(p->c[3], s, upper);
    value = _mm256_fmadd_ps(value, t, qd_piecewise_pick_avx2(p->c[2], s, upper));
    value = _mm256_fmadd_ps(value, t, qd_piecewise_pick_avx2(p->c[1], s, upper));
    return _mm256_fmadd_ps(value, t, qd_piecewise_pick_avx2(p->c[0], s, upper));
}

ALWAYS_INLINE_AVX2 __m256 qd_requant_act_avx2(const struct qd_requant_avx2 *r, __m256 t, __m256 slope)
{
    __m256 gate;

    if (r->act == QD_REQUANT_PIECEWISE)
        return qd_piecewise_avx2(r->piecewise, t);
    if (r->act == QD_REQUANT_PIECEWISE_STEPS)
        return _mm256_fmadd_ps(qd_piecewise_avx2(r->piecewise, t), slope, r->zero);
    if (r->act == QD_REQUANT_LEAKY) {
        __m256 negative = _mm256_cmp_ps(t, _mm256_setzero_ps(), _CMP_LT_OQ);
        t = _mm256_blendv_ps(t, _mm256_mul_ps(t, slope), negative);
        return _mm256_add_ps(t, r->zero);
    }
    gate = _mm256_fmadd_ps(t, slope, _mm256_set1_ps(0.5f));
    gate = _mm256_min_ps(_mm256_max_ps(gate, _mm256_setzero_ps()), _mm256_set1_ps(1));
    return _mm256_add_ps(_mm256_mul_ps(t, gate), r->zero);
}

/* Everything up to the clamp from below: eight ints, to be packed with saturation. residual: eight ints, if any. */
ALWAYS_INLINE_AVX2 __m256i qd_requant_ints_avx2(const struct qd_requant_avx2 *r, __m256i acc, __m256 mult,
                                                __m256 offset, __m256 slope, bool has_residual, __m256i residual)
{
    __m256 t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), mult, offset);

    if (has_residual)
        t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(residual), r->residual_mult, t);
    if (r->act != QD_REQUANT_LINEAR)
        t = qd_requant_act_avx2(r, t, slope);
    return qd_round_avx2(t, r->high);
}

/* 16 ints, first eight in a, to 16 bytes, clamped from below. */
ALWAYS_INLINE_AVX2 __m128i qd_pack_avx2(__m256i a, __m256i b, __m128i low)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));

    return _mm_max_epu8(bytes, low);
}

/* n of the 16 bytes, exactly. */
ALWAYS_INLINE_AVX2 __m128i qd_load_bytes_avx2(const uint8_t *in, int n)
{
    uint8_t bytes[16] = {0};

    if (n >= 16)
        return _mm_loadu_si128((const __m128i *)in);
    memcpy(bytes, in, (size_t)n);
    return _mm_loadu_si128((const __m128i *)bytes);
}

ALWAYS_INLINE_AVX2 void qd_store_bytes_avx2(uint8_t *out, __m128i value, int n)
{
    uint8_t bytes[16];

    if (n >= 16) {
        _mm_storeu_si128((__m128i *)out, value);
        return;
    }
    _mm_storeu_si128((__m128i *)bytes, value);
    memcpy(out, bytes, (size_t)n);
}

#endif
