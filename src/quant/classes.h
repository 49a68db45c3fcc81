/* Classes of tensors that have to share one scale, because some operator copies bytes of the one into the other. */
#ifndef QD_QUANT_CLASSES_H
#define QD_QUANT_CLASSES_H

#include "graph/graph.h"
#include "quant/method.h"

/*
 * class_of, by value: the lowest value of its class. A Requantize ties nothing.
 */
void qd_classes_find(const struct qd_graph *graph, int *class_of);

/* Makes the classes of values a and b one; returns it, the lower one. */
int qd_classes_join(int *class_of, int n_values, int a, int b);

/*
 * Whether the value's scale is its own as scales are now: no operator that reads it copies its bytes into another
 * tensor, and none is a name.
 */
bool qd_value_has_own_scale(const struct qd_graph *graph, int v);

/* Two classes, with a Requantize from a tensor of the first into the second. */
struct qd_cut {
    struct qd_distribution side[2];
    struct qd_distribution edge; /* the tensor that is rounded twice, once with either scale */
    struct qd_qparams q[2], one; /* of each class by itself, and of both together */
};

/*
 * Whether two scales are worth a pass over the bytes and rounding twice: whether the noise of one side's tensors, each
 * as a part of its own signal, is then less than half of what it is with one scale (3 dB), and that of all is less,
 * with what is rounded twice counted once more.
 */
bool qd_cut_pays(const struct qd_cut *cut);

#endif
