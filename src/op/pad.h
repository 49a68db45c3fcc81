/* What Pad leaves in node->params. */
#ifndef QD_OP_PAD_H
#define QD_OP_PAD_H

#include <stdint.h>

#include "tensor/tensor.h"

enum qd_pad_mode { QD_PAD_CONSTANT, QD_PAD_REFLECT, QD_PAD_EDGE, QD_PAD_WRAP };

struct qd_pad_params {
    enum qd_pad_mode mode;
    float value;
    uint8_t fill[8];                              /* the same as an element of the input's type; set by infer */
    int64_t begin[QD_MAX_DIMS], end[QD_MAX_DIMS]; /* set by infer; negative ones crop */
};

#endif
