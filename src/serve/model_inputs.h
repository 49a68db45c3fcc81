/* model.json's "inputs": what a network's inputs beside the picture are, given once and for all. */
#ifndef QD_SERVE_MODEL_INPUTS_H
#define QD_SERVE_MODEL_INPUTS_H

#include <jansson.h>

#include "onnx/onnx.h"

/*
 * {"NAME": number or nested arrays of numbers}: a list of float tensors in the arena, which loading converts to the
 * types that the network states. QD_INVALID: not numbers, or arrays of one level that differ in length.
 */
enum qd_status qd_model_inputs_read(const json_t *value, struct qd_arena *arena, struct qd_onnx_fixed **ret, int *ret_n,
                                    struct qd_error *err);

#endif
