#include <math.h>

#include "op/elementwise.h"

/* Before opset 11 the bounds are attributes; constant float bounds are put here too, for as_activation. */
struct clip_params {
    float min, max;
    bool constant;
};

#define CLIP_ROW(name, type, low, high)                                                                                \
    static void name(const struct qd_row *row)                                                                         \
    {                                                                                                                  \
        const struct clip_params *params = row->params;                                                                \
        const type *x = row->in[0];                                                                                    \
        const type min = row->in[1] ? *(const type *)row->in[1] : (low);                                               \
        const type max = row->in[2] ? *(const type *)row->in[2] : (high);                                              \
        type *y = row->out;                                                                                            \
                                                                                                                       \
        (void)params;                                                                                                  \
        for (int64_t i = 0; i < row->n; i++) {                                                                         \
            type v = x[i] < min ? min : x[i];                                                                          \
                                                                                                                       \
            y[i] = v > max ? max : v;                                                                                  \
        }                                                                                                              \
    }

CLIP_ROW(clip_f32, float, params->min, params->max)
CLIP_ROW(clip_u8, uint8_t, 0, UINT8_MAX)
CLIP_ROW(clip_s8, int8_t, INT8_MIN, INT8_MAX)
CLIP_ROW(clip_i32, int32_t, INT32_MIN, INT32_MAX)
CLIP_ROW(clip_i64, int64_t, INT64_MIN, INT64_MAX)

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

static bool bound(const struct qd_graph *graph, const struct qd_node *node, int i, float *to)
{
    const struct qd_value *value = qd_node_input(graph, node, i);

    if (value && value->data && value->dtype == QD_F32)
        *to = *(const float *)value->data;
    return !value || (value->data && value->dtype == QD_F32);
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct clip_params *params = node->params;
    enum qd_status status = qd_elementwise_infer(graph, node, err);

    if (status != QD_OK)
        return status;
    params->constant = graph->values[node->inputs[0]].dtype == QD_F32;
    params->constant = bound(graph, node, 1, &params->min) && params->constant;
    params->constant = bound(graph, node, 2, &params->max) && params->constant;
    return QD_OK;
}

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    const struct clip_params *params = node->params;

    (void)graph;
    *ret = (struct qd_activation){.kind = QD_ACT_CLIP, .min = params->min, .max = params->max};
    return params->constant && params->min <= params->max;
}

static const struct qd_elementwise functions = {
    .rows = {[QD_F32] = clip_f32, QD_INTEGER_ROWS_OF(clip)},
    .flags = QD_TAKES_SCALARS,
};

const struct qd_op qd_op_clip = {
    .name = "Clip",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 3,
    .functions = &functions,
    .parse = parse,
    .infer = infer,
    .as_activation = as_activation,
    QD_ELEMENTWISE_FIELDS,
};
