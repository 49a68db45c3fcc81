/* The parts of the loader. */
#ifndef QD_ONNX_INTERNAL_H
#define QD_ONNX_INTERNAL_H

#include "onnx/onnx.h"
#include "onnx/onnx.pb-c.h"

/*
 * Walks the wire format before the bytes are unpacked, because unpacking recurses: refuses what can nest without end
 * and what quantd does not run (subgraphs, functions, sequence types). Depth and memory of its own are constant.
 */
enum qd_status qd_onnx_scan(const uint8_t *bytes, size_t size, struct qd_error *err);

/* What ONNX's number of an element type becomes; QD_UNSUPPORTED: strings, complex numbers and the like. */
enum qd_status qd_onnx_dtype(int onnx, enum qd_dtype *ret, struct qd_error *err);

/*
 * A tensor's elements into the graph's arena: *ret has shape, dtype and data. float16 and double become float, unsigned
 * and short integers int32 or int64. options, or NULL: no external data.
 */
enum qd_status qd_onnx_tensor(const Onnx__TensorProto *tensor, const struct qd_onnx_options *options,
                              struct qd_graph *graph, struct qd_value *ret, struct qd_error *err);

#endif
