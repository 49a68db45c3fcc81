/* QuantizeLinear and DequantizeLinear, one scale for all or one per index of an axis; ONNX's own and ONNX Runtime's. */
#include "op/quantize_linear.h"

#include <math.h>

#include "op/ops.h"

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_quantize_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    int64_t block;
    enum qd_status status;

    if (!params)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    status = qd_node_attr_int(node, "axis", 1, &params->given_axis, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "output_dtype", 0, &params->output_dtype, err);
    if (status == QD_OK)
        status = qd_node_attr_int(node, "block_size", 0, &block, err);
    if (status == QD_OK && block)
        return qd_error_set(err, QD_UNSUPPORTED, "block_size: scales per block are not supported");
    return status;
}

/* A step is a size: constant scales are checked here, for what is made of them later divides by them. */
static enum qd_status check_scale(const struct qd_value *scale, struct qd_error *err)
{
    for (int64_t i = 0; scale->data && scale->dtype == QD_F32 && i < qd_shape_count(&scale->shape); i++) {
        float step = ((const float *)scale->data)[i];

        if (!(step > 0) || isinf(step))
            return qd_error_set(err, QD_INVALID, "scale: expected a finite number above 0, found %g", (double)step);
    }
    return QD_OK;
}

/* Scale and zero point are one number or one per index of the axis; either may be one where the other is many. */
static enum qd_status find_axis(const struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct qd_quantize_params *params = node->params;
    const struct qd_shape *shape = &qd_node_input(graph, node, 0)->shape;
    char text[QD_SHAPE_TEXT_SIZE];
    int axis = 0;

    params->before = params->n = 1;
    params->after = qd_shape_count(shape);
    for (int i = 1; i < 3; i++) {
        const struct qd_value *value = qd_node_input(graph, node, i);
        int64_t n = value ? qd_shape_count(&value->shape) : 1;
        enum qd_status status = i == 1 ? check_scale(value, err) : QD_OK;

        if (status == QD_OK && n == 1)
            continue;
        if (status == QD_OK)
            status = qd_op_axis(params->given_axis, shape->n_dims, &axis, err);
        if (status != QD_OK)
            return status;
        if (value->shape.n_dims != 1 || n != shape->dims[axis])
            return qd_error_set(err, QD_UNSUPPORTED, "input %d: expected one number or [%lld], found %s", i,
                                (long long)shape->dims[axis], qd_shape_text(&value->shape, text));
        params->n = n;
        params->before = params->after = 1;
        for (int d = 0; d < shape->n_dims; d++)
            if (d != axis)
                *(d < axis ? &params->before : &params->after) *= shape->dims[d];
    }
    return QD_OK;
}

double qd_quantize_element(const struct qd_view *view, int64_t i)
{
    switch (view->dtype) {
    case QD_F32:
        return (double)((const float *)view->data)[i];
    case QD_S8:
        return ((const int8_t *)view->data)[i];
    case QD_I32:
        return ((const int32_t *)view->data)[i];
    case QD_I64:
        return (double)((const int64_t *)view->data)[i];
    default:
        return ((const uint8_t *)view->data)[i];
    }
}

bool qd_quantize_qparams(const struct qd_graph *graph, const struct qd_node *node, struct qd_qparams *ret)
{
    const struct qd_value *scale = qd_node_input(graph, node, 1), *zero = qd_node_input(graph, node, 2);
    bool from_float = graph->values[node->inputs[0]].dtype == QD_F32;
    enum qd_dtype dtype = graph->values[from_float ? node->outputs[0] : node->inputs[0]].dtype;
    float step;
    int at = 0;

    if ((dtype != QD_U8 && dtype != QD_S8) || !scale->data || qd_shape_count(&scale->shape) != 1)
        return false;
    if (zero && (!zero->data || qd_shape_count(&zero->shape) != 1))
        return false;
    step = *(const float *)scale->data;
    if (zero)
        at = (int)qd_quantize_element(&(struct qd_view){zero->dtype, &zero->shape, (void *)(uintptr_t)zero->data}, 0);
    *ret = (struct qd_qparams){step, at + (dtype == QD_S8 ? 128 : 0), 8};
    return step >= 0x1p-100f && step <= 0x1p100f;
}

