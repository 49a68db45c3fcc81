#include <math.h>

#include "op/unary.h"

static float f(const void *params, float x)
{
    (void)params;
    return tanhf(x);
}

QD_UNARY_RUNS(f)

const struct qd_op qd_op_tanh = {
    .name = "Tanh",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_FIELDS,
};
