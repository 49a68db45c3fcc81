#include "op/elementwise.h"
#include "op/q8.h"

QD_ELEMENTWISE_ROW(-)

static int64_t i64(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static void line(double b, double *ret_mult, double *ret_add)
{
    *ret_mult = 1;
    *ret_add = -b;
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

const struct qd_op qd_op_sub = {
    .name = "Sub",
    .min_opset = 7,
    .max_opset = 22,
    .min_inputs = 2,
    .max_inputs = 2,
    .n_outputs = 1,
    .flags = QD_OP_STEPS,
    .parse = parse,
    .infer = qd_elementwise_infer,
    .run_f32 = qd_elementwise_run_f32,
    .fuses = qd_elementwise_fuses,
    .supports_q8 = qd_elementwise_is_line,
    .prepare_q8 = qd_elementwise_prepare_line,
    .run_q8 = qd_q8_lines_run,
};
