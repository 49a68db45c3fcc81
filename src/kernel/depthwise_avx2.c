/*
 * Depthwise convolution, 16 channels at a time: two taps are widened to 16 bits, interleaved, and vpmaddwd sums the
 * pair per channel. The interleaving puts channels 0-3 and 8-11 into one vector of sums and 4-7 and 12-15 into the
 * other, which is the order that the final pack undoes.
 *
 * Packed weights: [c/16][taps][16] s8, channels past c zero.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/depthwise_taps.h"
#include "kernel/requant_avx2.h"

#define LANES 16
#define CHUNK_TAPS 128  /* taps whose weights are ready at a time; even */
#define CHUNK_X 64      /* output pixels at a time */
#define TABLE_TAPS 1024 /* pointers to taps */

/* Outputs that one column of the input is part of, at most. */
#define LIVE(kernel, stride) (((kernel) + (stride)-1) / (stride))

struct scratch {
    __m256i weights[CHUNK_TAPS]; /* two per pair of taps */
    int32_t sums[CHUNK_X + QD_MAX_SLIDE][LANES];
    const uint8_t *taps[TABLE_TAPS];
};

size_t qd_depthwise_pack_size_avx2(int c, int taps)
{
    return ((size_t)c + LANES - 1) / LANES * LANES * (size_t)taps + QD_KERNEL_SLACK;
}

void qd_depthwise_pack_avx2(void *packed, const int8_t *w, int c, int taps)
{
    int8_t *out = packed;

    memset(packed, 0, qd_depthwise_pack_size_avx2(c, taps));
    for (int i = 0; i < c; i++) {
        for (int t = 0; t < taps; t++)
            out[((ptrdiff_t)(i / LANES) * taps + t) * LANES + i % LANES] = w[(ptrdiff_t)i * taps + t];
    }
}

ALWAYS_INLINE_AVX2 __m256i load_weights(const int8_t *w)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w));
}

ALWAYS_INLINE_AVX2 __m256i load_pixel(const uint8_t *pixel)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)pixel));
}

/* acc + the sums of a pair of vectors, interleaved as said above. */
ALWAYS_INLINE_AVX2 __m256i madd(__m256i acc, __m256i pair, const __m256i *weights)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pair, _mm256_load_si256(weights)));
}

/* Pairs of taps in their order: any kernel, stride and dilation. An odd last tap meets a weight of 0. */
static void prepare_pairs(struct scratch *scratch, const int8_t *w, int n_taps)
{
    for (int t = 0; t < n_taps; t += 2) {
        __m256i first = load_weights(w + t * LANES);
        __m256i second = t + 1 < n_taps ? load_weights(w + (t + 1) * LANES) : _mm256_setzero_si256();

        scratch->weights[t] = _mm256_unpacklo_epi16(first, second);
        scratch->weights[t + 1] = _mm256_unpackhi_epi16(first, second);
    }
}

static void sum_pairs(struct scratch *scratch, int c0, int n, int n_taps, bool first)
{
    const uint8_t *const *tap = scratch->taps;

    for (int x = 0; x < n; x++, tap += n_taps) {
        __m256i *sums = (__m256i *)scratch->sums[x];
        __m256i low = first ? _mm256_setzero_si256() : sums[0], high = first ? low : sums[1];

        for (int t = 0; t < n_taps; t += 2) {
            __m256i a = load_pixel(tap[t] + c0), b = load_pixel(tap[t + 1 < n_taps ? t + 1 : t] + c0);

            low = madd(low, _mm256_unpacklo_epi16(a, b), &scratch->weights[t]);
            high = madd(high, _mm256_unpackhi_epi16(a, b), &scratch->weights[t + 1]);
        }
        sums[0] = low;
        sums[1] = high;
    }
}

/* Where all taps of the pixels fit the table it is filled once for all channels, by the caller. */
static void sum_any(const struct qd_depthwise_params *p, struct scratch *scratch, int y, int x, int n, int c0)
{
    int taps = p->kernel_h * p->kernel_w;
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)c0 * taps;

    for (int t = 0; t < taps; t += CHUNK_TAPS) {
        int n_taps = taps - t < CHUNK_TAPS ? taps - t : CHUNK_TAPS;

        if (taps > CHUNK_TAPS)
            qd_taps_fill(p, y, x, n, t, n_taps, scratch->taps);
        prepare_pairs(scratch, w + (ptrdiff_t)t * LANES, n_taps);
        sum_pairs(scratch, c0, n, n_taps, t == 0);
    }
}

