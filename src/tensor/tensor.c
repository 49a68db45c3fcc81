#include "tensor/tensor.h"

#include <stdio.h>

static const struct {
    size_t size;
    const char *name;
} dtypes[QD_N_DTYPE] = {
    [QD_F32] = {4, "float"}, [QD_U8] = {1, "uint8"},  [QD_S8] = {1, "int8"},
    [QD_I32] = {4, "int32"}, [QD_I64] = {8, "int64"}, [QD_BOOL] = {1, "bool"},
};

size_t qd_dtype_size(enum qd_dtype dtype)
{
    return dtypes[dtype].size;
}

const char *qd_dtype_name(enum qd_dtype dtype)
{
    return dtypes[dtype].name;
}

int64_t qd_shape_count(const struct qd_shape *shape)
{
    int64_t count = 1;

    for (int i = 0; i < shape->n_dims; i++) {
        if (shape->dims[i] < 0 || shape->dims[i] > QD_MAX_ELEMENTS)
            return -1;
        count *= shape->dims[i];
        if (count > QD_MAX_ELEMENTS)
            return -1;
    }
    return count;
}

bool qd_shape_equal(const struct qd_shape *a, const struct qd_shape *b)
{
    if (a->n_dims != b->n_dims)
        return false;
    for (int i = 0; i < a->n_dims; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

bool qd_shape_is_row(const struct qd_shape *shape)
{
    int n_wide = 0;

    for (int d = 0; d < shape->n_dims; d++)
        n_wide += shape->dims[d] != 1;
    return n_wide <= 1;
}

const char *qd_shape_text(const struct qd_shape *shape, char text[QD_SHAPE_TEXT_SIZE])
{
    int used = snprintf(text, QD_SHAPE_TEXT_SIZE, "[");

    for (int i = 0; i < shape->n_dims; i++)
        used += snprintf(text + used, (size_t)(QD_SHAPE_TEXT_SIZE - used), "%s%lld", i ? "," : "",
                         (long long)shape->dims[i]);
    snprintf(text + used, (size_t)(QD_SHAPE_TEXT_SIZE - used), "]");
    return text;
}

enum qd_status qd_shape_broadcast(const struct qd_shape *a, const struct qd_shape *b, struct qd_shape *ret,
                                  struct qd_error *err)
{
    struct qd_shape out;
    char text_a[QD_SHAPE_TEXT_SIZE], text_b[QD_SHAPE_TEXT_SIZE];

    out.n_dims = a->n_dims > b->n_dims ? a->n_dims : b->n_dims;
    for (int i = 1; i <= out.n_dims; i++) {
        int64_t da = i <= a->n_dims ? a->dims[a->n_dims - i] : 1;
        int64_t db = i <= b->n_dims ? b->dims[b->n_dims - i] : 1;

        if (da != db && da != 1 && db != 1)
            return qd_error_set(err, QD_INVALID, "shapes %s and %s do not broadcast", qd_shape_text(a, text_a),
                                qd_shape_text(b, text_b));
        out.dims[out.n_dims - i] = da == 1 ? db : da;
    }
    *ret = out;
    return QD_OK;
}

void qd_shape_strides(const struct qd_shape *shape, int64_t ret_strides[QD_MAX_DIMS])
{
    int64_t stride = 1;

    for (int i = shape->n_dims - 1; i >= 0; i--) {
        ret_strides[i] = stride;
        stride *= shape->dims[i];
    }
}

void qd_transpose_u8(const uint8_t *in, uint8_t *out, int64_t rows, int64_t columns)
{
    if (columns == 3) { /* a picture's pixels, the most frequent: without a loop in the loop */
        for (int64_t r = 0; r < rows; r++, in += 3, out++) {
            out[0] = in[0];
            out[rows] = in[1];
            out[2 * rows] = in[2];
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            out[c * rows + r] = in[r * columns + c];
}
