#include <math.h>

#include "op/unary.h"

struct clip_params {
    float min, max;
};

static float clip(const void *params, float x)
{
    const struct clip_params *p = params;
    float v = x < p->min ? p->min : x;

    return v > p->max ? p->max : v;
}

QD_UNARY_RUNS(clip)

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct clip_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_float(node, "min", -INFINITY, &params->min, err);
    if (status == QD_OK)
        status = qd_node_attr_float(node, "max", INFINITY, &params->max, err);
    return status;
}

/* Since opset 11 the bounds are inputs. */
static enum qd_status bound(struct qd_graph *graph, const struct qd_node *node, int i, float *to, struct qd_error *err)
{
    const struct qd_value *value = qd_node_input(graph, node, i);

    if (!value)
        return QD_OK;
    if (!value->data || value->dtype != QD_F32 || qd_shape_count(&value->shape) != 1)
        return qd_error_set(err, QD_UNSUPPORTED, "input %d: expected one constant float", i);
    *to = *(const float *)value->data;
    return QD_OK;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct clip_params *params = node->params;
    enum qd_status status = bound(graph, node, 1, &params->min, err);

    if (status == QD_OK)
        status = bound(graph, node, 2, &params->max, err);
    return status == QD_OK ? qd_unary_infer(graph, node, err) : status;
}

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    const struct clip_params *params = node->params;

    (void)graph;
    *ret = (struct qd_activation){.kind = QD_ACT_CLIP, .min = params->min, .max = params->max};
    return params->min <= params->max;
}

const struct qd_op qd_op_clip = {
    .name = "Clip",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 3,
    .n_outputs = 1,
    .flags = QD_OP_STEPS,
    .parse = parse,
    .infer = infer,
    .run_f32 = run_f32,
    .as_activation = as_activation,
    .supports_q8 = qd_unary_supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_q8_table_run,
};
