#include <math.h>
#include <stdio.h>
#include <string.h>

#include "onnx/internal.h"
#include "op/op.h"
#include "pass/pass.h"

#define DEFAULT_MAX_NODES 100000

/* What the unpacker may take: a field costs many times its bytes, but not more than this times the file. */
#define MEMORY_PER_BYTE 24
#define MEMORY_BASE ((size_t)16 << 20)

struct loader {
    const struct qd_onnx_options *options;
    const Onnx__GraphProto *proto;
    struct qd_graph *graph;
    int opset;
    size_t memory_left; /* of the unpacker */
};

/* The size stands in front of each piece, so that freeing gives it back. */
static void *take_memory(void *context, size_t size)
{
    struct loader *loader = context;
    size_t *memory;

    if (size > loader->memory_left || size > SIZE_MAX - QD_ALIGNMENT)
        return NULL;
    memory = qd_alloc(size + QD_ALIGNMENT);
    if (!memory)
        return NULL;
    loader->memory_left -= size;
    *memory = size;
    return (uint8_t *)memory + QD_ALIGNMENT;
}

static void give_memory(void *context, void *memory)
{
    struct loader *loader = context;
    size_t *start;

    if (!memory)
        return;
    start = (size_t *)(void *)((uint8_t *)memory - QD_ALIGNMENT);
    loader->memory_left += *start;
    qd_free(start);
}

static bool is_default_domain(const char *domain)
{
    return !domain || !domain[0] || strcmp(domain, "ai.onnx") == 0;
}

static enum qd_status find_opset(struct loader *loader, const Onnx__ModelProto *model, struct qd_error *err)
{
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];

        if (!is_default_domain(set->domain))
            continue;
        if (!set->has_version || set->version < QD_ONNX_MIN_OPSET || set->version > QD_ONNX_MAX_OPSET)
            return qd_error_set(err, QD_UNSUPPORTED, "opset: expected %d to %d, found %lld", QD_ONNX_MIN_OPSET,
                                QD_ONNX_MAX_OPSET, set->has_version ? (long long)set->version : 0LL);
        loader->opset = (int)set->version;
        return QD_OK;
    }
    return qd_error_set(err, QD_INVALID, "the model imports no opset of the default domain");
}

/* A node's own name, or one made from its operator and first output. */
static const char *node_name(const Onnx__NodeProto *node, char *text, size_t size)
{
    if (node->name && node->name[0])
        return node->name;
    snprintf(text, size, "%s_%s", node->op_type ? node->op_type : "", node->n_output ? node->output[0] : "");
    return text;
}

static const struct qd_op *find_op(const Onnx__NodeProto *node)
{
    return qd_op_find_in(is_default_domain(node->domain) ? NULL : node->domain, node->op_type);
}

static bool is_supported(const struct loader *loader, const Onnx__NodeProto *node)
{
    const struct qd_op *op = find_op(node);

    /* Of other domains there is one opset. */
    return op && !strchr(op->name, '.') &&
           (op->domain || (loader->opset >= op->min_opset && loader->opset <= op->max_opset));
}

/* One error for all unsupported operators, each once with the first node that has it. */
static enum qd_status check_operators(const struct loader *loader, struct qd_error *err)
{
    char list[QD_ERROR_TEXT_SIZE] = "", name[128];
    size_t used = 0, n_more = 0, n_found = 0;

    for (size_t n = 0; n < loader->proto->n_node; n++) {
        const Onnx__NodeProto *node = loader->proto->node[n];
        char entry[192];
        bool seen = false;

        if (!node->op_type || !node->op_type[0])
            return qd_error_set(err, QD_INVALID, "node %zu has no operator", n);
        if (is_supported(loader, node))
            continue;
        for (size_t i = 0; i < n && i < 1000 && !seen; i++)
            seen = strcmp(loader->proto->node[i]->op_type, node->op_type) == 0 &&
                   is_default_domain(loader->proto->node[i]->domain) == is_default_domain(node->domain);
        if (seen)
            continue;
        snprintf(entry, sizeof(entry), "%s%s%s%s (node '%.60s')", n_found ? ", " : "",
                 is_default_domain(node->domain) ? "" : node->domain, is_default_domain(node->domain) ? "" : ".",
                 node->op_type, node_name(node, name, sizeof(name)));
        n_found++;
        if (used + strlen(entry) > 170) {
            n_more++;
            continue;
        }
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s", entry);
    }
    if (!n_found)
        return QD_OK;
    if (n_more)
        return qd_error_set(err, QD_UNSUPPORTED, "unsupported operators at opset %d: %s and %zu more", loader->opset,
                            list, n_more);
    return qd_error_set(err, QD_UNSUPPORTED, "unsupported operators at opset %d: %s", loader->opset, list);
}

