/*
 * What a tensor is: shape, element type, quantization. No memory of its own.
 *
 * Shapes are ONNX's (images are NCHW). Float tensors lie in memory as their shape says; quantized tensors of rank 4
 * that are pictures lie NHWC, all others as their shape says (qd_value_is_picture).
 */
#ifndef QD_TENSOR_TENSOR_H
#define QD_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/status.h"

#define QD_MAX_DIMS 8
/* No tensor of a model has more elements: 2^31 - 1. */
#define QD_MAX_ELEMENTS 2147483647

enum qd_dtype { QD_F32, QD_U8, QD_S8, QD_I32, QD_I64, QD_BOOL, QD_N_DTYPE };

size_t qd_dtype_size(enum qd_dtype dtype);
const char *qd_dtype_name(enum qd_dtype dtype); /* ONNX's: "float", "uint8", ... */

struct qd_shape {
    int n_dims; /* 0: a scalar */
    int64_t dims[QD_MAX_DIMS];
};

/* The product of the dimensions; -1 when one is negative or it passes QD_MAX_ELEMENTS. */
int64_t qd_shape_count(const struct qd_shape *shape);
bool qd_shape_equal(const struct qd_shape *a, const struct qd_shape *b);
/* One row of numbers, whatever its rank: as an output, of classes; boxes and maps are none. */
bool qd_shape_is_row(const struct qd_shape *shape);
/* "[1,3,224,224]" into text; returns text. */
#define QD_SHAPE_TEXT_SIZE 176
const char *qd_shape_text(const struct qd_shape *shape, char text[QD_SHAPE_TEXT_SIZE]);
/* Numpy's broadcasting of two shapes; QD_INVALID when they do not fit. */
enum qd_status qd_shape_broadcast(const struct qd_shape *a, const struct qd_shape *b, struct qd_shape *ret,
                                  struct qd_error *err);

/* real = (byte - zero_point) * scale, byte in [0, 2^bits - 1]. */
struct qd_qparams {
    float scale; /* 0: not quantized */
    int zero_point;
    int bits;
};

/* Strides in elements of a shape in row-major order. */
void qd_shape_strides(const struct qd_shape *shape, int64_t ret_strides[QD_MAX_DIMS]);

/* The transpose of a matrix of bytes: rows x columns to columns x rows. NHWC to NCHW is rows = h*w, columns = c. */
void qd_transpose_u8(const uint8_t *in, uint8_t *out, int64_t rows, int64_t columns);

#endif
