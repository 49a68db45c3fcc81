#include "op/unary.h"

#include <string.h>

enum qd_status qd_unary_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    return status == QD_OK ? qd_op_infer_same(graph, node, err) : status;
}

bool qd_unary_supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    (void)graph;
    return node->act.kind == QD_ACT_NONE;
}

void qd_unary_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                      const struct qd_f32_run *run)
{
    int64_t count = qd_shape_count(in[0].shape);
    struct qd_activation act;

    (void)node->op->as_activation(NULL, node, &act);
    memcpy(out[0].data, in[0].data, (size_t)count * sizeof(float));
    run->kernels->f32->activate(&act, NULL, out[0].data, (size_t)count);
}

static float table_value(const void *context, float x)
{
    return (float)qd_activation_f64(context, (double)x);
}

enum qd_status qd_unary_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    struct qd_activation act;

    (void)prepare->node->op->as_activation(prepare->graph, prepare->node, &act);
    return qd_q8_table_prepare(prepare, table_value, &act, err);
}
