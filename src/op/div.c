#include "op/elementwise.h"

QD_ROW_2(div_f32, float, float, a / b)
/* A division that has no result gives 0. */
QD_INTEGER_ROWS_2(div, b == 0 || b == -1 ? (b ? 0 - (uint64_t)a : 0) : (uint64_t)(a / b))

static void line(double b, double *ret_mult, double *ret_add)
{
    *ret_mult = 1 / b;
    *ret_add = 0;
}

static const struct qd_elementwise functions = {
    .rows = {[QD_F32] = div_f32, QD_INTEGER_ROWS_OF(div)},
    .line = line,
};

const struct qd_op qd_op_div = {
    .name = "Div",
    .limits = "int8: a constant divisor per channel, or one constant",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .functions = &functions,
    .infer = qd_elementwise_infer,
    .fuses = qd_elementwise_fuses,
    QD_ELEMENTWISE_FIELDS,
};
