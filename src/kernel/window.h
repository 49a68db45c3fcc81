/* What of a pool's window lies inside the input: shared by the tiers. Static inline only. */
#ifndef QD_KERNEL_WINDOW_H
#define QD_KERNEL_WINDOW_H

#include "kernel/kernel.h"

/* Taps first_y <= ky < end_y, first_x <= kx < end_x of one output position are inside. */
struct qd_taps {
    int first_y, end_y, first_x, end_x;
    const uint8_t *in;  /* tap (first_y, first_x); not to be read where n is 0 */
    ptrdiff_t y_stride; /* bytes from tap to tap */
    ptrdiff_t x_stride;
    int n;
};

/* The taps of one axis that are inside: those with 0 <= at + k * dilation < size. */
static inline void qd_taps_axis(int at, int kernel, int dilation, int size, int *ret_first, int *ret_end)
{
    int first = at < 0 ? (-at + dilation - 1) / dilation : 0;
    int end = at < size ? (size - at + dilation - 1) / dilation : 0;

    *ret_first = first;
    *ret_end = end < kernel ? end : kernel;
    if (*ret_end < first)
        *ret_end = first;
}

static inline struct qd_taps qd_taps_of(const struct qd_pool_params *p, int y, int x)
{
    int in_y = y * p->stride_h - p->pad_top, in_x = x * p->stride_w - p->pad_left;
    struct qd_taps taps;

    qd_taps_axis(in_y, p->kernel_h, p->dilation_h, p->h, &taps.first_y, &taps.end_y);
    qd_taps_axis(in_x, p->kernel_w, p->dilation_w, p->w, &taps.first_x, &taps.end_x);
    taps.n = (taps.end_y - taps.first_y) * (taps.end_x - taps.first_x);
    taps.y_stride = p->dilation_h * p->in_steps.y;
    taps.x_stride = p->dilation_w * p->in_steps.x;
    taps.in = p->in;
    if (taps.n > 0)
        taps.in += (in_y + taps.first_y * p->dilation_h) * p->in_steps.y +
                   (in_x + taps.first_x * p->dilation_w) * p->in_steps.x;
    return taps;
}

/* The multiplier of an average over taps; the division is in float in every tier. */
static inline float qd_average_mult(const struct qd_pool_params *p, const struct qd_taps *taps)
{
    int divisor = p->divisor_all ? p->divisor_all : taps->n;

    return p->mult / (float)(divisor > 0 ? divisor : 1);
}

#endif
