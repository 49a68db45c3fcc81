#include "kernel/tiers.h"

#include <math.h>

#include "kernel/requant.h"
#include "kernel/requant_avx2.h"

#define LANES 16 /* bytes at a time */

ALWAYS_INLINE_AVX2 __m128i load16(const uint8_t *in)
{
    return _mm_loadu_si128((const __m128i *)in);
}

/* 16 bytes as two vectors of eight ints. */
ALWAYS_INLINE_AVX2 void to_ints(__m128i bytes, __m256i ints[2])
{
    ints[0] = _mm256_cvtepu8_epi32(bytes);
    ints[1] = _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8));
}

ALWAYS_INLINE_AVX2 void to_floats(__m128i bytes, __m256 floats[2])
{
    __m256i ints[2];

    to_ints(bytes, ints);
    floats[0] = _mm256_cvtepi32_ps(ints[0]);
    floats[1] = _mm256_cvtepi32_ps(ints[1]);
}

ALWAYS_INLINE_AVX2 __m128i to_bytes(const __m256 t[2], __m128i low, __m256 high)
{
    return qd_pack_avx2(qd_round_avx2(t[0], high), qd_round_avx2(t[1], high), low);
}

/* Parameters in vectors, for what add and mul do to 16 bytes. */
struct add_avx2 {
    __m256 a_mult, b_mult, offset, high;
    __m128i low;
};

ALWAYS_INLINE_AVX2 __m128i add16(const struct add_avx2 *v, __m128i a_bytes, __m128i b_bytes)
{
    __m256 a[2], b[2];

    to_floats(a_bytes, a);
    to_floats(b_bytes, b);
    for (int j = 0; j < 2; j++)
        a[j] = _mm256_fmadd_ps(a[j], v->a_mult, _mm256_fmadd_ps(b[j], v->b_mult, v->offset));
    return to_bytes(a, v->low, v->high);
}

void qd_add_avx2(const struct qd_add_params *params)
{
    const struct qd_add_params *p = params;
    const struct add_avx2 v = {
        .a_mult = _mm256_set1_ps(p->a_mult),
        .b_mult = _mm256_set1_ps(p->b_mult),
        .offset = _mm256_set1_ps(p->offset),
        .high = _mm256_set1_ps(p->clamp_max),
        .low = _mm_set1_epi8((char)p->clamp_min),
    };
    size_t i = 0;

    for (; i + LANES <= p->n; i += LANES)
        _mm_storeu_si128((__m128i *)(p->out + i), add16(&v, load16(p->a + i), load16(p->b + i)));
    if (i < p->n) {
        int n = (int)(p->n - i);
        qd_store_bytes_avx2(p->out + i, add16(&v, qd_load_bytes_avx2(p->a + i, n), qd_load_bytes_avx2(p->b + i, n)), n);
    }
}

struct mul_avx2 {
    __m256i a_zero, b_zero;
    __m256 mult, zero, high;
    __m128i low;
};

ALWAYS_INLINE_AVX2 __m128i mul16(const struct mul_avx2 *v, __m128i a_bytes, __m128i b_bytes)
{
    __m256i a[2], b[2];
    __m256 t[2];

    to_ints(a_bytes, a);
    to_ints(b_bytes, b);
    for (int j = 0; j < 2; j++) {
        __m256 a_float = _mm256_cvtepi32_ps(_mm256_sub_epi32(a[j], v->a_zero));
        __m256 b_float = _mm256_cvtepi32_ps(_mm256_sub_epi32(b[j], v->b_zero));
        /* At most 255 * 255, so the product of the floats is exact. */
        t[j] = _mm256_fmadd_ps(_mm256_mul_ps(a_float, b_float), v->mult, v->zero);
    }
    return to_bytes(t, v->low, v->high);
}

void qd_mul_avx2(const struct qd_mul_params *params)
{
    const struct qd_mul_params *p = params;
    const struct mul_avx2 v = {
        .a_zero = _mm256_set1_epi32(p->a_zero),
        .b_zero = _mm256_set1_epi32(p->b_zero),
        .mult = _mm256_set1_ps(p->mult),
        .zero = _mm256_set1_ps(p->zero),
        .high = _mm256_set1_ps(p->clamp_max),
        .low = _mm_set1_epi8((char)p->clamp_min),
    };
    size_t i = 0;

    for (; i + LANES <= p->n; i += LANES)
        _mm_storeu_si128((__m128i *)(p->out + i), mul16(&v, load16(p->a + i), load16(p->b + i)));
    if (i < p->n) {
        int n = (int)(p->n - i);
        qd_store_bytes_avx2(p->out + i, mul16(&v, qd_load_bytes_avx2(p->a + i, n), qd_load_bytes_avx2(p->b + i, n)), n);
    }
}

