#include "op/unary.h"

QD_UNARY_AS(QD_ACT_TANH)

const struct qd_op qd_op_tanh = {
    .name = "Tanh",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_ACTIVATION_FIELDS,
};
