#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http/v2.h"
#include "util/base64.h"

/* Classes of a picture that one output may list. */
#define MAX_CLASSIFICATION 1000

/* The body, cut up: JSON, and the binary tensors behind it. */
struct parts {
    struct qd_v2_text text;
    const uint8_t *binary;
    size_t binary_size;
};

/* Triton's parameters are of any type; a wrong one is said. */
static enum qd_status parameter_int(const json_t *parameters, const char *key, int64_t fallback, int64_t *ret,
                                    struct qd_error *err)
{
    const json_t *value = json_object_get(parameters, key);

    *ret = value ? (int64_t)json_integer_value(value) : fallback;
    if (value && !json_is_integer(value))
        return qd_error_set(err, QD_INVALID, "parameters.%s: expected a whole number", key);
    return QD_OK;
}

static enum qd_status parameter_bool(const json_t *parameters, const char *key, bool fallback, bool *ret,
                                     struct qd_error *err)
{
    const json_t *value = json_object_get(parameters, key);

    *ret = value ? json_is_true(value) : fallback;
    if (value && !json_is_boolean(value))
        return qd_error_set(err, QD_INVALID, "parameters.%s: expected true or false", key);
    return QD_OK;
}

static enum qd_status check_object(const json_t *value, const char *what, struct qd_error *err)
{
    if (value && !json_is_object(value))
        return qd_error_set(err, QD_INVALID, "%s: expected an object", what);
    return QD_OK;
}

static enum qd_status read_parameters(struct qd_infer *infer, struct qd_error *err)
{
    const json_t *parameters = json_object_get(infer->v2->root, "parameters");
    int64_t priority, timeout;
    enum qd_status status = check_object(parameters, "parameters", err);

    if (status == QD_OK)
        status = parameter_int(parameters, "priority", infer->request.priority + 1, &priority, err);
    if (status == QD_OK)
        status = qd_infer_set_priority(infer, priority, err);
    if (status == QD_OK)
        status = parameter_int(parameters, "timeout", infer->request.timeout_us, &timeout, err);
    if (status == QD_OK && timeout < 0)
        status = qd_error_set(err, QD_INVALID, "parameters.timeout: expected microseconds from 0, found %lld",
                              (long long)timeout);
    if (status == QD_OK)
        status = parameter_bool(parameters, "binary_data_output", false, &infer->v2->binary_default, err);
    if (status == QD_OK)
        infer->request.timeout_us = timeout;
    return status;
}

static enum qd_status read_shape(const json_t *input, int64_t dims[QD_MAX_DIMS], int *ret_n, struct qd_error *err)
{
    const json_t *shape = json_object_get(input, "shape");
    size_t n = json_array_size(shape);

    if (!json_is_array(shape) || !n || n > QD_MAX_DIMS)
        return qd_error_set(err, QD_INVALID, "shape: expected an array of 1 to %d numbers", QD_MAX_DIMS);
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(shape, i);

        dims[i] = json_integer_value(dim);
        if (!json_is_integer(dim) || dims[i] < 1 || dims[i] > QD_MAX_ELEMENTS)
            return qd_error_set(err, QD_INVALID, "shape[%zu]: expected a whole number from 1", i);
    }
    *ret_n = (int)n;
    return QD_OK;
}

/* The input's bytes behind the JSON. *ret NULL: its elements are in the JSON. */
static enum qd_status take_binary(const json_t *input, struct parts *parts, const uint8_t **ret, size_t *ret_size,
                                  struct qd_error *err)
{
    const json_t *parameters = json_object_get(input, "parameters");
    int64_t size;
    enum qd_status status = check_object(parameters, "parameters", err);

    if (status == QD_OK)
        status = parameter_int(parameters, "binary_data_size", -1, &size, err);
    if (status != QD_OK)
        return status;
    *ret = NULL;
    if (!json_object_get(parameters, "binary_data_size"))
        return QD_OK;
    if (size < 0 || (uint64_t)size > parts->binary_size)
        return qd_error_set(err, QD_INVALID,
                            "parameters.binary_data_size: expected at most the %zu bytes behind the JSON, found %lld",
                            parts->binary_size, (long long)size);
    if (json_object_get(input, "data"))
        return qd_error_set(err, QD_INVALID, "expected data or binary_data_size, found both");
    *ret = parts->binary;
    *ret_size = (size_t)size;
    parts->binary += size;
    parts->binary_size -= (size_t)size;
    return QD_OK;
}

