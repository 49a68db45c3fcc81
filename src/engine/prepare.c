/* Preparing the node of an int8 step: when the plan is made, and anew when a calibration changed its scales. */
#include <math.h>

#include "engine/internal.h"
#include "op/q8.h"

static bool is_activation(const struct qd_graph *graph, int value)
{
    return value != QD_NO_VALUE && !graph->values[value].data;
}

static bool has_q(const struct qd_graph *graph, int value)
{
    return qd_q8_of(graph, value).scale > 0;
}

#define STEP_NOISE 0x1p-20f /* of a step: it is a scale times a channel's share of it, each rounded */

/* Whether an output has the zero point of all inputs and, channel by channel, the step of what it is made of. */
static bool has_steps_of_sources(const struct qd_graph *graph, const struct qd_node *node, int output)
{
    const struct qd_value *value = &graph->values[node->outputs[output]];

    for (int i = 0; i < node->n_inputs; i++)
        if (is_activation(graph, node->inputs[i]) && qd_q8_of(graph, node->inputs[i]).zero_point != value->q.zero_point)
            return false;
    for (int64_t c = 0; c < value->shape.dims[1]; c++) {
        struct qd_channel source;
        float step = qd_q8_channel(graph, node->outputs[output], (int)c).scale;

        if (!node->op->channel_source(graph, node, output, c, &source) ||
            !(fabsf(qd_q8_channel(graph, source.value, (int)source.c).scale - step) <= STEP_NOISE * step))
            return false;
    }
    return true;
}

static bool has_scale_of_inputs(const struct qd_graph *graph, const struct qd_node *node, int output)
{
    struct qd_qparams out = qd_q8_of(graph, node->outputs[output]);

    for (int i = 0; i < node->n_inputs; i++) {
        struct qd_qparams q;

        if (!is_activation(graph, node->inputs[i]))
            continue;
        q = qd_q8_of(graph, node->inputs[i]);
        if (q.scale != out.scale || q.zero_point != out.zero_point || graph->values[node->inputs[i]].channel_steps)
            return false;
    }
    return !graph->values[node->outputs[output]].channel_steps;
}

static bool same_scales(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == QD_NO_VALUE || has_scale_of_inputs(graph, node, i))
            continue;
        if (!node->op->channel_source || !qd_value_is_picture(&graph->values[node->outputs[i]]) ||
            !has_steps_of_sources(graph, node, i))
            return false;
    }
    return true;
}

/* i: an input, or QD_STEPS_OF_OUTPUT. What moves channels takes all that same_scales finds right. */
static bool takes_steps(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    if (node->op->channel_source)
        return (node->op->flags & QD_OP_SAME_SCALE) || qd_node_renames(graph, node);
    return node->op->channel_steps && node->op->channel_steps(graph, node, i);
}

/* An output without a scale, which nobody can read as bytes, can be floats. */
static bool can_leave_floats(const struct qd_node *node, int output)
{
    return output == 0 && (node->op->flags & QD_OP_F32_OUTPUT) && node->act.kind == QD_ACT_NONE && node->residual < 0;
}

const char *qd_why_not_scales(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 0; i < node->n_inputs; i++) {
        if (!is_activation(graph, node->inputs[i]))
            continue;
        if (!has_q(graph, node->inputs[i]))
            return "an input has no scale";
        if (graph->values[node->inputs[i]].channel_steps && !takes_steps(graph, node, i))
            return "an input has a step per channel";
    }
    for (int i = 0; i < node->n_outputs; i++) {
        if (node->outputs[i] == QD_NO_VALUE)
            continue;
        if (!has_q(graph, node->outputs[i]) && !can_leave_floats(node, i))
            return "an output has no scale";
        if (graph->values[node->outputs[i]].channel_steps &&
            !((i == 0 || node->op->channel_source) && takes_steps(graph, node, QD_STEPS_OF_OUTPUT)))
            return "an output has a step per channel";
    }
    if ((node->op->flags & QD_OP_SAME_SCALE) && !same_scales(graph, node))
        return "inputs and outputs differ in scale";
    return NULL;
}

enum qd_status qd_step_prepare(const struct qd_plan *plan, struct qd_step *step, struct qd_arena *arena,
                               struct qd_error *err)
{
    const struct qd_graph *graph = plan->graph;
    const struct qd_node *node = &graph->nodes[step->node];
    struct qd_arena scratch = {0};
    struct qd_steps *in = qd_arena_array(&scratch, (size_t)node->n_inputs + 1, sizeof(*in));
    struct qd_steps *out = qd_arena_array(&scratch, (size_t)node->n_outputs + 1, sizeof(*out));
    struct qd_q8_prepare prepare = {
        .graph = graph,
        .node = node,
        .kernels = plan->options.kernels,
        .in_steps = in,
        .out_steps = out,
        .arena = arena,
        .output_f32 = step->output_f32,
    };
    enum qd_status status = in && out ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for the plan");

    for (int i = 0; i < node->n_inputs && status == QD_OK; i++)
        if (is_activation(graph, node->inputs[i]))
            in[i] = plan->places[qd_step_input_form(step, i)][node->inputs[i]].steps;
    for (int i = 0; i < node->n_outputs && status == QD_OK; i++)
        if (node->outputs[i] != QD_NO_VALUE)
            out[i] = plan->places[QD_FORM_Q8][node->outputs[i]].steps;
    if (status == QD_OK)
        status = node->op->prepare_q8(&prepare, err);
    qd_arena_done(&scratch);
    if (status != QD_OK)
        return qd_error_context(err, status, "node '%s' (%s)", node->name, node->op->name);
    step->prepared = prepare.prepared;
    step->scratch_size = prepare.scratch_size;
    return QD_OK;
}

enum qd_status qd_plan_prepare_again(struct qd_plan *plan, int step, struct qd_error *err)
{
    struct qd_step *old = &plan->steps[step], made = *old;
    const char *why;
    enum qd_status status;

    if (!plan->options.in_order || old->kind != QD_STEP_Q8)
        return qd_error_set(err, QD_INVALID, "step %d: expected an int8 step of a plan in order", step);
    why = qd_why_not_scales(plan->graph, &plan->graph->nodes[old->node]);
    if (why)
        return qd_error_set(err, QD_UNSUPPORTED, "node '%s': %s", plan->graph->nodes[old->node].name, why);
    made.arena = (struct qd_arena){0};
    status = qd_step_prepare(plan, &made, &made.arena, err);
    /* A frame's scratch is as large as the plan said. */
    if (status == QD_OK && made.scratch_size > plan->scratch_size)
        status = qd_error_set(err, QD_UNSUPPORTED, "step %d: its scratch memory has grown", step);
    if (status != QD_OK) {
        qd_arena_done(&made.arena);
        return status;
    }
    qd_arena_done(&old->arena);
    *old = made;
    qd_layout_set_pad_bytes(plan);
    return QD_OK;
}
