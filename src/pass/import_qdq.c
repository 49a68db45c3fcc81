/*
 * A model that is quantized already: its QuantizeLinear and DequantizeLinear go, and what they said stays as qparams of
 * the values that they rounded, given by the model. Such a value is rounded in float runs too, which are so what the
 * file means, and other passes leave it. Where graph->forgets_scales nothing is rounded: it is a float network again,
 * whose calibration finds scales of its own.
 */
#include "pass/import_qdq.h"

#include <math.h>

#include "op/normalize.h"
#include "op/pad.h"
#include "op/quantize_linear.h"
#include "op/resize.h"

static bool same_q(struct qd_qparams a, struct qd_qparams b)
{
    return a.scale == b.scale && a.zero_point == b.zero_point && a.bits == b.bits;
}

static bool has_q(const struct qd_graph *graph, int value, struct qd_qparams q)
{
    return graph->values[value].given && same_q(graph->values[value].q, q);
}

/* Readers and makers of `gone` use `keep`, which has the same elements. */
static void unify(struct qd_graph *graph, int keep, int gone)
{
    int producer = graph->values[gone].producer;

    if (keep == gone)
        return;
    for (int i = 0; producer >= 0 && i < graph->nodes[producer].n_outputs; i++)
        if (graph->nodes[producer].outputs[i] == gone)
            graph->nodes[producer].outputs[i] = keep;
    if (producer >= 0)
        graph->values[keep].producer = producer;
    qd_graph_replace_uses(graph, gone, keep);
}

/* Whether all that reads a QuantizeLinear's output turns it back with the same numbers. */
static bool is_pair(const struct qd_graph *graph, const struct qd_node *quantize, struct qd_qparams q)
{
    int value = quantize->outputs[0];
    struct qd_qparams other;

    if (qd_graph_is_output(graph, value))
        return false;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_inputs; i++)
            if (node->inputs[i] == value && (i > 0 || !qd_is_dequantize(node->op) ||
                                             !qd_quantize_qparams(graph, node, &other) || !same_q(q, other)))
                return false;
    }
    return true;
}

/* A clip to the levels where zero is the lowest: exporters leave a Relu or Relu6 out that the rounding does anyway. */
static enum qd_status become_clip(struct qd_graph *graph, struct qd_node *node, struct qd_qparams q,
                                  struct qd_error *err)
{
    struct qd_activation act = {.kind = QD_ACT_CLIP, .min = 0, .max = (float)(255 - q.zero_point) * q.scale};
    int producer = graph->values[node->inputs[0]].producer, low, high;
    const struct qd_node *maker = producer < 0 ? NULL : &graph->nodes[producer];
    const struct qd_shape scalar = {0};
    char name[64];
    enum qd_status status;

    qd_pass_become(node, &qd_op_identity, node->inputs[0], NULL);
    if (q.zero_point || !maker || !maker->op->fuses || !maker->op->fuses(maker, &act))
        return QD_OK;
    status = qd_graph_add_constant(graph, qd_graph_new_name(graph, "quantd.lowest", name, sizeof(name)), QD_F32,
                                   &scalar, &act.min, &low, NULL, err);
    if (status == QD_OK)
        status = qd_graph_add_constant(graph, qd_graph_new_name(graph, "quantd.highest", name, sizeof(name)), QD_F32,
                                       &scalar, &act.max, &high, NULL, err);
    if (status != QD_OK)
        return status;
    qd_pass_become(node, &qd_op_clip, node->inputs[0], NULL);
    status = qd_graph_set_input(graph, node, 1, low, err);
    if (status == QD_OK)
        status = qd_graph_set_input(graph, node, 2, high, err);
    if (status == QD_OK)
        status = qd_op_clip.parse(graph, node, err);
    return status == QD_OK ? qd_op_clip.infer(graph, node, err) : status;
}

/* Each pair becomes one Requantize, of floats, whose output is rounded. */
static enum qd_status open_pairs(struct qd_graph *graph, bool *keep, struct qd_error *err)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_node *node = &graph->nodes[n];
        struct qd_qparams q;
        int value;
        enum qd_status status;

        if (!qd_is_quantize(node->op) || !qd_pass_is_float_activation(graph, node->inputs[0]) ||
            !qd_quantize_qparams(graph, node, &q) || !is_pair(graph, node, q))
            continue;
        value = node->outputs[0];
        for (int d = 0; d < graph->n_nodes; d++) {
            int real = graph->nodes[d].outputs[0], kept = qd_graph_is_output(graph, real) ? real : value;

            if (!keep[d] || !qd_is_dequantize(graph->nodes[d].op) || graph->nodes[d].inputs[0] != value)
                continue;
            keep[d] = false;
            graph->values[real].producer = -1;
            unify(graph, kept, kept == value ? real : value);
            value = kept;
        }
        graph->values[value].dtype = QD_F32;
        if (graph->forgets_scales) {
            status = become_clip(graph, node, q, err);
            if (status != QD_OK)
                return status;
            continue;
        }
        graph->values[value].q = q;
        graph->values[value].given = true;
        qd_pass_become(node, &qd_op_requantize, node->inputs[0], NULL);
    }
    return QD_OK;
}

