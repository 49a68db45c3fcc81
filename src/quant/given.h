/* Scales that the model brings along: it is quantized already, nothing is calibrated. */
#ifndef QD_QUANT_GIVEN_H
#define QD_QUANT_GIVEN_H

#include "quant/scales.h"

/* The "method" of such scales. */
#define QD_METHOD_GIVEN "model"

/*
 * The scales that the graph holds after its passes, and its layers' integers. Values that the model does not round have
 * none. Ranges are those of the levels; nothing is measured. QD_NO_MEMORY.
 */
enum qd_status qd_scales_given(const struct qd_graph *graph, struct qd_scales **ret, struct qd_error *err);

#endif
