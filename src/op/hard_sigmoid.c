#include "op/unary.h"

struct hard_sigmoid_params {
    float alpha, beta;
};

static float hard_sigmoid(const void *params, float x)
{
    const struct hard_sigmoid_params *p = params;
    float v = p->alpha * x + p->beta;

    return v < 0 ? 0 : v > 1 ? 1 : v;
}

QD_UNARY_RUNS(hard_sigmoid)

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct hard_sigmoid_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "alpha", 0.2f, &params->alpha, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "beta", 0.5f, &params->beta, err);
    return status;
}

const struct qd_op qd_op_hard_sigmoid = {
    .name = "HardSigmoid",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .parse = parse,
    QD_UNARY_FIELDS,
};
