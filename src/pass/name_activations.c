/*
 * Activations that exporters write as several nodes, each made one again, for fuse_activation:
 *   x * Sigmoid(x)                          quantd.Silu (torch)
 *   Clip(x + b, 0, 1 / k) * k               HardSigmoid(alpha k, beta b * k); without b too
 *   x * HardSigmoid(x; 1/6, 1/2)            HardSwish (torch, before opset 14)
 *   x * Clip(x + 3, 0, 6) * (1 / 6)         HardSwish, the product first
 *   x * Tanh(Softplus(x))                   Mish
 *   x * (Erf(x / sqrt(2)) + 1) * 0.5        Gelu, the half of x or of the product
 * The factor may be a Div's divisor; nothing else may read what lies between.
 */
#include <math.h>

#include "op/hard_sigmoid.h"
#include "pass/internal.h"

/* Equal but for the rounding of a constant such as 1/6 or 0.16667. */
static bool near(float a, float b)
{
    return fabsf(a - b) <= 1e-4f * fabsf(b);
}

/* Whether the node multiplies by one number, or divides by it. */
static bool is_factor(const struct qd_graph *graph, const struct qd_node *node, float *ret)
{
    if ((node->op != &qd_op_mul && node->op != &qd_op_div) || !qd_pass_scalar(graph, node, ret))
        return false;
    *ret = node->op == &qd_op_div ? 1 / *ret : *ret;
    return true;
}

/* The input of Clip(input + shift, 0, top), or -1; *ret_add is NULL where nothing is added. */
static int shifted_clip(struct qd_graph *graph, const struct qd_node *clip, float *ret_shift, float *ret_top,
                        struct qd_node **ret_add)
{
    struct qd_activation act;

    if (!clip->op->as_activation(graph, clip, &act) || act.min != 0 || !(act.max > 0) || isinf(act.max))
        return -1;
    *ret_top = act.max;
    *ret_add = qd_pass_maker(graph, clip->inputs[0], &qd_op_add);
    if (*ret_add && qd_pass_scalar(graph, *ret_add, ret_shift))
        return (*ret_add)->inputs[0];
    *ret_add = NULL;
    *ret_shift = 0;
    return clip->inputs[0];
}

static void drop(const struct qd_graph *graph, bool *keep, const struct qd_node *node)
{
    if (node)
        keep[node - graph->nodes] = false;
}

static enum qd_status name_hard_sigmoid(struct qd_graph *graph, struct qd_node *node, bool *keep, struct qd_error *err)
{
    struct qd_hard_sigmoid_params *params;
    struct qd_node *clip, *add;
    float factor, shift, top;
    int x;

    if (!is_factor(graph, node, &factor) || !(clip = qd_pass_maker(graph, node->inputs[0], &qd_op_clip)))
        return QD_OK;
    x = shifted_clip(graph, clip, &shift, &top, &add);
    if (x < 0 || !near(factor * top, 1))
        return QD_OK;
    params = qd_arena_alloc(&graph->arena, sizeof(*params));
    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    params->alpha = factor;
    params->beta = shift * factor;
    qd_pass_become(node, &qd_op_hard_sigmoid, x, params);
    drop(graph, keep, clip);
    drop(graph, keep, add);
    return QD_OK;
}

/* x where the value is Erf(x / sqrt(2)) + 1, or -1. */
static int erf_plus_one(struct qd_graph *graph, int value, struct qd_node *ret_chain[3])
{
    float one, factor;

    ret_chain[0] = qd_pass_maker(graph, value, &qd_op_add);
    if (!ret_chain[0] || !qd_pass_scalar(graph, ret_chain[0], &one) || !near(one, 1))
        return -1;
    ret_chain[1] = qd_pass_maker(graph, ret_chain[0]->inputs[0], &qd_op_erf);
    if (!ret_chain[1])
        return -1;
    ret_chain[2] = qd_pass_maker(graph, ret_chain[1]->inputs[0], &qd_op_div);
    if (!ret_chain[2])
        ret_chain[2] = qd_pass_maker(graph, ret_chain[1]->inputs[0], &qd_op_mul);
    if (!ret_chain[2] || !is_factor(graph, ret_chain[2], &factor) || !near(factor, 0.70710678f))
        return -1;
    return ret_chain[2]->inputs[0];
}

