#include "op/unary.h"

QD_UNARY_AS(QD_ACT_SIGMOID)

const struct qd_op qd_op_sigmoid = {
    .name = "Sigmoid",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_ACTIVATION_FIELDS,
};