void qd_affine_avx2(const struct qd_affine_params *params)
{
    const struct qd_affine_params *p = params;
    const __m256 high = _mm256_set1_ps(p->clamp_max);
    const __m128i low = _mm_set1_epi8((char)p->clamp_min);
    int vector_end = p->c / LANES * LANES;

    for (size_t m = 0; m < p->m; m++) {
        const uint8_t *in = p->in + m * (size_t)p->c;
        uint8_t *out = p->out + m * (size_t)p->c;

        for (int c = 0; c < vector_end; c += LANES) {
            __m256 t[2];

            to_floats(load16(in + c), t);
            for (int j = 0; j < 2; j++)
                t[j] =
                    _mm256_fmadd_ps(t[j], _mm256_loadu_ps(p->mult + c + 8 * j), _mm256_loadu_ps(p->offset + c + 8 * j));
            _mm_storeu_si128((__m128i *)(out + c), to_bytes(t, low, high));
        }
        for (int c = vector_end; c < p->c; c++)
            out[c] = qd_clamp_round(fmaf(in[c], p->mult[c], p->offset[c]), p->clamp_min, p->clamp_max);
    }
}

/* Two groups, the usual number, are unpacked; a row's last vector ends with the row and may overlap the one before. */
void qd_shuffle_avx2(const uint8_t *in, uint8_t *out, size_t m, int c, int groups)
{
    int size = c / groups;

    if (groups != 2 || size < LANES) {
        qd_shuffle_scalar(in, out, m, c, groups);
        return;
    }
    for (; m > 0; m--, in += c, out += c) {
        for (int i = 0; i < size; i += LANES) {
            int at = i + LANES <= size ? i : size - LANES;
            __m128i a = load16(in + at), b = load16(in + size + at);

            _mm_storeu_si128((__m128i *)(out + 2 * (ptrdiff_t)at), _mm_unpacklo_epi8(a, b));
            _mm_storeu_si128((__m128i *)(out + 2 * (ptrdiff_t)at) + 1, _mm_unpackhi_epi8(a, b));
        }
    }
}

/*
 * 32 lookups among 128: the table is eight rows of 16, each looked up with vpshufb by the low four bits and added by
 * xor. rows[i] is row i xor row i - 1, and counts for a byte where byte - 16 * i is not negative: what is negative
 * gives 0, and saturation keeps it negative.
 */
ALWAYS_INLINE_AVX2 __m256i lookup_half(__m256i index, const __m256i rows[8])
{
    const __m256i step = _mm256_set1_epi8(16);
    __m256i value = _mm256_shuffle_epi8(rows[0], index);

    for (int i = 1; i < 8; i++) {
        index = _mm256_subs_epi8(index, step);
        value = _mm256_xor_si256(value, _mm256_shuffle_epi8(rows[i], index));
    }
    return value;
}

void qd_lookup_avx2(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256])
{
    __m256i rows[16];
    size_t i = 0;

    for (int j = 0; j < 16; j++) {
        __m128i row = _mm_loadu_si128((const __m128i *)(table + 16 * j));

        if (j % 8 != 0)
            row = _mm_xor_si128(row, _mm_loadu_si128((const __m128i *)(table + 16 * j - 16)));
        rows[j] = _mm256_broadcastsi128_si256(row);
    }
    for (; i + 32 <= n; i += 32) {
        __m256i index = _mm256_loadu_si256((const __m256i *)(in + i));
        __m256i below = lookup_half(index, rows);
        __m256i above = lookup_half(_mm256_xor_si256(index, _mm256_set1_epi8((char)0x80)), rows + 8);

        _mm256_storeu_si256((__m256i *)(out + i), _mm256_or_si256(below, above));
    }
    for (; i < n; i++)
        out[i] = table[in[i]];
}

void qd_quantize_avx2(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero)
{
    const __m256 scale = _mm256_set1_ps(inverse_scale), offset = _mm256_set1_ps(zero), high = _mm256_set1_ps(255);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m256 t[2] = {_mm256_fmadd_ps(_mm256_loadu_ps(in + i), scale, offset),
                       _mm256_fmadd_ps(_mm256_loadu_ps(in + i + 8), scale, offset)};
        _mm_storeu_si128((__m128i *)(out + i), to_bytes(t, _mm_setzero_si128(), high));
    }
    for (; i < n; i++)
        out[i] = qd_clamp_round(fmaf(in[i], inverse_scale, zero), 0, 255);
}

void qd_dequantize_avx2(const uint8_t *in, float *out, size_t n, float scale, int zero)
{
    const __m256 factor = _mm256_set1_ps(scale);
    const __m256i offset = _mm256_set1_epi32(zero);
    size_t i = 0;

    for (; i + LANES <= n; i += LANES) {
        __m256i ints[2];

        to_ints(load16(in + i), ints);
        for (int j = 0; j < 2; j++) {
            __m256 value = _mm256_cvtepi32_ps(_mm256_sub_epi32(ints[j], offset));
            _mm256_storeu_ps(out + i + 8 * (size_t)j, _mm256_mul_ps(value, factor));
        }
    }
    for (; i < n; i++)
        out[i] = (float)(in[i] - zero) * scale;
}
