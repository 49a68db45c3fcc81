#include "op/unary.h"

static float hard_swish(const void *params, float x)
{
    float gate = x * (1.0f / 6) + 0.5f;

    (void)params;
    return x * (gate < 0 ? 0 : gate > 1 ? 1 : gate);
}

QD_UNARY_RUNS(hard_swish)

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    (void)graph;
    (void)node;
    *ret = (struct qd_activation){.kind = QD_ACT_HARDSWISH};
    return true;
}

const struct qd_op qd_op_hard_swish = {
    .name = "HardSwish",
    .min_opset = 14,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .as_activation = as_activation,
    QD_UNARY_FIELDS,
};
