/*
 * Depthwise convolution with AVX-512 VNNI, 64 channels at a time: the bytes of four taps are interleaved, so that each
 * 32-bit element holds one channel's four taps for vpdpbusd. The interleaving leaves channels 16 * l + 4 * j + (0 .. 3)
 * in lane l of vector j, which is the order that the final packs undo.
 *
 * Packed weights: [c/64][taps][64] s8, channels past c zero. All loads are masked: nothing past a pixel is read.
 */
#include "kernel/tiers.h"

#include <string.h>

#include "kernel/depthwise_taps.h"
#include "kernel/requant_vnni.h"

#define LANES 64
#define CHUNK_TAPS 64  /* taps whose weights are ready at a time; a multiple of 4 */
#define CHUNK_X 32     /* output pixels at a time */
#define TABLE_TAPS 512 /* pointers to taps */

/* Outputs that one column of the input is part of, at most. */
#define LIVE(kernel, stride) (((kernel) + (stride)-1) / (stride))

struct scratch {
    __m512i weights[CHUNK_TAPS]; /* four per four taps */
    int32_t sums[CHUNK_X + QD_MAX_SLIDE][LANES];
    const uint8_t *taps[TABLE_TAPS];
};

/* Up to 32 channels half of each vector would be empty: AVX2's kernel is faster then, and its packing is used. */
static bool is_narrow(int c)
{
    return c <= LANES / 2;
}

size_t qd_depthwise_pack_size_vnni(int c, int taps)
{
    if (is_narrow(c))
        return qd_depthwise_pack_size_avx2(c, taps);
    return ((size_t)c + LANES - 1) / LANES * LANES * (size_t)taps + QD_KERNEL_SLACK;
}

void qd_depthwise_pack_vnni(void *packed, const int8_t *w, int c, int taps)
{
    int8_t *out = packed;

    if (is_narrow(c)) {
        qd_depthwise_pack_avx2(packed, w, c, taps);
        return;
    }
    memset(packed, 0, qd_depthwise_pack_size_vnni(c, taps));
    for (int i = 0; i < c; i++) {
        for (int t = 0; t < taps; t++)
            out[((ptrdiff_t)(i / LANES) * taps + t) * LANES + i % LANES] = w[(ptrdiff_t)i * taps + t];
    }
}

/* out[j]: each element the bytes of one channel in a, b, c and d. */
ALWAYS_INLINE_VNNI void interleave(__m512i a, __m512i b, __m512i c, __m512i d, __m512i out[4])
{
    __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);

    out[0] = _mm512_unpacklo_epi16(ab_low, cd_low);
    out[1] = _mm512_unpackhi_epi16(ab_low, cd_low);
    out[2] = _mm512_unpacklo_epi16(ab_high, cd_high);
    out[3] = _mm512_unpackhi_epi16(ab_high, cd_high);
}

/* The weights of up to four taps, tap_stride taps apart; those past n_taps are 0. */
static void prepare_quad(const int8_t *w, int tap_stride, int n_taps, __m512i out[4])
{
    __m512i taps[4];

    for (int t = 0; t < 4; t++)
        taps[t] = t < n_taps ? _mm512_loadu_si512(w + t * tap_stride * LANES) : _mm512_setzero_si512();
    interleave(taps[0], taps[1], taps[2], taps[3], out);
}

/* Any kernel, stride and dilation: taps in their order, four at a time. Taps past the last meet weights of 0. */
static void sum_quads(struct scratch *scratch, int c0, __mmask64 mask, int n, int n_taps, bool first)
{
    const uint8_t *const *tap = scratch->taps;

    for (int x = 0; x < n; x++, tap += n_taps) {
        int32_t *sums = scratch->sums[x];
        __m512i acc[4];

        for (int j = 0; j < 4; j++)
            acc[j] = first ? _mm512_setzero_si512() : _mm512_loadu_si512(sums + 16 * j);
        for (int t = 0; t < n_taps; t += 4) {
            __m512i pixels[4], quads[4];

            for (int i = 0; i < 4; i++)
                pixels[i] = _mm512_maskz_loadu_epi8(mask, tap[t + i < n_taps ? t + i : t] + c0);
            interleave(pixels[0], pixels[1], pixels[2], pixels[3], quads);
            for (int j = 0; j < 4; j++)
                acc[j] = _mm512_dpbusd_epi32(acc[j], quads[j], scratch->weights[t + j]);
        }
        for (int j = 0; j < 4; j++)
            _mm512_storeu_si512(sums + 16 * j, acc[j]);
    }
}

/* Where all taps of the pixels fit the table it is filled once for all channels, by the caller. */
static void sum_any(const struct qd_depthwise_params *p, struct scratch *scratch, int y, int x, int n, int c0,
                    __mmask64 mask)
{
    int taps = p->kernel_h * p->kernel_w;
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)c0 * taps;

    for (int t = 0; t < taps; t += CHUNK_TAPS) {
        int n_taps = taps - t < CHUNK_TAPS ? taps - t : CHUNK_TAPS;

        if (taps > CHUNK_TAPS)
            qd_taps_fill(p, y, x, n, t, n_taps, scratch->taps);
        for (int i = 0; i < n_taps; i += 4)
            prepare_quad(w + (ptrdiff_t)(t + i) * LANES, 1, n_taps - i, &scratch->weights[i]);
        sum_quads(scratch, c0, mask, n, n_taps, t == 0);
    }
}

