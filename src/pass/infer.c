#include <string.h>

#include "pass/internal.h"

/* Folding may make constants out of shapes; this bounds what one node may make. */
#define MAX_FOLDED_BYTES ((size_t)1 << 30)

static bool can_fold(const struct qd_graph *graph, const struct qd_node *node)
{
    if (!node->op->run_f32 || !node->n_outputs || node->op->flags & QD_OP_KEEP)
        return false;
    if (node->op->flags & QD_OP_SHAPE_ONLY)
        return true;
    for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] != QD_NO_VALUE && !graph->values[node->inputs[i]].data)
            return false;
    return true;
}

static void set_view(const struct qd_value *value, struct qd_view *view)
{
    view->dtype = value->dtype;
    view->shape = &value->shape;
    view->data = (void *)(uintptr_t)value->data;
}

enum qd_status qd_pass_fold_node(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    struct qd_view *in = qd_arena_array(&scratch, (size_t)node->n_inputs + 1, sizeof(*in));
    struct qd_view *out = qd_arena_array(&scratch, (size_t)node->n_outputs + 1, sizeof(*out));
    struct qd_f32_run run = {
        .scratch = qd_arena_alloc(&scratch, node->op->scratch_f32 ? node->op->scratch_f32(graph, node) : 1)};
    enum qd_status status =
        in && out && run.scratch ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory to fold constants");

    for (int i = 0; i < node->n_inputs && status == QD_OK; i++)
        if (node->inputs[i] != QD_NO_VALUE)
            set_view(&graph->values[node->inputs[i]], &in[i]);
    for (int i = 0; i < node->n_outputs && status == QD_OK; i++) {
        struct qd_value *value = qd_node_output(graph, node, i);
        size_t bytes;

        if (!value)
            continue;
        bytes = (size_t)qd_shape_count(&value->shape) * qd_dtype_size(value->dtype);
        value->data = bytes <= MAX_FOLDED_BYTES ? qd_arena_alloc(&graph->arena, bytes) : NULL;
        if (!value->data)
            status = qd_error_set(err, QD_TOO_LARGE, "no memory for a constant of %zu bytes", bytes);
        else
            set_view(value, &out[i]);
    }
    if (status == QD_OK)
        status = qd_kernels_named(NULL, &run.kernels, err); /* any tier: all give the same floats */
    if (status == QD_OK)
        node->op->run_f32(node, in, out, &run);
    qd_arena_done(&scratch);
    return status;
}

static enum qd_status infer_node(struct qd_graph *graph, struct qd_node *node, bool *ret_folded, struct qd_error *err)
{
    enum qd_status status;

    for (int i = 0; i < node->n_inputs; i++)
        if (node->inputs[i] != QD_NO_VALUE && !graph->values[node->inputs[i]].has_shape)
            return qd_error_set(err, QD_INVALID, "input '%s' has no shape", graph->values[node->inputs[i]].name);
    status = node->op->infer(graph, node, err);
    if (status != QD_OK)
        return status;
    for (int i = 0; i < node->n_outputs; i++) {
        const struct qd_value *value = qd_node_output(graph, node, i);

        if (value && (!value->has_shape || qd_shape_count(&value->shape) < 0))
            return qd_error_set(err, QD_TOO_LARGE, "output '%s' has no shape or too many elements", value->name);
    }
    *ret_folded = can_fold(graph, node);
    return *ret_folded ? qd_pass_fold_node(graph, node, err) : QD_OK;
}

enum qd_status qd_pass_fold_constants(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for constants");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        keep[n] = !can_fold(graph, &graph->nodes[n]);
        if (!keep[n])
            status = qd_pass_fold_node(graph, &graph->nodes[n], err);
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}

enum qd_status qd_pass_infer(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for shapes");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct qd_node *node = &graph->nodes[n];
        bool folded = false;

        status = infer_node(graph, node, &folded, err);
        if (status != QD_OK)
            qd_error_context(err, status, "node '%.80s' (%s)", node->name, node->op->name);
        keep[n] = !folded;
    }
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}
