/* What Slice leaves in node->params: the output's index i on dimension d is start[d] + i * step[d] of the input. */
#ifndef QD_OP_SLICE_H
#define QD_OP_SLICE_H

#include <stdint.h>

#include "tensor/tensor.h"

struct qd_slice_params {
    int64_t start[QD_MAX_DIMS], step[QD_MAX_DIMS]; /* set by infer */
};

#endif
