/* Where a depthwise convolution's taps lie: shared by the vector tiers. Static inline only. */
#ifndef QD_KERNEL_DEPTHWISE_TAPS_H
#define QD_KERNEL_DEPTHWISE_TAPS_H

#include "kernel/kernel.h"

static inline const uint8_t *qd_tap_of(const struct qd_depthwise_params *p, int y, int x, int ky, int kx)
{
    return p->in + (y * p->stride_h + ky * p->dilation_h) * p->in_steps.y +
           (x * p->stride_w + kx * p->dilation_w) * p->in_steps.x;
}

/* Taps [tap, tap + n_taps) of output pixels [x, x + n) of row y, n_taps apart. */
static inline void qd_taps_fill(const struct qd_depthwise_params *p, int y, int x, int n, int tap, int n_taps,
                                const uint8_t **ret)
{
    int first_ky = tap / p->kernel_w, first_kx = tap % p->kernel_w;

    for (int i = 0; i < n; i++) {
        int ky = first_ky, kx = first_kx;

        for (int t = 0; t < n_taps; t++) {
            *ret++ = qd_tap_of(p, y, x + i, ky, kx);
            if (++kx == p->kernel_w) {
                kx = 0;
                ky++;
            }
        }
    }
}

#define QD_MAX_SLIDE 5

/* The usual kernels, for which the taps of neighbouring pixels are shared: 3x3 and 5x5, stride 1 or 2. */
static inline int qd_depthwise_slides(const struct qd_depthwise_params *p)
{
    return p->kernel_h == p->kernel_w && (p->kernel_w == 3 || p->kernel_w == 5) && p->dilation_w == 1 &&
           (p->stride_w == 1 || p->stride_w == 2);
}

#endif
