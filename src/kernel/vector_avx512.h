/* Sixteen floats at once, under the names that float kernels are written in. Static inline only. */
#ifndef QD_KERNEL_VECTOR_AVX512_H
#define QD_KERNEL_VECTOR_AVX512_H

#include <immintrin.h>

#define VECTOR __m512
#define LANES 16
/* The product's tile: rows by vectors. The sums, a row of vectors and one weight fit the 32 registers. */
#define TILE_ROWS 8
#define TILE_VECTORS 3

static inline __m512 vector_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void vector_store(float *p, __m512 v)
{
    _mm512_storeu_ps(p, v);
}

/* The first n of p, 1 .. 16; no other float is touched. */
static inline __m512 vector_load_first(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

/* Lanes begin .. end - 1 of p, the others of rest; no other float is read. 0 <= begin <= end <= 16 */
static inline __m512 vector_load_between(const float *p, int begin, int end, __m512 rest)
{
    return _mm512_mask_loadu_ps(rest, (__mmask16)((1u << end) - (1u << begin)), p);
}

/* Every second lane, of a and then of b. */
static inline __m512 vector_even(__m512 a, __m512 b)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);

    return _mm512_permutex2var_ps(a, even, b);
}

static inline void vector_store_first(float *p, __m512 v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}

static inline __m512 vector_all(float x)
{
    return _mm512_set1_ps(x);
}

static inline __m512 vector_fma(__m512 a, __m512 b, __m512 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* Sixteen chains into one sum: j takes j + 8, j + 4, j + 2, j + 1. */
static inline float vector_sum_chains(const __m512 *chains)
{
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(chains[0]), _mm512_extractf32x8_ps(chains[0], 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));

    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

static inline __m512 vector_add(__m512 a, __m512 b)
{
    return _mm512_add_ps(a, b);
}

static inline __m512 vector_sub(__m512 a, __m512 b)
{
    return _mm512_sub_ps(a, b);
}

static inline __m512 vector_mul(__m512 a, __m512 b)
{
    return _mm512_mul_ps(a, b);
}

static inline __m512 vector_div(__m512 a, __m512 b)
{
    return _mm512_div_ps(a, b);
}

/* a > b ? a : b and a < b ? a : b; b where either is NaN. */
static inline __m512 vector_max(__m512 a, __m512 b)
{
    return _mm512_max_ps(a, b);
}

static inline __m512 vector_min(__m512 a, __m512 b)
{
    return _mm512_min_ps(a, b);
}

/* x < y ? a : b */
static inline __m512 vector_below(__m512 x, __m512 y, __m512 a, __m512 b)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, y, _CMP_LT_OQ), b, a);
}

static inline __m512 vector_abs(__m512 x)
{
    return _mm512_abs_ps(x);
}

/* To the nearest whole number, ties to the even one. */
static inline __m512 vector_round(__m512 x)
{
    return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^n, n whole, -126 .. 127 */
static inline __m512 vector_power(__m512 n)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}

/* rows[i] lane j to rows[j] lane i. */
static inline void vector_transpose(__m512 rows[16])
{
    __m512 t[16];

    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);

            rows[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            rows[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_f32x4(rows[i + j], rows[i + j + 4], 0x88);
            t[i + j + 4] = _mm512_shuffle_f32x4(rows[i + j], rows[i + j + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        rows[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        rows[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

/* Half a vector: where a CPU makes 512 bits in two passes it takes half the time. */
#define HALF __m256

static inline __m256 half_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline __m256 half_load_first(const float *p, int n)
{
    return _mm256_maskz_loadu_ps((__mmask8)((1u << n) - 1), p);
}

static inline void half_store_first(float *p, __m256 v, int n)
{
    _mm256_mask_storeu_ps(p, (__mmask8)((1u << n) - 1), v);
}

static inline __m256 half_all(float x)
{
    return _mm256_set1_ps(x);
}

static inline __m256 half_fma(__m256 a, __m256 b, __m256 c)
{
    return _mm256_fmadd_ps(a, b, c);
}

#endif
