/* The passes, for the table in pass.c. Each changes the graph in place and keeps its float meaning. */
#ifndef QD_PASS_INTERNAL_H
#define QD_PASS_INTERNAL_H

#include "op/op.h"
#include "pass/pass.h"

enum qd_status qd_pass_drop_identity(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_cancel_transposes(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fold_batch_norm(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_expand_conv_transpose(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_pad(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fold_preprocessing(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_split_multiplier(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_flatten(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_shuffle(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_name_activations(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_residual(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_fuse_activation(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_keep_tail_float(struct qd_graph *graph, struct qd_error *err);
enum qd_status qd_pass_drop_dead(struct qd_graph *graph, struct qd_error *err);

/* Makes the node, which keeps its outputs, another operator of one input: the last of a group that becomes one node. */
void qd_pass_become(struct qd_node *node, const struct qd_op *op, int input, void *params);

/* A value name that is not taken: base, then base.1, base.2 ... into text. */
const char *qd_pass_new_name(const struct qd_graph *graph, const char *base, char *text, size_t size);

/*
 * A convolution's weights and bias, made its own: copies where others share them, a bias of zeros where there was none.
 * *ret_weights and *ret_bias may be written until the pass is over.
 */
enum qd_status qd_pass_own_weights(struct qd_graph *graph, struct qd_node *node, float **ret_weights, float **ret_bias,
                                   struct qd_error *err);

#endif
