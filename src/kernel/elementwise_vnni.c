#include "kernel/tiers.h"

#include "kernel/requant_vnni.h"

/* 16 columns, as ints before they are packed; n of them where not all. */
ALWAYS_INLINE_VNNI __m512i affine16(const struct qd_affine_params *p, const uint8_t *in, int c, bool all, int n,
                                    __m512 high)
{
    __mmask16 mask = qd_mask16_vnni(n);
    __m512 mult, offset, t;

    if (all) {
        t = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(in + c))));
        mult = _mm512_loadu_ps(p->mult + c);
        offset = _mm512_loadu_ps(p->offset + c);
    } else {
        t = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, in + c)));
        mult = _mm512_maskz_loadu_ps(mask, p->mult + c);
        offset = _mm512_maskz_loadu_ps(mask, p->offset + c);
    }
    return _mm512_cvtps_epi32(_mm512_min_ps(high, _mm512_fmadd_ps(t, mult, offset)));
}

ALWAYS_INLINE_VNNI __m512i affine64(const struct qd_affine_params *p, const uint8_t *in, int c, bool all, int n,
                                    __m512 high, __m512i low)
{
    /* The packs work in each 128-bit lane: a lane ends with four bytes of each of the four vectors. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i v[4], bytes;

    for (int i = 0; i < 4; i++)
        v[i] = affine16(p, in, c + 16 * i, all, n - 16 * i, high);
    bytes = _mm512_packus_epi16(_mm512_packs_epi32(v[0], v[1]), _mm512_packs_epi32(v[2], v[3]));
    return _mm512_max_epu8(_mm512_permutexvar_epi32(order, bytes), low);
}

void qd_affine_vnni(const struct qd_affine_params *params)
{
    const struct qd_affine_params *p = params;
    const __m512i low = _mm512_set1_epi8((char)p->clamp_min);
    const __m512 high = _mm512_set1_ps(p->clamp_max);

    for (size_t m = 0; m < p->m; m++) {
        const uint8_t *in = p->in + m * (size_t)p->c;
        uint8_t *out = p->out + m * (size_t)p->c;
        int c = 0;

        for (; c + 64 <= p->c; c += 64)
            _mm512_storeu_si512(out + c, affine64(p, in, c, true, 64, high, low));
        if (c < p->c)
            _mm512_mask_storeu_epi8(out + c, qd_mask64_vnni(p->c - c), affine64(p, in, c, false, p->c - c, high, low));
    }
}
