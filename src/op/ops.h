/* Every operator, for the table, and what operators share. */
#ifndef QD_OP_OPS_H
#define QD_OP_OPS_H

#include "op/op.h"

extern const struct qd_op qd_op_average_pool, qd_op_concat, qd_op_constant, qd_op_constant_of_shape, qd_op_expand,
    qd_op_flatten, qd_op_gather, qd_op_global_average_pool, qd_op_leaky_relu, qd_op_max_pool, qd_op_reduce_mean,
    qd_op_relu, qd_op_shape, qd_op_slice, qd_op_split, qd_op_squeeze, qd_op_unsqueeze, qd_op_eye_like,
    qd_op_gather_elements, qd_op_gather_nd, qd_op_non_max_suppression, qd_op_non_zero, qd_op_one_hot, qd_op_range,
    qd_op_scatter, qd_op_scatter_elements, qd_op_scatter_nd, qd_op_size, qd_op_tile, qd_op_top_k, qd_op_trilu,
    qd_op_resize, qd_op_upsample, qd_op_dynamic_quantize_linear, qd_op_qlinear_conv, qd_op_qlinear_mat_mul,
    qd_op_conv_integer, qd_op_mat_mul_integer, qd_op_qlinear_add, qd_op_qlinear_mul, qd_op_qlinear_sigmoid,
    qd_op_qlinear_leaky_relu, qd_op_qlinear_global_average_pool, qd_op_qlinear_average_pool, qd_op_qlinear_concat,
    qd_op_q_gemm;

extern const struct qd_op qd_op_abs, qd_op_acos, qd_op_acosh, qd_op_and, qd_op_arg_max, qd_op_arg_min, qd_op_asin,
    qd_op_asinh, qd_op_atan, qd_op_atanh, qd_op_bit_shift, qd_op_bitwise_and, qd_op_bitwise_not, qd_op_bitwise_or,
    qd_op_bitwise_xor, qd_op_cast_like, qd_op_ceil, qd_op_celu, qd_op_cos, qd_op_cosh, qd_op_cum_sum, qd_op_einsum,
    qd_op_elu, qd_op_equal, qd_op_exp, qd_op_floor, qd_op_greater, qd_op_greater_or_equal, qd_op_hardmax, qd_op_is_inf,
    qd_op_is_nan, qd_op_less, qd_op_less_or_equal, qd_op_log, qd_op_log_softmax, qd_op_max, qd_op_mean, qd_op_min,
    qd_op_mod, qd_op_neg, qd_op_not, qd_op_or, qd_op_pow, qd_op_prelu, qd_op_reciprocal, qd_op_reduce_l1,
    qd_op_reduce_l2, qd_op_reduce_log_sum, qd_op_reduce_log_sum_exp, qd_op_reduce_max, qd_op_reduce_min,
    qd_op_reduce_prod, qd_op_reduce_sum, qd_op_reduce_sum_square, qd_op_round, qd_op_selu, qd_op_shrink, qd_op_sign,
    qd_op_sin, qd_op_sinh, qd_op_softsign, qd_op_sqrt, qd_op_sum, qd_op_tan, qd_op_thresholded_relu, qd_op_where,
    qd_op_xor;
/* Over windows and whole pictures. */
extern const struct qd_op qd_op_conv_transpose, qd_op_depth_to_space, qd_op_global_lp_pool, qd_op_global_max_pool,
    qd_op_grid_sample, qd_op_group_normalization, qd_op_instance_normalization, qd_op_layer_normalization,
    qd_op_lp_normalization, qd_op_lp_pool, qd_op_lrn, qd_op_mean_variance_normalization, qd_op_space_to_depth;

/* What ONNX's number of an element type (an attribute) is here; QD_UNSUPPORTED: none. */
enum qd_status qd_op_dtype(int64_t onnx, enum qd_dtype *ret, struct qd_error *err);

/* Element i of an array of that type. */
double qd_element_f64(const void *data, enum qd_dtype dtype, int64_t i);
int64_t qd_element_i64(const void *data, enum qd_dtype dtype, int64_t i);

/* A float as an integer, cut off towards 0; what lies outside low .. high becomes the nearer of both, NaN 0. */
int64_t qd_to_integer(double x, double low, double high);

/* axis, negative from the end, into 0 .. n_dims - 1. */
enum qd_status qd_op_axis(int64_t axis, int n_dims, int *ret, struct qd_error *err);

/* Output 0 has input 0's type and shape. */
enum qd_status qd_op_infer_same(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
/* channel_source of what works on each channel of its first input by itself. */
bool qd_op_same_channel(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                        struct qd_channel *ret);

/* QD_UNSUPPORTED when input i is there and not float. */
enum qd_status qd_op_need_f32(const struct qd_graph *graph, const struct qd_node *node, int i, struct qd_error *err);

#endif
