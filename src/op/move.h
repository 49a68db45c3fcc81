/*
 * Data movement: Transpose, Slice, Pad, Concat, Split, Expand, Reshape and kin are strided copies. An operator says
 * which elements go where in ONNX's dimensions; the same description serves floats (row-major), integers and quantized
 * bytes (pictures: NHWC).
 */
#ifndef QD_OP_MOVE_H
#define QD_OP_MOVE_H

#include "op/ops.h"

/* One side of a copy: a tensor as it lies in memory, contiguous. */
struct qd_move_side {
    const struct qd_shape *shape;
    int64_t strides[QD_MAX_DIMS]; /* in elements, by ONNX dimension */
    bool is_picture;              /* NHWC bytes */
};

/* One copy of a box of elements. Positions and strides in elements. */
struct qd_move {
    int input, output;
    int n_dims;
    int64_t dims[QD_MAX_DIMS], in_strides[QD_MAX_DIMS], out_strides[QD_MAX_DIMS];
    int64_t in_at, out_at;
};

/*
 * What a movement operator gives: move i (0 .. n - 1) of the node; n is 1, or the number of inputs (Concat) or of
 * outputs (Split), as `input` and `output` of it say; in and out are that input and output.
 */
typedef void qd_move_of(const struct qd_node *node, int i, const struct qd_move_side *in,
                        const struct qd_move_side *out, struct qd_move *ret);

/* Does the copy for elements of size bytes (1, 4 or 8), rows [begin, end) of its first dimension. */
void qd_move_run(const struct qd_move *move, size_t size, const void *in, void *out, int64_t begin, int64_t end);

/* run_f32 and the quantized form of an operator with n moves. */
void qd_move_run_views(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out, int n,
                       qd_move_of *move_of);
enum qd_status qd_move_prepare_q8(struct qd_q8_prepare *prepare, int n, qd_move_of *move_of, struct qd_error *err);
void qd_move_run_q8(const struct qd_q8_run *run, int thread, int n_threads);

/* Not with an activation behind it, and only where there is something to copy. */
bool qd_move_supports_q8(const struct qd_graph *graph, const struct qd_node *node);

/* The functions of an operator that is one move, as prefix##run_f32 and prefix##prepare_q8. */
#define QD_ONE_MOVE(prefix, move_of)                                                                                   \
    static void prefix##run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,       \
                                const struct qd_f32_run *run)                                                          \
    {                                                                                                                  \
        (void)run;                                                                                                     \
        qd_move_run_views(node, in, out, 1, move_of);                                                                  \
    }                                                                                                                  \
    static enum qd_status prefix##prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err)                      \
    {                                                                                                                  \
        return qd_move_prepare_q8(prepare, 1, move_of, err);                                                           \
    }

/* Its rows of struct qd_op, but for flags. */
#define QD_ONE_MOVE_FIELDS(prefix)                                                                                     \
    .run_f32 = prefix##run_f32, .supports_q8 = qd_move_supports_q8, .prepare_q8 = prefix##prepare_q8,                  \
    .run_q8 = qd_move_run_q8

/* Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same elements in the same ONNX order. */
void qd_copy_run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                     const struct qd_f32_run *run);
bool qd_copy_supports_q8(const struct qd_graph *graph, const struct qd_node *node);
bool qd_copy_keeps_bytes(const struct qd_graph *graph, const struct qd_node *node);
enum qd_status qd_copy_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err);

#define QD_COPY_FIELDS                                                                                                 \
    .flags = QD_OP_SAME_SCALE | QD_OP_COPY | QD_OP_MOVES | QD_OP_TWO_ORDERS, .run_f32 = qd_copy_run_f32,               \
    .supports_q8 = qd_copy_supports_q8, .prepare_q8 = qd_copy_prepare_q8, .run_q8 = qd_move_run_q8,                    \
    .keeps_bytes = qd_copy_keeps_bytes

#endif