/* The graph has its copy: a large model lies in memory once less at a time. */
static void drop_raw_data(struct loader *loader, Onnx__TensorProto *tensor)
{
    if (!tensor->has_raw_data)
        return;
    give_memory(loader, tensor->raw_data.data);
    tensor->raw_data.data = NULL;
    tensor->raw_data.len = 0;
    tensor->has_raw_data = 0;
}

static enum qd_status add_initializers(struct loader *loader, struct qd_error *err)
{
    for (size_t i = 0; i < loader->proto->n_initializer; i++) {
        const Onnx__TensorProto *tensor = loader->proto->initializer[i];
        struct qd_value value;
        enum qd_status status;
        const char *name;
        int index;

        if (!tensor->name || !tensor->name[0])
            return qd_error_set(err, QD_INVALID, "initializer %zu has no name", i);
        status = qd_onnx_tensor(tensor, loader->options, loader->graph, &value, err);
        if (status == QD_OK)
            status = qd_graph_add_value(loader->graph, tensor->name, &index, err);
        if (status != QD_OK)
            return qd_error_context(err, status, "initializer '%s'", tensor->name);
        drop_raw_data(loader, loader->proto->initializer[i]);
        name = loader->graph->values[index].name;
        loader->graph->values[index] = value;
        loader->graph->values[index].name = name;
    }
    if (loader->proto->n_sparse_initializer)
        return qd_error_set(err, QD_UNSUPPORTED, "sparse initializers are not supported");
    return QD_OK;
}

/* The dimensions of a declared input; 0 where they are free. */
static enum qd_status input_shape(const Onnx__ValueInfoProto *info, struct qd_shape *ret, int *ret_type,
                                  struct qd_error *err)
{
    const Onnx__TypeProto__Tensor *tensor;

    if (!info->type || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !info->type->tensor_type->shape)
        return qd_error_set(err, QD_INVALID, "expected a tensor with a shape");
    tensor = info->type->tensor_type;
    *ret_type = tensor->has_elem_type ? tensor->elem_type : 0;
    if (tensor->shape->n_dim > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions, found %zu", QD_MAX_DIMS,
                            tensor->shape->n_dim);
    ret->n_dims = (int)tensor->shape->n_dim;
    for (int i = 0; i < ret->n_dims; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = tensor->shape->dim[i];
        bool fixed = dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;

        ret->dims[i] = fixed && dim->dim_value > 0 ? dim->dim_value : 0;
        if (fixed && (dim->dim_value < -1 || dim->dim_value > QD_MAX_ELEMENTS))
            return qd_error_set(err, QD_INVALID, "dimension %d: expected 1 or more, found %lld", i,
                                (long long)dim->dim_value);
    }
    return QD_OK;
}

static bool is_channels(int64_t dim)
{
    return dim == 1 || dim == 3;
}

/*
 * Pictures: [batch, channels, height, width], batch free or 1, or with the channels last. Elements of any number type:
 * they hold what preprocessing gives. The shape becomes [1,c,h,w]; the graph notes what it was.
 */
static enum qd_status resolve_image_shape(const struct qd_onnx_options *options, struct qd_shape *shape,
                                          enum qd_dtype dtype, struct qd_graph *graph, struct qd_error *err)
{
    char text[QD_SHAPE_TEXT_SIZE];

