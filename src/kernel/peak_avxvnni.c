#include <immintrin.h>

#include "kernel/tiers.h"

/* Sums that do not wait for each other: more than latency times units. */
#define SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define N_SUMS 12

int64_t qd_peak_avxvnni(int64_t iterations, int32_t *sink)
{
    __m256i a = _mm256_set1_epi32(0x35a77bd1), b = _mm256_set1_epi32(0x2bc57f91), all = _mm256_setzero_si256();
#define DEFINE(i) __m256i sum##i = _mm256_set1_epi32(i);
#define STEP(i) sum##i = _mm256_dpbusd_avx_epi32(sum##i, a, b);
#define ADD(i) all = _mm256_add_epi32(all, sum##i);

    SUMS(DEFINE)
    for (int64_t n = 0; n < iterations; n++) {
        SUMS(STEP)
        __asm__ volatile("" : "+x"(a), "+x"(b));
    }
    SUMS(ADD)
    *sink = _mm256_extract_epi32(all, 0);
    return iterations * N_SUMS * 32;
}
