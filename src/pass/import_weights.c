/* The half of import_qdq that is about constants: weights become floats, and layers keep the integers they had. */
#include <math.h>

#include "op/quantize_linear.h"
#include "pass/import_qdq.h"

#define MAX_WEIGHT 127
#define N_RATIOS 32

enum qd_status qd_import_constants(struct qd_graph *graph, struct qd_grid *grids, struct qd_error *err)
{
    enum qd_status status = QD_OK;
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));

    if (!keep)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct qd_node *node = &graph->nodes[n];
        bool constant = qd_is_dequantize(node->op);

        for (int i = 0; i < node->n_inputs; i++)
            constant = constant && (node->inputs[i] == QD_NO_VALUE || graph->values[node->inputs[i]].data);
        keep[n] = !constant;
        if (!constant)
            continue;
        status = qd_pass_fold_node(graph, node, err);
        grids[node->outputs[0]].scale = graph->values[node->inputs[1]].data;
        grids[node->outputs[0]].n = qd_shape_count(&graph->values[node->inputs[1]].shape);
    }
    if (status == QD_OK) {
        qd_graph_keep_nodes(graph, keep);
        status = qd_pass_fold_constants(graph, err);
    }
    qd_free(keep);
    return status;
}

/* Whether w is q * scale for integers, which become *ret_q (in floats); *ret_largest is the largest of them. */
static bool as_integers(const float *w, int k, float scale, float *ret_q, float *ret_largest)
{
    *ret_largest = 0;
    for (int i = 0; i < k; i++) {
        ret_q[i] = rintf(w[i] / scale);
        if (!(fabsf(w[i] / scale - ret_q[i]) < 0.01f))
            return false;
        *ret_largest = fmaxf(*ret_largest, fabsf(ret_q[i]));
    }
    return *ret_largest <= 255;
}

static float rounded(float q, float step)
{
    return fminf(fmaxf(rintf(q / step), -MAX_WEIGHT), MAX_WEIGHT);
}

/*
 * With a zero point (TensorFlow Lite's weights of the whole tensor are asymmetric) q - zero point may pass 127, which
 * the kernels' products of bytes do not hold. Mostly that is so in a few channels only: all others stay exactly what
 * they were. In those the step grows, up to what the largest needs, as far as it lowers the squared error.
 */
static float widest_step(const float *q, int k, float largest)
{
    float best = 1;
    double least = INFINITY;

    for (int r = 0; r <= N_RATIOS && largest > MAX_WEIGHT; r++) {
        float step = 1 + (largest / MAX_WEIGHT - 1) * (float)r / N_RATIOS;
        double error = 0;

        for (int i = 0; i < k; i++) {
            double d = (double)(q[i] - rounded(q[i], step) * step);

            error += d * d;
        }
        if (error >= least)
            continue;
        least = error;
        best = step;
    }
    return best;
}

/*
 * Rounds the taps of one input channel so that their sum stays within half a step of what it was: neighbouring pixels
 * are much alike, so the sum is what matters most.
 */
static void round_taps(const float *q, int taps, float step, int8_t *ret)
{
    float rest = 0;

    for (int t = 0; t < taps; t++) {
        ret[t] = (int8_t)rounded(q[t], step);
        rest += q[t] / step - (float)ret[t];
    }
    while (fabsf(rest) > 0.5f) {
        int sign = rest > 0 ? 1 : -1, best = -1;

        for (int t = 0; t < taps; t++)
            if (ret[t] * sign < MAX_WEIGHT && (best < 0 || (float)sign * (q[t] / step - (float)ret[t]) >
                                                               (float)sign * (q[best] / step - (float)ret[best])))
                best = t;
        if (best < 0)
            return;
        ret[best] = (int8_t)(ret[best] + sign);
        rest -= (float)sign;
    }
}

/* False: the weights are not integers of these scales (they lie on another axis, or a factor came to them). */
static bool fill(const struct qd_layer *layer, int k, const struct qd_grid *grid, float *row, int8_t *ret_q,
                 float *ret_scale)
{
    int taps = (int)(layer->window.kernel[0] * layer->window.kernel[1]);

    for (int o = 0; o < layer->n; o++) {
        float scale = grid->scale[grid->n == 1 ? 0 : o], largest, step;

        if (!(scale > 0) || !as_integers(layer->weights + (size_t)o * (size_t)k, k, scale, row, &largest))
            return false;
        step = widest_step(row, k, largest);
        ret_scale[o] = scale * step;
        for (int i = 0; i < k; i += taps)
            round_taps(row + i, taps, step, ret_q + (size_t)o * (size_t)k + (size_t)i);
    }
    return true;
}

static enum qd_status give_weights(struct qd_graph *graph, struct qd_node *node, const struct qd_grid *grid,
                                   struct qd_error *err)
{
    struct qd_arena scratch = {0};
    struct qd_error ignored = {""};
    struct qd_layer_weights *weights = qd_arena_alloc(&graph->arena, sizeof(*weights));
    struct qd_layer layer;
    float *row, *scale;
    int8_t *q;
    int k;

    if (!weights || node->op->layer(graph, node, &scratch, &layer, &ignored) != QD_OK ||
        (grid->n != 1 && grid->n != layer.n)) {
        qd_arena_done(&scratch);
        return weights ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
    }
    k = layer.n ? (int)(qd_shape_count(&graph->values[node->inputs[1]].shape) / layer.n) : 0;
    q = qd_arena_alloc(&graph->arena, (size_t)layer.n * (size_t)k);
    scale = qd_arena_array(&graph->arena, (size_t)layer.n, sizeof(float));
    row = qd_arena_array(&scratch, (size_t)k, sizeof(float));
    if (q && scale && row && fill(&layer, k, grid, row, q, scale)) {
        *weights = (struct qd_layer_weights){.bits = 8, .q = q, .scale = scale};
        node->layer_weights = weights;
    }
    qd_arena_done(&scratch);
    return q && scale && row ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for weights");
}

enum qd_status qd_import_layers(struct qd_graph *graph, const struct qd_grid *grids, struct qd_error *err)
{
    enum qd_status status = QD_OK;

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        struct qd_node *node = &graph->nodes[n];

        if (node->op->layer && node->n_inputs > 1 && grids[node->inputs[1]].n)
            status = give_weights(graph, node, &grids[node->inputs[1]], err);
    }
    return status;
}
