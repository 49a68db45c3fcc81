/* Resize and Upsample: along each axis an output element is a weighted sum of a few input elements. */
#ifndef QD_OP_RESIZE_H
#define QD_OP_RESIZE_H

#include "op/ops.h"

enum qd_resize_mode { QD_RESIZE_NEAREST, QD_RESIZE_LINEAR, QD_RESIZE_CUBIC };
enum qd_resize_coordinates {
    QD_COORDINATES_HALF_PIXEL,
    QD_COORDINATES_HALF_PIXEL_SYMMETRIC,
    QD_COORDINATES_PYTORCH_HALF_PIXEL,
    QD_COORDINATES_ALIGN_CORNERS,
    QD_COORDINATES_ASYMMETRIC,
    QD_COORDINATES_TF_HALF_PIXEL_FOR_NN,
    QD_COORDINATES_TF_CROP_AND_RESIZE
};
enum qd_resize_nearest {
    QD_NEAREST_PREFER_FLOOR,
    QD_NEAREST_PREFER_CEIL,
    QD_NEAREST_FLOOR,
    QD_NEAREST_CEIL,
    QD_NEAREST_SIMPLE /* before opset 11, as ONNX Runtime has it: up where it shrinks, down where it grows */
};

/* ONNX's attributes. */
struct qd_resize_attrs {
    int mode, coordinates, nearest; /* of the enums above */
    float cubic_a, extrapolation;
    int64_t exclude_outside, antialias;
};

/* One axis: output element i is the sum over t < n_taps of weights[i * n_taps + t] * in[indices[i * n_taps + t]]. */
struct qd_resize_axis {
    int64_t in, out; /* sizes; equal and n_taps 0: the axis stays as it is */
    int n_taps;
    int32_t *indices;
    float *weights;
    bool *outside; /* [out], tf_crop_and_resize: it is the extrapolation value; NULL: none is */
};

/* node->params. */
struct qd_resize_params {
    struct qd_resize_attrs attrs;
    struct qd_resize_axis axes[QD_MAX_DIMS]; /* set by infer */
    int n_dims;
};

/* Fills *axis for in -> out by the scale; begin and end: tf_crop_and_resize's. The arrays live in the arena. */
enum qd_status qd_resize_axis_init(const struct qd_resize_attrs *attrs, int64_t in, int64_t out, float scale,
                                   float begin, float end, struct qd_arena *arena, struct qd_resize_axis *axis,
                                   struct qd_error *err);

bool qd_resize_supports_q8(const struct qd_graph *graph, const struct qd_node *node);
enum qd_status qd_resize_prepare_q8(struct qd_q8_prepare *prepare, struct qd_error *err);
void qd_resize_run_q8(const struct qd_q8_run *run, int thread, int n_threads);

#endif