/* Four rows in each column of a square kernel: [kx][quad of rows][4]. */
static void prepare_columns(struct scratch *scratch, const int8_t *w, int kernel)
{
    __m512i *out = scratch->weights;

    for (int kx = 0; kx < kernel; kx++) {
        for (int ky = 0; ky < kernel; ky += 4, out += 4)
            prepare_quad(w + (ky * kernel + kx) * LANES, kernel, kernel - ky, out);
    }
}

ALWAYS_INLINE_VNNI __m512i load_row(const uint8_t *row, ptrdiff_t row_step, int ky, int kernel, __mmask64 mask)
{
    return ky < kernel ? _mm512_maskz_loadu_epi8(mask, row + ky * row_step) : _mm512_setzero_si512();
}

/*
 * Slides along the row: each column of the input is interleaved once, and goes into the sums of all the outputs that it
 * touches: in step i, the columns i * stride + d are tap l * stride + d of output i - l. Output x's sums are complete
 * in step x + n_live - 1 and lie there; what lies before is none.
 */
ALWAYS_INLINE_VNNI void slide(const struct qd_depthwise_params *p, struct scratch *scratch, const uint8_t *row, int c0,
                              __mmask64 mask, int n, const int kernel, const int stride)
{
    const int n_live = LIVE(kernel, stride), n_quads = (kernel + 3) / 4;
    const __m512i *weights = scratch->weights;
    const ptrdiff_t row_step = p->dilation_h * p->in_steps.y;
    __m512i acc[QD_MAX_SLIDE + 1][4];

#pragma GCC unroll 8
    for (int l = 0; l < n_live; l++)
        acc[l][0] = acc[l][1] = acc[l][2] = acc[l][3] = _mm512_setzero_si512();
    for (int i = 0; i < n + n_live - 1; i++) {
        /* The weights stay operands in memory: gcc would hoist them all, and spill. */
        __asm__("" : "+r"(weights));
#pragma GCC unroll 2
        for (int d = 0; d < stride; d++, row += p->in_steps.x) {
            /* No window reaches the last column of the last step where the stride does not divide the kernel. */
            const uint8_t *column = i * stride + d < (n - 1) * stride + kernel ? row : row - p->in_steps.x;

#pragma GCC unroll 2
            for (int quad = 0; quad < n_quads; quad++) {
                const int ky = 4 * quad;
                __m512i quads[4];

                interleave(load_row(column + c0, row_step, ky, kernel, mask),
                           load_row(column + c0, row_step, ky + 1, kernel, mask),
                           load_row(column + c0, row_step, ky + 2, kernel, mask),
                           load_row(column + c0, row_step, ky + 3, kernel, mask), quads);
#pragma GCC unroll 8
                for (int l = 0; l < n_live; l++) {
                    const int kx = l * stride + d;

#pragma GCC unroll 4
                    for (int j = 0; j < 4 && kx < kernel; j++)
                        acc[l][j] = _mm512_dpbusd_epi32(acc[l][j], quads[j], weights[(kx * n_quads + quad) * 4 + j]);
                }
            }
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            _mm512_storeu_si512(scratch->sums[i] + 16 * j, acc[n_live - 1][j]);
#pragma GCC unroll 8
            for (int l = n_live - 1; l > 0; l--)
                acc[l][j] = acc[l - 1][j];
            acc[0][j] = _mm512_setzero_si512();
        }
    }
}

#define SLIDE(kernel, stride)                                                                                          \
    static __attribute__((noinline)) void slide_##kernel##_##stride(const struct qd_depthwise_params *p,               \
                                                                    struct scratch *scratch, const uint8_t *row,       \
                                                                    int c0, __mmask64 mask, int n)                     \
    {                                                                                                                  \
        slide(p, scratch, row, c0, mask, n, kernel, stride);                                                           \
    }
SLIDE(3, 1)
SLIDE(3, 2)
SLIDE(5, 1)
SLIDE(5, 2)

/* Returns where output x's sums lie. */
static int sum_sliding(const struct qd_depthwise_params *p, struct scratch *scratch, const uint8_t *row, int n, int c0,
                       __mmask64 mask)
{
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)c0 * p->kernel_h * p->kernel_w;

    prepare_columns(scratch, w, p->kernel_w);
    if (p->kernel_w == 3 && p->stride_w == 1)
        slide_3_1(p, scratch, row, c0, mask, n);
    else if (p->kernel_w == 3)
        slide_3_2(p, scratch, row, c0, mask, n);
    else if (p->stride_w == 1)
        slide_5_1(p, scratch, row, c0, mask, n);
    else
        slide_5_2(p, scratch, row, c0, mask, n);
    return LIVE(p->kernel_w, p->stride_w) - 1;
}

