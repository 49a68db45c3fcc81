/* What Transpose leaves in node->params. */
#ifndef QD_OP_TRANSPOSE_H
#define QD_OP_TRANSPOSE_H

#include <stdint.h>

#include "tensor/tensor.h"

struct qd_transpose_params {
    int perm[QD_MAX_DIMS]; /* dimension d of the output is perm[d] of the input */
    const int64_t *given;
    int n_given;
};

#endif
