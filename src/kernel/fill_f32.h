/* How planes (planes_f32.h) are filled, with the vectors of the including file (vector_*.h). Static inline only. */
#ifndef QD_KERNEL_FILL_F32_H
#define QD_KERNEL_FILL_F32_H

#include "kernel/planes_f32.h"

static inline int clamp_lanes(ptrdiff_t n)
{
    return n < 0 ? 0 : n > LANES ? LANES : (int)n;
}

/* in[at], in[at + 1] ..., pad where that lies outside 0 .. w - 1. */
static inline VECTOR load_padded(const float *in, int w, ptrdiff_t at, VECTOR pad)
{
    if (at >= 0 && at + LANES <= w)
        return vector_load(in + at);
    if (at >= w || at + LANES <= 0 || w == 0) /* where nothing is mapped even a load of no lane takes long */
        return pad;
    return vector_load_between(in + at, clamp_lanes(-at), clamp_lanes(w - at), pad);
}

/* out[j] = in[first + j * stride] where that is 0 .. w - 1, else pad. Up to LANES - 1 floats past width are written
 * too. */
static inline void fill_phase(const float *in, int w, ptrdiff_t first, int stride, float pad, float *out,
                              ptrdiff_t width)
{
    VECTOR pads = vector_all(pad);

    if (stride == 1) {
        for (ptrdiff_t j = 0; j < width; j += LANES)
            vector_store(out + j, load_padded(in, w, first + j, pads));
        return;
    }
    if (stride == 2) {
        for (ptrdiff_t j = 0; j < width; j += LANES) {
            ptrdiff_t at = first + 2 * j;

            vector_store(out + j, vector_even(load_padded(in, w, at, pads), load_padded(in, w, at + LANES, pads)));
        }
        return;
    }
    for (ptrdiff_t j = 0, at = first; j < width; j++, at += stride)
        out[j] = at >= 0 && at < w ? in[at] : pad;
}

/* One row of a plane: in is the input's, or NULL where it is all padding. */
static inline void fill_row(const struct qd_planes_f32 *planes, const struct qd_conv_f32_params *p, const float *in,
                            float pad, float *row)
{
    const struct qd_window_f32 *w = &p->window;

    for (int phase = 0; phase < planes->x.phases; phase++, row += planes->x.length) {
        int first = qd_axis_f32_first(&planes->x, phase, w->dilation_w) - w->pad_left;

        fill_phase(in, in ? p->w : 0, first, w->stride_w, pad, row, planes->x.length);
    }
}

/* in: the channel. Up to LANES - 1 floats past the plane are written too. */
static inline void fill_plane(const struct qd_planes_f32 *planes, const struct qd_conv_f32_params *p, const float *in,
                              float pad, float *plane)
{
    const struct qd_window_f32 *w = &p->window;

    for (int phase = 0; phase < planes->y.phases; phase++) {
        int first = qd_axis_f32_first(&planes->y, phase, w->dilation_h) - w->pad_top;

        for (ptrdiff_t i = 0; i < planes->y.length; i++, plane += planes->row) {
            ptrdiff_t y = first + i * w->stride_h;

            fill_row(planes, p, y >= 0 && y < p->h ? in + y * p->w : NULL, pad, plane);
        }
    }
}

#endif
