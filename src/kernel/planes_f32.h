/*
 * Channels copied with their padding around them and, where the window strides, each row split by the columns' rest
 * (phase), so that a tap's values under neighbouring outputs always are neighbours. Static inline only.
 */
#ifndef QD_KERNEL_PLANES_F32_H
#define QD_KERNEL_PLANES_F32_H

#include <stdbool.h>

#include "kernel/kernel_f32.h"

/* The widest tier's vector: loads and stores may pass the end of a plane or panel in scratch by less than that. */
#define QD_F32_MAX_LANES 16
/* The widest tier's panel, and the taps of one, unless a window alone has more. */
#define QD_F32_MAX_PANEL 48
#define QD_F32_BLOCK_K 256
/* Floats of the panels that wait together: half of a small L2. */
#define QD_F32_PANELS 24576
#define QD_F32_MAX_PANELS 8

/*
 * One axis of a plane: phases, each of length neighbours. Phases are what taps are modulo the stride; or, where that
 * takes less (long strides and dilations), one for each tap.
 */
struct qd_axis_f32 {
    int phases;
    bool by_tap;
    ptrdiff_t length;
};

struct qd_planes_f32 {
    struct qd_axis_f32 y, x;
    ptrdiff_t row, channel; /* floats from one to the next */
};

static inline struct qd_axis_f32 qd_axis_f32_of(int out, int kernel, int stride, int dilation)
{
    struct qd_axis_f32 axis = {.phases = kernel == 1 || dilation % stride == 0 ? 1 : stride,
                               .length = out + (ptrdiff_t)(kernel - 1) * dilation / stride};

    if (axis.phases * axis.length > (ptrdiff_t)kernel * out)
        axis = (struct qd_axis_f32){.phases = kernel, .by_tap = true, .length = out};
    return axis;
}

static inline struct qd_planes_f32 qd_planes_f32_of(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;
    struct qd_planes_f32 planes;

    planes.y = qd_axis_f32_of(p->out_h, w->kernel_h, w->stride_h, w->dilation_h);
    planes.x = qd_axis_f32_of(p->out_w, w->kernel_w, w->stride_w, w->dilation_w);
    planes.row = planes.x.phases * planes.x.length;
    planes.channel = planes.y.phases * planes.y.length * planes.row;
    return planes;
}

/* Where a tap of output 0 lies on its axis. */
static inline ptrdiff_t qd_axis_f32_tap(const struct qd_axis_f32 *axis, int tap, int stride, int dilation)
{
    ptrdiff_t at = (ptrdiff_t)tap * dilation;

    return axis->by_tap ? tap * axis->length : at % stride * axis->length + at / stride;
}

/* What coordinate of the input a phase begins with, padding not counted. */
static inline int qd_axis_f32_first(const struct qd_axis_f32 *axis, int phase, int dilation)
{
    return axis->by_tap ? phase * dilation : phase;
}

/* How many channels make a block of k: whole ones, about QD_F32_BLOCK_K taps. */
static inline int qd_planes_f32_block(const struct qd_conv_f32_params *p)
{
    int taps = p->window.kernel_h * p->window.kernel_w, n = taps < QD_F32_BLOCK_K ? QD_F32_BLOCK_K / taps : 1;

    return n < p->c ? n : p->c;
}

/* Floats of all panels in any tier, with what their last row may be written past its end. */
static inline size_t qd_planes_f32_panels(const struct qd_conv_f32_params *p)
{
    size_t one = (size_t)qd_planes_f32_block(p) * (size_t)(p->window.kernel_h * p->window.kernel_w) * QD_F32_MAX_PANEL;

    size_t most = one * QD_F32_MAX_PANELS < QD_F32_PANELS ? one * QD_F32_MAX_PANELS : QD_F32_PANELS;

    return (one > most ? one : most) + QD_F32_MAX_LANES;
}

/* Whether outputs lie as inputs: no planes are needed. */
static inline bool qd_planes_f32_pointwise(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;

    return w->kernel_h == 1 && w->kernel_w == 1 && w->stride_h == 1 && w->stride_w == 1 && !w->pad_top &&
           !w->pad_left && p->out_h == p->h && p->out_w == p->w;
}

/* Where tap (ky, kx) of output (0, 0) lies; that of output (y, x) is y rows and x floats on. */
static inline ptrdiff_t qd_planes_f32_tap(const struct qd_planes_f32 *planes, const struct qd_window_f32 *w, int ky,
                                          int kx)
{
    return qd_axis_f32_tap(&planes->y, ky, w->stride_h, w->dilation_h) * planes->row +
           qd_axis_f32_tap(&planes->x, kx, w->stride_w, w->dilation_w);
}

#endif
