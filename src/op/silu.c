/* x * sigmoid(x): no ONNX operator of these versions, a pass makes it of two nodes. */
#include "op/unary.h"

QD_UNARY_AS(QD_ACT_SILU)

const struct qd_op qd_op_silu = {
    .name = "quantd.Silu",
    .min_opset = 1,
    .max_opset = 1000,
    .min_inputs = 1,
    .max_inputs = 1,
    QD_UNARY_ACTIVATION_FIELDS,
};