/* uint32 length, bytes, and so on. */
static enum qd_status add_encoded(struct qd_infer *infer, const uint8_t *bytes, size_t size, int64_t count,
                                  struct qd_error *err)
{
    size_t at = 0;

    for (int64_t i = 0; i < count; i++) {
        uint32_t length;
        enum qd_status status;

        if (size - at < 4)
            return qd_error_set(err, QD_INVALID, "element %lld: expected a length of 4 bytes, found %zu bytes",
                                (long long)i, size - at);
        length = (uint32_t)bytes[at] | (uint32_t)bytes[at + 1] << 8 | (uint32_t)bytes[at + 2] << 16 |
                 (uint32_t)bytes[at + 3] << 24;
        at += 4;
        if (length > size - at)
            return qd_error_set(err, QD_INVALID, "element %lld: its length says %u bytes, %zu are left", (long long)i,
                                length, size - at);
        status = qd_infer_add(infer, bytes + at, length, err);
        if (status != QD_OK)
            return status;
        at += length;
    }
    if (at != size)
        return qd_error_set(err, QD_INVALID, "%zu bytes are left behind the last of %lld elements", size - at,
                            (long long)count);
    return QD_OK;
}

/* Strings of base64, nested in any way. */
static enum qd_status add_base64(struct qd_infer *infer, const json_t *data, struct qd_error *err)
{
    const void *bytes;
    size_t size;
    enum qd_status status = QD_OK;

    for (size_t i = 0; i < json_array_size(data) && status == QD_OK; i++)
        status = add_base64(infer, json_array_get(data, i), err);
    if (json_is_array(data))
        return status;
    if (!json_is_string(data))
        return qd_error_set(err, QD_INVALID, "data: expected strings of base64, a picture each");
    status = qd_base64_read(&infer->arena, json_string_value(data), json_string_length(data), &bytes, &size, err);
    if (status != QD_OK)
        return qd_error_context(err, status, "data: element %d", infer->n);
    return qd_infer_add(infer, bytes, size, err);
}

static enum qd_status read_pictures(struct qd_infer *infer, const json_t *input, const int64_t *dims, int n_dims,
                                    struct parts *parts, struct qd_error *err)
{
    const uint8_t *binary;
    size_t size = 0;
    enum qd_status status;

    if (n_dims > 2 || (n_dims == 2 && dims[1] != 1))
        return qd_error_set(err, QD_INVALID, "shape: BYTES holds encoded pictures: expected [n] or [n, 1]");
    status = take_binary(input, parts, &binary, &size, err);
    if (status != QD_OK)
        return status;
    if (binary)
        return add_encoded(infer, binary, size, dims[0], err);
    status = add_base64(infer, json_object_get(input, "data"), err);
    if (status == QD_OK && infer->n != dims[0])
        status = qd_error_set(err, QD_INVALID, "data: expected %lld elements, found %d", (long long)dims[0], infer->n);
    return status;
}

static enum qd_status read_tensor(struct qd_infer *infer, const json_t *input, enum qd_input_form form,
                                  const int64_t *dims, int n_dims, struct parts *parts, struct qd_error *err)
{
    size_t element = form == QD_INPUT_VALUES ? sizeof(float) : 1, size = 0;
    const json_t *data = json_object_get(input, "data");
    struct qd_shape shape = {n_dims, {0}};
    const uint8_t *bytes;
    void *numbers;
    int64_t count, span;
    enum qd_status status;

    if (n_dims != 4)
        return qd_error_set(err, QD_INVALID, "shape: expected four dimensions, found %d", n_dims);
    memcpy(shape.dims, dims, (size_t)n_dims * sizeof(dims[0]));
    count = qd_shape_count(&shape);
    if (count < 0 || (size_t)count > infer->exchange->http->options.max_body_bytes)
        return qd_error_set(err, QD_TOO_LARGE, "shape: more elements than a body may have bytes");
    status = qd_infer_set_shape(infer, form, dims, err);
    if (status == QD_OK)
        status = take_binary(input, parts, &bytes, &size, err);
    if (status != QD_OK)
        return status;
    if (bytes && size != (size_t)count * element)
        return qd_error_set(err, QD_INVALID, "parameters.binary_data_size: the shape takes %zu bytes, found %zu",
                            (size_t)count * element, size);
    if (bytes)
        return qd_infer_add_tensor(infer, dims, bytes, err);
    span = json_integer_value(json_array_get(data, 0));
    if (json_array_size(data) != 1 || !json_is_integer(json_array_get(data, 0)) || span < 0 ||
        (size_t)span >= parts->text.n_spans)
        return qd_error_set(err, QD_INVALID, "data: expected an array of numbers");
    numbers = qd_arena_alloc(&infer->arena, (size_t)count * element);
    if (!numbers)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a tensor");
    status = qd_v2_read_numbers(&parts->text.spans[span], form, count, numbers, err);
    return status == QD_OK ? qd_infer_add_tensor(infer, dims, numbers, err) : status;
}

