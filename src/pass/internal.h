/* The passes, for the table in pass.c. Each changes the graph in place and keeps its float meaning. */
#ifndef QD_PASS_INTERNAL_H
#define QD_PASS_INTERNAL_H

#include "op/op.h"
#include "pass/pass.h"

enum qd_status qd_pass_import_qdq(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_drop_identity(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_cancel_transposes(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fold_batch_norm(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_expand_conv_transpose(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_pad(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fold_preprocessing(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_split_multiplier(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_flatten(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_deinterleave(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_shuffle(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_name_activations(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_find_rows(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_name_normalization(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_linear(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_residual(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_activation(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_keep_tail_float(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_separate_scales(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_drop_dead(struct qd_graph *graph, struct qd_error *err);

/* Runs the node now; its outputs become constants. */
enum qd_status qd_pass_fold_node(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
/* All nodes whose inputs are constant, as qd_pass_infer does; shapes are known. */
enum qd_status qd_pass_fold_constants(struct qd_graph *graph, struct qd_error *err);

/* Whether a value that goes away is rounded by the model itself, in another way than the one that is read instead. */
bool qd_pass_loses_rounding(const struct qd_graph *graph, int gone, int instead);

/* The node of this operator that makes the value, if the value has one reader only. */
struct qd_node *qd_pass_maker(struct qd_graph *graph, int value, const struct qd_op *op);
/* The one float that the node's second operand is, while its first is an activation. */
bool qd_pass_scalar(const struct qd_graph *graph, const struct qd_node *node, float *ret);

/* Whether the value, which may be QD_NO_VALUE, is floats that a run makes. */
bool qd_pass_is_float_activation(const struct qd_graph *graph, int value);

/*
 * A quantd.Requantize in front of input i of node n, a float activation. *ret_out is the value that it makes, named
 * with the suffix, of no scale yet. The new node stands last: the graph has to be sorted.
 */
enum qd_status qd_pass_insert_requantize(struct qd_graph *graph, int n, int i, const char *suffix, int *ret_out,
                                         struct qd_error *err);

/* Makes the node, which keeps its outputs, another operator of one input: the last of a group that becomes one node. */
void qd_pass_become(struct qd_node *node, const struct qd_op *op, int input, void *params);

/*
 * A convolution's weights and bias, made its own: copies where others share them, a bias of zeros where there was none.
 * *ret_weights and *ret_bias may be written until the pass is over.
 */
enum qd_status qd_pass_own_weights(struct qd_graph *graph, struct qd_node *node, float **ret_weights, float **ret_bias,
                                   struct qd_error *err);

#endif
