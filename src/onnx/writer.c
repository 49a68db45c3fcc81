#include "config.h"

#include "onnx/writer.h"

#include <assert.h>
#include <string.h>

#define IR_VERSION 8 /* of ONNX 1.10 to 1.12: the opsets that are read */

/* protobuf-c's structs have no const; packing writes to nothing. */
static void *unconst(const void *pointer)
{
    return (void *)(uintptr_t)pointer;
}

void *qd_onnx_writer_take(struct qd_onnx_writer *writer, size_t n, size_t size)
{
    void *memory = writer->failed ? NULL : qd_arena_array(&writer->arena, n + 1, size);

    if (!memory)
        writer->failed = true;
    return memory;
}

const char *qd_onnx_writer_name(struct qd_onnx_writer *writer, const char *prefix, const char *name)
{
    size_t prefix_size = strlen(prefix), size = strlen(name);
    char *text = qd_onnx_writer_take(writer, prefix_size + size, 1);

    if (!text)
        return "";
    memcpy(text, prefix, prefix_size);
    memcpy(text + prefix_size, name, size);
    return text;
}

void qd_onnx_writer_init(struct qd_onnx_writer *writer, size_t max_nodes, size_t max_tensors, size_t max_ends)
{
    memset(writer, 0, sizeof(*writer));
    onnx__graph_proto__init(&writer->graph);
    writer->graph.name = unconst("quantd");
    writer->graph.node = qd_onnx_writer_take(writer, max_nodes, sizeof(*writer->graph.node));
    writer->graph.initializer = qd_onnx_writer_take(writer, max_tensors, sizeof(*writer->graph.initializer));
    writer->graph.input = qd_onnx_writer_take(writer, max_ends, sizeof(*writer->graph.input));
    writer->graph.output = qd_onnx_writer_take(writer, max_ends, sizeof(*writer->graph.output));
    writer->nodes_left = max_nodes;
    writer->tensors_left = max_tensors;
}

void qd_onnx_writer_done(struct qd_onnx_writer *writer)
{
    qd_arena_done(&writer->arena);
}

static char **empty_names(struct qd_onnx_writer *writer, int n)
{
    char **names = qd_onnx_writer_take(writer, (size_t)n, sizeof(*names));

    for (int i = 0; i < n && names; i++)
        names[i] = unconst("");
    return names;
}

Onnx__NodeProto *qd_onnx_add_node(struct qd_onnx_writer *writer, const char *op, const char *name, int n_inputs,
                                  int n_outputs, int max_attributes)
{
    Onnx__NodeProto *node = qd_onnx_writer_take(writer, 1, sizeof(*node));
    char **inputs = empty_names(writer, n_inputs), **outputs = empty_names(writer, n_outputs);
    Onnx__AttributeProto **attributes = qd_onnx_writer_take(writer, (size_t)max_attributes, sizeof(*attributes));

    if (writer->failed)
        return NULL;
    assert(writer->nodes_left > 0);
    writer->nodes_left--;
    onnx__node_proto__init(node);
    node->op_type = unconst(op);
    node->name = unconst(name);
    node->n_input = (size_t)n_inputs;
    node->input = inputs;
    node->n_output = (size_t)n_outputs;
    node->output = outputs;
    node->attribute = attributes;
    writer->graph.node[writer->graph.n_node++] = node;
    return node;
}

