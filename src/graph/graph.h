/*
 * The model as data: values (tensors) and nodes (operators), as ONNX has them, for ONE image.
 *
 * Every activation is seen for one image: a leading batch dimension is 1 at load, and a batch is n such runs. Float
 * images are NCHW. Nodes stand in topological order once qd_graph_sort has been called.
 * Ownership: the graph's arena owns every name, shape, attribute, constant and params struct in it; freed as a whole.
 * Threads: a graph under construction belongs to one thread; afterwards it is read only and shared.
 */
#ifndef QD_GRAPH_GRAPH_H
#define QD_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/activation.h"
#include "tensor/tensor.h"
#include "util/buf.h"
#include "util/mem.h"
#include "util/status.h"

struct qd_op;

#define QD_NO_VALUE (-1) /* an optional input or output that is left out */

struct qd_value {
    const char *name;
    bool has_shape; /* shape and dtype are known */
    struct qd_shape shape;
    enum qd_dtype dtype;
    const void *data;           /* a constant's elements, row-major; NULL for an activation */
    int producer;               /* the node that makes it; -1 for inputs and constants; set by qd_graph_sort */
    struct qd_qparams q;        /* scale 0: none */
    const float *channel_steps; /* [c], or NULL: all 1. real = (byte - zero_point) * scale * channel_steps[c] */
    bool given;                 /* the model itself rounds the value to q (import_qdq): a float run does so too */
    bool rows;                  /* of rank 4 and yet no picture: its channels come last (pass find_rows) */
};

/* Whether quantized bytes lie NHWC where the shape is NCHW; those of all other values lie as their shape says. */
static inline bool qd_value_is_picture(const struct qd_value *value)
{
    return value->shape.n_dims == 4 && !value->rows;
}

/* The dimension of the channels: a picture's 1, else the last; -1: a scalar has none. */
static inline int qd_value_channel_dim(const struct qd_value *value)
{
    return qd_value_is_picture(value) ? 1 : value->shape.n_dims - 1;
}

/* How many channels it has; a scalar 1. */
static inline int64_t qd_value_channels(const struct qd_value *value)
{
    int dim = qd_value_channel_dim(value);

    return dim < 0 ? 1 : value->shape.dims[dim];
}

/* What a calibration found for a layer's weights. Owned by whoever set it, which outlives the graph's plans. */
struct qd_layer_weights {
    int bits; /* of the weights: q lies in [-(2^(bits-1) - 1), 2^(bits-1) - 1] */
    /* As qd_layer's weights lie, or NULL: rounded to nearest when a plan is made, and scale is NULL too. */
    const int8_t *q;
    /*
     * [n]: a real weight is q * scale, in the units of the bytes' own channel: it holds the channel steps of a
     * depthwise input.
     */
    const float *scale;
    const float *bias; /* [n], real, instead of the layer's own; NULL: the layer's own */
};

enum qd_attr_kind {
    QD_ATTR_INT,
    QD_ATTR_FLOAT,
    QD_ATTR_STRING,
    QD_ATTR_INTS,
    QD_ATTR_FLOATS,
    QD_ATTR_TENSOR,
    QD_ATTR_OTHER
};

struct qd_attr {
    const char *name;
    enum qd_attr_kind kind;
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    const float *floats;
    int n;                  /* of ints or floats */
    struct qd_value tensor; /* shape, dtype, data */
};

enum qd_precision { QD_PRECISION_Q8, QD_PRECISION_F32 };

struct qd_node {
    const char *name;    /* ONNX's, or made from the operator and the first output's name */
    const char *op_name; /* ONNX's operator type */
    const struct qd_op *op;
    int opset; /* the version of the operator's domain in this model */
    int n_inputs, n_outputs;
    int *inputs, *outputs; /* value indices or QD_NO_VALUE */
    int residual;          /* index into inputs of a fused residual (same shape as output 0), or -1 */
    struct qd_activation act;
    struct qd_attr *attrs;
    int n_attrs;
    void *params;                                 /* the operator's own struct, made by its parse */
    enum qd_precision precision;                  /* F32: asked for by model.json or the fallback, or a pass's choice */
    const char *why_f32;                          /* a pass's reason; NULL: asked for */
    const struct qd_layer_weights *layer_weights; /* or NULL: 8 bits, rounded to nearest */
};

struct qd_graph {
    struct qd_arena arena;
    struct qd_value *values;
    int n_values;
    size_t values_capacity;
    struct qd_node *nodes;
    int n_nodes;
    size_t nodes_capacity;
    int *inputs, *outputs; /* value indices */
    int n_inputs, n_outputs;
    int pixels; /* the input that takes a picture's bytes, or QD_NO_VALUE; others take elements of their type */
    bool channels_last;           /* the model takes its picture as [n,h,w,c] */
    bool takes_bytes;             /* and as uint8: the pixels' values */
    bool free_height, free_width; /* the model's file leaves the picture's size open */
    bool forgets_scales; /* import_qdq leaves no qparams: a calibration is to find new ones */
    int multiplier_bits; /* of requantisation multipliers: 1 (a shift) .. 24; 0 means 24 */
    int *index;          /* private: open hash of value names, value + 1 or 0 */
    size_t index_size;
};

