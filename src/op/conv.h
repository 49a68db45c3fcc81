/* What Conv's parse leaves in node->params; passes change it. */
#ifndef QD_OP_CONV_H
#define QD_OP_CONV_H

#include <stdint.h>

enum qd_auto_pad { QD_PAD_NOTSET, QD_PAD_SAME_UPPER, QD_PAD_SAME_LOWER, QD_PAD_VALID };

/* A picture's axes. [n,c,w] has no height, and only [n,c,d,h,w] has a depth: a missing axis is one of size 1. */
enum qd_axis { QD_AXIS_H, QD_AXIS_W, QD_AXIS_D, QD_N_AXES };

/* A window over a picture: convolutions and pools alike. Arrays are by axis. */
struct qd_window {
    int64_t kernel[QD_N_AXES], stride[QD_N_AXES], dilation[QD_N_AXES];
    int64_t pad_begin[QD_N_AXES], pad_end[QD_N_AXES]; /* resolved by infer where auto_pad asks for it */
    enum qd_auto_pad auto_pad;
    int ceil_mode;
    int n_axes; /* that the attributes are of; 0: there is none */
};

struct qd_conv_attrs {
    struct qd_window window; /* kernel from the attribute or, in infer, from the weights */
    int64_t group;
    const float *pad_value; /* NULL: 0; else what padding means per input channel (preprocessing folded in) */
};

#endif
