#include "kernel/tiers.h"

#include <immintrin.h>

/* vpermi2b looks up 64 bytes among 128 by the low seven bits of each; the highest bit then chooses the half. */
static inline __m512i lookup64(__m512i index, const __m512i rows[4])
{
    __m512i below = _mm512_permutex2var_epi8(rows[0], index, rows[1]);
    __m512i above = _mm512_permutex2var_epi8(rows[2], index, rows[3]);

    return _mm512_mask_mov_epi8(below, _mm512_movepi8_mask(index), above);
}

void qd_lookup_vbmi(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256])
{
    const __m512i rows[4] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64), _mm512_loadu_si512(table + 128),
                             _mm512_loadu_si512(table + 192)};
    size_t i = 0;

    for (; i + 64 <= n; i += 64)
        _mm512_storeu_si512(out + i, lookup64(_mm512_loadu_si512(in + i), rows));
    if (i < n) {
        __mmask64 mask = ((__mmask64)1 << (n - i)) - 1;

        _mm512_mask_storeu_epi8(out + i, mask, lookup64(_mm512_maskz_loadu_epi8(mask, in + i), rows));
    }
}
