#include "pass/internal.h"

/*
 * Flatten (or a Reshape to one row) in front of a Gemm: the Gemm reads the picture itself. In memory a quantized
 * picture is not in the order of the row, but its weights are those of a convolution over the whole picture.
 */
enum qd_status qd_pass_fuse_flatten(struct qd_graph *graph, struct qd_error *err)
{
    (void)err;
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_node *gemm = &graph->nodes[n];
        const struct qd_node *flatten;
        const struct qd_shape *picture;
        int producer = gemm->op == &qd_op_gemm ? graph->values[gemm->inputs[0]].producer : -1;

        if (producer < 0 || !(graph->nodes[producer].op->flags & QD_OP_COPY))
            continue;
        flatten = &graph->nodes[producer];
        picture = &graph->values[flatten->inputs[0]].shape;
        /* One row in, one row out: then transA, if it is there, says nothing. Pixels stay with their Flatten. */
        if (picture->n_dims != 4 || picture->dims[0] != 1 || graph->values[flatten->inputs[0]].producer < 0 ||
            qd_pass_loses_rounding(graph, gemm->inputs[0], flatten->inputs[0]) ||
            graph->values[gemm->inputs[0]].shape.dims[0] != 1 || graph->values[gemm->outputs[0]].shape.dims[0] != 1)
            continue;
        gemm->inputs[0] = flatten->inputs[0];
    }
    return QD_OK;
}
