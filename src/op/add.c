#include "op/elementwise.h"
#include "op/q8.h"

QD_ELEMENTWISE_ROW(+)

static int64_t i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static void line(double b, double *ret_mult, double *ret_add)
{
    *ret_mult = 1;
    *ret_add = b;
}

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    static const struct qd_elementwise functions = {f32_row, i64, line};

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

static bool is_sum(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    return !a->data && !b->data && qd_shape_equal(&a->shape, &b->shape);
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_elementwise_is_line(graph, node) || is_sum(graph, node);
}

struct add_q8 {
    const struct qd_kernels *kernels;
    struct qd_add_params params;
    struct qd_q8_pixels pixels;
    bool line; /* the second operand is constant */
    const void *lines;
};

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    struct qd_qparams a, b, out = qd_q8_output(prepare);
    struct add_q8 *add = qd_arena_alloc(prepare->arena, sizeof(*add));
    enum qd_status status;

    if (!add)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an addition");
    if (qd_elementwise_is_line(prepare->graph, prepare->node)) {
        status = qd_elementwise_prepare_line(prepare, err);
        add->line = true;
        add->lines = prepare->prepared;
        prepare->prepared = add;
        return status;
    }
    a = qd_q8_input(prepare, 0);
    b = qd_q8_input(prepare, 1);
    add->kernels = prepare->kernels;
    qd_q8_pixels_prepare(prepare, 0, 2, &add->pixels);
    add->params.a_mult = qd_q8_multiplier(prepare->graph, (double)a.scale / (double)out.scale);
    add->params.b_mult = qd_q8_multiplier(prepare->graph, (double)b.scale / (double)out.scale);
    add->params.offset = (float)((double)out.zero_point - (double)a.zero_point * (double)add->params.a_mult -
                                 (double)b.zero_point * (double)add->params.b_mult);
    qd_q8_clamp(&prepare->node->act, out, &add->params.clamp_min, &add->params.clamp_max);
    prepare->prepared = add;
    return QD_OK;
}

static void add_pixels(const void *context, int image, const uint8_t *const *in, uint8_t *out, int64_t n)
{
    const struct add_q8 *add = context;
    struct qd_add_params params = add->params;

    (void)image;
    params.a = in[0];
    params.b = in[1];
    params.out = out;
    params.n = (size_t)(n * add->pixels.c);
    add->kernels->add(&params);
}

static void run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct add_q8 *add = run->prepared;
    struct qd_q8_run line_run = *run;

    if (add->line) {
        line_run.prepared = add->lines;
        qd_q8_lines_run(&line_run, thread, n_threads);
        return;
    }
    qd_q8_pixels_run(&add->pixels, run, thread, n_threads, add_pixels, add);
}

const struct qd_op qd_op_add = {
    .name = "Add",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .flags = QD_OP_STEPS,
    .parse = parse,
    .infer = infer,
    .run_f32 = qd_elementwise_run_f32,
    .fuses = qd_elementwise_fuses,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = run_q8,
};
