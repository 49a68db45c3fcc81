#include <string.h>

#include "kernel/requant.h"
#include "kernel/tiers.h"

/* Packed: [taps][c]. */
size_t qd_depthwise_pack_size_scalar(int c, int taps)
{
    return (size_t)c * (size_t)taps + QD_KERNEL_SLACK;
}

void qd_depthwise_pack_scalar(void *packed, const int8_t *w, int c, int taps)
{
    int8_t *to = packed;

    for (int t = 0; t < taps; t++)
        for (int i = 0; i < c; i++)
            *to++ = w[(size_t)i * (size_t)taps + (size_t)t];
}

void qd_depthwise_scalar(const struct qd_depthwise_params *p)
{
    const int8_t *weights = p->weights;

    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            size_t at = ((size_t)y * (size_t)p->out_w + (size_t)x) * (size_t)p->c;

            for (int c = 0; c < p->c; c++) {
                int32_t acc = 0;

                for (int ky = 0; ky < p->kernel_h; ky++) {
                    int iy = y * p->stride_h - p->pad_top + ky * p->dilation_h;

                    for (int kx = 0; kx < p->kernel_w; kx++) {
                        int ix = x * p->stride_w - p->pad_left + kx * p->dilation_w;
                        int inside = iy >= 0 && iy < p->h && ix >= 0 && ix < p->w;
                        uint8_t byte = inside ? p->in[((size_t)iy * (size_t)p->w + (size_t)ix) * (size_t)p->c + (size_t)c]
                                              : p->pad_value[c];

                        acc += byte * weights[(size_t)(ky * p->kernel_w + kx) * (size_t)p->c + (size_t)c];
                    }
                }
                p->out[at + (size_t)c] = qd_requant_one(p->requant, c, acc, p->residual ? p->residual + at + c : NULL);
            }
        }
    }
}
