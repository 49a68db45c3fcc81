#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "onnx/internal.h"
#include "util/file.h"

/* How a TensorProto data type is read and what it becomes. */
struct element_type {
    int onnx;
    size_t size; /* in raw data */
    enum qd_dtype dtype;
    void (*convert)(const uint8_t *raw, void *out, size_t n);
    /* Where typed data stands when it is not raw; the elements of int32_data and the like. */
    enum { IN_FLOATS, IN_INTS32, IN_INTS64, IN_DOUBLES, IN_UINTS64 } typed;
};

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 0x3ff;
    uint32_t bits;
    float value;

    if (exponent == 0) {
        value = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &value, sizeof(bits));
        bits |= sign;
    } else if (exponent == 31) {
        bits = sign | 0x7f800000 | mantissa << 13;
    } else {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    }
    memcpy(&value, &bits, sizeof(value));
    return value;
}

#define CONVERT(name, from_type, to_type, expression)                                                                  \
    static void name(const uint8_t *raw, void *out, size_t n)                                                          \
    {                                                                                                                  \
        to_type *to = out;                                                                                             \
        for (size_t i = 0; i < n; i++) {                                                                               \
            from_type x;                                                                                               \
            memcpy(&x, raw + i * sizeof(x), sizeof(x));                                                                \
            to[i] = (expression);                                                                                      \
        }                                                                                                              \
    }

CONVERT(from_float, float, float, x)
CONVERT(from_half, uint16_t, float, half_to_float(x))
CONVERT(from_double, double, float, (float)x)
CONVERT(from_u8, uint8_t, uint8_t, x)
CONVERT(from_s8, int8_t, int8_t, x)
CONVERT(from_u16, uint16_t, int32_t, x)
CONVERT(from_s16, int16_t, int32_t, x)
CONVERT(from_s32, int32_t, int32_t, x)
CONVERT(from_u32, uint32_t, int64_t, x)
CONVERT(from_s64, int64_t, int64_t, x)
CONVERT(from_u64, uint64_t, int64_t, (int64_t)(x < INT64_MAX ? x : INT64_MAX))
CONVERT(from_bool, uint8_t, uint8_t, x != 0)

static const struct element_type element_types[] = {
    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 4, QD_F32, from_float, IN_FLOATS},
    {ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, 2, QD_F32, from_half, IN_INTS32},
    {ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, 8, QD_F32, from_double, IN_DOUBLES},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 1, QD_U8, from_u8, IN_INTS32},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT8, 1, QD_S8, from_s8, IN_INTS32},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT16, 2, QD_I32, from_u16, IN_INTS32},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT16, 2, QD_I32, from_s16, IN_INTS32},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT32, 4, QD_I32, from_s32, IN_INTS32},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT32, 4, QD_I64, from_u32, IN_UINTS64},
    {ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 8, QD_I64, from_s64, IN_INTS64},
    {ONNX__TENSOR_PROTO__DATA_TYPE__UINT64, 8, QD_I64, from_u64, IN_UINTS64},
    {ONNX__TENSOR_PROTO__DATA_TYPE__BOOL, 1, QD_BOOL, from_bool, IN_INTS32},
};

static enum qd_status read_shape(const Onnx__TensorProto *tensor, struct qd_shape *ret, struct qd_error *err)
{
    if (tensor->n_dims > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions, found %zu", QD_MAX_DIMS,
                            tensor->n_dims);
    ret->n_dims = (int)tensor->n_dims;
    for (int i = 0; i < ret->n_dims; i++)
        ret->dims[i] = tensor->dims[i];
    if (qd_shape_count(ret) < 0)
        return qd_error_set(err, QD_TOO_LARGE, "the shape has a negative dimension or more than %d elements",
                            QD_MAX_ELEMENTS);
    return QD_OK;
}

/* The value of a key of external_data, or NULL. */
static const char *external_key(const Onnx__TensorProto *tensor, const char *key)
{
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const Onnx__StringStringEntryProto *entry = tensor->external_data[i];

        if (entry->key && entry->value && strcmp(entry->key, key) == 0)
            return entry->value;
    }
    return NULL;
}

/* Whether what the path means in the end, links followed, lies in the folder. */
static bool lies_inside(const char *folder, const char *path)
{
    char *outer = realpath(folder, NULL), *inner = realpath(path, NULL);
    size_t size = outer ? strlen(outer) : 0;
    bool inside = outer && inner && strncmp(outer, inner, size) == 0 && (inner[size] == '/' || size == 1);

    free(outer);
    free(inner);
    return inside;
}

/* External data stays inside the model's folder: a plain relative path without "..", and no link out of it. */
static enum qd_status read_external(const Onnx__TensorProto *tensor, const struct qd_onnx_options *options, size_t want,
                                    struct qd_buf *ret, struct qd_error *err)
{
    const char *folder = options ? options->folder : NULL;
    const char *location = external_key(tensor, "location"), *offset_text = external_key(tensor, "offset");
    unsigned long long offset = offset_text ? strtoull(offset_text, NULL, 10) : 0;
    enum qd_status status;
    char *path;

