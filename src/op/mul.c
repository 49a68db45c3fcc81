#include "op/elementwise.h"

QD_ROW_2(mul_f32, float, float, a *b)
QD_INTEGER_ROWS_2(mul, (uint64_t)a *(uint64_t)b)

static void line(double b, double *ret_mult, double *ret_add)
{
    *ret_mult = b;
    *ret_add = 0;
}

/* [1,c,1,1] against [1,c,h,w]: squeeze-and-excite. Returns the gate's position, or -1. */
static int gate_operand(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 0; i < 2; i++) {
        const struct qd_shape *gate = &graph->values[node->inputs[i]].shape;
        const struct qd_value *other = &graph->values[node->inputs[1 - i]];

        if (gate->n_dims == 4 && qd_value_is_picture(other) && gate->dims[1] == other->shape.dims[1] &&
            gate->dims[2] == 1 && gate->dims[3] == 1)
            return i;
    }
    return -1;
}

static bool is_product(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    return !a->data && !b->data && (qd_shape_equal(&a->shape, &b->shape) || gate_operand(graph, node) >= 0);
}

/* A gate's own picture is one pixel, which lies the same in both orders but for what a block has past c. */
static unsigned blocks_take(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    int gate;

    if (qd_shape_equal(&a->shape, &b->shape))
        return qd_elementwise_blocks.takes(graph, node);
    gate = a->data || b->data || a->dtype != QD_F32 || a->shape.n_dims != 4 || b->shape.n_dims != 4 ||
                   a->shape.dims[0] != 1 || b->shape.dims[0] != 1
               ? -1
               : gate_operand(graph, node);
    return gate < 0 ? 0 : (1u << (1 - gate)) | QD_BLOCKS_OUTPUT;
}

static void run_blocks(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                       const struct qd_f32_run *run)
{
    bool first = in[0].shape->dims[2] * in[0].shape->dims[3] == 1;
    const float *gate = in[first ? 0 : 1].data, *x = in[first ? 1 : 0].data;
    int64_t c = out[0].shape->dims[1], pixels = out[0].shape->dims[2] * out[0].shape->dims[3];
    float *y = out[0].data;

    if (qd_shape_equal(in[0].shape, in[1].shape)) {
        qd_elementwise_blocks.run(node, in, out, run);
        return;
    }
    for (int64_t b = 0; b < c; b += QD_F32_BLOCK) {
        float mult[QD_F32_BLOCK] = {0};

        for (int64_t i = 0; i < QD_F32_BLOCK && b + i < c; i++)
            mult[i] = gate[b + i];
        for (int64_t p = 0; p < pixels; p++, x += QD_F32_BLOCK, y += QD_F32_BLOCK)
            for (int i = 0; i < QD_F32_BLOCK; i++)
                y[i] = x[i] * mult[i];
    }
}

static const struct qd_op_blocks blocks = {blocks_take, NULL, NULL, run_blocks};

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return is_product(graph, node) || qd_elementwise_supports_q8(graph, node);
}

/* A gate's product is a line per channel, which takes steps up. */
static bool channel_steps(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);
    int gate = a->data || b->data || qd_shape_equal(&a->shape, &b->shape) ? -1 : gate_operand(graph, node);

    return gate >= 0 && i != gate && node->act.kind == QD_ACT_NONE;
}

struct mul_q8 {
    const struct qd_kernels *kernels;
    struct qd_mul_params params;
    struct qd_q8_pixels pixels;
    int c;
    int gate;          /* the input that has one row for all, or -1 */
    const float *mult; /* [c], where there is a gate: params.mult with the steps per channel */
};

struct gated {
    const struct mul_q8 *mul;
    const struct qd_q8_run *run;
};

/* A row for all: its bytes become a line per channel. */
static void gate_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct gated *gated = context;
    const struct mul_q8 *mul = gated->mul;
    const struct qd_mul_params *p = &mul->params;
    const uint8_t *gate = gated->run->inputs[mul->gate] + (size_t)image * gated->run->input_pitch[mul->gate];
    float *mult = gated->run->scratch, *offset = mult + mul->c;
    struct qd_affine_params params = {.in = in[0],
                                      .out = out,
                                      .m = (size_t)n,
                                      .c = mul->c,
                                      .mult = mult,
                                      .offset = offset,
                                      .clamp_min = p->clamp_min,
                                      .clamp_max = p->clamp_max};

    for (int c = 0; c < mul->c; c++) {
        mult[c] = (float)(gate[c] - p->b_zero) * mul->mult[c];
        offset[c] = p->zero - (float)p->a_zero * mult[c];
    }
    mul->kernels->affine(&params);
}

