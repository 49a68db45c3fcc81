/*
 * Compiles AVX-512 sources for a CPU without it: simde's emulation in C under the names of the intrinsics, and here
 * what simde 0.7.4 lacks of what the kernels use. Included first; gcc's own header comes before it, so that a later
 * include of it declares nothing. Static inline only; tests only.
 */
#ifndef QD_TESTS_KERNEL_EMULATE_AVX512_H
#define QD_TESTS_KERNEL_EMULATE_AVX512_H

#include <immintrin.h>
#include <string.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

/* Once and with its sizes as arguments: a copy of the inner kernels per size would take minutes to compile. */
#define ALWAYS_INLINE_VNNI static __attribute__((noinline, noclone, unused))

/* The emulated kernels stand beside the real ones of the library. */
#define qd_conv_pack_size_vnni qd_conv_pack_size_emulated
#define qd_conv_pack_vnni qd_conv_pack_emulated
#define qd_conv_vnni qd_conv_emulated
#define qd_depthwise_pack_size_vnni qd_depthwise_pack_size_emulated
#define qd_depthwise_pack_vnni qd_depthwise_pack_emulated
#define qd_depthwise_vnni qd_depthwise_emulated
#define qd_affine_vnni qd_affine_emulated

static inline __m512 emulate_cvtepi32_ps(__m512i a)
{
    int32_t in[16];
    float out[16];

    memcpy(in, &a, sizeof(in));
    for (int i = 0; i < 16; i++)
        out[i] = (float)in[i];
    return _mm512_loadu_ps(out);
}

/* Rounding and overflow are the CPU's: one element at a time by SSE2's conversion. */
static inline __m512i emulate_cvtps_epi32(__m512 a)
{
    float in[16];
    int32_t out[16];

    memcpy(in, &a, sizeof(in));
    for (int i = 0; i < 16; i++)
        out[i] = _mm_cvtss_si32(_mm_set_ss(in[i]));
    return _mm512_loadu_si512(out);
}

static inline __m512i emulate_cvtepu8_epi32(__m128i a)
{
    uint8_t in[16];
    int32_t out[16];

    memcpy(in, &a, sizeof(in));
    for (int i = 0; i < 16; i++)
        out[i] = in[i];
    return _mm512_loadu_si512(out);
}

/* Masked elements are neither read nor written, as on the CPU. */
static inline __m512 emulate_maskz_loadu_ps(__mmask16 mask, const float *in)
{
    float out[16] = {0};

    for (int i = 0; i < 16; i++) {
        if (mask >> i & 1)
            memcpy(&out[i], &in[i], sizeof(float));
    }
    return _mm512_loadu_ps(out);
}

static inline void emulate_mask_storeu_ps(float *out, __mmask16 mask, __m512 a)
{
    float in[16];

    memcpy(in, &a, sizeof(in));
    for (int i = 0; i < 16; i++) {
        if (mask >> i & 1)
            memcpy(&out[i], &in[i], sizeof(float));
    }
}

static inline void emulate_copy_bytes(uint8_t *out, const uint8_t *in, uint64_t mask, int n)
{
    for (int i = 0; i < n; i++) {
        if (mask >> i & 1)
            out[i] = in[i];
    }
}

static inline __m512i emulate_maskz_loadu_epi8(__mmask64 mask, const void *in)
{
    uint8_t out[64] = {0};

    emulate_copy_bytes(out, in, mask, 64);
    return _mm512_loadu_si512(out);
}

static inline __m128i emulate_128_maskz_loadu_epi8(__mmask16 mask, const void *in)
{
    uint8_t out[16] = {0};

    emulate_copy_bytes(out, in, mask, 16);
    return _mm_loadu_si128((const __m128i *)out);
}

static inline void emulate_mask_storeu_epi8(void *out, __mmask64 mask, __m512i a)
{
    uint8_t in[64];

    memcpy(in, &a, sizeof(in));
    emulate_copy_bytes(out, in, mask, 64);
}

static inline __m512 emulate_shuffle_f32x4(__m512 a, __m512 b, int order)
{
    float a_in[16], b_in[16], out[16];

    memcpy(a_in, &a, sizeof(a_in));
    memcpy(b_in, &b, sizeof(b_in));
    for (int lane = 0; lane < 4; lane++)
        memcpy(out + 4 * lane, (lane < 2 ? a_in : b_in) + (order >> 2 * lane & 3) * 4, 4 * sizeof(float));
    return _mm512_loadu_ps(out);
}

#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulate_shuffle_f32x4
#define _mm512_cvtepi32_ps emulate_cvtepi32_ps
#define _mm512_cvtps_epi32 emulate_cvtps_epi32
#define _mm512_cvtepu8_epi32 emulate_cvtepu8_epi32
#define _mm512_maskz_loadu_ps emulate_maskz_loadu_ps
#define _mm512_mask_storeu_ps emulate_mask_storeu_ps
#define _mm512_maskz_loadu_epi8 emulate_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8 emulate_128_maskz_loadu_epi8
#define _mm512_mask_storeu_epi8 emulate_mask_storeu_epi8

#endif
