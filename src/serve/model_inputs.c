#include "serve/model_inputs.h"

/* The shape that the first elements of nested arrays have. */
static enum qd_status find_shape(const json_t *value, struct qd_shape *ret, struct qd_error *err)
{
    for (ret->n_dims = 0; json_is_array(value); value = json_array_get(value, 0)) {
        if (ret->n_dims == QD_MAX_DIMS)
            return qd_error_set(err, QD_INVALID, "expected at most %d levels of arrays, found more", QD_MAX_DIMS);
        ret->dims[ret->n_dims++] = (int64_t)json_array_size(value);
    }
    return QD_OK;
}

static enum qd_status read_numbers(const json_t *value, const struct qd_shape *shape, int level, float **to,
                                   struct qd_error *err)
{
    enum qd_status status = QD_OK;

    if (level == shape->n_dims) {
        if (!json_is_number(value))
            return qd_error_set(err, QD_INVALID, "expected a number in %d arrays", shape->n_dims);
        *(*to)++ = (float)json_number_value(value);
        return QD_OK;
    }
    if (!json_is_array(value) || (int64_t)json_array_size(value) != shape->dims[level])
        return qd_error_set(err, QD_INVALID, "expected an array of %lld at level %d", (long long)shape->dims[level],
                            level + 1);
    for (size_t i = 0; i < json_array_size(value) && status == QD_OK; i++)
        status = read_numbers(json_array_get(value, i), shape, level + 1, to, err);
    return status;
}

static enum qd_status read_tensor(const json_t *value, struct qd_arena *arena, struct qd_onnx_fixed *ret,
                                  struct qd_error *err)
{
    enum qd_status status = find_shape(value, &ret->shape, err);
    float *data, *to;

    if (status != QD_OK)
        return status;
    ret->dtype = QD_F32;
    ret->data = data = to = qd_arena_array(arena, (size_t)qd_shape_count(&ret->shape) + 1, sizeof(float));
    if (!data)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
    return read_numbers(value, &ret->shape, 0, &to, err);
}

enum qd_status qd_model_inputs_read(const json_t *value, struct qd_arena *arena, struct qd_onnx_fixed **ret, int *ret_n,
                                    struct qd_error *err)
{
    struct qd_onnx_fixed *list;
    const char *name;
    json_t *tensor;
    int n = 0;

    if (!json_is_object(value))
        return qd_error_set(err, QD_INVALID, "expected an object of input names with numbers");
    list = qd_arena_array(arena, json_object_size(value) + 1, sizeof(*list));
    if (!list)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
    json_object_foreach((json_t *)(uintptr_t)value, name, tensor)
    {
        enum qd_status status = read_tensor(tensor, arena, &list[n], err);

        if (status != QD_OK)
            return qd_error_context(err, status, "%.80s", name);
        list[n].name = qd_arena_strdup(arena, name);
        if (!list[n++].name)
            return qd_error_set(err, QD_NO_MEMORY, "no memory for model.json");
    }
    *ret = list;
    *ret_n = n;
    return QD_OK;
}