/* Pairs of rows in each column of a square kernel: [kx][pair of rows][2]. */
static void prepare_columns(struct scratch *scratch, const int8_t *w, int kernel)
{
    __m256i *out = scratch->weights;

    for (int kx = 0; kx < kernel; kx++) {
        for (int ky = 0; ky < kernel; ky += 2, out += 2) {
            __m256i first = load_weights(w + (ky * kernel + kx) * LANES), second = _mm256_setzero_si256();

            if (ky + 1 < kernel)
                second = load_weights(w + ((ky + 1) * kernel + kx) * LANES);
            out[0] = _mm256_unpacklo_epi16(first, second);
            out[1] = _mm256_unpackhi_epi16(first, second);
        }
    }
}

/*
 * Slides along the row: each column of the input is widened and interleaved once, and goes into the sums of all the
 * outputs that it touches: in step i, the columns i * stride + d are tap l * stride + d of output i - l. Output x's
 * sums are complete in step x + n_live - 1 and lie there; what lies before is none.
 */
ALWAYS_INLINE_AVX2 void slide(const struct qd_depthwise_params *p, struct scratch *scratch,
                              const uint8_t *row, int c0, int n, const int kernel, const int stride)
{
    const int n_live = LIVE(kernel, stride), n_pairs = (kernel + 1) / 2;
    const __m256i *weights = scratch->weights;
    const ptrdiff_t row_step = p->dilation_h * p->in_steps.y;
    __m256i low[QD_MAX_SLIDE + 1], high[QD_MAX_SLIDE + 1];

#pragma GCC unroll 8
    for (int l = 0; l < n_live; l++)
        low[l] = high[l] = _mm256_setzero_si256();
    for (int i = 0; i < n + n_live - 1; i++) {
        /* The weights stay operands in memory: gcc would hoist them all, and spill. */
        __asm__("" : "+r"(weights));
#pragma GCC unroll 2
        for (int d = 0; d < stride; d++, row += p->in_steps.x) {
            /* No window reaches the last column of the last step where the stride does not divide the kernel. */
            const uint8_t *column = i * stride + d < (n - 1) * stride + kernel ? row : row - p->in_steps.x;

#pragma GCC unroll 8
            for (int pair = 0; pair < n_pairs; pair++) {
                const int ky = 2 * pair;
                __m256i a = load_pixel(column + ky * row_step + c0);
                __m256i b = _mm256_setzero_si256(), even, odd;

                if (ky + 1 < kernel)
                    b = load_pixel(column + (ky + 1) * row_step + c0);
                even = _mm256_unpacklo_epi16(a, b);
                odd = _mm256_unpackhi_epi16(a, b);
#pragma GCC unroll 8
                for (int l = 0; l < n_live; l++) {
                    const int kx = l * stride + d;

                    if (kx < kernel) {
                        low[l] = madd(low[l], even, &weights[(kx * n_pairs + pair) * 2]);
                        high[l] = madd(high[l], odd, &weights[(kx * n_pairs + pair) * 2 + 1]);
                    }
                }
            }
        }
        _mm256_store_si256((__m256i *)scratch->sums[i], low[n_live - 1]);
        _mm256_store_si256((__m256i *)scratch->sums[i] + 1, high[n_live - 1]);
#pragma GCC unroll 8
        for (int l = n_live - 1; l > 0; l--) {
            low[l] = low[l - 1];
            high[l] = high[l - 1];
        }
        low[0] = high[0] = _mm256_setzero_si256();
    }
}

#define SLIDE(kernel, stride)                                                                                          \
    static __attribute__((noinline)) void slide_##kernel##_##stride(                                                   \
        const struct qd_depthwise_params *p, struct scratch *scratch, const uint8_t *row, int c0,          \
        int n)                                                                                                         \
    {                                                                                                                  \
        slide(p, scratch, row, c0, n, kernel, stride);                                                             \
    }
SLIDE(3, 1)
SLIDE(3, 2)
SLIDE(5, 1)
SLIDE(5, 2)

