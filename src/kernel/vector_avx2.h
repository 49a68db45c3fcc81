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

#endif
