/*
 * ONNX bytes to a graph. The bytes are not trusted: every size, index and type is checked.
 */
#ifndef QD_ONNX_ONNX_H
#define QD_ONNX_ONNX_H

#include <stddef.h>

#include "graph/graph.h"
#include "util/hash.h"

/* The opsets of the default domain that are read. */
#define QD_ONNX_MIN_OPSET 7
#define QD_ONNX_MAX_OPSET 22

/* An input that is given once and for all: it becomes a constant. */
struct qd_onnx_fixed {
    const char *name;
    enum qd_dtype dtype;
    struct qd_shape shape;
    const void *data; /* copied */
};

struct qd_onnx_options {
    const char *folder;       /* of the file, for external data; NULL: external data is refused */
    struct qd_hasher *hasher; /* external data is added to it; NULL: not */
    int height, width;        /* for an input whose height and width are free; 0: then it is an error that says so */
    bool any_inputs;          /* for tests of single operators: inputs of any number, rank and type */
    int max_nodes;            /* 0: 100000 */
    const struct qd_onnx_fixed *fixed;
    int n_fixed;
};

/*
 * The graph, sorted, with shapes known and constants folded (qd_pass_infer), one image at a time.
 * QD_INVALID: not ONNX, or broken. QD_UNSUPPORTED: operators or features that quantd lacks: one error that lists all
 * unsupported operators with node names (as many as the text holds). QD_TOO_LARGE: past a limit.
 */
enum qd_status qd_onnx_load(const void *bytes, size_t size, const struct qd_onnx_options *options,
                            struct qd_graph **ret, struct qd_error *err);

/*
 * The graph as a standard ONNX model in QDQ form, behind what out holds: int8[n] says that node n runs in int8; its
 * activations go through QuantizeLinear and DequantizeLinear with the values' qparams (uint8), its weights are int8
 * with a scale per output channel, its bias int32. The batch dimension is free. The graph is one after
 * qd_passes_run_standard; its input is that of the original model, what quantd.Normalize gives.
 * QD_UNSUPPORTED: something that has no ONNX form, or an opset below 13 where that matters; the text names the node.
 */
enum qd_status qd_onnx_save_qdq(const struct qd_graph *graph, const bool *int8, struct qd_buf *out,
                                struct qd_error *err);

#endif