    if ((dtype != QD_F32 && dtype != QD_U8) || shape->n_dims != 4)
        return qd_error_set(err, QD_UNSUPPORTED, "expected a float tensor [batch,channels,height,width], found %s %s",
                            qd_dtype_name(dtype), qd_shape_text(shape, text));
    if (shape->dims[0] > 1)
        return qd_error_set(err, QD_UNSUPPORTED,
                            "the batch dimension is fixed to %lld: export the model with batch 1 or a dynamic batch",
                            (long long)shape->dims[0]);
    graph->takes_bytes = dtype == QD_U8;
    graph->channels_last = !is_channels(shape->dims[1]) && is_channels(shape->dims[3]);
    if (graph->channels_last)
        *shape = (struct qd_shape){4, {1, shape->dims[3], shape->dims[1], shape->dims[2]}};
    shape->dims[0] = 1;
    if (!is_channels(shape->dims[1]))
        return qd_error_set(err, QD_UNSUPPORTED, "expected 1 or 3 channels, found %lld", (long long)shape->dims[1]);
    graph->free_height = !shape->dims[2];
    graph->free_width = !shape->dims[3];
    if (graph->free_height)
        shape->dims[2] = options->height;
    if (graph->free_width)
        shape->dims[3] = options->width;
    if (!shape->dims[2] || !shape->dims[3])
        return qd_error_set(err, QD_INVALID,
                            "height and width are free: state the size in model.json (preprocess.crop)");
    return QD_OK;
}

/*
 * The graph's picture is [1,c,h,w]; a model that takes it with the channels last gets it through a Transpose, which
 * cancel_transposes and folding mostly take away again.
 */
static enum qd_status turn_channels(struct loader *loader, struct qd_error *err)
{
    struct qd_graph *graph = loader->graph;
    struct qd_attr *attr;
    struct qd_node *node;
    int input, inner;
    int64_t *perm;
    enum qd_status status;

    if (!graph->channels_last)
        return QD_OK;
    input = graph->inputs[0];
    status = qd_graph_add_value(graph, "quantd.channels_last", &inner, err);
    if (status != QD_OK)
        return status;
    qd_graph_replace_uses(graph, input, inner);
    status = qd_graph_add_node(graph, "quantd.channels_last", qd_op_transpose.name, &qd_op_transpose, &input, 1, &inner,
                               1, &node, err);
    attr = qd_arena_alloc(&graph->arena, sizeof(*attr));
    perm = qd_arena_array(&graph->arena, 4, sizeof(*perm));
    if (status != QD_OK || !attr || !perm)
        return status != QD_OK ? status : qd_error_set(err, QD_NO_MEMORY, "no memory for a node");
    memcpy(perm, (const int64_t[]){0, 2, 3, 1}, 4 * sizeof(*perm));
    *attr = (struct qd_attr){.name = "perm", .kind = QD_ATTR_INTS, .ints = perm, .n = 4};
    node->attrs = attr;
    node->n_attrs = 1;
    node->opset = loader->opset;
    return QD_OK;
}

/* The declared input of that name, or NULL. */
static const Onnx__ValueInfoProto *find_input(const struct loader *loader, const char *name)
{
    for (size_t i = 0; i < loader->proto->n_input; i++)
        if (loader->proto->input[i]->name && strcmp(loader->proto->input[i]->name, name) == 0)
            return loader->proto->input[i];
    return NULL;
}

/* Numbers that came as floats, as the type that the model declares. */
static void convert_numbers(const float *from, enum qd_dtype dtype, int64_t n, void *to)
{
    for (int64_t i = 0; i < n; i++) {
        double x = fmin(fmax((double)from[i], -0x1p53), 0x1p53);

        if (dtype == QD_I64)
            ((int64_t *)to)[i] = (int64_t)x;
        else if (dtype == QD_I32)
            ((int32_t *)to)[i] = (int32_t)fmin(fmax(x, INT32_MIN), INT32_MAX);
        else if (dtype == QD_F32)
            ((float *)to)[i] = from[i];
        else
            ((uint8_t *)to)[i] = (uint8_t)(int)fmin(fmax(x, -128), 255);
    }
}

static enum qd_status add_fixed_input(struct loader *loader, const struct qd_onnx_fixed *fixed, struct qd_error *err)
{
    const Onnx__ValueInfoProto *info = find_input(loader, fixed->name);
    struct qd_shape ignored;
    enum qd_dtype dtype;
    int index, type;
    void *data;
    enum qd_status status;

