/*
 * Tensors whose channels are copies of each other's, and which of their channels then have one step. Operators that
 * move channels (Concat, Slice, shuffles, MaxPool, Resize) carry a step per channel on as it is.
 */
#ifndef QD_QUANT_STEP_CLASSES_H
#define QD_QUANT_STEP_CLASSES_H

#include "quant/method.h"
#include "quant/statistics.h"

struct qd_step_class {
    int n_values, n_slots;
    int *values; /* of the graph, ascending */
    int **slots; /* by value of these, by channel: which of the class's steps it has, 0 .. n_slots - 1 */
};

/*
 * All classes that could have channel steps, in the order of their first values: every maker and reader can take up
 * more than one step, in that form, and one of the readers gains by it. Channels that one operator needs to have the
 * same step share a slot. A Requantize is a tie here: where channels have steps of their own, no two scales are needed.
 */
enum qd_status qd_step_classes_find(const struct qd_graph *graph, const struct qd_calibration_form *form,
                                    struct qd_arena *arena, struct qd_step_class **ret, int *ret_n,
                                    struct qd_error *err);

/* The place of a value of the graph among the class's, or -1. */
int qd_step_class_place(const struct qd_step_class *class, int value);

#endif
