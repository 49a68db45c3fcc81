/* Conv in float: what its forms share. */
#ifndef QD_OP_CONV_F32_H
#define QD_OP_CONV_F32_H

#include "op/op.h"

bool qd_conv_is_depthwise(const struct qd_shape *in, const struct qd_shape *w, int64_t group);

/* One image and the first group; data apart. Of a window with depth the taps of an output are so many channels. */
struct qd_conv_f32_params qd_conv_f32_params_of(const struct qd_conv_attrs *attrs, const struct qd_shape *in,
                                                const struct qd_shape *w, const struct qd_shape *out);

/* Conv's run on blocks of channels. */
extern const struct qd_op_blocks qd_conv_blocks;

#endif
