#include <math.h>
#include <string.h>

#include "op/unary.h"

/* node->params is there for tanh's approximation, which is no activation of the graph's. */
static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const char *approximate;
    enum qd_status status = qd_node_attr_string(node, "approximate", "none", &approximate, err);

    (void)graph;
    if (status == QD_OK && strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0)
        return qd_error_set(err, QD_INVALID, "approximate: expected none or tanh, found '%.40s'", approximate);
    node->params = status == QD_OK && approximate[0] == 't' ? (void *)(uintptr_t)approximate : NULL;
    return status;
}

static bool as_activation(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret)
{
    (void)graph;
    *ret = (struct qd_activation){.kind = QD_ACT_GELU};
    return !node->params;
}

static float approximation(const void *context, float x)
{
    (void)context;
    return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    int64_t count = qd_shape_count(in[0].shape);

    if (!node->params) {
        qd_unary_run_f32(node, in, out, run);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        ((float *)out[0].data)[i] = approximation(NULL, ((const float *)in[0].data)[i]);
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    return prepare->node->params ? qd_q8_table_prepare(prepare, approximation, NULL, err)
                                 : qd_unary_prepare_q8(prepare, err);
}

const struct qd_op qd_op_gelu = {
    .name = "Gelu",
    .min_opset = 20,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = 1,
    .n_outputs = 1,
    .flags = QD_OP_STEPS | QD_OP_ANY_ORDER,
    .parse = parse,
    .infer = qd_unary_infer,
    .run_f32 = run_f32,
    .as_activation = as_activation,
    .supports_q8 = qd_unary_supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_q8_table_run,
};
