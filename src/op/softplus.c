#include <math.h>

#include "op/unary.h"

/* log(1 + exp(x)), without overflow and without losing small results. */
static float f(const void *params, float x)
{
    (void)params;
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

QD_UNARY_RUNS(f)

const struct qd_op qd_op_softplus = {
    .name = "Softplus",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_FIELDS,
};
