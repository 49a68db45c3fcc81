/*
 * The inner loops of the resize, compiled once per tier: plain C that the compiler turns into the tier's vectors.
 * Static inline only. QD_RESAMPLE_TIER(name) defines the tier.
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

static inline void resample_across_rgb(const uint8_t *restrict in, uint8_t *restrict out,
                                       const struct qd_resample_taps *taps)
{
    for (int x = 0; x < taps->n_outputs; x++) {
        const int32_t *weights = taps->weights + (size_t)x * (size_t)taps->stride;
        const uint8_t *from = in + 3 * (size_t)taps->first[x];
        int n_inputs = taps->n_inputs[x];
        int32_t red = RESAMPLE_HALF, green = RESAMPLE_HALF, blue = RESAMPLE_HALF;

        for (int i = 0; i < n_inputs; i++) {
            red += weights[i] * from[3 * i];
            green += weights[i] * from[3 * i + 1];
            blue += weights[i] * from[3 * i + 2];
        }
        out[3 * x] = resample_round(red);
        out[3 * x + 1] = resample_round(green);
        out[3 * x + 2] = resample_round(blue);
    }
}

static inline void resample_across(const uint8_t *in, uint8_t *out, int n_channels,
                                   const struct qd_resample_taps *taps)
{
    if (n_channels == 1)
        resample_across_grey(in, out, taps);
    else
        resample_across_rgb(in, out, taps);
}

/* Columns at a time: their sums stay in the first-level cache while the rows pass by. */
#define RESAMPLE_BLOCK 128

static inline void resample_down(const uint8_t *restrict in, uint8_t *restrict out, size_t row_size,
                                 const int32_t *restrict weights, int n_inputs)
{
    int32_t sums[RESAMPLE_BLOCK];

    for (size_t start = 0; start < row_size; start += RESAMPLE_BLOCK) {
        size_t n = row_size - start < RESAMPLE_BLOCK ? row_size - start : RESAMPLE_BLOCK;

        for (size_t x = 0; x < n; x++)
            sums[x] = RESAMPLE_HALF;
        for (int i = 0; i < n_inputs; i++) {
            const uint8_t *from = in + (size_t)i * row_size + start;

            for (size_t x = 0; x < n; x++)
                sums[x] += weights[i] * from[x];
        }
        for (size_t x = 0; x < n; x++)
            out[start + x] = resample_round(sums[x]);
    }
}

#define QD_RESAMPLE_TIER(tier)                                                                                         \
    static void across(const uint8_t *in, uint8_t *out, int n_channels, const struct qd_resample_taps *taps)           \
    {                                                                                                                  \
        resample_across(in, out, n_channels, taps);                                                                    \
    }                                                                                                                  \
    static void down(const uint8_t *in, uint8_t *out, size_t row_size, const int32_t *weights, int n_inputs)           \
    {                                                                                                                  \
        resample_down(in, out, row_size, weights, n_inputs);                                                           \
    }                                                                                                                  \
    const struct qd_resample_tier qd_resample_##tier = {.name = #tier, .across = across, .down = down}

#endif
