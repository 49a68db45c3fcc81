/*
 * Where a depthwise convolution's taps lie: shared by the vector tiers. Static inline only.
 *
 * A tap outside the input is read from pad_value, which is laid out as a pixel: so a tap is always a pointer to a
 * pixel, and no kernel knows of borders.
 */
#ifndef QD_KERNEL_DEPTHWISE_TAPS_H
#define QD_KERNEL_DEPTHWISE_TAPS_H

#include "kernel/kernel.h"

static inline const uint8_t *qd_tap_of(const struct qd_depthwise_params *p, int y, int x, int ky, int kx)
{
    int in_y = y * p->stride_h - p->pad_top + ky * p->dilation_h;
    int in_x = x * p->stride_w - p->pad_left + kx * p->dilation_w;

    if (in_y < 0 || in_y >= p->h || in_x < 0 || in_x >= p->w)
        return p->pad_value;
    return p->in + ((ptrdiff_t)in_y * p->w + in_x) * p->c;
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

/*
 * The input rows under one output row, as pixels: column x of row ky is at row[ky] + x * step[ky], the step being 0
 * where the whole row is padding.
 */
#define QD_MAX_SLIDE 5
struct qd_tap_rows {
    const uint8_t *row[QD_MAX_SLIDE];
    ptrdiff_t step[QD_MAX_SLIDE];
};

static inline struct qd_tap_rows qd_tap_rows_of(const struct qd_depthwise_params *p, int y)
{
    struct qd_tap_rows rows;

    for (int ky = 0; ky < p->kernel_h; ky++) {
        int in_y = y * p->stride_h - p->pad_top + ky * p->dilation_h;
        int inside = in_y >= 0 && in_y < p->h;

        rows.row[ky] = inside ? p->in + (ptrdiff_t)in_y * p->w * p->c : p->pad_value;
        rows.step[ky] = inside ? p->c : 0;
    }
    return rows;
}

/* The usual kernels, for which the taps of neighbouring pixels are shared: 3x3 and 5x5, stride 1 or 2. */
static inline int qd_depthwise_slides(const struct qd_depthwise_params *p)
{
    return p->kernel_h == p->kernel_w && (p->kernel_w == 3 || p->kernel_w == 5) && p->dilation_w == 1 &&
           (p->stride_w == 1 || p->stride_w == 2);
}

#endif