/* Returns where output x's sums lie. */
static int sum_sliding(const struct qd_depthwise_params *p, struct scratch *scratch, const uint8_t *row,
                       int n, int c0)
{
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)c0 * p->kernel_h * p->kernel_w;

    prepare_columns(scratch, w, p->kernel_w);
    if (p->kernel_w == 3 && p->stride_w == 1)
        slide_3_1(p, scratch, row, c0, n);
    else if (p->kernel_w == 3)
        slide_3_2(p, scratch, row, c0, n);
    else if (p->stride_w == 1)
        slide_5_1(p, scratch, row, c0, n);
    else
        slide_5_2(p, scratch, row, c0, n);
    return LIVE(p->kernel_w, p->stride_w) - 1;
}

/* 16 floats in the order of the sums. */
ALWAYS_INLINE_AVX2 void load_interleaved(const float *in, __m256 ret[2])
{
    __m256 first = _mm256_loadu_ps(in), second = _mm256_loadu_ps(in + 8);

    ret[0] = _mm256_permute2f128_ps(first, second, 0x20);
    ret[1] = _mm256_permute2f128_ps(first, second, 0x31);
}

/* out and residual point to the first pixel's channel c0. */
ALWAYS_INLINE_AVX2 void finish(const struct qd_depthwise_params *p, const struct qd_requant_avx2 *all,
                               const int32_t sums[][LANES], int c0, int n, uint8_t *out, const uint8_t *residual,
                               const bool linear)
{
    int channels = p->c - c0;
    struct qd_requant_avx2 r = *all;
    __m256 mult[2], offset[2], slope[2];

    load_interleaved(p->requant->mult + c0, mult);
    load_interleaved(p->requant->offset + c0, offset);
    load_interleaved(p->requant->slope + c0, slope);
    if (linear)
        r.act = QD_REQUANT_LINEAR;
    for (int x = 0; x < n; x++, out += p->out_steps.x) {
        const __m256i *acc = (const __m256i *)sums[x];
        __m256i low = _mm256_setzero_si256(), high = low, words;
        __m128i bytes;

        if (residual) {
            words = _mm256_cvtepu8_epi16(qd_load_bytes_avx2(residual + x * p->residual_steps.x, channels));
            low = _mm256_unpacklo_epi16(words, _mm256_setzero_si256());
            high = _mm256_unpackhi_epi16(words, _mm256_setzero_si256());
        }
        low = qd_requant_ints_avx2(&r, acc[0], mult[0], offset[0], slope[0], residual, low);
        high = qd_requant_ints_avx2(&r, acc[1], mult[1], offset[1], slope[1], residual, high);
        words = _mm256_packs_epi32(low, high);
        bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        qd_store_bytes_avx2(out, _mm_max_epu8(bytes, r.low), channels);
    }
}

static void row_part(const struct qd_depthwise_params *p, const struct qd_requant_avx2 *r, struct scratch *scratch,
                     int y, int x, int n)
{
    uint8_t *out = p->out + y * p->out_steps.y + x * p->out_steps.x;
    const uint8_t *residual = p->residual ? p->residual + y * p->residual_steps.y + x * p->residual_steps.x : NULL;
    int taps = p->kernel_h * p->kernel_w;
    bool slides = qd_depthwise_slides(p);
    
    if (!slides && taps <= CHUNK_TAPS)
        qd_taps_fill(p, y, x, n, 0, taps, scratch->taps);
    for (int c0 = 0; c0 < p->c; c0 += LANES) {
        int first = 0;

        if (slides)
            first = sum_sliding(p, scratch, qd_tap_of(p, y, x, 0, 0), n, c0);
        else
            sum_any(p, scratch, y, x, n, c0);
        if (residual)
            finish(p, r, &scratch->sums[first], c0, n, out + c0, residual + c0, false);
        else if (r->act == QD_REQUANT_LINEAR)
            finish(p, r, &scratch->sums[first], c0, n, out + c0, NULL, true);
        else
            finish(p, r, &scratch->sums[first], c0, n, out + c0, NULL, false);
    }
}

void qd_depthwise_avx2(const struct qd_depthwise_params *params)
{
    const struct qd_depthwise_params *p = params;
    const struct qd_requant_avx2 r = qd_requant_avx2_of(p->requant);
    struct scratch scratch;
    int taps = p->kernel_h * p->kernel_w;
    int n_max = TABLE_TAPS / (taps < CHUNK_TAPS ? taps : CHUNK_TAPS);

    if (n_max > CHUNK_X || qd_depthwise_slides(p))
        n_max = CHUNK_X;
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x += n_max)
            row_part(p, &r, &scratch, y, x, p->out_w - x < n_max ? p->out_w - x : n_max);
    }
}
