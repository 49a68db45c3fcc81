#include "export/tables.h"

#include <math.h>
#include <string.h>

#include "op/conv_q8.h"
#include "op/normalize.h"
#include "op/op.h"
#include "op/q8.h"

#define NCNN_NAME_SIZE 255 /* ncnn2int8 reads a key with "%255s" */

/* The larger end of the range that the bytes stand for. */
static float largest(struct qd_qparams q)
{
    int below = q.zero_point, above = qd_q8_max(q) - q.zero_point;

    return q.scale * (float)(below > above ? below : above);
}

static enum qd_status check_steps(const struct qd_graph *graph, struct qd_error *err)
{
    for (int v = 0; v < graph->n_values; v++)
        if (graph->values[v].channel_steps)
            return qd_error_set(err, QD_UNSUPPORTED, "tensor '%.80s' has a step per channel: expected one step",
                                graph->values[v].name);
    return QD_OK;
}

static enum qd_status check_layer(const struct qd_node *node, struct qd_error *err)
{
    if (node->layer_weights && node->layer_weights->bits != 8)
        return qd_error_set(err, QD_UNSUPPORTED, "layer '%.80s': expected weights of 8 bits, found %d", node->name,
                            node->layer_weights->bits);
    if (strpbrk(node->name, " \t\r\n") || strlen(node->name) + strlen("_param_0") > NCNN_NAME_SIZE)
        return qd_error_set(err, QD_UNSUPPORTED, "layer '%.80s': expected a name of at most %d characters, none blank",
                            node->name, NCNN_NAME_SIZE - (int)strlen("_param_0"));
    return QD_OK;
}

static enum qd_status write_weights(const struct qd_graph *graph, const struct qd_node *node, struct qd_buf *out,
                                    struct qd_error *err)
{
    const struct qd_layer_weights *found = node->layer_weights;
    struct qd_arena scratch = {0};
    struct qd_layer layer;
    const float *scale = found ? found->scale : NULL;
    enum qd_status status = node->op->layer(graph, node, &scratch, &layer, err);

    if (status == QD_OK && !scale) {
        int k = (int)(qd_shape_count(&graph->values[node->inputs[1]].shape) / layer.n);
        int8_t *q = qd_arena_alloc(&scratch, (size_t)layer.n * (size_t)k);
        float *nearest = qd_arena_array(&scratch, (size_t)layer.n, sizeof(float));

        if (!q || !nearest)
            status = qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
        else
            qd_weights_quantize(layer.weights, layer.n, k, 8, q, nearest);
        scale = nearest;
    }
    if (status == QD_OK)
        status = qd_buf_printf(out, err, "%s_param_0", node->name);
    for (int o = 0; o < layer.n && status == QD_OK; o++)
        status = qd_buf_printf(out, err, " %.9g", 1 / (double)scale[o]);
    qd_arena_done(&scratch);
    return status == QD_OK ? qd_buf_printf(out, err, "\n") : status;
}

enum qd_status qd_export_ncnn_table(const struct qd_graph *graph, const bool *int8, struct qd_buf *out,
                                    struct qd_error *err)
{
    enum qd_status status = check_steps(graph, err);

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        if (!int8[n] || !graph->nodes[n].op->layer)
            continue;
        status = check_layer(&graph->nodes[n], err);
        if (status == QD_OK)
            status = write_weights(graph, &graph->nodes[n], out, err);
    }
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++)
        if (int8[n] && graph->nodes[n].op->layer)
            status = qd_buf_printf(out, err, "%s %.9g\n", graph->nodes[n].name,
                                   127 / (double)largest(graph->values[graph->nodes[n].inputs[0]].q));
    return status;
}

static enum qd_status write_tensor(const char *name, struct qd_qparams q, struct qd_buf *out, struct qd_error *err)
{
    float scale = largest(q) / 127;
    uint32_t bits;

    memcpy(&bits, &scale, sizeof(bits));
    return qd_buf_printf(out, err, "%s: %08x\n", name, bits);
}

enum qd_status qd_export_tensorrt_cache(const struct qd_graph *graph, int version, struct qd_buf *out,
                                        struct qd_error *err)
{
    enum qd_status status = check_steps(graph, err);

    if (status == QD_OK)
        status = qd_buf_printf(out, err, "TRT-%d-EntropyCalibration2\n", version);
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_outputs && status == QD_OK; i++) {
            const struct qd_value *value = qd_node_output(graph, node, i);
            /* What preprocessing gives is the file's input. */
            const struct qd_value *named = node->op == &qd_op_normalize ? &graph->values[node->inputs[0]] : value;

            if (value && value->q.scale > 0 && node->op != &qd_op_requantize)
                status = write_tensor(named->name, value->q, out, err);
        }
    }
    return status;
}
