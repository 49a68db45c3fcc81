/* Windows over a picture of one to three axes: what convolutions and pools share. */
#ifndef QD_OP_WINDOW_H
#define QD_OP_WINDOW_H

#include "op/conv.h"
#include "op/op.h"

/*
 * kernel_shape, strides, dilations, pads, auto_pad, ceil_mode, of one to three axes; kernel is 0 where kernel_shape is
 * absent.
 */
enum qd_status qd_window_parse(const struct qd_node *node, struct qd_window *window, struct qd_error *err);

/*
 * An attribute of one value per axis, min .. 65535, or of two, all begins first; left alone where it is absent. The
 * first attribute that is there says of how many axes the others are. ends NULL: one value per axis.
 */
enum qd_status qd_window_read(const struct qd_node *node, const char *name, int64_t min, struct qd_window *window,
                              int64_t *begins, int64_t *ends, struct qd_error *err);

/*
 * Resolves auto_pad into pads and gives the output's rank and its sizes from dimension 2 on. in: [n,c,w], [n,c,h,w] or
 * [n,c,d,h,w]; QD_INVALID: the attributes are for another number of axes.
 */
enum qd_status qd_window_infer(struct qd_window *window, const struct qd_shape *in, struct qd_shape *out,
                               struct qd_error *err);

/* The pads that auto_pad SAME_* spreads, total in all, as begin and end of an axis. */
void qd_window_spread(struct qd_window *window, enum qd_axis axis, int64_t total);

/* Which dimension of a tensor of 3 to 5 is the axis; -1: it has none. */
static inline int qd_axis_dim(int n_dims, enum qd_axis axis)
{
    if (axis == QD_AXIS_W)
        return n_dims - 1;
    if (axis == QD_AXIS_H)
        return n_dims >= 4 ? n_dims - 2 : -1;
    return n_dims == 5 ? 2 : -1;
}

static inline int64_t qd_axis_size(const struct qd_shape *shape, enum qd_axis axis)
{
    int d = qd_axis_dim(shape->n_dims, axis);

    return d < 0 ? 1 : shape->dims[d];
}

/* n / size, rounded up; 0 of what is below 0. */
static inline int64_t qd_divide_up(int64_t n, int64_t size)
{
    return n <= 0 ? 0 : (n + size - 1) / size;
}

/* Height and width of the window as the float kernels take it. */
struct qd_window_f32 qd_window_f32_of(const struct qd_window *window);

#endif
