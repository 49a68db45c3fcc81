/* Activations as the kernels take them: struct qd_piecewise of kernel.h, fitted to the definition. */
#ifndef QD_OP_PIECEWISE_H
#define QD_OP_PIECEWISE_H

#include "graph/graph.h"
#include "kernel/kernel.h"

/* How far, in steps of the output, a fit may be from the function: what rounding to the byte then adds is 0.5. */
#define QD_PIECEWISE_MAX_ERROR (1.0 / 16)

/* The same of the finest channel, where channels have steps of their own: of coarser ones it is less. */
#define QD_PIECEWISE_STEPS_ERROR (1.0 / 4)

/* Whether the activation is one that goes by cubics: smooth, and a line at both ends. */
bool qd_piecewise_fits(enum qd_activation_kind kind);

/* The finest step that a channel may have where channels have steps of their own; 0: none may. */
double qd_piecewise_finest(enum qd_activation_kind kind);

/*
 * Cubics for t -> act(t * step) / step + zero, wherever that lies between the bytes low and high (outside, both are
 * clamped alike; inputs left of the lowest byte's may be, where the function turns up again). QD_UNSUPPORTED: the
 * error, measured on the cubics as the kernels compute them, passes the limit.
 */
enum qd_status qd_piecewise_fit(const struct qd_activation *act, double step, double zero, double low, double high,
                                double limit, struct qd_piecewise *ret, struct qd_error *err);

#endif
