#include "op/unary.h"

struct leaky_params {
    float alpha;
};

static float leaky(const void *params, float x)
{
    return x < 0 ? x * ((const struct leaky_params *)params)->alpha : x;
}

QD_UNARY_RUNS(leaky)

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct leaky_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    return qd_node_attr_float(node, "alpha", 0.01f, &params->alpha, err);
}

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    float alpha = ((const struct leaky_params *)node->params)->alpha;

    (void)graph;
    *ret = (struct qd_activation){.kind = QD_ACT_LEAKY, .alpha = alpha};
    return alpha >= 0 && alpha <= 1;
}

const struct qd_op qd_op_leaky_relu = {
    .name = "LeakyRelu",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .parse = parse,
    .as_activation = as_activation,
    QD_UNARY_FIELDS,
};
