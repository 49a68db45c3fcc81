#include <math.h>

#include "op/unary.h"

static float relu(const void *params, float x)
{
    (void)params;
    return x < 0 ? 0 : x;
}

QD_UNARY_RUNS(relu)

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    (void)graph;
    (void)node;
    *ret = (struct qd_activation){.kind = QD_ACT_CLIP, .min = 0, .max = INFINITY};
    return true;
}

const struct qd_op qd_op_relu = {
    .name = "Relu",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .as_activation = as_activation,
    QD_UNARY_FIELDS,
};
