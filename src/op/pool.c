#include "op/pool.h"

#include "op/ops.h"
#include "op/q8.h"

enum qd_status qd_pool_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_pool_attrs *attrs = qd_arena_alloc(&graph->arena, sizeof(*attrs));
    int64_t storage_order;
    enum qd_status status;

    if (!attrs)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = attrs;
    status = qd_window_parse(node, &attrs->window, err);
    if (status == QD_OK && !attrs->window.kernel[0])
        return qd_error_set(err, QD_INVALID, "kernel_shape: expected 2 values, found none");
    if (status == QD_OK)
        status = qd_node_attr_int(node, "count_include_pad", 0, &attrs->count_include_pad, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "storage_order", 0, &storage_order, err);
    if (status == QD_OK && node->n_outputs > 1 && node->outputs[1] != QD_NO_VALUE)
        return qd_error_set(err, QD_UNSUPPORTED, "the second output (indices) is not supported");
    return status;
}

enum qd_status qd_pool_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_pool_attrs *attrs = node->params;
    const struct qd_value *in = qd_node_input(graph, node, 0);
    struct qd_shape out = in->shape;
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_window_infer(&attrs->window, &in->shape, &out.dims[2], err);
    if (status != QD_OK)
        return status;
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

struct pool_q8 {
    struct qd_pool_params params;
    void (*kernel)(const struct qd_pool_params *params);
};

enum qd_status qd_pool_prepare_q8(struct qd_q8_prepare *prepare, bool average, struct qd_error *err)
{
    const struct qd_pool_attrs *attrs = prepare->node->params;
    const struct qd_window *window = &attrs->window;
    const struct qd_shape *in = &prepare->graph->values[prepare->node->inputs[0]].shape;
    const struct qd_shape *out = &prepare->graph->values[prepare->node->outputs[0]].shape;
    struct qd_qparams q_in = qd_q8_input(prepare, 0), q_out = qd_q8_output(prepare);
    struct pool_q8 *pool = qd_arena_alloc(prepare->arena, sizeof(*pool));

    if (!pool)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a pool");
    pool->params = (struct qd_pool_params){
        .in_steps = prepare->in_steps[0],
        .out_steps = prepare->out_steps[0],
        .h = (int)in->dims[2],
        .w = (int)in->dims[3],
        .c = (int)in->dims[1],
        .out_h = (int)out->dims[2],
        .out_w = (int)out->dims[3],
        .kernel_h = (int)window->kernel[0],
        .kernel_w = (int)window->kernel[1],
        .stride_h = (int)window->stride[0],
        .stride_w = (int)window->stride[1],
        .dilation_h = (int)window->dilation[0],
        .dilation_w = (int)window->dilation[1],
        .pad_top = (int)window->pad_begin[0],
        .pad_left = (int)window->pad_begin[1],
        .in_zero = q_in.zero_point,
        .divisor_all = attrs->count_include_pad ? (int)(window->kernel[0] * window->kernel[1]) : 0,
        .mult = qd_q8_multiplier(prepare->graph, (double)q_in.scale / (double)q_out.scale),
        .out_zero = (float)q_out.zero_point,
        .clamp_min = 0,
        .clamp_max = (uint8_t)qd_q8_max(q_out),
    };
    pool->kernel = average ? prepare->kernels->average_pool : prepare->kernels->max_pool;
    prepare->prepared = pool;
    return QD_OK;
}

void qd_pool_run_q8(const struct qd_q8_run *run, int thread, int n_threads)
{
    const struct pool_q8 *pool = run->prepared;
    struct qd_pool_params params = pool->params;
    int64_t begin, end;

    qd_share((int64_t)run->n_images * params.out_h, thread, n_threads, &begin, &end);
    while (begin < end) {
        int64_t image = begin / params.out_h, rows;

        params.y_begin = (int)(begin % params.out_h);
        rows = end - begin < params.out_h - params.y_begin ? end - begin : params.out_h - params.y_begin;
        params.y_end = params.y_begin + (int)rows;
        params.in = run->inputs[0] + (size_t)image * run->input_pitch[0];
        params.out = (uint8_t *)run->outputs[0] + (size_t)image * run->output_pitch[0];
        pool->kernel(&params);
        begin += rows;
    }
}
