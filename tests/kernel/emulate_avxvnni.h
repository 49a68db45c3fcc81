/*
 * Compiles AVX-VNNI sources for a CPU without it, under names of their own: by the same instruction in its AVX-512
 * encoding (EMULATE_EVEX; the compiler sees no AVX-512, hence has the same 16 registers), else in C. Included first.
 * Static inline only; tests only.
 */
#ifndef QD_TESTS_KERNEL_EMULATE_AVXVNNI_H
#define QD_TESTS_KERNEL_EMULATE_AVXVNNI_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#ifdef EMULATE_EVEX
#define qd_conv_pack_size_avxvnni qd_conv_pack_size_avxvnni_evex
#define qd_conv_pack_avxvnni qd_conv_pack_avxvnni_evex
#define qd_conv_avxvnni qd_conv_avxvnni_evex

static inline __attribute__((always_inline)) __m256i emulate_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    __asm__("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "xm"(b));
    return sum;
}
#else
#define qd_conv_pack_size_avxvnni qd_conv_pack_size_avxvnni_emulated
#define qd_conv_pack_avxvnni qd_conv_pack_avxvnni_emulated
#define qd_conv_avxvnni qd_conv_avxvnni_emulated

static inline __m256i emulate_dpbusd(__m256i sum, __m256i a, __m256i b)
{
    int32_t sums[8];
    uint8_t a_bytes[32];
    int8_t b_bytes[32];

    memcpy(sums, &sum, sizeof(sums));
    memcpy(a_bytes, &a, sizeof(a_bytes));
    memcpy(b_bytes, &b, sizeof(b_bytes));
    for (int i = 0; i < 32; i++)
        sums[i / 4] += a_bytes[i] * b_bytes[i];
    return _mm256_loadu_si256((const __m256i *)sums);
}
#endif

#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 emulate_dpbusd

#endif
