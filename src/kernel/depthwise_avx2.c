/*
 * Sixteen channels at a time. Two taps make pairs of int16 for vpmaddwd: bytes of both are widened and interleaved, the
 * weights are packed the same way. Taps are found through pointers, one per tap and pixel, so that borders (which point
 * to the padding), strides and dilations are all one path.
 */
#include "kernel/avx2.h"
#include "kernel/tiers.h"

#define PANEL 16
#define MAX_TAPS 128 /* more: the scalar form */

/* The scalar form's weights come first, for windows of more than MAX_TAPS. */
static size_t panels_at(int c, int taps)
{
    return (qd_depthwise_pack_size_scalar(c, taps) + 31) / 32 * 32;
}

size_t qd_depthwise_pack_size_avx2(int c, int taps)
{
    return panels_at(c, taps) + (size_t)((c + PANEL - 1) / PANEL) * (size_t)((taps + 1) / 2) * PANEL * 2 * sizeof(int16_t) +
           QD_KERNEL_SLACK;
}

/* Within a panel and pair of taps: channels 0-3 and 8-11 first, then 4-7 and 12-15, as vpunpck orders them. */
void qd_depthwise_pack_avx2(void *packed, const int8_t *w, int c, int taps)
{
    static const int order[PANEL] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
    int16_t *to = (int16_t *)(void *)((uint8_t *)packed + panels_at(c, taps));

    qd_depthwise_pack_scalar(packed, w, c, taps);
    for (int first = 0; first < c; first += PANEL)
        for (int t = 0; t < taps; t += 2)
            for (int j = 0; j < PANEL; j++)
                for (int x = t; x < t + 2; x++)
                    *to++ = x < taps && first + order[j] < c ? w[(size_t)(first + order[j]) * (size_t)taps + (size_t)x] : 0;
}

/* Where each tap of output pixel (y, x) reads; an odd number of taps repeats the last, whose second weight is 0. */
static void find_taps(const struct qd_depthwise_params *p, int y, int x, const uint8_t **taps)
{
    int n = 0;

    for (int ky = 0; ky < p->kernel_h; ky++) {
        int iy = y * p->stride_h - p->pad_top + ky * p->dilation_h;

        for (int kx = 0; kx < p->kernel_w; kx++) {
            int ix = x * p->stride_w - p->pad_left + kx * p->dilation_w;
            int inside = iy >= 0 && iy < p->h && ix >= 0 && ix < p->w;

            taps[n++] = inside ? p->in + ((size_t)iy * (size_t)p->w + (size_t)ix) * (size_t)p->c : p->pad_value;
        }
    }
    taps[n] = taps[n - 1];
}

static inline __m256i load16(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static void run_pixel(const struct qd_depthwise_params *p, const struct qd_requant_avx2 *v, const int16_t *w, int pairs,
                      const uint8_t *const *taps, size_t at)
{
    for (int c = 0; c < p->c; c += PANEL) {
        const uint8_t *residual = p->residual ? p->residual + at + c : NULL;
        __m256i even = _mm256_setzero_si256(), odd = even, low, high;

        for (int i = 0; i < pairs; i++, w += 2 * PANEL) {
            __m256i a = load16(taps[2 * i] + c), b = load16(taps[2 * i + 1] + c);

            even = _mm256_add_epi32(even, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b),
                                                            _mm256_loadu_si256((const __m256i *)(const void *)w)));
            odd = _mm256_add_epi32(odd, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b),
                                                          _mm256_loadu_si256((const __m256i *)(const void *)(w + PANEL))));
        }
        low = qd_requant8_avx2(v, _mm256_permute2x128_si256(even, odd, 0x20), p->requant->mult + c,
                               p->requant->offset + c, residual);
        high = qd_requant8_avx2(v, _mm256_permute2x128_si256(even, odd, 0x31), p->requant->mult + c + 8,
                                p->requant->offset + c + 8, residual ? residual + 8 : NULL);
        qd_store_bytes_avx2(p->out + at + c, qd_pack16_avx2(low, high), p->c - c);
    }
}

void qd_depthwise_avx2(const struct qd_depthwise_params *p)
{
    struct qd_requant_avx2 v = qd_requant_load_avx2(p->requant);
    int n_taps = p->kernel_h * p->kernel_w, pairs = (n_taps + 1) / 2;
    const int16_t *w = (const int16_t *)(const void *)((const uint8_t *)p->weights + panels_at(p->c, n_taps));
    const uint8_t *taps[MAX_TAPS + 1];

    if (n_taps > MAX_TAPS) {
        qd_depthwise_scalar(p);
        return;
    }
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            size_t at = ((size_t)y * (size_t)p->out_w + (size_t)x) * (size_t)p->c;

            find_taps(p, y, x, taps);
            run_pixel(p, &v, w, pairs, taps, at);
        }
    }
}
