/*
 * Two outputs at a time, one in each half of a vector, two inputs of each at once: a weight of 23 bits is 15 low bits
 * and the rest, so that 16-bit multiply-adds give the same sum, as (rest << 15) + low. A pair's words are the low parts
 * of (input, next input) four times for either output, then the rests.
 */
#include <immintrin.h>
#include <string.h>

#include "image/internal.h"

static inline void across_avx2(const uint8_t *in, uint8_t *out, int n_channels, const struct qd_resample_taps *taps);

#define QD_RESAMPLE_ACROSS across_avx2
#define QD_RESAMPLE_USES_PAIRS true
#include "image/resample.h"

static inline __m256i load_pairs(const uint8_t *a, const uint8_t *b)
{
    /* red, green and blue of a pixel beside those of the next, as words */
    const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 0, -1, 3, -1, 1,
                                           -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1);
    __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)a);
    __m128i high = _mm_loadl_epi64((const __m128i *)(const void *)b);

    return _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), order);
}

static inline void store_pixel(uint8_t *out, __m128i bytes)
{
    int32_t pixel = _mm_cvtsi128_si32(bytes);

    memcpy(out, &pixel, 3);
}

/* Outputs x and x + 1. */
static inline void across_two(const uint8_t *in, uint8_t *out, const struct qd_resample_taps *taps, int x, int n_pairs)
{
    const __m256i *weights =
        (const __m256i *)(const void *)(taps->pairs + (size_t)(x / 2) * (size_t)taps->n_pairs * QD_RESAMPLE_PAIR);
    const uint8_t *a = in + 3 * (size_t)taps->first[x], *b = in + 3 * (size_t)taps->first[x + 1];
    __m256i low = _mm256_set1_epi32(RESAMPLE_HALF), rest = _mm256_setzero_si256(), sums;

    for (int i = 0; i < n_pairs; i++) {
        __m256i pixels = load_pairs(a + 6 * i, b + 6 * i);

        low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, weights[2 * i]));
        rest = _mm256_add_epi32(rest, _mm256_madd_epi16(pixels, weights[2 * i + 1]));
    }
    sums = _mm256_srai_epi32(_mm256_add_epi32(low, _mm256_slli_epi32(rest, 15)), QD_RESAMPLE_BITS);
    sums = _mm256_packs_epi32(sums, sums);
    sums = _mm256_packus_epi16(sums, sums);
    store_pixel(out, _mm256_castsi256_si128(sums));
    store_pixel(out + 3, _mm256_extracti128_si256(sums, 1));
}

static inline void across_avx2(const uint8_t *in, uint8_t *out, int n_channels, const struct qd_resample_taps *taps)
{
    int x = 0;

    if (n_channels != 3) {
        resample_across(in, out, n_channels, taps);
        return;
    }
    for (; x + 1 < taps->n_outputs; x += 2) {
        int n = taps->n_inputs[x] > taps->n_inputs[x + 1] ? taps->n_inputs[x] : taps->n_inputs[x + 1];
        int n_pairs = (n + 1) / 2;

        /* Eight bytes are read of a pair's six, and a pair may go past an output's last input: not past the row. */
        if (taps->first[x + 1] + 2 * n_pairs + 1 > taps->n_columns)
            break;
        across_two(in, out + 3 * x, taps, x, n_pairs);
    }
    resample_across_rgb(in, out, taps, x);
}

QD_RESAMPLE_TIER(avx2);