/* Whether nobody reads the value unrounded, or rounded in another way. */
static bool read_as(const struct qd_graph *graph, int value, struct qd_qparams q)
{
    if (graph->values[value].producer < 0 || qd_graph_is_output(graph, value))
        return false;
    for (int n = 0; n < graph->n_nodes; n++)
        for (int i = 0; i < graph->nodes[n].n_inputs; i++)
            if (graph->nodes[n].inputs[i] == value &&
                (graph->nodes[n].op != &qd_op_requantize || !has_q(graph, graph->nodes[n].outputs[0], q)))
                return false;
    return true;
}

/* A Requantize whose input can be rounded where it is made, or is already, goes. */
static void merge_requantize(struct qd_graph *graph, bool *keep)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_node *node = &graph->nodes[n];
        int in = node->inputs[0], out = node->outputs[0];
        struct qd_qparams q = graph->values[out].q;

        if (node->op != &qd_op_requantize)
            continue;
        if (!graph->values[in].given && read_as(graph, in, q)) {
            graph->values[in].q = q;
            graph->values[in].given = true;
        }
        if (!has_q(graph, in, q) || (qd_graph_is_output(graph, in) && qd_graph_is_output(graph, out)))
            continue;
        keep[n] = false;
        node->inputs[0] = QD_NO_VALUE;
        graph->values[out].producer = -1;
        if (qd_graph_is_output(graph, out))
            unify(graph, out, in);
        else
            unify(graph, in, out);
    }
}

/* Nodes that move or compare levels: outputs of rounded inputs are rounded, and rounding may as well come before. */
static bool moves_levels(const struct qd_graph *graph, const struct qd_node *node)
{
    return (node->op->flags & QD_OP_SAME_SCALE) && qd_pass_is_float_activation(graph, node->inputs[0]) &&
           qd_pass_is_float_activation(graph, node->outputs[0]);
}

/* Whether what a Pad fills with is a level of its input, or of its output, already. */
static bool fills_level(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_pad_params *params = node->params;
    const struct qd_value *in = &graph->values[node->inputs[0]], *out = &graph->values[node->outputs[0]];
    struct qd_qparams q = in->given ? in->q : out->q;
    double level = q.scale > 0 ? (double)params->value / (double)q.scale + q.zero_point : 0;

    return params->mode != QD_PAD_CONSTANT ||
           (q.scale > 0 && fabs(level - rint(level)) < 1e-4 && level > -0.5 && level < 255.5);
}

/* Of those, whether rounding before is exactly rounding after. */
static bool keeps_levels(const struct qd_graph *graph, const struct qd_node *node)
{
    bool resizes = node->op == &qd_op_resize || node->op == &qd_op_upsample;

    if (node->op == &qd_op_pad && !fills_level(graph, node))
        return false;
    return moves_levels(graph, node) &&
           (!resizes || ((const struct qd_resize_params *)node->params)->attrs.mode == QD_RESIZE_NEAREST);
}

static void spread_forward(struct qd_graph *graph)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];
        struct qd_qparams q;
        bool all = keeps_levels(graph, node) && graph->values[node->inputs[0]].given;

        if (!all)
            continue;
        q = graph->values[node->inputs[0]].q;
        for (int i = 1; i < node->n_inputs; i++)
            if (qd_pass_is_float_activation(graph, node->inputs[i]))
                all = all && has_q(graph, node->inputs[i], q);
        for (int i = 0; i < node->n_outputs; i++)
            all = all && (node->outputs[i] == QD_NO_VALUE || !graph->values[node->outputs[i]].given);
        for (int i = 0; i < node->n_outputs && all; i++) {
            if (!qd_pass_is_float_activation(graph, node->outputs[i]))
                continue;
            graph->values[node->outputs[i]].q = q;
            graph->values[node->outputs[i]].given = true;
        }
    }
}

static void spread_backward(struct qd_graph *graph)
{
    for (int n = graph->n_nodes - 1; n >= 0; n--) {
        struct qd_node *node = &graph->nodes[n];

        if (!keeps_levels(graph, node) || !graph->values[node->outputs[0]].given || node->n_outputs > 1)
            continue;
        for (int i = 0; i < node->n_inputs; i++) {
            int in = node->inputs[i];

            if (!qd_pass_is_float_activation(graph, in) || graph->values[in].given || graph->values[in].producer < 0 ||
                qd_graph_only_user(graph, in) != node)
                continue;
            graph->values[in].q = graph->values[node->outputs[0]].q;
            graph->values[in].given = true;
        }
    }
}

