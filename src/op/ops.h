/* Every operator, for the table, and what operators share. */
#ifndef QD_OP_OPS_H
#define QD_OP_OPS_H

#include "op/op.h"

extern const struct qd_op qd_op_average_pool, qd_op_concat, qd_op_constant, qd_op_constant_of_shape, qd_op_expand,
    qd_op_flatten, qd_op_gather, qd_op_global_average_pool, qd_op_leaky_relu, qd_op_mat_mul, qd_op_max_pool,
    qd_op_reduce_mean, qd_op_relu, qd_op_shape, qd_op_slice, qd_op_split, qd_op_squeeze, qd_op_sub, qd_op_unsqueeze,
    qd_op_eye_like, qd_op_gather_elements, qd_op_gather_nd, qd_op_non_max_suppression, qd_op_non_zero, qd_op_one_hot,
    qd_op_range, qd_op_scatter, qd_op_scatter_elements, qd_op_scatter_nd, qd_op_size, qd_op_tile, qd_op_top_k,
    qd_op_trilu, qd_op_resize, qd_op_upsample;

/* Over windows and whole pictures. */
extern const struct qd_op qd_op_conv_transpose, qd_op_depth_to_space, qd_op_global_lp_pool, qd_op_global_max_pool,
    qd_op_grid_sample, qd_op_group_normalization, qd_op_instance_normalization, qd_op_layer_normalization,
    qd_op_lp_normalization, qd_op_lp_pool, qd_op_lrn, qd_op_mean_variance_normalization, qd_op_space_to_depth;

/* What ONNX's number of an element type (an attribute) is here; QD_UNSUPPORTED: none. */
enum qd_status qd_op_dtype(int64_t onnx, enum qd_dtype *ret, struct qd_error *err);

/* axis, negative from the end, into 0 .. n_dims - 1. */
enum qd_status qd_op_axis(int64_t axis, int n_dims, int *ret, struct qd_error *err);

/* Output 0 has input 0's type and shape. */
enum qd_status qd_op_infer_same(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);

/* QD_UNSUPPORTED when input i is there and not float. */
enum qd_status qd_op_need_f32(const struct qd_graph *graph, const struct qd_node *node, int i, struct qd_error *err);

#endif
