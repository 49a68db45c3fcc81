/* Windows over height and width: what convolutions and pools share. */
#ifndef QD_OP_WINDOW_H
#define QD_OP_WINDOW_H

#include "op/conv.h"
#include "op/op.h"

/* kernel_shape, strides, dilations, pads, auto_pad, ceil_mode; kernel is 0 where kernel_shape is absent. */
enum qd_status qd_window_parse(const struct qd_node *node, struct qd_window *window, struct qd_error *err);

/* Resolves auto_pad into pads and gives the output's height and width. in: [1,c,h,w]. */
enum qd_status qd_window_infer(struct qd_window *window, const struct qd_shape *in, int64_t ret_out[2],
                               struct qd_error *err);

/* The window as the float kernels take it. */
struct qd_window_f32 qd_window_f32_of(const struct qd_window *window);

#endif