static enum qd_status read_input(struct qd_infer *infer, const json_t *input, struct parts *parts,
                                 struct qd_error *err)
{
    const char *datatype = json_string_value(json_object_get(input, "datatype"));
    int64_t dims[QD_MAX_DIMS];
    int n_dims = 0;
    enum qd_status status = read_shape(input, dims, &n_dims, err);

    if (status != QD_OK)
        return status;
    if (datatype && strcmp(datatype, "BYTES") == 0)
        return read_pictures(infer, input, dims, n_dims, parts, err);
    if (datatype && strcmp(datatype, "FP32") == 0)
        return read_tensor(infer, input, QD_INPUT_VALUES, dims, n_dims, parts, err);
    if (datatype && strcmp(datatype, "UINT8") == 0)
        return read_tensor(infer, input, QD_INPUT_PIXELS, dims, n_dims, parts, err);
    return qd_error_set(err, QD_INVALID, "datatype: expected BYTES (pictures), UINT8 (pixels) or FP32, found '%.20s'",
                        datatype ? datatype : "none");
}

static enum qd_status read_inputs(struct qd_infer *infer, struct parts *parts, struct qd_error *err)
{
    const struct qd_graph *graph = infer->request.model->graph;
    const char *known = graph->values[graph->inputs[0]].name;
    const json_t *inputs = json_object_get(infer->v2->root, "inputs");

    if (!json_is_array(inputs) || !json_array_size(inputs))
        return qd_error_set(err, QD_INVALID, "inputs: expected an array of one tensor, '%.60s'", known);
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        const json_t *input = json_array_get(inputs, i);
        const char *name = json_string_value(json_object_get(input, "name"));
        enum qd_status status;

        if (!name || strcmp(name, known) != 0)
            return qd_error_set(err, QD_INVALID, "inputs[%zu].name: expected '%.60s', found '%.60s'", i, known,
                                name ? name : "none");
        if (i)
            return qd_error_set(err, QD_INVALID, "inputs[%zu]: '%.60s' is there twice", i, known);
        status = read_input(infer, input, parts, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "inputs[%zu]", i);
    }
    if (parts->binary_size)
        return qd_error_set(err, QD_INVALID, "%zu bytes behind the JSON belong to no input", parts->binary_size);
    return QD_OK;
}

static int find_output(const struct qd_graph *graph, const char *name)
{
    for (int o = 0; o < graph->n_outputs; o++)
        if (strcmp(graph->values[graph->outputs[o]].name, name) == 0)
            return o;
    return -1;
}

static enum qd_status read_output(struct qd_infer *infer, const json_t *item, struct qd_v2_output *ret, int *ret_index,
                                  struct qd_error *err)
{
    const struct qd_graph *graph = infer->request.model->graph;
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *parameters = json_object_get(item, "parameters");
    int64_t k = 0;
    enum qd_status status = check_object(parameters, "parameters", err);

    if (status != QD_OK)
        return status;
    *ret_index = name ? find_output(graph, name) : -1;
    if (*ret_index < 0)
        return qd_error_set(err, QD_INVALID, "name: the model has no output '%.60s'; the first is '%.60s'",
                            name ? name : "", graph->values[graph->outputs[0]].name);
    status = parameter_bool(parameters, "binary_data", infer->v2->binary_default, &ret->binary, err);
    if (status == QD_OK)
        status = parameter_int(parameters, "classification", 0, &k, err);
    if (status == QD_OK && (k < 0 || k > MAX_CLASSIFICATION))
        status = qd_error_set(err, QD_INVALID, "parameters.classification: expected 1 to %d, found %lld",
                              MAX_CLASSIFICATION, (long long)k);
    if (status == QD_OK && k && graph->values[graph->outputs[*ret_index]].dtype != QD_F32)
        status = qd_error_set(err, QD_INVALID, "parameters.classification: output '%.60s' is not float", name);
    ret->name = graph->values[graph->outputs[*ret_index]].name;
    ret->classification = (int)k;
    return status;
}