/* Where an operator joins levels of other scales than its output's (a Concat), they are rounded in front of it. */
static enum qd_status requantize_inputs(struct qd_graph *graph, struct qd_error *err)
{
    int n_nodes = graph->n_nodes;

    for (int n = 0; n < n_nodes; n++) {
        int joined = graph->nodes[n].outputs[0];
        struct qd_qparams q;

        if (!keeps_levels(graph, &graph->nodes[n]) || !graph->values[joined].given || graph->nodes[n].n_outputs > 1)
            continue;
        q = graph->values[joined].q;
        for (int i = 0; i < graph->nodes[n].n_inputs; i++) {
            int in = graph->nodes[n].inputs[i], out;
            enum qd_status status;

            if (!qd_pass_is_float_activation(graph, in) || !graph->values[in].given || has_q(graph, in, q))
                continue;
            status = qd_pass_insert_requantize(graph, n, i, "rounded", &out, err);
            if (status != QD_OK)
                return status;
            graph->values[out].q = q;
            graph->values[out].given = true;
        }
    }
    return QD_OK;
}

/*
 * A model that takes its picture as bytes begins with their DequantizeLinear: what preprocessing gives, floats here, is
 * on the levels of its scale already. It goes into quantd.Normalize.
 */
static void import_pixels(struct qd_graph *graph, bool *keep)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_node *node = &graph->nodes[n], *norm;
        int in = node->inputs[0], producer = in == QD_NO_VALUE ? -1 : graph->values[in].producer;
        const struct qd_value *scale, *zero;
        struct qd_normalize_params *params;
        int at;

        norm = producer < 0 ? NULL : &graph->nodes[producer];
        if (!norm || !qd_is_dequantize(node->op) || norm->op != &qd_op_normalize || graph->values[in].given ||
            qd_graph_only_user(graph, in) != node || qd_graph_is_output(graph, node->outputs[0]))
            continue;
        scale = qd_node_input(graph, node, 1);
        zero = qd_node_input(graph, node, 2);
        if (!scale->data || qd_shape_count(&scale->shape) != 1 || !(*(const float *)scale->data > 0) ||
            (zero && (!zero->data || zero->dtype != QD_U8 || qd_shape_count(&zero->shape) != 1)))
            continue;
        at = zero ? *(const uint8_t *)zero->data : 0;
        params = norm->params;
        for (int c = 0; c < 4; c++) {
            params->bias[c] = (params->bias[c] - (float)at) * *(const float *)scale->data;
            params->scale[c] *= *(const float *)scale->data;
        }
        graph->values[in].q = (struct qd_qparams){*(const float *)scale->data, at, 8};
        graph->values[in].given = !graph->forgets_scales;
        keep[n] = false;
        node->inputs[0] = QD_NO_VALUE;
        qd_graph_replace_uses(graph, node->outputs[0], in);
    }
}

static bool is_quantized(const struct qd_graph *graph)
{
    for (int n = 0; n < graph->n_nodes; n++)
        if (qd_is_quantize(graph->nodes[n].op) || qd_is_dequantize(graph->nodes[n].op))
            return true;
    return false;
}

static void keep_all(bool *keep, int n)
{
    for (int i = 0; i < n; i++)
        keep[i] = true;
}

enum qd_status qd_pass_import_qdq(struct qd_graph *graph, struct qd_error *err)
{
    struct qd_arena scratch = {0};
    bool *keep = qd_arena_array(&scratch, (size_t)graph->n_nodes + 1, sizeof(bool));
    struct qd_grid *grids = qd_arena_array(&scratch, (size_t)graph->n_values + 1, sizeof(*grids));
    enum qd_status status = keep && grids ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    if (status != QD_OK || !is_quantized(graph)) {
        qd_arena_done(&scratch);
        return status;
    }
    status = qd_import_constants(graph, grids, err);
    keep_all(keep, graph->n_nodes);
    if (status == QD_OK)
        status = open_pairs(graph, keep, err);
    if (status == QD_OK) {
        import_pixels(graph, keep);
        qd_graph_keep_nodes(graph, keep);
        keep_all(keep, graph->n_nodes);
        if (!graph->forgets_scales)
            status = qd_import_layers(graph, grids, err);
        merge_requantize(graph, keep);
        qd_graph_keep_nodes(graph, keep);
        spread_forward(graph);
        spread_backward(graph);
    }
    if (status == QD_OK)
        status = requantize_inputs(graph, err);
    qd_arena_done(&scratch);
    return status;
}
