#include "op/conv.h"
#include "op/normalize.h"
#include "pass/internal.h"

/* The constant operand of an elementwise node as one float per channel of [1,c,h,w], or false. */
static bool per_channel(const struct qd_value *value, int64_t c, float *ret)
{
    int64_t count = qd_shape_count(&value->shape);
    int n = value->shape.n_dims;
    const float *data = value->data;

    if (!data || value->dtype != QD_F32)
        return false;
    if (count != 1 && (count != c || n < 3 || value->shape.dims[n - 3] != c))
        return false;
    for (int64_t i = 0; i < c; i++)
        ret[i] = data[count == 1 ? 0 : i];
    return true;
}

/* Mul or Add by constants right behind Normalize go into it. */
static bool absorb(struct qd_graph *graph, struct qd_normalize_params *params, int64_t c, const struct qd_node *node,
                   int value)
{
    int other = node->inputs[0] == value ? 1 : 0;
    float operand[4];

    if (node->op != &qd_op_mul && node->op != &qd_op_add)
        return false;
    if (!per_channel(&graph->values[node->inputs[other]], c, operand))
        return false;
    for (int64_t i = 0; i < c; i++) {
        if (node->op == &qd_op_mul) {
            params->scale[i] *= operand[i];
            params->bias[i] *= operand[i];
        } else {
            params->bias[i] += operand[i];
        }
    }
    return true;
}

static bool all_users_are_convs(const struct qd_graph *graph, int value)
{
    bool found = false;

    if (qd_graph_is_output(graph, value))
        return false;
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        for (int i = 0; i < node->n_inputs; i++) {
            if (node->inputs[i] != value)
                continue;
            if (i != 0 || node->op != &qd_op_conv || !graph->values[node->inputs[1]].data)
                return false;
            found = true;
        }
    }
    return found;
}

/*
 * conv(a * x + b) = conv'(x): weights times a of their input channel, bias plus the sum of weights times b. Outside the
 * picture the normalized value was 0, so the raw one is -b / a there.
 */
static enum qd_status fold_into_conv(struct qd_graph *graph, struct qd_node *conv,
                                     const struct qd_normalize_params *norm, int64_t c, struct qd_error *err)
{
    const struct qd_shape *shape = &graph->values[conv->inputs[1]].shape;
    struct qd_conv_attrs *params = conv->params;
    int64_t n = shape->dims[0], c_group = shape->dims[1], taps = shape->dims[2] * shape->dims[3];
    int64_t n_group = n / params->group;
    float *weights, *bias, *pad_value;
    enum qd_status status = qd_pass_own_weights(graph, conv, &weights, &bias, err);

    if (status != QD_OK)
        return status;
    pad_value = qd_arena_array(&graph->arena, (size_t)c, sizeof(float));
    if (!pad_value)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pass");
    for (int64_t i = 0; i < c; i++)
        pad_value[i] = -norm->bias[i] / norm->scale[i];
    for (int64_t o = 0; o < n; o++) {
        double sum = bias[o];

        for (int64_t i = 0; i < c_group; i++) {
            int64_t channel = o / n_group * c_group + i;

            for (int64_t t = 0; t < taps; t++) {
                float *w = &weights[(o * c_group + i) * taps + t];

                sum += (double)*w * (double)norm->bias[channel];
                *w *= norm->scale[channel];
            }
        }
        bias[o] = (float)sum;
    }
    params->pad_value = pad_value;
    return QD_OK;
}

enum qd_status qd_pass_fold_preprocessing(struct qd_graph *graph, struct qd_error *err)
{
    struct qd_node *norm = NULL, *user;
    struct qd_normalize_params *params;
    int64_t c;
    enum qd_status status;
    int value;

    for (int n = 0; n < graph->n_nodes && !norm; n++)
        if (graph->nodes[n].op == &qd_op_normalize)
            norm = &graph->nodes[n];
    if (!norm)
        return QD_OK;
    params = norm->params;
    value = norm->outputs[0];
    c = graph->values[value].shape.dims[1];
    /* Absorbed nodes stay without readers, for drop_dead. */
    while (!graph->values[value].given && (user = qd_graph_only_user(graph, value)) &&
           absorb(graph, params, c, user, value)) {
        int out = user->outputs[0];

        graph->values[value].q = graph->values[out].q;
        graph->values[value].given = graph->values[out].given;
        qd_graph_replace_uses(graph, out, value);
        for (int i = 0; i < user->n_inputs; i++)
            if (user->inputs[i] == value)
                user->inputs[i] = norm->inputs[0];
    }
    /* Where the model rounds its input that stays a step of its own, and the weights stay the model's integers. */
    if (graph->values[value].given)
        return QD_OK;
    for (int64_t i = 0; i < c; i++)
        if (params->scale[i] == 0)
            return QD_OK;
    if (!all_users_are_convs(graph, value))
        return QD_OK;
    for (int n = 0; n < graph->n_nodes; n++) {
        if (graph->nodes[n].inputs[0] != value)
            continue;
        status = fold_into_conv(graph, &graph->nodes[n], params, c, err);
        if (status != QD_OK)
            return status;
        graph->nodes[n].inputs[0] = norm->inputs[0];
    }
    return QD_OK;
}
