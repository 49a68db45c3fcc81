/* Conv on pictures in blocks of channels: weights packed once, pictures read where they lie. */
#include "op/conv_f32.h"
#include "op/window.h"

/* Fewer channels leave too many lanes idle; of so few an input's planes are read as they are. */
#define FEWEST_OUTPUTS 8
#define MOST_PLANES 4
#define MAX_SCRATCH ((size_t)64 << 20)

static struct qd_conv_f32_params params_for(const struct qd_conv_attrs *attrs, const struct qd_shape *in,
                                            const struct qd_shape *weights, const struct qd_shape *out)
{
    struct qd_conv_f32_params p = qd_conv_f32_params_of(attrs, in, weights, out);

    p.in_planes = p.c <= MOST_PLANES;
    return p;
}

static struct qd_conv_f32_params params_of(const struct qd_graph *graph, const struct qd_node *node)
{
    return params_for(node->params, &graph->values[node->inputs[0]].shape, &graph->values[node->inputs[1]].shape,
                      &graph->values[node->outputs[0]].shape);
}

static bool is_depthwise(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_conv_is_depthwise(&graph->values[node->inputs[0]].shape, &graph->values[node->inputs[1]].shape,
                                ((const struct qd_conv_attrs *)node->params)->group);
}

static size_t scratch(const struct qd_graph *graph, const struct qd_node *node)
{
    struct qd_conv_f32_params p = params_of(graph, node);

    return is_depthwise(graph, node) ? qd_window_blocks_f32_scratch(&p) : qd_conv_blocks_f32_scratch(&p);
}

static unsigned takes(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_conv_attrs *attrs = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0), *w = qd_node_input(graph, node, 1);
    const struct qd_value *bias = qd_node_input(graph, node, 2);
    struct qd_conv_f32_params p;
    unsigned residual = node->residual >= 0 ? 1u << node->residual : 0;

    if (in->shape.n_dims != 4 || in->shape.dims[0] != 1 || !w->data || (bias && !bias->data))
        return 0;
    p = params_of(graph, node);
    if (p.n < FEWEST_OUTPUTS || p.c < 1 || scratch(graph, node) > MAX_SCRATCH)
        return 0;
    if (is_depthwise(graph, node))
        return 1u | QD_BLOCKS_OUTPUT | QD_BLOCKS_BEGIN | residual;
    if (attrs->group > 1 && (p.c % QD_F32_BLOCK || p.n % QD_F32_BLOCK))
        return 0;
    return (p.in_planes ? 0 : 1u) | QD_BLOCKS_OUTPUT | QD_BLOCKS_BEGIN | residual;
}

struct packed {
    const float *weights, *bias; /* bias NULL: 0 */
};

static enum qd_status prepare(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                              const void **ret, struct qd_error *err)
{
    const struct qd_value *w = qd_node_input(graph, node, 1), *bias = qd_node_input(graph, node, 2);
    int n = (int)w->shape.dims[0];
    size_t k = (size_t)(qd_shape_count(&w->shape) / n), room = qd_f32_blocks((size_t)n) * QD_F32_BLOCK;
    struct packed *packed = qd_arena_alloc(arena, sizeof(*packed));
    float *weights = qd_arena_array(arena, room * k, sizeof(float));
    float *biases = bias ? qd_arena_array(arena, room, sizeof(float)) : NULL;

    if (!packed || !weights || (bias && !biases))
        return qd_error_set(err, QD_NO_MEMORY, "no memory for packed weights");
    qd_f32_pack_blocks(w->data, n, k, weights);
    if (bias)
        qd_f32_pack_blocks(bias->data, n, 1, biases);
    packed->weights = weights;
    packed->bias = biases;
    *ret = packed;
    return QD_OK;
}

static void run_blocks(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    const struct qd_conv_attrs *attrs = node->params;
    const struct packed *packed = run->prepared;
    const float *residual = node->residual >= 0 ? in[node->residual].data : NULL;
    struct qd_conv_f32_params first = params_for(attrs, in[0].shape, in[1].shape, out[0].shape);
    bool depthwise = qd_conv_is_depthwise(in[0].shape, in[1].shape, attrs->group);
    ptrdiff_t pixels = (ptrdiff_t)first.out_h * first.out_w, taps = first.window.kernel_h * first.window.kernel_w;

    first.act = residual || node->act.kind != QD_ACT_NONE ? &node->act : NULL;
    first.scratch = run->scratch;
    for (ptrdiff_t g = 0; g < (depthwise ? 1 : attrs->group); g++) {
        struct qd_conv_f32_params p = first;

        p.in = (const float *)in[0].data + g * p.c * p.h * p.w;
        p.out = (float *)out[0].data + g * p.n * pixels;
        p.weights = packed->weights + g * p.n * p.c * taps;
        p.bias = packed->bias ? packed->bias + g * p.n : NULL;
        p.residual = residual ? residual + g * p.n * pixels : NULL;
        p.pad = p.pad ? p.pad + g * p.c : NULL;
        if (depthwise)
            run->kernels->f32->depthwise_blocks(&p);
        else
            run->kernels->f32->conv_blocks(&p);
    }
}

const struct qd_op_blocks qd_conv_blocks = {takes, prepare, scratch, run_blocks};