    if (!folder)
        return qd_error_set(err, QD_UNSUPPORTED, "external data: the model was not loaded from a folder");
    if (!location || location[0] == '/' || strstr(location, ".."))
        return qd_error_set(err, QD_INVALID, "external data: expected a path inside the model's folder, found '%s'",
                            location ? location : "");
    path = qd_path_join(folder, location);
    if (!path)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a path");
    if (access(path, F_OK) == 0 && !lies_inside(folder, path))
        status = qd_error_set(err, QD_INVALID, "'%s' leads out of the model's folder", location);
    else
        status = qd_file_read_part(path, offset, want, ret, err);
    qd_free(path);
    if (status != QD_OK)
        return qd_error_context(err, status, "external data");
    if (options->hasher && want)
        qd_hasher_add(options->hasher, ret->bytes, want);
    return QD_OK;
}

static enum qd_status wrong_count(size_t found, size_t want, struct qd_error *err)
{
    return qd_error_set(err, QD_INVALID, "expected %zu elements for its shape, found %zu", want, found);
}

/* Elements that stand one by one in a typed field. */
static enum qd_status read_typed(const Onnx__TensorProto *tensor, const struct element_type *type, size_t n, void *out,
                                 struct qd_error *err)
{
    size_t found = type->typed == IN_FLOATS    ? tensor->n_float_data
                   : type->typed == IN_INTS32  ? tensor->n_int32_data
                   : type->typed == IN_INTS64  ? tensor->n_int64_data
                   : type->typed == IN_DOUBLES ? tensor->n_double_data
                                               : tensor->n_uint64_data;

    if (found != n)
        return wrong_count(found, n, err);
    for (size_t i = 0; i < n; i++) {
        uint8_t raw[8];

        /* Little-endian machines only: the low bytes of a wider integer are the narrower one. */
        switch (type->typed) {
        case IN_FLOATS:
            memcpy(raw, &tensor->float_data[i], 4);
            break;
        case IN_INTS32:
            memcpy(raw, &tensor->int32_data[i], 4);
            break;
        case IN_INTS64:
            memcpy(raw, &tensor->int64_data[i], 8);
            break;
        case IN_DOUBLES:
            memcpy(raw, &tensor->double_data[i], 8);
            break;
        case IN_UINTS64:
            memcpy(raw, &tensor->uint64_data[i], 8);
            break;
        }
        type->convert(raw, (uint8_t *)out + i * qd_dtype_size(type->dtype), 1);
    }
    return QD_OK;
}

static enum qd_status read_elements(const Onnx__TensorProto *tensor, const struct element_type *type,
                                    const struct qd_onnx_options *options, size_t n, void *out, struct qd_error *err)
{
    if (tensor->has_data_location && tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        struct qd_buf buf;
        enum qd_status status = read_external(tensor, options, n * type->size, &buf, err);

        if (status != QD_OK)
            return status;
        type->convert(buf.bytes, out, n);
        qd_buf_done(&buf);
        return QD_OK;
    }
    if (!tensor->has_raw_data)
        return read_typed(tensor, type, n, out, err);
    if (tensor->raw_data.len != n * type->size)
        return wrong_count(tensor->raw_data.len / type->size, n, err);
    type->convert(tensor->raw_data.data, out, n);
    return QD_OK;
}

static const struct element_type *find_type(int onnx)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(element_types); i++)
        if (element_types[i].onnx == onnx)
            return &element_types[i];
    return NULL;
}

static enum qd_status unknown_type(int onnx, struct qd_error *err)
{
    return qd_error_set(err, QD_UNSUPPORTED, "element type %d is not one that quantd reads", onnx);
}

enum qd_status qd_onnx_dtype(int onnx, enum qd_dtype *ret, struct qd_error *err)
{
    const struct element_type *type = find_type(onnx);

    if (!type)
        return unknown_type(onnx, err);
    *ret = type->dtype;
    return QD_OK;
}

enum qd_status qd_onnx_tensor(const Onnx__TensorProto *tensor, const struct qd_onnx_options *options,
                              struct qd_graph *graph, struct qd_value *ret, struct qd_error *err)
{
    const struct element_type *type = find_type(tensor->has_data_type ? tensor->data_type : 0);
    struct qd_value value = {.has_shape = true, .producer = -1};
    enum qd_status status;
    size_t n;
    void *data;

    if (!type)
        return unknown_type(tensor->has_data_type ? tensor->data_type : 0, err);
    status = read_shape(tensor, &value.shape, err);
    if (status != QD_OK)
        return status;
    n = (size_t)qd_shape_count(&value.shape);
    value.dtype = type->dtype;
    data = qd_arena_array(&graph->arena, n, qd_dtype_size(type->dtype));
    if (!data)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for %zu elements", n);
    status = read_elements(tensor, type, options, n, data, err);
    if (status != QD_OK)
        return status;
    value.data = data;
    *ret = value;
    return QD_OK;
}
