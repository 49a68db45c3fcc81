/* Operators that pick elements by index: Gather, GatherElements, GatherND, and ScatterElements, ScatterND. */
#ifndef QD_OP_GATHER_H
#define QD_OP_GATHER_H

#include "op/ops.h"

/* node->params of all of them. */
struct qd_gather_params {
    int64_t number; /* axis, or batch_dims */
    int axis;       /* set by infer */
    const char *reduction;
};

enum qd_status qd_gather_parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);

/* Element i of int32 or int64 indices; negative ones count from size; what lies outside is brought to the nearest. */
int64_t qd_gather_index(const struct qd_view *indices, int64_t i, int64_t size);

/* Where element i of a tensor of shape `of` lies in one of shape `in`, the index on the axis replaced. */
int64_t qd_gather_place(const struct qd_shape *of, int64_t i, const struct qd_shape *in, int axis, int64_t index);

/* QD_INVALID where input i holds no integers, or a constant index outside -size .. size - 1. */
enum qd_status qd_gather_check(const struct qd_graph *graph, const struct qd_node *node, int i, int64_t size,
                               struct qd_error *err);

/* The same of tuples [.., k] into dimensions first .. first + k - 1 of input 0, each by its own dimension. */
enum qd_status qd_gather_check_tuples(const struct qd_graph *graph, const struct qd_node *node, int first,
                                      struct qd_error *err);

/* The first element that the index tuple number i of [.., k] indices points to, in a tensor whose dimensions from
 * `first` on it indexes. */
int64_t qd_gather_tuple(const struct qd_view *indices, int64_t i, const struct qd_shape *in, int first);

#endif