    if (!info)
        return qd_error_set(err, QD_NOT_FOUND, "the network has no such input");
    status = input_shape(info, &ignored, &type, err);
    if (status == QD_OK)
        status = qd_onnx_dtype(type, &dtype, err);
    if (status != QD_OK)
        return status;
    if (fixed->dtype == dtype || fixed->dtype != QD_F32)
        return qd_graph_add_constant(loader->graph, fixed->name, fixed->dtype, &fixed->shape, fixed->data, &index, NULL,
                                     err);
    status = qd_graph_add_constant(loader->graph, fixed->name, dtype, &fixed->shape, NULL, &index, &data, err);
    if (status == QD_OK)
        convert_numbers(fixed->data, dtype, qd_shape_count(&fixed->shape), data);
    return status;
}

static enum qd_status add_fixed_inputs(struct loader *loader, struct qd_error *err)
{
    for (int i = 0; i < loader->options->n_fixed; i++) {
        enum qd_status status = add_fixed_input(loader, &loader->options->fixed[i], err);

        if (status != QD_OK)
            return qd_error_context(err, status, "input '%.80s'", loader->options->fixed[i].name);
    }
    return QD_OK;
}

static enum qd_status add_inputs(struct loader *loader, struct qd_error *err)
{
    struct qd_graph *graph = loader->graph;
    size_t capacity = 0;

    for (size_t i = 0; i < loader->proto->n_input; i++) {
        const Onnx__ValueInfoProto *info = loader->proto->input[i];
        struct qd_shape shape = {0};
        int index, type = 0;
        enum qd_dtype dtype = QD_F32;
        enum qd_status status;

        if (!info->name)
            return qd_error_set(err, QD_INVALID, "input %zu has no name", i);
        if (qd_graph_find_value(graph, info->name) >= 0)
            continue; /* fixed, or an initializer, listed as an input too: its default value is the value */
        status = input_shape(info, &shape, &type, err);
        if (status == QD_OK)
            status = qd_onnx_dtype(type, &dtype, err);
        if (status == QD_OK && !loader->options->any_inputs)
            status = resolve_image_shape(loader->options, &shape, dtype, loader->graph, err);
        if (status == QD_OK && qd_shape_count(&shape) < 0)
            status = qd_error_set(err, QD_TOO_LARGE, "more than %d elements", QD_MAX_ELEMENTS);
        if (status == QD_OK)
            status = qd_graph_add_value(graph, info->name, &index, err);
        if (status == QD_OK)
            status = qd_grow((void **)&graph->inputs, &capacity, (size_t)graph->n_inputs + 1, sizeof(int), err);
        if (status != QD_OK)
            return qd_error_context(err, status, "input '%s'", info->name);
        graph->inputs[graph->n_inputs++] = index;
        graph->values[index].has_shape = true;
        graph->values[index].shape = shape;
        graph->values[index].dtype = loader->options->any_inputs ? dtype : QD_F32;
    }
    if (graph->n_inputs != 1 && !loader->options->any_inputs)
        return qd_error_set(
            err, QD_UNSUPPORTED,
            "expected one input, found %d; model.json's \"inputs\" gives values to those that are no picture",
            graph->n_inputs);
    return QD_OK;
}

/* The value of that name, made if it is new; QD_NO_VALUE for the empty name. */
static enum qd_status value_of(struct qd_graph *graph, const char *name, int *ret, struct qd_error *err)
{
    *ret = QD_NO_VALUE;
    if (!name || !name[0])
        return QD_OK;
    *ret = qd_graph_find_value(graph, name);
    return *ret >= 0 ? QD_OK : qd_graph_add_value(graph, name, ret, err);
}

static enum qd_status read_attribute(struct loader *loader, const Onnx__AttributeProto *proto, struct qd_attr *attr,
                                     struct qd_error *err)
{
    struct qd_arena *arena = &loader->graph->arena;
    char *text;
    void *list = NULL;

