#include <stdio.h>

#include "op/conv.h"
#include "op/repeat_channels.h"
#include "pass/internal.h"

/* How many outputs each channel of a depthwise convolution has, or 1 where it is none. */
static int64_t multiplier(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_conv_attrs *conv = node->params;
    const struct qd_shape *in, *out;

    if (node->op != &qd_op_conv || conv->pad_value)
        return 1;
    in = &graph->values[node->inputs[0]].shape;
    out = &graph->values[node->outputs[0]].shape;
    return in->n_dims == 4 && conv->group == in->dims[1] && conv->group > 1 ? out->dims[1] / conv->group : 1;
}

static enum qd_status repeat_input(struct qd_graph *graph, int n, int64_t times, struct qd_error *err)
{
    struct qd_repeat_channels_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    int input = graph->nodes[n].inputs[0], output;
    char base[128], name[256];
    struct qd_node *repeat;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    params->times = times;
    snprintf(base, sizeof(base), "%.100s.repeated", graph->nodes[n].name);
    qd_graph_new_name(graph, base, name, sizeof(name));
    status = qd_graph_add_value(graph, name, &output, err);
    if (status == QD_OK)
        status = qd_graph_add_node(graph, name, qd_op_repeat_channels.name, &qd_op_repeat_channels, &input, 1, &output,
                                   1, &repeat, err);
    if (status != QD_OK)
        return status;
    repeat->params = params;
    graph->nodes[n].inputs[0] = output;
    graph->values[output].q = graph->values[input].q;
    graph->values[output].given = graph->values[input].given;
    return qd_op_repeat_channels.infer(graph, repeat, err);
}

/*
 * A depthwise convolution with a channel multiplier m becomes a plain one, which has kernels, over an input of each
 * channel m times. Its weights are in the right order already.
 */
enum qd_status qd_pass_split_multiplier(struct qd_graph *graph, struct qd_error *err)
{
    int n_nodes = graph->n_nodes;
    enum qd_status status = QD_OK;

    for (int n = 0; n < n_nodes && status == QD_OK; n++) {
        int64_t times = multiplier(graph, &graph->nodes[n]);

        if (times < 2)
            continue;
        status = repeat_input(graph, n, times, err);
        if (status == QD_OK)
            ((struct qd_conv_attrs *)graph->nodes[n].params)->group *= times;
    }
    return status;
}
