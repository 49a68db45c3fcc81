/*
 * requant.h's formula, 64 columns at a time. Static inline only: included by files built for AVX-512.
 * The clamp is made on the bytes, once for 64 of them: kernel.h bounds t, so that its conversion cannot overflow.
 */
#ifndef QD_KERNEL_REQUANT_VNNI_H
#define QD_KERNEL_REQUANT_VNNI_H

#include <immintrin.h>
#include <stdbool.h>

#include "kernel/kernel.h"

#ifndef ALWAYS_INLINE_VNNI /* tests/kernel/emulate_avx512.h has another */
#define ALWAYS_INLINE_VNNI static inline __attribute__((always_inline))
#endif

struct qd_requant_vnni {
    __m512 residual_mult, zero;
    __m512i low, high;
    enum qd_requant_act act;
    const struct qd_piecewise *piecewise;
};

ALWAYS_INLINE_VNNI struct qd_requant_vnni qd_requant_vnni_of(const struct qd_requant *requant)
{
    struct qd_requant_vnni r = {
        .residual_mult = _mm512_set1_ps(requant->residual_mult),
        .zero = _mm512_set1_ps(requant->zero),
        .high = _mm512_set1_epi8((char)requant->clamp_max),
        .low = _mm512_set1_epi8((char)requant->clamp_min),
        .act = requant->act,
        .piecewise = requant->piecewise,
    };
    return r;
}

/* vpermps looks at the low four bits of an index only. The max gives its second operand where t is NaN. */
ALWAYS_INLINE_VNNI __m512 qd_piecewise_vnni(const struct qd_piecewise *p, __m512 t)
{
    __m512 first = _mm512_set1_ps(QD_PIECEWISE_FIRST), last = _mm512_set1_ps(QD_PIECEWISE_FIRST + 15), value;
    __m512 u = _mm512_fmadd_ps(t, _mm512_set1_ps(p->scale), _mm512_set1_ps(p->first));
    __m512i s = _mm512_castps_si512(_mm512_min_ps(_mm512_max_ps(u, first), last));

    value = _mm512_permutexvar_ps(s, _mm512_loadu_ps(p->c[3]));
    value = _mm512_fmadd_ps(value, t, _mm512_permutexvar_ps(s, _mm512_loadu_ps(p->c[2])));
    value = _mm512_fmadd_ps(value, t, _mm512_permutexvar_ps(s, _mm512_loadu_ps(p->c[1])));
    return _mm512_fmadd_ps(value, t, _mm512_permutexvar_ps(s, _mm512_loadu_ps(p->c[0])));
}

ALWAYS_INLINE_VNNI __m512 qd_requant_act_vnni(const struct qd_requant_vnni *r, __m512 t, __m512 slope)
{
    __m512 gate;

    /* The last cubic may rise faster than t. */
    if (r->act == QD_REQUANT_PIECEWISE)
        return _mm512_min_ps(_mm512_set1_ps(0x1p30f), qd_piecewise_vnni(r->piecewise, t));
    if (r->act == QD_REQUANT_PIECEWISE_STEPS)
        return _mm512_min_ps(_mm512_set1_ps(0x1p30f),
                             _mm512_fmadd_ps(qd_piecewise_vnni(r->piecewise, t), slope, r->zero));
    if (r->act == QD_REQUANT_LEAKY) {
        __mmask16 negative = _mm512_cmp_ps_mask(t, _mm512_setzero_ps(), _CMP_LT_OQ);
        return _mm512_add_ps(_mm512_mask_mul_ps(t, negative, t, slope), r->zero);
    }
    gate = _mm512_fmadd_ps(t, slope, _mm512_set1_ps(0.5f));
    gate = _mm512_min_ps(_mm512_max_ps(gate, _mm512_setzero_ps()), _mm512_set1_ps(1));
    return _mm512_add_ps(_mm512_mul_ps(t, gate), r->zero);
}

/* Everything up to the clamp: 16 ints, to be packed with saturation. residual: 16 ints, if any. */
ALWAYS_INLINE_VNNI __m512i qd_requant_ints_vnni(const struct qd_requant_vnni *r, __m512i acc, __m512 mult,
                                                __m512 offset, __m512 slope, bool has_residual, __m512i residual)
{
    __m512 t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), mult, offset);

    if (has_residual)
        t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(residual), r->residual_mult, t);
    if (r->act != QD_REQUANT_LINEAR)
        t = qd_requant_act_vnni(r, t, slope);
    return _mm512_cvtps_epi32(t);
}

/* The clamp, on packed bytes. */
ALWAYS_INLINE_VNNI __m512i qd_clamp_vnni(const struct qd_requant_vnni *r, __m512i bytes)
{
    return _mm512_max_epu8(_mm512_min_epu8(bytes, r->high), r->low);
}

/* The lowest n bits, n at most 64, and at most 16. */
ALWAYS_INLINE_VNNI __mmask64 qd_mask64_vnni(int n)
{
    return n >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
}

ALWAYS_INLINE_VNNI __mmask16 qd_mask16_vnni(int n)
{
    return (__mmask16)(n >= 16 ? 0xffff : n <= 0 ? 0 : (1 << n) - 1);
}

#endif