static Onnx__AttributeProto *new_attribute(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const char *name,
                                           Onnx__AttributeProto__AttributeType type)
{
    Onnx__AttributeProto *attribute = qd_onnx_writer_take(writer, 1, sizeof(*attribute));

    if (!attribute || !node)
        return NULL;
    onnx__attribute_proto__init(attribute);
    attribute->name = unconst(name);
    attribute->has_type = 1;
    attribute->type = type;
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

void qd_onnx_add_int(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *attribute = new_attribute(writer, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

    if (!attribute)
        return;
    attribute->has_i = 1;
    attribute->i = value;
}

void qd_onnx_add_ints(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const char *name, const int64_t *values,
                      int n)
{
    Onnx__AttributeProto *attribute = new_attribute(writer, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *copy = qd_onnx_writer_take(writer, (size_t)n, sizeof(*copy));

    if (!attribute || !copy)
        return;
    memcpy(copy, values, (size_t)n * sizeof(*copy));
    attribute->ints = copy;
    attribute->n_ints = (size_t)n;
}

static int32_t tensor_type(enum qd_dtype dtype)
{
    static const int32_t types[QD_N_DTYPE] = {
        [QD_F32] = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, [QD_U8] = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
        [QD_S8] = ONNX__TENSOR_PROTO__DATA_TYPE__INT8,   [QD_I32] = ONNX__TENSOR_PROTO__DATA_TYPE__INT32,
        [QD_I64] = ONNX__TENSOR_PROTO__DATA_TYPE__INT64, [QD_BOOL] = ONNX__TENSOR_PROTO__DATA_TYPE__BOOL,
    };

    return types[dtype];
}

static Onnx__TensorProto *new_tensor(struct qd_onnx_writer *writer, enum qd_dtype dtype, const struct qd_shape *shape,
                                     const void *data)
{
    Onnx__TensorProto *tensor = qd_onnx_writer_take(writer, 1, sizeof(*tensor));
    int64_t *dims = qd_onnx_writer_take(writer, QD_MAX_DIMS, sizeof(*dims));

    if (!tensor || !dims)
        return NULL;
    onnx__tensor_proto__init(tensor);
    memcpy(dims, shape->dims, sizeof(shape->dims));
    tensor->dims = dims;
    tensor->n_dims = (size_t)shape->n_dims;
    tensor->has_data_type = 1;
    tensor->data_type = tensor_type(dtype);
    tensor->has_raw_data = 1;
    tensor->raw_data.data = unconst(data);
    tensor->raw_data.len = (size_t)qd_shape_count(shape) * qd_dtype_size(dtype);
    return tensor;
}

void qd_onnx_add_attr(struct qd_onnx_writer *writer, Onnx__NodeProto *node, const struct qd_attr *attr)
{
    static const Onnx__AttributeProto__AttributeType types[] = {
        [QD_ATTR_INT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT,
        [QD_ATTR_FLOAT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT,
        [QD_ATTR_STRING] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING,
        [QD_ATTR_INTS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
        [QD_ATTR_FLOATS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS,
        [QD_ATTR_TENSOR] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR,
    };
    Onnx__AttributeProto *to;

    if (attr->kind == QD_ATTR_OTHER)
        return;
    to = new_attribute(writer, node, attr->name, types[attr->kind]);
    if (!to)
        return;
    to->has_i = attr->kind == QD_ATTR_INT;
    to->i = attr->i;
    to->has_f = attr->kind == QD_ATTR_FLOAT;
    to->f = attr->f;
    if (attr->kind == QD_ATTR_STRING) {
        to->has_s = 1;
        to->s.data = unconst(attr->s);
        to->s.len = strlen(attr->s);
    }
    to->ints = unconst(attr->ints);
    to->n_ints = attr->kind == QD_ATTR_INTS ? (size_t)attr->n : 0;
    to->floats = unconst(attr->floats);
    to->n_floats = attr->kind == QD_ATTR_FLOATS ? (size_t)attr->n : 0;
    if (attr->kind == QD_ATTR_TENSOR)
        to->t = new_tensor(writer, attr->tensor.dtype, &attr->tensor.shape, attr->tensor.data);
}

void qd_onnx_add_tensor(struct qd_onnx_writer *writer, const char *name, enum qd_dtype dtype,
                        const struct qd_shape *shape, const void *data)
{
    Onnx__TensorProto *tensor = new_tensor(writer, dtype, shape, data);

    if (!tensor)
        return;
    assert(writer->tensors_left > 0);
    writer->tensors_left--;
    tensor->name = unconst(name);
    writer->graph.initializer[writer->graph.n_initializer++] = tensor;
}

static Onnx__TensorShapeProto *new_shape(struct qd_onnx_writer *writer, const struct qd_shape *shape)
{
    Onnx__TensorShapeProto *to = qd_onnx_writer_take(writer, 1, sizeof(*to));
    Onnx__TensorShapeProto__Dimension *dims = qd_onnx_writer_take(writer, (size_t)shape->n_dims, sizeof(*dims));
    Onnx__TensorShapeProto__Dimension **list = qd_onnx_writer_take(writer, (size_t)shape->n_dims, sizeof(*list));

    if (!to || !dims || !list)
        return NULL;
    onnx__tensor_shape_proto__init(to);
    for (int d = 0; d < shape->n_dims; d++) {
        list[d] = &dims[d];
        onnx__tensor_shape_proto__dimension__init(list[d]);
        if (d == 0 && shape->dims[d] == 1) {
            dims[d].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dims[d].dim_param = unconst("batch");
        } else {
            dims[d].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dims[d].dim_value = shape->dims[d];
        }
    }
    to->dim = list;
    to->n_dim = (size_t)shape->n_dims;
    return to;
}

static Onnx__ValueInfoProto *new_info(struct qd_onnx_writer *writer, const char *name, const struct qd_shape *shape)
{
    Onnx__ValueInfoProto *info = qd_onnx_writer_take(writer, 1, sizeof(*info));
    Onnx__TypeProto *type = qd_onnx_writer_take(writer, 1, sizeof(*type));
    Onnx__TypeProto__Tensor *tensor = qd_onnx_writer_take(writer, 1, sizeof(*tensor));
    Onnx__TensorShapeProto *dims = new_shape(writer, shape);

    if (!info || !type || !tensor || !dims)
        return NULL;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = dims;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    info->name = unconst(name);
    info->type = type;
    return info;
}

void qd_onnx_add_input(struct qd_onnx_writer *writer, const char *name, const struct qd_shape *shape)
{
    Onnx__ValueInfoProto *info = new_info(writer, name, shape);

    if (info)
        writer->graph.input[writer->graph.n_input++] = info;
}

void qd_onnx_add_output(struct qd_onnx_writer *writer, const char *name, const struct qd_shape *shape)
{
    Onnx__ValueInfoProto *info = new_info(writer, name, shape);

    if (info)
        writer->graph.output[writer->graph.n_output++] = info;
}

enum qd_status qd_onnx_writer_pack(struct qd_onnx_writer *writer, int opset, struct qd_buf *out, struct qd_error *err)
{
    Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *sets = &set;
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    uint8_t *bytes = NULL;
    enum qd_status status;
    size_t size;

    if (writer->failed)
        return qd_error_set(err, QD_NO_MEMORY, "no memory to write the model");
    set.domain = unconst("");
    set.has_version = 1;
    set.version = opset;
    model.has_ir_version = 1;
    model.ir_version = IR_VERSION;
    model.producer_name = unconst("quantd");
    model.producer_version = unconst(PACKAGE_VERSION);
    model.n_opset_import = 1;
    model.opset_import = &sets;
    model.graph = &writer->graph;
    size = onnx__model_proto__get_packed_size(&model);
    if (size > INT32_MAX)
        return qd_error_set(err, QD_TOO_LARGE, "the model takes %zu bytes, an ONNX file holds at most %d", size,
                            INT32_MAX);
    status = qd_alloc_for((void **)&bytes, size, 1, "the model's bytes", err);
    if (status != QD_OK)
        return status;
    onnx__model_proto__pack(&model, bytes);
    status = qd_buf_append(out, bytes, size, err);
    qd_free(bytes);
    return status;
}
