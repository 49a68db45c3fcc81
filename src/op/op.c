#include "op/op.h"

#include <string.h>

#include "op/ops.h"

/* All operators; a new one is a file and a row. */
static const struct qd_op *const qd_ops[] = {
    &qd_op_abs,
    &qd_op_acos,
    &qd_op_acosh,
    &qd_op_add,
    &qd_op_and,
    &qd_op_arg_max,
    &qd_op_arg_min,
    &qd_op_asin,
    &qd_op_asinh,
    &qd_op_atan,
    &qd_op_atanh,
    &qd_op_average_pool,
    &qd_op_batch_normalization,
    &qd_op_bit_shift,
    &qd_op_bitwise_and,
    &qd_op_bitwise_not,
    &qd_op_bitwise_or,
    &qd_op_bitwise_xor,
    &qd_op_cast,
    &qd_op_cast_like,
    &qd_op_ceil,
    &qd_op_celu,
    &qd_op_channel_shuffle,
    &qd_op_clip,
    &qd_op_concat,
    &qd_op_constant,
    &qd_op_constant_of_shape,
    &qd_op_conv,
    &qd_op_conv_integer,
    &qd_op_conv_transpose,
    &qd_op_cos,
    &qd_op_cosh,
    &qd_op_cum_sum,
    &qd_op_depth_to_space,
    &qd_op_dequantize_linear,
    &qd_op_div,
    &qd_op_dropout,
    &qd_op_dynamic_quantize_linear,
    &qd_op_einsum,
    &qd_op_elu,
    &qd_op_equal,
    &qd_op_erf,
    &qd_op_exp,
    &qd_op_expand,
    &qd_op_eye_like,
    &qd_op_flatten,
    &qd_op_floor,
    &qd_op_gather,
    &qd_op_gather_elements,
    &qd_op_gather_nd,
    &qd_op_gelu,
    &qd_op_gemm,
    &qd_op_global_average_pool,
    &qd_op_global_lp_pool,
    &qd_op_global_max_pool,
    &qd_op_greater,
    &qd_op_greater_or_equal,
    &qd_op_grid_sample,
    &qd_op_group_normalization,
    &qd_op_hard_sigmoid,
    &qd_op_hard_swish,
    &qd_op_hardmax,
    &qd_op_identity,
    &qd_op_instance_normalization,
    &qd_op_is_inf,
    &qd_op_is_nan,
    &qd_op_layer_normalization,
    &qd_op_leaky_relu,
    &qd_op_less,
    &qd_op_less_or_equal,
    &qd_op_linear,
    &qd_op_log,
    &qd_op_log_softmax,
    &qd_op_lp_normalization,
    &qd_op_lp_pool,
    &qd_op_lrn,
    &qd_op_mat_mul,
    &qd_op_mat_mul_integer,
    &qd_op_max,
    &qd_op_max_pool,
    &qd_op_mean,
    &qd_op_mean_variance_normalization,
    &qd_op_min,
    &qd_op_mish,
    &qd_op_mod,
    &qd_op_ms_dequantize_linear,
    &qd_op_ms_quantize_linear,
    &qd_op_mul,
    &qd_op_neg,
    &qd_op_non_max_suppression,
    &qd_op_non_zero,
    &qd_op_normalize,
    &qd_op_not,
    &qd_op_one_hot,
    &qd_op_or,
    &qd_op_pad,
    &qd_op_pow,
    &qd_op_prelu,
    &qd_op_q_gemm,
    &qd_op_qlinear_add,
    &qd_op_qlinear_average_pool,
    &qd_op_qlinear_concat,
    &qd_op_qlinear_conv,
    &qd_op_qlinear_global_average_pool,
    &qd_op_qlinear_leaky_relu,
    &qd_op_qlinear_mat_mul,
    &qd_op_qlinear_mul,
    &qd_op_qlinear_sigmoid,
    &qd_op_quantize_linear,
    &qd_op_range,
    &qd_op_reciprocal,
    &qd_op_reduce_l1,
    &qd_op_reduce_l2,
    &qd_op_reduce_log_sum,
    &qd_op_reduce_log_sum_exp,
    &qd_op_reduce_max,
    &qd_op_reduce_mean,
    &qd_op_reduce_min,
    &qd_op_reduce_prod,
    &qd_op_reduce_sum,
    &qd_op_reduce_sum_square,
    &qd_op_relu,
    &qd_op_repeat_channels,
    &qd_op_requantize,
    &qd_op_reshape,
    &qd_op_resize,
    &qd_op_round,
    &qd_op_scatter,
    &qd_op_scatter_elements,
    &qd_op_scatter_nd,
    &qd_op_selu,
    &qd_op_shape,
    &qd_op_shrink,
    &qd_op_sigmoid,
    &qd_op_sign,
    &qd_op_silu,
    &qd_op_sin,
    &qd_op_sinh,
    &qd_op_size,
    &qd_op_slice,
    &qd_op_softmax,
    &qd_op_softplus,
    &qd_op_softsign,
    &qd_op_space_to_depth,
    &qd_op_split,
    &qd_op_sqrt,
    &qd_op_squeeze,
    &qd_op_sub,
    &qd_op_sum,
    &qd_op_tan,
    &qd_op_tanh,
    &qd_op_thresholded_relu,
    &qd_op_tile,
    &qd_op_top_k,
    &qd_op_transpose,
    &qd_op_trilu,
    &qd_op_unsqueeze,
    &qd_op_upsample,
    &qd_op_where,
    &qd_op_xor,
};