/* n floats in the order of the sums: lane l of vector j are the floats 16 * l + 4 * j + (0 .. 3). */
ALWAYS_INLINE_VNNI void load_interleaved(const float *in, int n, __m512 ret[4])
{
    __m512 v0 = _mm512_maskz_loadu_ps(qd_mask16_vnni(n), in);
    __m512 v1 = _mm512_maskz_loadu_ps(qd_mask16_vnni(n - 16), in + 16);
    __m512 v2 = _mm512_maskz_loadu_ps(qd_mask16_vnni(n - 32), in + 32);
    __m512 v3 = _mm512_maskz_loadu_ps(qd_mask16_vnni(n - 48), in + 48);
    __m512 low_01 = _mm512_shuffle_f32x4(v0, v1, 0x44), high_01 = _mm512_shuffle_f32x4(v0, v1, 0xee);
    __m512 low_23 = _mm512_shuffle_f32x4(v2, v3, 0x44), high_23 = _mm512_shuffle_f32x4(v2, v3, 0xee);

    ret[0] = _mm512_shuffle_f32x4(low_01, low_23, 0x88);
    ret[1] = _mm512_shuffle_f32x4(low_01, low_23, 0xdd);
    ret[2] = _mm512_shuffle_f32x4(high_01, high_23, 0x88);
    ret[3] = _mm512_shuffle_f32x4(high_01, high_23, 0xdd);
}

/* out and residual point to the first pixel's channel c0. */
ALWAYS_INLINE_VNNI void finish(const struct qd_depthwise_params *p, const struct qd_requant_vnni *all,
                               const int32_t sums[][LANES], int c0, __mmask64 mask, int n, uint8_t *out,
                               const uint8_t *residual, const bool linear)
{
    const __m512i zero = _mm512_setzero_si512();
    struct qd_requant_vnni r = *all;
    __m512 mult[4], offset[4], slope[4];

    load_interleaved(p->requant->mult + c0, p->c - c0, mult);
    load_interleaved(p->requant->offset + c0, p->c - c0, offset);
    load_interleaved(p->requant->slope + c0, p->c - c0, slope);
    if (linear)
        r.act = QD_REQUANT_LINEAR;
    for (int x = 0; x < n; x++, out += p->out_steps.x) {
        __m512i ints[4] = {zero, zero, zero, zero}, bytes;

        if (residual)
            interleave(_mm512_maskz_loadu_epi8(mask, residual + x * p->residual_steps.x), zero, zero, zero, ints);
        for (int j = 0; j < 4; j++)
            ints[j] = qd_requant_ints_vnni(&r, _mm512_loadu_si512(sums[x] + 16 * j), mult[j], offset[j], slope[j],
                                           residual, ints[j]);
        bytes = _mm512_packus_epi16(_mm512_packs_epi32(ints[0], ints[1]), _mm512_packs_epi32(ints[2], ints[3]));
        _mm512_mask_storeu_epi8(out, mask, qd_clamp_vnni(&r, bytes));
    }
}

static void row_part(const struct qd_depthwise_params *p, const struct qd_requant_vnni *r, struct scratch *scratch,
                     int y, int x, int n)
{
    uint8_t *out = p->out + y * p->out_steps.y + x * p->out_steps.x;
    const uint8_t *residual = p->residual ? p->residual + y * p->residual_steps.y + x * p->residual_steps.x : NULL;
    int taps = p->kernel_h * p->kernel_w;
    bool slides = qd_depthwise_slides(p);

    if (!slides && taps <= CHUNK_TAPS)
        qd_taps_fill(p, y, x, n, 0, taps, scratch->taps);
    for (int c0 = 0; c0 < p->c; c0 += LANES) {
        __mmask64 mask = qd_mask64_vnni(p->c - c0);
        int first = 0;

        if (slides)
            first = sum_sliding(p, scratch, qd_tap_of(p, y, x, 0, 0), n, c0, mask);
        else
            sum_any(p, scratch, y, x, n, c0, mask);
        if (residual)
            finish(p, r, &scratch->sums[first], c0, mask, n, out + c0, residual + c0, false);
        else if (r->act == QD_REQUANT_LINEAR)
            finish(p, r, &scratch->sums[first], c0, mask, n, out + c0, NULL, true);
        else
            finish(p, r, &scratch->sums[first], c0, mask, n, out + c0, NULL, false);
    }
}

void qd_depthwise_vnni(const struct qd_depthwise_params *params)
{
    const struct qd_depthwise_params *p = params;
    const struct qd_requant_vnni r = qd_requant_vnni_of(p->requant);
    struct scratch scratch;
    int taps = p->kernel_h * p->kernel_w;
    int n_max = TABLE_TAPS / (taps < CHUNK_TAPS ? taps : CHUNK_TAPS);

    if (is_narrow(p->c)) {
        qd_depthwise_avx2(p);
        return;
    }
    if (n_max > CHUNK_X || qd_depthwise_slides(p))
        n_max = CHUNK_X;
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x += n_max)
            row_part(p, &r, &scratch, y, x, p->out_w - x < n_max ? p->out_w - x : n_max);
    }
}