static void mul_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct mul_q8 *mul = context;
    struct qd_mul_params params = mul->params;

    (void)image;
    params.a = in[0];
    params.b = in[1];
    params.out = out;
    params.n = (size_t)(n * mul->pixels.c);
    mul->kernels->mul(&params);
}

static void product_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct mul_q8 *mul = run->prepared;
    struct qd_q8_run own = *run;
    const struct gated gated = {mul, run};

    if (mul->gate >= 0) {
        own.inputs = &run->inputs[1 - mul->gate];
        own.input_pitch = &run->input_pitch[1 - mul->gate];
        qd_q8_pixels_run(&mul->pixels, &own, thread, n_threads, gate_pixels, &gated);
    } else {
        qd_q8_pixels_run(&mul->pixels, run, thread, n_threads, mul_pixels, mul);
    }
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_graph *graph = prepare->graph;
    const struct qd_node *node = prepare->node;
    const struct qd_shape *shape = &graph->values[node->outputs[0]].shape;
    struct qd_qparams a, b, out = qd_q8_output(prepare);
    struct mul_q8 *mul;

    if (!is_product(graph, node))
        return qd_elementwise_prepare_q8(prepare, err);
    mul = qd_arena_alloc(prepare->arena, sizeof(*mul));
    if (!mul)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a product");
    mul->gate = qd_shape_equal(&graph->values[node->inputs[0]].shape, &graph->values[node->inputs[1]].shape)
                    ? -1
                    : gate_operand(graph, node);
    a = qd_q8_input(prepare, mul->gate == 0 ? 1 : 0);
    b = qd_q8_input(prepare, mul->gate == 0 ? 0 : 1);
    mul->kernels = prepare->kernels;
    mul->params.a_zero = a.zero_point;
    mul->params.b_zero = b.zero_point;
    mul->params.mult = qd_q8_multiplier(graph, (double)a.scale * (double)b.scale / (double)out.scale);
    mul->params.zero = (float)out.zero_point;
    qd_q8_clamp(&node->act, out, &mul->params.clamp_min, &mul->params.clamp_max);
    if (!(65025.0 * (double)mul->params.mult < 0x1p30))
        return qd_error_set(err, QD_UNSUPPORTED, "its values pass 2^30 output steps");
    if (mul->gate >= 0) {
        const float *in_steps = graph->values[node->inputs[1 - mul->gate]].channel_steps;
        const float *out_steps = graph->values[node->outputs[0]].channel_steps;
        float *mult;

        mul->c = (int)shape->dims[1];
        mul->mult = mult = qd_arena_array(prepare->arena, (size_t)mul->c, sizeof(float));
        if (!mult)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for a product");
        for (int c = 0; c < mul->c; c++)
            mult[c] = qd_q8_multiplier(graph, (double)a.scale * (double)b.scale / (double)out.scale *
                                                  (in_steps ? (double)in_steps[c] : 1) /
                                                  (out_steps ? (double)out_steps[c] : 1));
        prepare->scratch_size = 2 * (size_t)mul->c * sizeof(float) + QD_KERNEL_SLACK;
    }
    if (mul->gate >= 0) /* the gate is read by gate_pixels itself */
        qd_q8_pixels_prepare(prepare, 1 - mul->gate, 1, &mul->pixels);
    else
        qd_q8_pixels_prepare(prepare, 0, 2, &mul->pixels);
    prepare->prepared = mul;
    return qd_elementwise_prepared(prepare, product_run, err);
}

static const struct qd_elementwise functions = {
    .rows = {[QD_F32] = mul_f32, QD_INTEGER_ROWS_OF(mul)},
    .line = line,
};

const struct qd_op qd_op_mul = {
    .name = "Mul",
    .limits = "int8: two of one shape, a gate per channel, or a constant per channel or for all",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .flags = QD_OP_STEPS | QD_OP_ANY_ORDER,
    .functions = &functions,
    .infer = qd_elementwise_infer_swapped,
    .run_f32 = qd_elementwise_run_f32,
    .blocks = &blocks,
    .fuses = qd_elementwise_fuses,
    .supports_q8 = supports_q8,
    .channel_steps = channel_steps,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_elementwise_run_q8,
};