const struct qd_op *qd_op_find_in(const char *domain, const char *name)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(qd_ops); i++)
        if (strcmp(qd_ops[i]->name, name) == 0 &&
            (domain && qd_ops[i]->domain ? strcmp(qd_ops[i]->domain, domain) == 0 : domain == qd_ops[i]->domain))
            return qd_ops[i];
    return NULL;
}

const struct qd_op *qd_op_find(const char *name)
{
    return qd_op_find_in(NULL, name);
}

const struct qd_op *qd_op_at(int i)
{
    return i >= 0 && (size_t)i < QD_ARRAY_SIZE(qd_ops) ? qd_ops[i] : NULL;
}

enum qd_status qd_op_set_output(struct qd_graph *graph, struct qd_node *node, int i, enum qd_dtype dtype,
                                const struct qd_shape *shape, struct qd_error *err)
{
    struct qd_value *value = qd_node_output(graph, node, i);
    char text[QD_SHAPE_TEXT_SIZE];

    if (!value)
        return QD_OK;
    if (shape->n_dims > QD_MAX_DIMS || qd_shape_count(shape) < 0)
        return qd_error_set(err, QD_TOO_LARGE, "output %d: shape %s is negative or has more than %d elements", i,
                            qd_shape_text(shape, text), QD_MAX_ELEMENTS);
    value->dtype = dtype;
    value->shape = *shape;
    value->has_shape = true;
    return QD_OK;
}

enum qd_status qd_op_const_ints(const struct qd_graph *graph, const struct qd_node *node, int i, int limit,
                                int64_t *ret_values, int *ret_n, struct qd_error *err)
{
    const struct qd_value *value = qd_node_input(graph, node, i);
    int64_t n;

    if (!value || !value->data)
        return qd_error_set(err, QD_UNSUPPORTED, "input %d: expected a constant, found a value known only at run time",
                            i);
    n = qd_shape_count(&value->shape);
    if (value->dtype != QD_I64 && value->dtype != QD_I32)
        return qd_error_set(err, QD_INVALID, "input %d: expected integers, found %s", i, qd_dtype_name(value->dtype));
    if (n > limit)
        return qd_error_set(err, QD_INVALID, "input %d: expected at most %d values, found %lld", i, limit,
                            (long long)n);
    for (int64_t j = 0; j < n; j++)
        ret_values[j] = value->dtype == QD_I64 ? ((const int64_t *)value->data)[j] : ((const int32_t *)value->data)[j];
    *ret_n = (int)n;
    return QD_OK;
}

enum qd_status qd_op_dtype(int64_t onnx, enum qd_dtype *ret, struct qd_error *err)
{
    static const struct {
        int64_t onnx;
        enum qd_dtype dtype;
    } types[] = {{1, QD_F32}, {2, QD_U8},   {3, QD_S8},   {4, QD_I32},  {5, QD_I32},  {6, QD_I32},
                 {7, QD_I64}, {9, QD_BOOL}, {10, QD_F32}, {11, QD_F32}, {12, QD_I64}, {13, QD_I64}};

    for (size_t i = 0; i < QD_ARRAY_SIZE(types); i++) {
        if (types[i].onnx == onnx) {
            *ret = types[i].dtype;
            return QD_OK;
        }
    }
    return qd_error_set(err, QD_UNSUPPORTED, "element type %lld is not supported", (long long)onnx);
}

enum qd_status qd_op_axis(int64_t axis, int n_dims, int *ret, struct qd_error *err)
{
    if (axis < -n_dims || axis >= n_dims)
        return qd_error_set(err, QD_INVALID, "axis: expected %d..%d, found %lld", -n_dims, n_dims - 1, (long long)axis);
    *ret = (int)(axis < 0 ? axis + n_dims : axis);
    return QD_OK;
}

enum qd_status qd_op_infer_same(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    const struct qd_value *in = qd_node_input(graph, node, 0);

    return qd_op_set_output(graph, node, 0, in->dtype, &in->shape, err);
}

bool qd_op_same_channel(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                        struct qd_channel *ret)
{
    (void)graph;
    (void)output;
    *ret = (struct qd_channel){node->inputs[0], c};
    return true;
}

enum qd_status qd_op_need_f32(const struct qd_graph *graph, const struct qd_node *node, int i, struct qd_error *err)
{
    const struct qd_value *value = qd_node_input(graph, node, i);

    if (value && value->dtype != QD_F32)
        return qd_error_set(err, QD_UNSUPPORTED, "input %d: expected float, found %s", i, qd_dtype_name(value->dtype));
    return QD_OK;
}
