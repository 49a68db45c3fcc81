/*
 * Graph to graph, the float meaning unchanged. Each pass is a file and a row of qd_passes[] in pass.c.
 */
#ifndef QD_PASS_PASS_H
#define QD_PASS_PASS_H

#include "graph/graph.h"

struct qd_pass {
    const char *name;
    enum qd_status (*run)(struct qd_graph *graph, struct qd_error *err);
    bool standard; /* what it makes has an ONNX form: nothing fused, no padding with a mean */
};

/*
 * Operators that are compositions become what they are made of, and what moves bytes moves floats, between
 * DequantizeLinear and QuantizeLinear. Loading calls it before attributes are parsed.
 */
enum qd_status qd_pass_expand(struct qd_graph *graph, struct qd_error *err);

/*
 * Shapes of everything, in topological order; nodes whose inputs are all constant (or that read shapes only) are run
 * and become constants, but for those of QD_OP_KEEP. Loading calls it first. A node that cannot be inferred is an error
 * that names it.
 */
enum qd_status qd_pass_infer(struct qd_graph *graph, struct qd_error *err);

/* All rows of the table in their order, qd_graph_verify after each. */
enum qd_status qd_passes_run(struct qd_graph *graph, struct qd_error *err);

/* Only the rows whose result can be written as ONNX: for export. */
enum qd_status qd_passes_run_standard(struct qd_graph *graph, struct qd_error *err);

/*
 * Makes raw pixels the graph's input: puts a quantd.Normalize node (value = pixel * scale[c] + bias[c]) behind input 0.
 * Called between qd_pass_infer and qd_passes_run. The input's shape stays [1,c,h,w], float, holding 0..255.
 */
enum qd_status qd_pass_insert_normalize(struct qd_graph *graph, const float *scale, const float *bias, int n_channels,
                                        struct qd_error *err);

#endif
