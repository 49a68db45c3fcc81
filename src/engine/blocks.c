/* Which pictures of a float plan lie in blocks of channels (kernel_f32.h), and what their steps need for it. */
#include "engine/internal.h"

/* What others read from the frame as it lies: outputs, and what a last Softmax reads. */
static bool is_read_outside(const struct qd_graph *graph, int value)
{
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == value || qd_logits_value(graph, i) == value)
            return true;
    return false;
}

/* Whether the node would work on blocks here: some already are, or it is worth turning its input round. */
static bool begins_or_goes_on(const struct qd_plan *plan, const struct qd_node *node, unsigned takes)
{
    if (takes & QD_BLOCKS_BEGIN)
        return true;
    for (int i = 0; i < node->n_inputs && i < QD_BLOCKS_INPUTS; i++)
        if ((takes >> i & 1) && plan->in_blocks[node->inputs[i]])
            return true;
    return false;
}

void qd_blocks_plan(struct qd_plan *plan, unsigned *ret_takes)
{
    const struct qd_graph *graph = plan->graph;

    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        const struct qd_value *out = &graph->values[node->outputs[0]];

        ret_takes[n] = 0;
        if (!plan->options.blocks || plan->options.precision != QD_PRECISION_F32 || !node->op->blocks ||
            !qd_can_lie_in_blocks(out) || out->given || is_read_outside(graph, node->outputs[0]))
            continue;
        ret_takes[n] = node->op->blocks->takes(graph, node);
        if (!begins_or_goes_on(plan, node, ret_takes[n]))
            ret_takes[n] = 0;
        plan->in_blocks[node->outputs[0]] = (ret_takes[n] & QD_BLOCKS_OUTPUT) != 0;
    }
}

enum qd_status qd_blocks_prepare(struct qd_plan *plan, struct qd_step *step, unsigned takes, struct qd_error *err)
{
    const struct qd_graph *graph = plan->graph;
    const struct qd_node *node = &graph->nodes[step->node];
    const struct qd_op_blocks *blocks = takes ? node->op->blocks : NULL;
    size_t (*scratch)(const struct qd_graph *graph, const struct qd_node *node) =
        blocks ? blocks->scratch : node->op->scratch_f32;

    step->blocks = takes;
    step->own_scratch = ((scratch ? scratch(graph, node) : 0) + QD_ALIGNMENT - 1) / QD_ALIGNMENT * QD_ALIGNMENT;
    step->scratch_size = step->own_scratch;
    for (int i = 0; i < node->n_inputs; i++) {
        bool wants = i < QD_BLOCKS_INPUTS && (takes >> i & 1);

        if (node->inputs[i] != QD_NO_VALUE && plan->in_blocks[node->inputs[i]] != wants)
            step->scratch_size += qd_blocks_count(&graph->values[node->inputs[i]].shape) * sizeof(float);
    }
    return blocks && blocks->prepare ? blocks->prepare(graph, node, &plan->arena, &step->blocks_prepared, err) : QD_OK;
}
