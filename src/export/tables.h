/* Scales as other runtimes' calibration files take them: text, of a graph after qd_passes_run_standard. */
#ifndef QD_EXPORT_TABLES_H
#define QD_EXPORT_TABLES_H

#include "graph/graph.h"
#include "util/buf.h"

/*
 * ncnn's table, as ncnn2table writes and ncnn2int8 reads it: a line "LAYER_param_0 s s ..." per layer with the scales
 * of its weights, one per output channel; then a line "LAYER s" per layer with the scale of its input. A layer is an
 * int8 Conv, Gemm or MatMul, its name the ONNX node's, which onnx2ncnn keeps. int8 = clamp(round(real * scale), -127,
 * 127): ncnn rounds weights to nearest itself, and its activations are signed and symmetric, so that a tensor that is
 * never negative has half the levels that it has here. Those scales are 127 over the larger end of the tensor's range.
 * QD_UNSUPPORTED: weights of fewer than 8 bits, channel steps, a name that ncnn cannot read.
 */
enum qd_status qd_export_ncnn_table(const struct qd_graph *graph, const bool *int8, struct qd_buf *out,
                                    struct qd_error *err);

/*
 * TensorRT's calibration cache: "TRT-VERSION-EntropyCalibration2", then "TENSOR: HEX" for each tensor that has a scale,
 * HEX being the bits of a float: the larger end of the tensor's range over 127, as TensorRT too is signed and
 * symmetric. Names are the ONNX file's; the model's input has the scale of what preprocessing gives. VERSION is the
 * library's, as 8601 for 8.6.1: it takes no other's. QD_UNSUPPORTED: channel steps.
 */
enum qd_status qd_export_tensorrt_cache(const struct qd_graph *graph, int version, struct qd_buf *out,
                                        struct qd_error *err);

#endif
