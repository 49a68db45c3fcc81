/* What ConvTranspose's parse leaves in node->params. */
#ifndef QD_OP_CONV_TRANSPOSE_H
#define QD_OP_CONV_TRANSPOSE_H

#include "op/conv.h"

struct qd_conv_transpose_attrs {
    struct qd_window window; /* over the output; kernel and pads as infer resolves them */
    int64_t group;
    int64_t output_padding[QD_N_AXES];
    int64_t output_shape[QD_N_AXES]; /* 0: it follows from the rest */
};

#endif
