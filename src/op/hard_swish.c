#include "op/unary.h"

QD_UNARY_AS(QD_ACT_HARDSWISH)

const struct qd_op qd_op_hard_swish = {
    .name = "HardSwish",
    .min_opset = 14,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_ACTIVATION_FIELDS,
};
