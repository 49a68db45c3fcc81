/* What Conv's parse leaves in node->params; passes change it. */
#ifndef QD_OP_CONV_H
#define QD_OP_CONV_H

#include <stdint.h>

enum qd_auto_pad { QD_PAD_NOTSET, QD_PAD_SAME_UPPER, QD_PAD_SAME_LOWER, QD_PAD_VALID };

/* A window over h and w: convolutions and pools alike. */
struct qd_window {
    int64_t kernel[2], stride[2], dilation[2]; /* h, w */
    int64_t pad_begin[2], pad_end[2];          /* resolved by infer where auto_pad asks for it */
    enum qd_auto_pad auto_pad;
    int ceil_mode;
};

struct qd_conv_attrs {
    struct qd_window window; /* kernel from the attribute or, in infer, from the weights */
    int64_t group;
    const float *pad_value; /* NULL: 0; else what padding means per input channel (preprocessing folded in) */
};

#endif
