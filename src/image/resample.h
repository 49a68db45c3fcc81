/*
 * The inner loops of the resize, compiled once per tier: plain C that the compiler turns into the tier's vectors.
 * Static inline only. QD_RESAMPLE_TIER(name) defines the tier; a tier may have an across of its own.
 */
#ifndef QD_IMAGE_RESAMPLE_H
#define QD_IMAGE_RESAMPLE_H

#include <string.h>

#include "image/internal.h"

static inline uint8_t resample_round(int32_t sum)
{
    sum >>= QD_RESAMPLE_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

#define RESAMPLE_HALF (1 << (QD_RESAMPLE_BITS - 1))

static inline void resample_across_grey(const uint8_t *restrict in, uint8_t *restrict out,
                                        const struct qd_resample_taps *taps)
{
    for (int x = 0; x < taps->n_outputs; x++) {
        const int32_t *weights = taps->weights + (size_t)x * (size_t)taps->stride;
        const uint8_t *from = in + taps->first[x];
        int32_t sum = RESAMPLE_HALF;

        for (int i = 0; i < taps->n_inputs[x]; i++)
            sum += weights[i] * from[i];
        out[x] = resample_round(sum);
    }
}

/* Red, green, blue and a lane that is never stored, in gcc's and clang's portable vectors; little-endian. */
typedef int32_t resample_sums __attribute__((vector_size(16)));
typedef uint8_t resample_bytes __attribute__((vector_size(16)));
typedef uint16_t resample_words __attribute__((vector_size(16)));

static inline resample_sums resample_load(uint32_t pixel)
{
    const resample_bytes zero = {0};
    resample_bytes bytes = (resample_bytes)(resample_sums){(int32_t)pixel, 0, 0, 0};
    resample_words words =
        (resample_words)__builtin_shufflevector(bytes, zero, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);

    return (resample_sums)__builtin_shufflevector(words, (resample_words)zero, 0, 8, 1, 9, 2, 10, 3, 11);
}

static inline uint32_t resample_pixel(const uint8_t *bytes)
{
    uint32_t pixel;

    memcpy(&pixel, bytes, 4);
    return pixel;
}

/* Outputs from first_x on. */
static inline void resample_across_rgb(const uint8_t *restrict in, uint8_t *restrict out,
                                       const struct qd_resample_taps *taps, int first_x)
{
    for (int x = first_x; x < taps->n_outputs; x++) {
        const int32_t *weights = taps->weights + (size_t)x * (size_t)taps->stride;
        const uint8_t *from = in + 3 * (size_t)taps->first[x];
        int last = taps->n_inputs[x] - 1;
        resample_sums sums = {RESAMPLE_HALF, RESAMPLE_HALF, RESAMPLE_HALF, 0};

        /* Four bytes reach into the next pixel; the last may be the end of the memory. */
        for (int i = 0; i < last; i++)
            sums += resample_load(resample_pixel(from + 3 * i)) * weights[i];
        sums += resample_load(from[3 * last] | (uint32_t)from[3 * last + 1] << 8 | (uint32_t)from[3 * last + 2] << 16) *
                weights[last];
        for (int c = 0; c < 3; c++)
            out[3 * x + c] = resample_round(sums[c]);
    }
}

static inline void resample_across(const uint8_t *in, uint8_t *out, int n_channels, const struct qd_resample_taps *taps)
{
    if (n_channels == 1)
        resample_across_grey(in, out, taps);
    else
        resample_across_rgb(in, out, taps, 0);
}

#define RESAMPLE_BLOCK 32

/* n columns; where n is a constant the compiler makes vectors of its own tier's width of them. */
static inline __attribute__((always_inline)) void resample_columns(const uint8_t *restrict in, uint8_t *restrict out,
                                                                   size_t n, size_t row_size,
                                                                   const int32_t *restrict weights, int n_inputs)
{
    int32_t sums[RESAMPLE_BLOCK];

    for (size_t x = 0; x < n; x++)
        sums[x] = RESAMPLE_HALF;
    for (int i = 0; i < n_inputs; i++)
        for (size_t x = 0; x < n; x++)
            sums[x] += weights[i] * in[(size_t)i * row_size + x];
    for (size_t x = 0; x < n; x++)
        out[x] = resample_round(sums[x]);
}

static inline void resample_down(const uint8_t *restrict in, uint8_t *restrict out, size_t row_size,
                                 const int32_t *restrict weights, int n_inputs)
{
    size_t x = 0;

    for (; x + RESAMPLE_BLOCK <= row_size; x += RESAMPLE_BLOCK)
        resample_columns(in + x, out + x, RESAMPLE_BLOCK, row_size, weights, n_inputs);
    resample_columns(in + x, out + x, row_size - x, row_size, weights, n_inputs);
}

#ifndef QD_RESAMPLE_ACROSS
#define QD_RESAMPLE_ACROSS resample_across
#define QD_RESAMPLE_USES_PAIRS false
#endif

#define QD_RESAMPLE_TIER(tier)                                                                                         \
    static void across(const uint8_t *in, uint8_t *out, int n_channels, const struct qd_resample_taps *taps)           \
    {                                                                                                                  \
        QD_RESAMPLE_ACROSS(in, out, n_channels, taps);                                                                 \
    }                                                                                                                  \
    static void down(const uint8_t *in, uint8_t *out, size_t row_size, const int32_t *weights, int n_inputs)           \
    {                                                                                                                  \
        resample_down(in, out, row_size, weights, n_inputs);                                                           \
    }                                                                                                                  \
    const struct qd_resample_tier qd_resample_##tier = {                                                               \
        .name = #tier, .uses_pairs = QD_RESAMPLE_USES_PAIRS, .across = across, .down = down}

#endif
