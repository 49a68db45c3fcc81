#include "op/hard_sigmoid.h"

#include "op/unary.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_hard_sigmoid_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "alpha", 0.2f, &params->alpha, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "beta", 0.5f, &params->beta, err);
    return status;
}

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    const struct qd_hard_sigmoid_params *params = node->params;

    (void)graph;
    *ret = (struct qd_activation){.kind = QD_ACT_HARDSIGMOID, .alpha = params->alpha, .beta = params->beta};
    return params->alpha > 0;
}

const struct qd_op qd_op_hard_sigmoid = {
    .name = "HardSigmoid",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .parse = parse,
    QD_UNARY_ACTIVATION_FIELDS,
};