static enum qd_status quantize_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_quantize_params *params = node->params;
    const struct qd_value *x = qd_node_input(graph, node, 0), *zero = qd_node_input(graph, node, 2);
    enum qd_dtype dtype = zero ? zero->dtype : QD_U8;
    enum qd_status status = qd_op_need_f32(graph, node, 0, err);

    if (status == QD_OK)
        status = qd_op_need_f32(graph, node, 1, err);
    if (status == QD_OK && !zero && params->output_dtype)
        status = qd_op_dtype(params->output_dtype, &dtype, err);
    /* 16 bits are read as int32: whether they were signed is not known any more. */
    if (status == QD_OK && dtype != QD_U8 && dtype != QD_S8)
        status = qd_error_set(err, QD_UNSUPPORTED, "expected a zero point of type uint8 or int8, found %s",
                              qd_dtype_name(dtype));
    if (status == QD_OK)
        status = find_axis(graph, node, err);
    return status == QD_OK ? qd_op_set_output(graph, node, 0, dtype, &x->shape, err) : status;
}

static enum qd_status dequantize_infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *x = qd_node_input(graph, node, 0);
    enum qd_status status = qd_op_need_f32(graph, node, 1, err);

    /* A float is a picture of uint8 that preprocessing made. */
    if (status == QD_OK && (x->dtype == QD_I64 || x->dtype == QD_BOOL))
        status = qd_error_set(err, QD_UNSUPPORTED, "input 0: expected uint8, int8 or int32, found %s",
                              qd_dtype_name(x->dtype));
    if (status == QD_OK)
        status = find_axis(graph, node, err);
    return status == QD_OK ? qd_op_set_output(graph, node, 0, QD_F32, &x->shape, err) : status;
}

/* One number, or the c-th of many. */
static double at(const struct qd_view *view, int64_t c)
{
    return view->data ? qd_quantize_element(view, qd_shape_count(view->shape) == 1 ? 0 : c) : 0;
}

static void quantize_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                         const struct qd_f32_run *run)
{
    const struct qd_quantize_params *params = node->params;
    const float *x = in[0].data;
    double low = out[0].dtype == QD_S8 ? -128 : 0, high = low + 255;

    (void)run;
    for (int64_t i = 0; i < params->before * params->n; i++) {
        float scale = (float)at(&in[1], i % params->n);
        double zero = node->n_inputs > 2 ? at(&in[2], i % params->n) : 0;

        for (int64_t j = i * params->after; j < (i + 1) * params->after; j++)
            ((uint8_t *)out[0].data)[j] = (uint8_t)(int)fmin(fmax((double)rintf(x[j] / scale) + zero, low), high);
    }
}

static void dequantize_run(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                           const struct qd_f32_run *run)
{
    const struct qd_quantize_params *params = node->params;
    float *y = out[0].data;

    (void)run;
    for (int64_t i = 0; i < params->before * params->n; i++) {
        float scale = (float)at(&in[1], i % params->n);
        double zero = node->n_inputs > 2 ? at(&in[2], i % params->n) : 0;

        for (int64_t j = i * params->after; j < (i + 1) * params->after; j++)
            y[j] = (float)(qd_quantize_element(&in[0], j) - zero) * scale;
    }
}

#define QUANTIZE_FIELDS                                                                                                \
    .name = "QuantizeLinear", .min_inputs = 2, .max_inputs = 3, .n_outputs = 1, .parse = parse,                        \
    .infer = quantize_infer, .run_f32 = quantize_run,                                                                  \
    .limits = "uint8 and int8; one scale, or one per index of an axis; constant scales become those of int8 steps"

#define DEQUANTIZE_FIELDS                                                                                              \
    .name = "DequantizeLinear", .min_inputs = 2, .max_inputs = 3, .n_outputs = 1, .flags = QD_OP_KEEP, .parse = parse, \
    .infer = dequantize_infer, .run_f32 = dequantize_run,                                                              \
    .limits = "one scale, or one per index of an axis; constant scales become those of int8 steps"

const struct qd_op qd_op_quantize_linear = {.min_opset = 10, .max_opset = 22, QUANTIZE_FIELDS};
const struct qd_op qd_op_dequantize_linear = {.min_opset = 10, .max_opset = 22, DEQUANTIZE_FIELDS};

const struct qd_op qd_op_ms_quantize_linear = {
    .domain = QD_DOMAIN_MICROSOFT, .min_opset = 1, .max_opset = 1, QUANTIZE_FIELDS};
const struct qd_op qd_op_ms_dequantize_linear = {
    .domain = QD_DOMAIN_MICROSOFT, .min_opset = 1, .max_opset = 1, DEQUANTIZE_FIELDS};
