#include "kernel/tiers.h"

#include "kernel/requant_avx2.h"
#include "kernel/window.h"

#define U16_TAPS 257 /* so many bytes of 255 fit 16 bits */

ALWAYS_INLINE_AVX2 __m256i bytes_max(const struct qd_taps *taps, const uint8_t *in)
{
    __m256i max = _mm256_setzero_si256();

    for (int y = taps->first_y; y < taps->end_y; y++, in += taps->y_stride) {
        const uint8_t *tap = in;

        for (int x = taps->first_x; x < taps->end_x; x++, tap += taps->x_stride)
            max = _mm256_max_epu8(max, _mm256_loadu_si256((const __m256i *)tap));
    }
    return max;
}

/* Vectors of 32 channels; the last may read past the pixel, never write. */
void qd_max_pool_avx2(const struct qd_pool_params *params)
{
    for (int y = params->y_begin; y < params->y_end; y++) {
        for (int x = 0; x < params->out_w; x++) {
            struct qd_taps taps = qd_taps_of(params, y, x);
            uint8_t *out = params->out + y * params->out_steps.y + x * params->out_steps.x;

            for (int c = 0; c < params->c; c += 32) {
                __m256i max = bytes_max(&taps, taps.in + c);
                int n = params->c - c;

                if (n >= 32) {
                    _mm256_storeu_si256((__m256i *)(out + c), max);
                    continue;
                }
                qd_store_bytes_avx2(out + c, _mm256_castsi256_si128(max), n);
                if (n > 16)
                    qd_store_bytes_avx2(out + c + 16, _mm256_extracti128_si256(max, 1), n - 16);
            }
        }
    }
}

/* Adds 16 sums of 16 bits to 16 of 32, in order. */
ALWAYS_INLINE_AVX2 void add_words(__m256i sums[2], __m256i words)
{
    sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepu16_epi32(_mm256_castsi256_si128(words)));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepu16_epi32(_mm256_extracti128_si256(words, 1)));
}

/* The sums of 16 channels over the window: in 16 bits while they cannot overflow, then in 32. */
ALWAYS_INLINE_AVX2 void window_sums(const struct qd_taps *taps, const uint8_t *in, __m256i sums[2])
{
    __m256i words = _mm256_setzero_si256();
    int n = 0;

    sums[0] = sums[1] = words;
    for (int y = taps->first_y; y < taps->end_y; y++, in += taps->y_stride) {
        const uint8_t *tap = in;

        for (int x = taps->first_x; x < taps->end_x; x++, tap += taps->x_stride) {
            words = _mm256_add_epi16(words, _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)tap)));
            if (++n == U16_TAPS) {
                add_words(sums, words);
                words = _mm256_setzero_si256();
                n = 0;
            }
        }
    }
    add_words(sums, words);
}

void qd_average_pool_avx2(const struct qd_pool_params *params)
{
    const struct qd_pool_params *p = params;
    const __m256 zero = _mm256_set1_ps(p->out_zero), high = _mm256_set1_ps(p->clamp_max);
    const __m128i low = _mm_set1_epi8((char)p->clamp_min);

    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            struct qd_taps taps = qd_taps_of(p, y, x);
            const __m256 mult = _mm256_set1_ps(qd_average_mult(p, &taps));
            const __m256i bias = _mm256_set1_epi32(taps.n * p->in_zero);
            uint8_t *out = p->out + y * p->out_steps.y + x * p->out_steps.x;

            for (int c = 0; c < p->c; c += 16) {
                __m256i sums[2];

                window_sums(&taps, taps.in + c, sums);
                for (int i = 0; i < 2; i++) {
                    __m256 acc = _mm256_cvtepi32_ps(_mm256_sub_epi32(sums[i], bias));
                    sums[i] = qd_round_avx2(_mm256_fmadd_ps(acc, mult, zero), high);
                }
                qd_store_bytes_avx2(out + c, qd_pack_avx2(sums[0], sums[1], low), p->c - c);
            }
        }
    }
}

/* rows, at most U16_TAPS, of 16 * n columns; n at most 4, so that a line of the cache is read once. */
ALWAYS_INLINE_AVX2 void sum_columns(const uint8_t *in, ptrdiff_t stride, size_t rows, const int n, int32_t *sums)
{
    __m256i words[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};

    for (size_t i = 0; i < rows; i++, in += stride) {
        for (int j = 0; j < n; j++)
            words[j] = _mm256_add_epi16(words[j], _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)in + j)));
    }
    for (int j = 0; j < n; j++, sums += 16) {
        __m256i total[2] = {_mm256_loadu_si256((const __m256i *)sums), _mm256_loadu_si256((const __m256i *)(sums + 8))};

        add_words(total, words[j]);
        _mm256_storeu_si256((__m256i *)sums, total[0]);
        _mm256_storeu_si256((__m256i *)(sums + 8), total[1]);
    }
}

void qd_sum_rows_avx2(const uint8_t *in, ptrdiff_t stride, size_t m, int c, int32_t *sums)
{
    for (size_t m0 = 0; m0 < m; m0 += U16_TAPS, in += U16_TAPS * stride) {
        size_t rows = m - m0 < U16_TAPS ? m - m0 : U16_TAPS;
        int j = 0;

        for (; j + 64 <= c; j += 64)
            sum_columns(in + j, stride, rows, 4, sums + j);
        for (; j + 16 <= c; j += 16)
            sum_columns(in + j, stride, rows, 1, sums + j);
        for (; j < c; j++) {
            for (size_t i = 0; i < rows; i++)
                sums[j] += in[(ptrdiff_t)i * stride + j];
        }
    }
}
