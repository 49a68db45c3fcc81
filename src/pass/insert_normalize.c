#include <string.h>

#include "op/normalize.h"
#include "pass/internal.h"

enum qd_status qd_pass_insert_normalize(struct qd_graph *graph, const float *scale, const float *bias, int n_channels,
                                        struct qd_error *err)
{
    int input = graph->inputs[0], output;
    struct qd_normalize_params *params;
    struct qd_node *node;
    enum qd_status status;
    char name[256];

    if (graph->values[input].shape.dims[1] != n_channels)
        return qd_error_set(err, QD_INVALID, "preprocessing gives %d channels, the model's input '%s' has %lld",
                            n_channels, graph->values[input].name, (long long)graph->values[input].shape.dims[1]);
    status = qd_graph_add_value(graph, qd_graph_new_name(graph, "quantd.normalized", name, sizeof(name)), &output, err);
    if (status != QD_OK)
        return status;
    graph->values[output].has_shape = true;
    graph->values[output].shape = graph->values[input].shape;
    graph->values[output].dtype = QD_F32;
    qd_graph_replace_uses(graph, input, output);
    status = qd_graph_add_node(graph, "quantd.normalize", qd_op_normalize.name, &qd_op_normalize, &input, 1, &output, 1,
                               &node, err);
    if (status != QD_OK)
        return status;
    params = qd_arena_alloc(&graph->arena, sizeof(*params));
    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for preprocessing");
    memcpy(params->scale, scale, (size_t)n_channels * sizeof(float));
    memcpy(params->bias, bias, (size_t)n_channels * sizeof(float));
    node->params = params;
    graph->pixels = input;
    return qd_graph_sort(graph, err);
}