/* Those that are named, or all. */
static enum qd_status read_outputs(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_graph *graph = infer->request.model->graph;
    struct qd_v2 *v2 = infer->v2;
    const json_t *outputs = json_object_get(v2->root, "outputs");
    size_t n = outputs && json_array_size(outputs) ? json_array_size(outputs) : (size_t)graph->n_outputs;

    if (outputs && !json_is_array(outputs))
        return qd_error_set(err, QD_INVALID, "outputs: expected an array");
    if (n > (size_t)graph->n_outputs)
        return qd_error_set(err, QD_INVALID, "outputs: the model has %d, found %zu", graph->n_outputs, n);
    v2->outputs = qd_arena_array(&infer->arena, n, sizeof(*v2->outputs));
    v2->indices = qd_arena_array(&infer->arena, n, sizeof(*v2->indices));
    if (!v2->outputs || !v2->indices)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for a request");
    v2->n_outputs = (int)n;
    for (size_t i = 0; i < n; i++) {
        enum qd_status status = QD_OK;

        v2->indices[i] = (int)i;
        v2->outputs[i].name = graph->values[graph->outputs[i]].name;
        v2->outputs[i].binary = v2->binary_default;
        if (json_array_size(outputs))
            status = read_output(infer, json_array_get(outputs, i), &v2->outputs[i], &v2->indices[i], err);
        for (size_t j = 0; j < i && status == QD_OK; j++)
            if (v2->indices[j] == v2->indices[i])
                status = qd_error_set(err, QD_INVALID, "'%.60s' is there twice", v2->outputs[i].name);
        if (status != QD_OK)
            return qd_error_context(err, status, "outputs[%zu]", i);
    }
    return QD_OK;
}

/* Inference-Header-Content-Length: how much of the body is JSON; -1 without it. */
static enum qd_status read_json_size(const struct qd_exchange *exchange, int64_t *ret, struct qd_error *err)
{
    const char *text = qd_exchange_header(exchange, "Inference-Header-Content-Length");
    char *end;

    *ret = -1;
    if (!text)
        return QD_OK;
    errno = 0;
    *ret = strtoll(text, &end, 10);
    if (end == text || *end || errno || *ret < 0 || (uint64_t)*ret > exchange->body.size)
        return qd_error_set(err, QD_INVALID,
                            "Inference-Header-Content-Length: expected 0 to the body's %zu bytes, found '%.30s'",
                            exchange->body.size, text);
    return QD_OK;
}

static enum qd_status read_json(struct qd_infer *infer, struct parts *parts, struct qd_error *err)
{
    struct qd_v2 *v2 = infer->v2;
    const json_t *id;
    enum qd_status status = qd_json_read(parts->text.json.bytes, parts->text.json.size, &v2->root, err);

    if (status != QD_OK)
        return status;
    if (!json_is_object(v2->root))
        return qd_error_set(err, QD_INVALID, "JSON: expected an object with \"inputs\"");
    id = json_object_get(v2->root, "id");
    v2->id = json_string_value(id);
    if (id && !v2->id)
        return qd_error_set(err, QD_INVALID, "id: expected a string");
    status = read_parameters(infer, err);
    if (status == QD_OK)
        status = read_inputs(infer, parts, err);
    return status;
}

enum qd_status qd_v2_request_read(struct qd_infer *infer, struct qd_error *err)
{
    const struct qd_buf *body = &infer->exchange->body;
    const char *text = body->size ? (const char *)body->bytes : "";
    struct parts parts = {{{0}, NULL, 0, 0}, NULL, 0};
    int64_t json_size;
    enum qd_status status = read_json_size(infer->exchange, &json_size, err);

    infer->v2 = qd_arena_alloc(&infer->arena, sizeof(*infer->v2));
    if (status == QD_OK && !infer->v2)
        status = qd_error_set(err, QD_NO_MEMORY, "no memory for a request");
    if (status != QD_OK)
        return status;
    if (json_size == 0) {
        status = qd_infer_add_raw(infer, text, body->size, err);
        return status == QD_OK ? read_outputs(infer, err) : status;
    }
    if (json_size < 0)
        json_size = (int64_t)body->size;
    parts.binary = (const uint8_t *)text + json_size;
    parts.binary_size = body->size - (size_t)json_size;
    status = qd_v2_text_split(text, (size_t)json_size, &parts.text, err);
    if (status == QD_OK)
        status = read_json(infer, &parts, err);
    if (status == QD_OK)
        status = read_outputs(infer, err);
    qd_v2_text_done(&parts.text);
    return status;
}