    attr->name = qd_arena_strdup(arena, proto->name ? proto->name : "");
    if (!attr->name)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    attr->kind = QD_ATTR_OTHER;
    switch (proto->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        attr->kind = QD_ATTR_FLOAT;
        attr->f = proto->f;
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        attr->kind = QD_ATTR_INT;
        attr->i = proto->i;
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        attr->kind = QD_ATTR_STRING;
        attr->s = text = qd_arena_alloc(arena, proto->s.len + 1);
        if (text && proto->s.len)
            memcpy(text, proto->s.data, proto->s.len);
        list = text;
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        attr->kind = QD_ATTR_FLOATS;
        attr->n = (int)proto->n_floats;
        attr->floats = list = qd_arena_array(arena, proto->n_floats, sizeof(float));
        if (list && proto->n_floats)
            memcpy(list, proto->floats, proto->n_floats * sizeof(float));
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        attr->kind = QD_ATTR_INTS;
        attr->n = (int)proto->n_ints;
        attr->ints = list = qd_arena_array(arena, proto->n_ints, sizeof(int64_t));
        if (list && proto->n_ints)
            memcpy(list, proto->ints, proto->n_ints * sizeof(int64_t));
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        attr->kind = QD_ATTR_TENSOR;
        if (!proto->t)
            return qd_error_set(err, QD_INVALID, "%s: the tensor is missing", attr->name);
        return qd_onnx_tensor(proto->t, loader->options, loader->graph, &attr->tensor, err);
    default:
        return QD_OK;
    }
    if (!list && attr->kind != QD_ATTR_FLOAT && attr->kind != QD_ATTR_INT)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    return QD_OK;
}

static enum qd_status check_arity(const struct qd_op *op, const Onnx__NodeProto *proto, struct qd_error *err)
{
    int n_inputs = (int)proto->n_input, n_outputs = (int)proto->n_output;

    if (n_inputs < op->min_inputs || (op->max_inputs >= 0 && n_inputs > op->max_inputs))
        return qd_error_set(err, QD_INVALID, "expected %d to %d inputs, found %d", op->min_inputs, op->max_inputs,
                            n_inputs);
    if (n_outputs < 1 || !proto->output[0][0] || (op->n_outputs && n_outputs > op->n_outputs))
        return qd_error_set(err, QD_INVALID, "expected 1 to %d outputs, found %d", op->n_outputs, n_outputs);
    for (int i = 0; i < op->min_inputs; i++)
        if (!proto->input[i][0])
            return qd_error_set(err, QD_INVALID, "input %d is missing", i);
    return QD_OK;
}

static enum qd_status add_node(struct loader *loader, const Onnx__NodeProto *proto, const char *name,
                               struct qd_error *err)
{
    const struct qd_op *op = find_op(proto);
    struct qd_graph *graph = loader->graph;
    struct qd_arena scratch = {0};
    int *inputs = qd_arena_array(&scratch, proto->n_input + 1, sizeof(int));
    int *outputs = qd_arena_array(&scratch, proto->n_output + 1, sizeof(int));
    struct qd_node *node = NULL;
    enum qd_status status;

    status = inputs && outputs ? check_arity(op, proto, err) : qd_error_set(err, QD_NO_MEMORY, "no memory for a node");
    for (size_t i = 0; i < proto->n_input && status == QD_OK; i++)
        status = value_of(graph, proto->input[i], &inputs[i], err);
    for (size_t i = 0; i < proto->n_output && status == QD_OK; i++)
        status = value_of(graph, proto->output[i], &outputs[i], err);
    if (status == QD_OK)
        status = qd_graph_add_node(graph, name, op->name, op, inputs, (int)proto->n_input, outputs,
                                   (int)proto->n_output, &node, err);
    qd_arena_done(&scratch);
    if (status != QD_OK)
        return status;
    node->opset = loader->opset;
    node->attrs = qd_arena_array(&graph->arena, proto->n_attribute, sizeof(*node->attrs));
    if (!node->attrs)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    for (size_t i = 0; i < proto->n_attribute && status == QD_OK; i++)
        status = read_attribute(loader, proto->attribute[i], &node->attrs[node->n_attrs++], err);
    return status;
}

static enum qd_status add_nodes(struct loader *loader, struct qd_error *err)
{
    for (size_t n = 0; n < loader->proto->n_node; n++) {
        const Onnx__NodeProto *proto = loader->proto->node[n];
        char text[256];
        const char *name = node_name(proto, text, sizeof(text));
        enum qd_status status = add_node(loader, proto, name, err);

        if (status != QD_OK)
            return qd_error_context(err, status, "node '%.80s' (%.40s)", name, proto->op_type);
    }
    return QD_OK;
}

