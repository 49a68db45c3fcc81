#include "kernel/avx2.h"
#include "kernel/tiers.h"

/* The part of a window that lies inside the picture, in taps: ky in [ky0, ky1), kx in [kx0, kx1). */
struct inside {
    int ky0, ky1, kx0, kx1;
};

static void clip_axis(int begin, int dilation, int kernel, int size, int *ret_first, int *ret_end)
{
    int first = begin < 0 ? (-begin + dilation - 1) / dilation : 0;
    int end = begin >= size ? 0 : (size - 1 - begin) / dilation + 1;

    *ret_first = first;
    *ret_end = end < kernel ? end : kernel;
}

static struct inside find_inside(const struct qd_pool_params *p, int y, int x)
{
    struct inside in;

    clip_axis(y * p->stride_h - p->pad_top, p->dilation_h, p->kernel_h, p->h, &in.ky0, &in.ky1);
    clip_axis(x * p->stride_w - p->pad_left, p->dilation_w, p->kernel_w, p->w, &in.kx0, &in.kx1);
    return in;
}

static const uint8_t *tap_at(const struct qd_pool_params *p, int y, int x, int ky, int kx)
{
    int iy = y * p->stride_h - p->pad_top + ky * p->dilation_h, ix = x * p->stride_w - p->pad_left + kx * p->dilation_w;

    return p->in + ((size_t)iy * (size_t)p->w + (size_t)ix) * (size_t)p->c;
}

void qd_max_pool_avx2(const struct qd_pool_params *p)
{
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            struct inside in = find_inside(p, y, x);
            uint8_t *out = p->out + ((size_t)y * (size_t)p->out_w + (size_t)x) * (size_t)p->c;

            for (int c = 0; c < p->c; c += 16) {
                __m128i largest = _mm_setzero_si128();

                for (int ky = in.ky0; ky < in.ky1; ky++)
                    for (int kx = in.kx0; kx < in.kx1; kx++)
                        largest = _mm_max_epu8(
                            largest, _mm_loadu_si128((const __m128i *)(const void *)(tap_at(p, y, x, ky, kx) + c)));
                qd_store_bytes_avx2(out + c, largest, p->c - c);
            }
        }
    }
}

void qd_average_pool_avx2(const struct qd_pool_params *p)
{
    __m256i low = _mm256_set1_epi32(p->clamp_min), high = _mm256_set1_epi32(p->clamp_max);
    __m256 zero = _mm256_set1_ps(p->out_zero);

    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            struct inside in = find_inside(p, y, x);
            uint8_t *out = p->out + ((size_t)y * (size_t)p->out_w + (size_t)x) * (size_t)p->c;
            int n_taps = (in.ky1 > in.ky0 ? in.ky1 - in.ky0 : 0) * (in.kx1 > in.kx0 ? in.kx1 - in.kx0 : 0);
            __m256 factor = _mm256_set1_ps(p->mult / (float)(p->divisor_all ? p->divisor_all : n_taps));
            __m256i start = _mm256_set1_epi32(-n_taps * p->in_zero);

            for (int c = 0; c < p->c; c += 8) {
                __m256i sum = start;

                for (int ky = in.ky0; ky < in.ky1; ky++)
                    for (int kx = in.kx0; kx < in.kx1; kx++)
                        sum = _mm256_add_epi32(sum, _mm256_cvtepu8_epi32(_mm_loadl_epi64(
                                                        (const __m128i *)(const void *)(tap_at(p, y, x, ky, kx) + c))));
                sum = qd_clamp_avx2(_mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, zero), low, high);
                qd_store_bytes_avx2(out + c, qd_pack16_avx2(sum, sum), p->c - c < 8 ? p->c - c : 8);
            }
        }
    }
}

void qd_sum_rows_avx2(const uint8_t *in, size_t m, int c, int32_t *sums)
{
    int j = 0;

    for (; j + 8 <= c; j += 8) {
        __m256i sum = _mm256_loadu_si256((const __m256i *)(const void *)(sums + j));

        for (size_t i = 0; i < m; i++)
            sum = _mm256_add_epi32(sum, _mm256_cvtepu8_epi32(_mm_loadl_epi64(
                                            (const __m128i *)(const void *)(in + i * (size_t)c + (size_t)j))));
        _mm256_storeu_si256((__m256i *)(void *)(sums + j), sum);
    }
    for (; j < c; j++)
        for (size_t i = 0; i < m; i++)
            sums[j] += in[i * (size_t)c + (size_t)j];
}
