/*
 * What the float kernels on blocks of channels (kernel_f32.h) share: where taps lie, and pieces of a picture copied
 * with their padding around them. Static inline only.
 */
#ifndef QD_KERNEL_BLOCKS_F32_H
#define QD_KERNEL_BLOCKS_F32_H

#include <string.h>

#include "kernel/activate_f32.h"
#include "kernel/tiers.h"

#define BLOCK QD_F32_BLOCK
/* Vectors of one pixel's block. */
#define BLOCK_VECTORS (BLOCK / LANES)

/* Rows and columns of the input under n outputs of an axis. */
static inline ptrdiff_t blocks_span(int n, int stride, int kernel, int dilation)
{
    return (ptrdiff_t)(n - 1) * stride + (ptrdiff_t)(kernel - 1) * dilation + 1;
}

/* Whether a tap of some output lies outside the picture. */
static inline bool blocks_need_padding(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;

    return w->pad_top || w->pad_left || blocks_span(p->out_h, w->stride_h, w->kernel_h, w->dilation_h) > p->h ||
           blocks_span(p->out_w, w->stride_w, w->kernel_w, w->dilation_w) > p->w;
}

/*
 * Columns [-pad_left, columns - pad_left) of one row whose pixels are lanes floats, pads where they are outside. in:
 * the row, NULL where all of it is padding.
 */
static inline __attribute__((always_inline)) void blocks_copy_row(const float *in, int w, int lanes, int pad_left,
                                                                  ptrdiff_t columns, const float *pads, float *out)
{
    ptrdiff_t begin = !in ? columns : pad_left < columns ? pad_left : columns;
    ptrdiff_t end = begin + w < columns ? begin + w : columns;

    for (ptrdiff_t x = 0; x < columns; x++) {
        if (x == begin && end > begin) {
            memcpy(out + x * lanes, in, (size_t)((end - begin) * lanes) * sizeof(float));
            x = end;
            if (x == columns)
                break;
        }
        memcpy(out + x * lanes, pads, (size_t)lanes * sizeof(float));
    }
}

/* The pads of channels [first, first + lanes) of c. */
static inline void blocks_pads(const struct qd_conv_f32_params *p, int first, int lanes, float *ret)
{
    for (int i = 0; i < lanes; i++)
        ret[i] = p->pad && first + i < p->c ? p->pad[first + i] : 0;
}

#endif
