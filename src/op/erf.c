#include <math.h>

#include "op/unary.h"

static float f(const void *params, float x)
{
    (void)params;
    return erff(x);
}

QD_UNARY_RUNS(f)

const struct qd_op qd_op_erf = {
    .name = "Erf",
    .min_opset = 9,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_FIELDS,
};
