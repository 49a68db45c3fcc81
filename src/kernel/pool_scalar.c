#include "kernel/tiers.h"

#include "kernel/requant.h"
#include "kernel/window.h"

static uint8_t window_max(const struct qd_taps *taps, int c)
{
    uint8_t max = 0;

    for (int y = 0; y < taps->end_y - taps->first_y; y++) {
        for (int x = 0; x < taps->end_x - taps->first_x; x++) {
            uint8_t tap = taps->in[y * taps->y_stride + x * taps->x_stride + c];
            max = tap > max ? tap : max;
        }
    }
    return max;
}

static int32_t window_sum(const struct qd_taps *taps, int c)
{
    int32_t sum = 0;

    for (int y = 0; y < taps->end_y - taps->first_y; y++) {
        for (int x = 0; x < taps->end_x - taps->first_x; x++)
            sum += taps->in[y * taps->y_stride + x * taps->x_stride + c];
    }
    return sum;
}

void qd_max_pool_scalar(const struct qd_pool_params *params)
{
    for (int y = params->y_begin; y < params->y_end; y++) {
        for (int x = 0; x < params->out_w; x++) {
            struct qd_taps taps = qd_taps_of(params, y, x);
            uint8_t *out = params->out + y * params->out_steps.y + x * params->out_steps.x;

            for (int c = 0; c < params->c; c++)
                out[c] = window_max(&taps, c);
        }
    }
}

void qd_average_pool_scalar(const struct qd_pool_params *params)
{
    for (int y = params->y_begin; y < params->y_end; y++) {
        for (int x = 0; x < params->out_w; x++) {
            struct qd_taps taps = qd_taps_of(params, y, x);
            float mult = qd_average_mult(params, &taps);
            uint8_t *out = params->out + y * params->out_steps.y + x * params->out_steps.x;

            for (int c = 0; c < params->c; c++) {
                int32_t acc = window_sum(&taps, c) - taps.n * params->in_zero;
                out[c] = qd_clamp_round(fmaf((float)acc, mult, params->out_zero), params->clamp_min, params->clamp_max);
            }
        }
    }
}

void qd_sum_rows_scalar(const uint8_t *in, ptrdiff_t stride, size_t m, int c, int32_t *sums)
{
    for (size_t i = 0; i < m; i++, in += stride) {
        for (int j = 0; j < c; j++)
            sums[j] += in[j];
    }
}