/* An empty graph; NULL without memory. */
struct qd_graph *qd_graph_new(void);
void qd_graph_free(struct qd_graph *graph);

/* A new value; the name is copied. *ret_index is its index. */
enum qd_status qd_graph_add_value(struct qd_graph *graph, const char *name, int *ret_index, struct qd_error *err);

/* A constant: data is copied (qd_dtype_size(dtype) * count bytes). data NULL: zeroed, to be filled through *ret_data.
 */
enum qd_status qd_graph_add_constant(struct qd_graph *graph, const char *name, enum qd_dtype dtype,
                                     const struct qd_shape *shape, const void *data, int *ret_index, void **ret_data,
                                     struct qd_error *err);

/*
 * A new node at the end, zeroed but for names, op, residual -1 and its input and output arrays (copied).
 * The pointer is good until the next node is added.
 */
enum qd_status qd_graph_add_node(struct qd_graph *graph, const char *name, const char *op_name, const struct qd_op *op,
                                 const int *inputs, int n_inputs, const int *outputs, int n_outputs,
                                 struct qd_node **ret, struct qd_error *err);

/* Sets input i of a node; inputs between its last and i become QD_NO_VALUE. */
enum qd_status qd_graph_set_input(struct qd_graph *graph, struct qd_node *node, int i, int value, struct qd_error *err);

/* A value name that is not taken: base, then base.1, base.2 ... into text. */
const char *qd_graph_new_name(const struct qd_graph *graph, const char *base, char *text, size_t size);

/* The value's index, or -1. */
int qd_graph_find_value(const struct qd_graph *graph, const char *name);

/*
 * Topological order (stable: by first position), producers set. QD_INVALID: two producers of one value, an input that
 * nothing makes, or a cycle; the text names nodes.
 */
enum qd_status qd_graph_sort(struct qd_graph *graph, struct qd_error *err);

/* Checks what every pass must leave true; for tests and after passes: indices in range, order, shapes known. */
enum qd_status qd_graph_verify(const struct qd_graph *graph, struct qd_error *err);

/* Number of nodes that read the value, counted per input; an output of the graph counts one more. */
int qd_graph_n_uses(const struct qd_graph *graph, int value);
/* Its one reader, or NULL when there are none or several, or when it is an output of the graph. */
struct qd_node *qd_graph_only_user(const struct qd_graph *graph, int value);
bool qd_graph_is_output(const struct qd_graph *graph, int value);
bool qd_graph_is_input(const struct qd_graph *graph, int value);

/* Whether the model itself says how some value is rounded. */
bool qd_graph_has_given_scales(const struct qd_graph *graph);

/* Makes every reader of `from` (nodes and graph outputs) read `to` instead. */
void qd_graph_replace_uses(struct qd_graph *graph, int from, int to);

/* Takes the nodes out that keep[] says false of; indices of nodes change, values stay. Producers are set anew. */
void qd_graph_keep_nodes(struct qd_graph *graph, const bool *keep);

/* Attributes by name; the defaults come back where there is none. QD_INVALID: it is there with another kind. */
const struct qd_attr *qd_node_attr(const struct qd_node *node, const char *name);
enum qd_status qd_node_attr_int(const struct qd_node *node, const char *name, int64_t fallback, int64_t *ret,
                                struct qd_error *err);
enum qd_status qd_node_attr_float(const struct qd_node *node, const char *name, float fallback, float *ret,
                                  struct qd_error *err);
enum qd_status qd_node_attr_string(const struct qd_node *node, const char *name, const char *fallback, const char **ret,
                                   struct qd_error *err);
/* *ret_n is 0 and *ret NULL where it is absent. */
enum qd_status qd_node_attr_ints(const struct qd_node *node, const char *name, const int64_t **ret, int *ret_n,
                                 struct qd_error *err);

/* The same function of one x, in double: what its int8 forms are fitted to. */
double qd_activation_f64(const struct qd_activation *act, double x);
/* Its name in listings: "", "clip", "silu"... */
const char *qd_activation_name(const struct qd_activation *act);

/* A readable listing, a line per node: "conv1 Conv [1,3,224,224] -> [1,32,112,112] +clip[0,6] +residual". */
enum qd_status qd_graph_dump(const struct qd_graph *graph, struct qd_buf *out, struct qd_error *err);

#endif
