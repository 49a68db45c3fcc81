/* Eight floats at once, under the names that float kernels are written in. Static inline only. */
#ifndef QD_KERNEL_VECTOR_AVX2_H
#define QD_KERNEL_VECTOR_AVX2_H

#include <immintrin.h>

#define VECTOR __m256
#define LANES 8
/* The product's tile: rows by vectors. The sums, a row of vectors and one weight fit the 16 registers. */
#define TILE_ROWS 4
#define TILE_VECTORS 3

static inline __m256 vector_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void vector_store(float *p, __m256 v)
{
    _mm256_storeu_ps(p, v);
}

static inline __m256i vector_first(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first n of p, 1 .. 8; no other float is touched. */
static inline __m256 vector_load_first(const float *p, int n)
{
    return _mm256_maskload_ps(p, vector_first(n));
}

/* Lanes begin .. end - 1 of p, the others of rest; no other float is read. 0 <= begin <= end <= 8 */
static inline __m256 vector_load_between(const float *p, int begin, int end, __m256 rest)
{
    __m256i mask = _mm256_andnot_si256(vector_first(begin), vector_first(end));

    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}

/* Every second lane, of a and then of b. */
static inline __m256 vector_even(__m256 a, __m256 b)
{
    __m256d even = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));

    return _mm256_castpd_ps(_mm256_permute4x64_pd(even, 0xd8));
}

static inline void vector_store_first(float *p, __m256 v, int n)
{
    _mm256_maskstore_ps(p, vector_first(n), v);
}

static inline __m256 vector_all(float x)
{
    return _mm256_set1_ps(x);
}

static inline __m256 vector_fma(__m256 a, __m256 b, __m256 c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* Sixteen chains into one sum: j takes j + 8, j + 4, j + 2, j + 1. */
static inline float vector_sum_chains(const __m256 *chains)
{
    __m256 s8 = _mm256_add_ps(chains[0], chains[1]);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));

    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

static inline __m256 vector_add(__m256 a, __m256 b)
{
    return _mm256_add_ps(a, b);
}

static inline __m256 vector_sub(__m256 a, __m256 b)
{
    return _mm256_sub_ps(a, b);
}

static inline __m256 vector_mul(__m256 a, __m256 b)
{
    return _mm256_mul_ps(a, b);
}

static inline __m256 vector_div(__m256 a, __m256 b)
{
    return _mm256_div_ps(a, b);
}

/* a > b ? a : b and a < b ? a : b; b where either is NaN. */
static inline __m256 vector_max(__m256 a, __m256 b)
{
    return _mm256_max_ps(a, b);
}

static inline __m256 vector_min(__m256 a, __m256 b)
{
    return _mm256_min_ps(a, b);
}

/* x < y ? a : b */
static inline __m256 vector_below(__m256 x, __m256 y, __m256 a, __m256 b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, y, _CMP_LT_OQ));
}

static inline __m256 vector_abs(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

/* To the nearest whole number, ties to the even one. */
static inline __m256 vector_round(__m256 x)
{
    return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^n, n whole, -126 .. 127 */
static inline __m256 vector_power(__m256 n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}

/* rows[i] lane j to rows[j] lane i. */
static inline void vector_transpose(__m256 rows[8])
{
    __m256 t[8];

    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            rows[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            rows[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(rows[i], rows[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(rows[i], rows[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        rows[i] = t[i];
}

#endif
