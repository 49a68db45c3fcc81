/*
 * An ONNX model under construction, and its bytes.
 *
 * Everything added is kept by pointer until qd_onnx_writer_pack: names and data must live until then, in the graph that
 * is written or in the writer's own arena. Want of memory is remembered, not returned: functions then add nothing, and
 * qd_onnx_writer_pack says so. One thread at a time.
 */
#ifndef QD_ONNX_WRITER_H
#define QD_ONNX_WRITER_H

#include "graph/graph.h"
#include "onnx/onnx.pb-c.h"

struct qd_onnx_writer {
    struct qd_arena arena;
    Onnx__GraphProto graph;
    size_t nodes_left, tensors_left; /* room in the lists */
    bool failed;
};

/* Room for that many nodes, initializers, inputs and outputs: more are a mistake of the caller. */
void qd_onnx_writer_init(struct qd_onnx_writer *writer, size_t max_nodes, size_t max_tensors, size_t max_ends);
void qd_onnx_writer_done(struct qd_onnx_writer *writer);

/* Memory that lives as long as the writer; NULL without. */
void *qd_onnx_writer_take(struct qd_onnx_writer *writer, size_t n, size_t size);
/* "prefix" + name; the empty text without memory. */
const char *qd_onnx_writer_name(struct qd_onnx_writer *writer, const char *prefix, const char *name);

/* A node with room for that many inputs, outputs and attributes; inputs are "" (left out) until set. NULL without
 * memory. */
Onnx__NodeProto *qd_onnx_add_node(struct qd_onnx_writer *writer, const char *op, const char *name, int n_inputs,
                                  int n_outputs, int max_attributes);
void qd_onnx_add_int(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const char *name, int64_t value);
void qd_onnx_add_ints(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const char *name, const int64_t *values,
                      int n);
/* The attribute as it was read; kinds that quantd does not read (QD_ATTR_OTHER) are left out. */
void qd_onnx_add_attr(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const struct qd_attr *attr);

void qd_onnx_add_tensor(struct qd_onnx_writer *writer, const char *name, enum qd_dtype dtype,
                        const struct qd_shape *shape, const void *data);

/* A float input or output of the model; a first dimension of 1 is written as "batch". */
void qd_onnx_add_input(struct qd_onnx_writer *writer, const char *name, const struct qd_shape *shape);
void qd_onnx_add_output(struct qd_onnx_writer *writer, const char *name, const struct qd_shape *shape);

/* The model's bytes behind what out holds. QD_NO_MEMORY; QD_TOO_LARGE: past protobuf's 2 GiB. */
enum qd_status qd_onnx_writer_pack(struct qd_onnx_writer *writer, int opset, struct qd_buf *out, struct qd_error *err);

#endif
