/* What the kernels on blocks keep in scratch (conv_blocks_f32.h, window_blocks_f32.h): rows with their padding. */
#ifndef QD_KERNEL_STRIPS_F32_H
#define QD_KERNEL_STRIPS_F32_H

#include "kernel/kernel_f32.h"

/* Floats of a strip, at least: a part of a small L2. Where there are more weights than that, so much. */
#define QD_F32_STRIP 49152
/* Taps whose weights stay in the cache, for a vector of outputs. */
#define QD_F32_SLAB 1152

struct qd_strip_f32 {
    int lanes, rows;               /* rows of outputs */
    ptrdiff_t columns, row, block; /* of the input under them; row and block in floats */
};

static inline struct qd_strip_f32 qd_strip_f32_of(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;
    struct qd_strip_f32 s = {.lanes = p->in_planes ? 1 : QD_F32_BLOCK};
    ptrdiff_t blocks = (p->c + s.lanes - 1) / s.lanes, taps = (ptrdiff_t)w->kernel_h * w->kernel_w;
    ptrdiff_t limit = (ptrdiff_t)p->n * p->c * taps, rows;

    limit = limit < QD_F32_STRIP ? QD_F32_STRIP : limit;
    s.columns = (ptrdiff_t)(p->out_w - 1) * w->stride_w + (ptrdiff_t)(w->kernel_w - 1) * w->dilation_w + 1;
    s.row = s.columns * s.lanes;
    rows = (limit / (s.row * (blocks ? blocks : 1)) - (ptrdiff_t)(w->kernel_h - 1) * w->dilation_h - 1) / w->stride_h;
    s.rows = rows + 1 > p->out_h ? p->out_h : rows < 0 ? 1 : (int)rows + 1;
    s.block = ((ptrdiff_t)(s.rows - 1) * w->stride_h + (ptrdiff_t)(w->kernel_h - 1) * w->dilation_h + 1) * s.row;
    return s;
}

/* Floats that the taps' places take in scratch. */
static inline size_t qd_strip_f32_taps(const struct qd_conv_f32_params *p)
{
    size_t taps = (size_t)p->window.kernel_h * (size_t)p->window.kernel_w;

    return (taps * sizeof(ptrdiff_t) / sizeof(float) + QD_F32_BLOCK - 1) / QD_F32_BLOCK * QD_F32_BLOCK;
}

/* The same for the rows' places of depthwise and pool on blocks (window_blocks_f32.h). */
static inline size_t qd_window_blocks_f32_rows(const struct qd_conv_f32_params *p)
{
    return (2 * (size_t)p->window.kernel_h * sizeof(float *) / sizeof(float) + QD_F32_BLOCK - 1) / QD_F32_BLOCK *
           QD_F32_BLOCK;
}

#endif