static enum qd_status add_outputs(struct loader *loader, struct qd_error *err)
{
    struct qd_graph *graph = loader->graph;
    size_t capacity = 0;

    if (!loader->proto->n_output)
        return qd_error_set(err, QD_INVALID, "the graph has no output");
    for (size_t i = 0; i < loader->proto->n_output; i++) {
        const char *name = loader->proto->output[i]->name;
        int index = name ? qd_graph_find_value(graph, name) : -1;
        enum qd_status status;

        if (index < 0)
            return qd_error_set(err, QD_INVALID, "output '%s' is made by nothing", name ? name : "");
        status = qd_grow((void **)&graph->outputs, &capacity, (size_t)graph->n_outputs + 1, sizeof(int), err);
        if (status != QD_OK)
            return status;
        graph->outputs[graph->n_outputs++] = index;
    }
    return QD_OK;
}

static enum qd_status parse_nodes(struct qd_graph *graph, struct qd_error *err)
{
    for (int n = 0; n < graph->n_nodes; n++) {
        struct qd_node *node = &graph->nodes[n];
        enum qd_status status = node->op->parse ? node->op->parse(graph, node, err) : QD_OK;

        if (status != QD_OK)
            return qd_error_context(err, status, "node '%.80s' (%s)", node->name, node->op->name);
    }
    return QD_OK;
}

static enum qd_status build_graph(struct loader *loader, const Onnx__ModelProto *model, struct qd_error *err)
{
    int max_nodes = loader->options->max_nodes ? loader->options->max_nodes : DEFAULT_MAX_NODES;
    enum qd_status status;

    if (!model->graph)
        return qd_error_set(err, QD_INVALID, "not an ONNX model: it has no graph");
    loader->proto = model->graph;
    if (model->graph->n_node > (size_t)max_nodes)
        return qd_error_set(err, QD_TOO_LARGE, "expected at most %d nodes, found %zu", max_nodes, model->graph->n_node);
    status = find_opset(loader, model, err);
    if (status == QD_OK)
        status = check_operators(loader, err);
    if (status == QD_OK)
        status = add_initializers(loader, err);
    if (status == QD_OK)
        status = add_fixed_inputs(loader, err);
    if (status == QD_OK)
        status = add_inputs(loader, err);
    if (status == QD_OK)
        status = add_nodes(loader, err);
    if (status == QD_OK)
        status = add_outputs(loader, err);
    if (status == QD_OK)
        status = turn_channels(loader, err);
    if (status == QD_OK)
        status = qd_graph_sort(loader->graph, err);
    if (status == QD_OK)
        status = qd_pass_expand(loader->graph, err);
    if (status == QD_OK)
        status = parse_nodes(loader->graph, err);
    if (status == QD_OK)
        status = qd_pass_infer(loader->graph, err);
    return status;
}

enum qd_status qd_onnx_load(const void *bytes, size_t size, const struct qd_onnx_options *options,
                            struct qd_graph **ret, struct qd_error *err)
{
    struct loader loader = {.options = options};
    ProtobufCAllocator allocator = {take_memory, give_memory, &loader};
    Onnx__ModelProto *model;
    enum qd_status status;

    status = qd_onnx_scan(bytes, size, err);
    if (status != QD_OK)
        return status;
    loader.memory_left =
        size > (SIZE_MAX - MEMORY_BASE) / MEMORY_PER_BYTE ? SIZE_MAX : MEMORY_BASE + size * MEMORY_PER_BYTE;
    model = onnx__model_proto__unpack(&allocator, size, bytes);
    if (!model)
        return qd_error_set(err, QD_INVALID, "not an ONNX file, or a broken one (or no memory to read it)");
    loader.graph = qd_graph_new();
    status =
        loader.graph ? build_graph(&loader, model, err) : qd_error_set(err, QD_NO_MEMORY, "no memory for the graph");
    onnx__model_proto__free_unpacked(model, &allocator);
    if (status != QD_OK) {
        qd_graph_free(loader.graph);
        return status;
    }
    *ret = loader.graph;
    return QD_OK;
}
