/*
 * ONNX bytes to a graph. The bytes are not trusted: every size, index and type is checked.
 */
#ifndef QD_ONNX_ONNX_H
#define QD_ONNX_ONNX_H

#include <stddef.h>

#include "graph/graph.h"

struct qd_onnx_options {
    const char *folder;    /* of the file, for external data; NULL: external data is refused */
    int height, width;     /* for inputs whose height and width are free; 0: then it is an error that says so */
    struct qd_graph_limits limits;
};

void qd_onnx_options_init(struct qd_onnx_options *options);

/*
 * The graph, sorted, with shapes known and constants folded (qd_pass_infer), one image at a time.
 * QD_INVALID: not ONNX, or broken. QD_UNSUPPORTED: operators or features we lack: ONE error that lists all unsupported
 * operators with node names (as many as the text holds, then "and N more"). QD_TOO_LARGE: past a limit.
 */
enum qd_status qd_onnx_load(const void *bytes, size_t size, const struct qd_onnx_options *options,
                            struct qd_graph **ret, struct qd_error *err);

#endif
