/* Add and Sub. */
#include "op/elementwise.h"

QD_ROW_2(add_f32, float, float, a + b)
QD_INTEGER_ROWS_2(add, (uint64_t)a + (uint64_t)b)
QD_ROW_2(sub_f32, float, float, a - b)
QD_INTEGER_ROWS_2(sub, (uint64_t)a - (uint64_t)b)

static void add_line(double b, double *ret_mult, double *ret_add)
{
    *ret_mult = 1;
    *ret_add = b;
}

static void sub_line(double b, double *ret_mult, double *ret_add)
{
    *ret_mult = 1;
    *ret_add = -b;
}

static bool is_sum(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *a = qd_node_input(graph, node, 0), *b = qd_node_input(graph, node, 1);

    return !a->data && !b->data && qd_shape_equal(&a->shape, &b->shape);
}

static bool supports_q8(const struct qd_graph *graph, const struct qd_node *node)
{
    return is_sum(graph, node) || qd_elementwise_supports_q8(graph, node);
}

struct add_q8 {
    const struct qd_kernels *kernels;
    struct qd_add_params params;
    struct qd_q8_pixels pixels;
};

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

static void sum_run(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct add_q8 *add = run->prepared;

    qd_q8_pixels_run(&add->pixels, run, thread, n_threads, add_pixels, add);
}

static enum qd_status prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)
{
    struct qd_qparams a, b, out = qd_q8_output(prepare);
    float sign = prepare->node->op == &qd_op_sub ? -1 : 1;
    struct add_q8 *add;

    if (!is_sum(prepare->graph, prepare->node))
        return qd_elementwise_prepare_q8(prepare, err);
    add = qd_arena_alloc(prepare->arena, sizeof(*add));
    if (!add)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for an addition");
    a = qd_q8_input(prepare, 0);
    b = qd_q8_input(prepare, 1);
    add->kernels = prepare->kernels;
    qd_q8_pixels_prepare(prepare, 0, 2, &add->pixels);
    add->params.a_mult = qd_q8_multiplier(prepare->graph, (double)a.scale / (double)out.scale);
    add->params.b_mult = sign * qd_q8_multiplier(prepare->graph, (double)b.scale / (double)out.scale);
    add->params.offset = (float)((double)out.zero_point - (double)a.zero_point * (double)add->params.a_mult -
                                 (double)b.zero_point * (double)add->params.b_mult);
    qd_q8_clamp(&prepare->node->act, out, &add->params.clamp_min, &add->params.clamp_max);
    prepare->prepared = add;
    return qd_elementwise_prepared(prepare, sum_run, err);
}

static const struct qd_elementwise add_functions = {
    .rows = {[QD_F32] = add_f32, QD_INTEGER_ROWS_OF(add)},
    .line = add_line,
};

const struct qd_op qd_op_add = {
    .name = "Add",
    .limits = "int8: two of one shape, or a constant per channel or for all",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .flags = QD_OP_STEPS | QD_OP_ANY_ORDER,
    .functions = &add_functions,
    .infer = qd_elementwise_infer_swapped,
    .run_f32 = qd_elementwise_run_f32,
    .blocks = &qd_elementwise_blocks,
    .fuses = qd_elementwise_fuses,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_elementwise_run_q8,
};

static const struct qd_elementwise sub_functions = {
    .rows = {[QD_F32] = sub_f32, QD_INTEGER_ROWS_OF(sub)},
    .line = sub_line,
};

const struct qd_op qd_op_sub = {
    .name = "Sub",
    .limits = "int8: two of one shape, or a constant per channel or for all",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .flags = QD_OP_STEPS | QD_OP_ANY_ORDER,
    .functions = &sub_functions,
    .infer = qd_elementwise_infer,
    .run_f32 = qd_elementwise_run_f32,
    .blocks = &qd_elementwise_blocks,
    .fuses = qd_elementwise_fuses,
    .supports_q8 = supports_q8,
    .prepare_q8 = prepare_q8,
    .run_q8 = qd_elementwise_run_q8,
};
