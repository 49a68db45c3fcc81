#include "op/unary.h"

QD_UNARY_AS(QD_ACT_MISH)

const struct qd_op qd_op_mish = {
    .name = "Mish",
    .min_opset = 18,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_ACTIVATION_FIELDS,
};
