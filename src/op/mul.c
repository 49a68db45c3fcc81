#include "op/elementwise.h"
#include "op/q8.h"

static float f32(float a, float b)
{
    return a * b;
}

static int64_t i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const struct qd_elementwise functions = {f32, i64};

    (void)graph;
    (void)err;
    /* Never written: params is not const because other operators' are filled by parse. */
    node->params = (void *)(uintptr_t)&functions;
    return QD_OK;
}

/* The activation first: an operand order that the quantized forms rely on. */
static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    enum qd_status status = qd_elementwise_infer(graph, node, err);
    int first = node->inputs[0];

    if (status == QD_OK && graph->values[first].data && !graph->values[node->inputs[1]].data) {
        node->inputs[0] = node->inputs[1];
        node->inputs[1] = first;
    }
    return status;
}

static bool fuses(const struct qd_node *node, const struct qd_activation *act)
{
    (void)node;
    return act->kind == QD_ACT_CLIP;
}

/* [1,c,1,1] against [1,c,h,w]: squeeze-and-excite. Returns the gate's position, or -1. */
static int gate_operand(const struct qd_graph *graph, const struct qd_node *node)
{
    for (int i = 0; i < 2; i++) {
        const struct qd_shape *gate = &graph->values[node->inputs[i]].shape;
        const struct qd_shape *other = &graph->values[node->inputs[1 - i]].shape;

        if (gate->n_dims == 4 && other->n_dims == 4 && gate->dims[1] == other->dims[1] && gate->dims[2] == 1 &&
            gate->dims[3] == 1)
            return i;
    }
    return -1;
}

static bool is_product(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    return !a->data && !b->data && (qd_shape_equal(&a->shape, &b->shape) || gate_operand(graph, node) >= 0);
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_elementwise_is_table(graph, node) || is_product(graph, node);
}

struct mul_q8 {
    const struct qd_kernels *kernels;
    struct qd_mul_params params; /* m: rows of an image */
    int gate;                    /* the input that has one row for all, or -1 */
    bool table;
    const void *tables;
};

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    const struct qd_graph *graph = prepare->graph;
    const struct qd_node *node = prepare->node;
    const struct qd_shape *shape = &graph->values[node->outputs[0]].shape;
    struct qd_qparams a, b, out = qd_q8_output(prepare);
    struct mul_q8 *mul = qd_arena_alloc(prepare->arena, sizeof(*mul));
    enum qd_status status;

    if (!mul)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a product");
    if (qd_elementwise_is_table(graph, node)) {
        status = qd_elementwise_prepare_table(prepare, err);
        mul->table = true;
        mul->tables = prepare->prepared;
        prepare->prepared = mul;
        return status;
    }
    mul->gate = qd_shape_equal(&graph->values[node->inputs[0]].shape, &graph->values[node->inputs[1]].shape)
                    ? -1
                    : gate_operand(graph, node);
    a = qd_q8_input(prepare, mul->gate == 0 ? 1 : 0);
    b = qd_q8_input(prepare, mul->gate == 0 ? 0 : 1);
    mul->kernels = prepare->kernels;
    mul->params.c = (int)(shape->n_dims == 4 ? shape->dims[1] : qd_shape_count(shape));
    mul->params.m = (size_t)(mul->params.c ? qd_shape_count(shape) / mul->params.c : 0);
    mul->params.b_stride = mul->gate >= 0 ? 0 : mul->params.c;
    mul->params.a_zero = a.zero_point;
    mul->params.b_zero = b.zero_point;
    mul->params.mult = a.scale * b.scale / out.scale;
    mul->params.zero = (float)out.zero_point;
    qd_q8_clamp(&node->act, out, &mul->params.clamp_min, &mul->params.clamp_max);
    if (!(65025.0 * (double)mul->params.mult < 0x1p30))
        return qd_error_set(err, QD_UNSUPPORTED, "its values pass 2^30 output steps");
    prepare->prepared = mul;
    return QD_OK;
}

static void run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct mul_q8 *mul = run->prepared;
    struct qd_mul_params params = mul->params;
    int a = mul->gate == 0 ? 1 : 0, b = 1 - a;
    int64_t begin, end;

    if (mul->table) {
        struct qd_q8_run table_run = *run;

        table_run.prepared = mul->tables;
        qd_q8_tables_run(&table_run, thread, n_threads);
        return;
    }
    qd_share((int64_t)mul->params.m, thread, n_threads, &begin, &end);
    for (int image = 0; image < run->n_images; image++) {
        params.a = run->inputs[a] + (size_t)image * run->input_pitch[a] + begin * params.c;
        params.b = run->inputs[b] + (size_t)image * run->input_pitch[b] + begin * params.b_stride;
        params.out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0] + begin * params.c;
        params.m = (size_t)(end - begin);
        mul->kernels->mul(&params);
    }
}

const struct qd_op qd_op_mul = {
    .name = "Mul",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .run_f32 = qd_elementwise_run_f32,
    .fuses = fuses,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};