/* What is multiplied with a half: its node's first input, or -1. */
static int halved(struct qd_graph *graph, const struct qd_node *node)
{
    float factor;

    return node && is_factor(graph, node, &factor) && near(factor, 0.5f) ? node->inputs[0] : -1;
}

static void name_gelu(struct qd_graph *graph, struct qd_node *node, bool *keep)
{
    int whole = halved(graph, node);
    struct qd_node *product = whole >= 0 ? qd_pass_maker(graph, whole, &qd_op_mul) : node, *chain[3], *half = NULL;

    if (!product || product->op != &qd_op_mul)
        return;
    for (int i = 0; i < 2; i++) {
        int other = product->inputs[1 - i], x = erf_plus_one(graph, product->inputs[i], chain);

        if (x < 0)
            continue;
        if (whole < 0) {
            half = qd_pass_maker(graph, other, &qd_op_mul);
            other = halved(graph, half);
        }
        if (other != x)
            continue;
        for (int j = 0; j < 3; j++)
            drop(graph, keep, chain[j]);
        drop(graph, keep, product != node ? product : half);
        qd_pass_become(node, &qd_op_gelu, x, NULL);
        return;
    }
}

static bool is_swish_gate(const struct qd_node *node)
{
    const struct qd_hard_sigmoid_params *params = node->params;

    return near(params->alpha, 1.0f / 6) && near(params->beta, 0.5f);
}

static void name_product(struct qd_graph *graph, struct qd_node *node, bool *keep)
{
    for (int i = 0; i < 2; i++) {
        struct qd_node *gate, *inner = NULL;
        int x = node->inputs[1 - i];

        if ((gate = qd_pass_maker(graph, node->inputs[i], &qd_op_sigmoid)) && gate->inputs[0] == x) {
            qd_pass_become(node, &qd_op_silu, x, NULL);
        } else if ((gate = qd_pass_maker(graph, node->inputs[i], &qd_op_hard_sigmoid)) && gate->inputs[0] == x &&
                   is_swish_gate(gate)) {
            qd_pass_become(node, &qd_op_hard_swish, x, NULL);
        } else if ((gate = qd_pass_maker(graph, node->inputs[i], &qd_op_tanh)) &&
                   (inner = qd_pass_maker(graph, gate->inputs[0], &qd_op_softplus)) && inner->inputs[0] == x) {
            qd_pass_become(node, &qd_op_mish, x, NULL);
        } else {
            continue;
        }
        drop(graph, keep, gate);
        drop(graph, keep, inner);
        return;
    }
}

/* x * Clip(x + 3, 0, 6), then a sixth of it. */
static void name_scaled_product(struct qd_graph *graph, struct qd_node *node, bool *keep)
{
    struct qd_node *product, *clip, *add;
    float factor, shift, top;

    if (!is_factor(graph, node, &factor) || !near(factor, 1.0f / 6) ||
        !(product = qd_pass_maker(graph, node->inputs[0], &qd_op_mul)))
        return;
    for (int i = 0; i < 2; i++) {
        int x = product->inputs[1 - i];

        clip = qd_pass_maker(graph, product->inputs[i], &qd_op_clip);
        if (!clip || shifted_clip(graph, clip, &shift, &top, &add) != x || !near(shift, 3) || !near(top, 6))
            continue;
        qd_pass_become(node, &qd_op_hard_swish, x, NULL);
        drop(graph, keep, product);
        drop(graph, keep, clip);
        drop(graph, keep, add);
        return;
    }
}

enum qd_status qd_pass_name_activations(struct qd_graph *graph, struct qd_error *err)
{
    bool *keep = qd_alloc_array((size_t)graph->n_nodes + 1, sizeof(bool));
    enum qd_status status = keep ? QD_OK : qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");

    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++) {
        keep[n] = true;
        name_gelu(graph, &graph->nodes[n], keep);
        name_scaled_product(graph, &graph->nodes[n], keep);
        status = name_hard_sigmoid(graph, &graph->nodes[n], keep, err);
    }
    for (int n = 0; n < graph->n_nodes && status == QD_OK; n++)
        if (keep[n] && graph->nodes[n].op == &qd_op_mul)
            name_product(graph, &graph->nodes[n], keep);
    if (status == QD_OK)
        qd_graph_keep_nodes(graph, keep);
    qd_free(keep);
    return status;
}
