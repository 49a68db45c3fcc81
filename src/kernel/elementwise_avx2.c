#include "kernel/avx2.h"
#include "kernel/tiers.h"

void qd_add_avx2(const struct qd_add_params *p)
{
    __m256 a_mult = _mm256_set1_ps(p->a_mult), b_mult = _mm256_set1_ps(p->b_mult), offset = _mm256_set1_ps(p->offset);
    __m256i low = _mm256_set1_epi32(p->clamp_min), high = _mm256_set1_epi32(p->clamp_max);
    struct qd_add_params tail = *p;
    size_t i = 0;

    for (; i + 16 <= p->n; i += 16) {
        __m256i r[2];

        for (int h = 0; h < 2; h++) {
            __m256 t = _mm256_fmadd_ps(qd_load8_ps_avx2(p->b + i + 8 * h), b_mult, offset);

            r[h] = qd_clamp_avx2(_mm256_fmadd_ps(qd_load8_ps_avx2(p->a + i + 8 * h), a_mult, t), low, high);
        }
        _mm_storeu_si128((__m128i *)(void *)(p->out + i), qd_pack16_avx2(r[0], r[1]));
    }
    tail.a += i;
    tail.b += i;
    tail.out += i;
    tail.n -= i;
    qd_add_scalar(&tail);
}

void qd_mul_avx2(const struct qd_mul_params *p)
{
    __m256 mult = _mm256_set1_ps(p->mult), zero = _mm256_set1_ps(p->zero);
    __m256i a_zero = _mm256_set1_epi32(p->a_zero), b_zero = _mm256_set1_epi32(p->b_zero);
    __m256i low = _mm256_set1_epi32(p->clamp_min), high = _mm256_set1_epi32(p->clamp_max);

    for (size_t i = 0; i < p->m; i++) {
        const uint8_t *a = p->a + i * (size_t)p->c, *b = p->b + (ptrdiff_t)i * p->b_stride;
        uint8_t *out = p->out + i * (size_t)p->c;

        for (int c = 0; c < p->c; c += 8) {
            __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(a + c)));
            __m256i y = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(b + c)));
            __m256i product = _mm256_mullo_epi32(_mm256_sub_epi32(x, a_zero), _mm256_sub_epi32(y, b_zero));
            __m256i steps = qd_clamp_avx2(_mm256_fmadd_ps(_mm256_cvtepi32_ps(product), mult, zero), low, high);

            qd_store_bytes_avx2(out + c, qd_pack16_avx2(steps, steps), p->c - c < 8 ? p->c - c : 8);
        }
    }
}

void qd_quantize_avx2(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero)
{
    __m256 scale = _mm256_set1_ps(inverse_scale), shift = _mm256_set1_ps(zero), top = _mm256_set1_ps(255);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        __m256i r[2];

        for (int h = 0; h < 2; h++) {
            __m256 u = _mm256_fmadd_ps(_mm256_loadu_ps(in + i + 8 * h), scale, shift);

            /* vmaxps gives its second operand for NaN: 0. */
            u = _mm256_min_ps(_mm256_max_ps(u, _mm256_setzero_ps()), top);
            r[h] = _mm256_cvtps_epi32(u);
        }
        _mm_storeu_si128((__m128i *)(void *)(out + i), qd_pack16_avx2(r[0], r[1]));
    }
    qd_quantize_scalar(in + i, out + i, n - i, inverse_scale, zero);
}

void qd_dequantize_avx2(const uint8_t *in, float *out, size_t n, float scale, int zero)
{
    __m256 factor = _mm256_set1_ps(scale);
    __m256i shift = _mm256_set1_epi32(zero);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i x = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(in + i)));

        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(x, shift)), factor));
    }
    qd_dequantize_scalar(in + i, out + i, n - i, scale, zero);
}
