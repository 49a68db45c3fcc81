#include "op/unary.h"

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
