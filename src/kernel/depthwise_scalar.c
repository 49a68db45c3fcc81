#include "kernel/tiers.h"

#include <string.h>

#include "kernel/depthwise_taps.h"
#include "kernel/requant.h"

/* Packed: w as it is, [c][taps]. */
size_t qd_depthwise_pack_size_scalar(int c, int taps)
{
    return (size_t)c * (size_t)taps + QD_KERNEL_SLACK;
}

void qd_depthwise_pack_scalar(void *packed, const int8_t *w, int c, int taps)
{
    memcpy(packed, w, (size_t)c * (size_t)taps);
    memset((int8_t *)packed + (size_t)c * (size_t)taps, 0, QD_KERNEL_SLACK);
}

static int32_t window_sum(const struct qd_depthwise_params *p, int y, int x, int c)
{
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)c * p->kernel_h * p->kernel_w;
    int32_t sum = 0;

    for (int ky = 0; ky < p->kernel_h; ky++) {
        for (int kx = 0; kx < p->kernel_w; kx++)
            sum += qd_tap_of(p, y, x, ky, kx)[c] * *w++;
    }
    return sum;
}

void qd_depthwise_scalar(const struct qd_depthwise_params *params)
{
    const struct qd_depthwise_params *p = params;

    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            uint8_t *out = p->out + y * p->out_steps.y + x * p->out_steps.x;
            const uint8_t *residual =
                p->residual ? p->residual + y * p->residual_steps.y + x * p->residual_steps.x : NULL;

            for (int c = 0; c < p->c; c++)
                out[c] = qd_requant_byte(p->requant, window_sum(p, y, x, c), c, residual ? residual + c : NULL);
        }
    }
}
