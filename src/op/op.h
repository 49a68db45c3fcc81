/*
 * The operators: one const struct qd_op each, at the end of its file, and the table of all in op.c.
 *
 * All that can fail happens in parse, infer and prepare_q8; both runs return void. run_f32 is the definition: fp32
 * reference, calibration and constant folding use it. Both runs are reentrant. What op code may touch: the node, the
 * graph (read only but in parse and infer) and what it is handed.
 */
#ifndef QD_OP_OP_H
#define QD_OP_OP_H

#include <stdbool.h>
#include <stddef.h>

#include "graph/graph.h"
#include "kernel/kernel.h"
#include "op/conv.h"

/* A tensor at run time. */
struct qd_view {
    enum qd_dtype dtype;
    const struct qd_shape *shape;
    void *data; /* NULL: an optional input that is absent */
};

/* The padding that an operator wants to find in memory around its input 0. */
struct qd_q8_padding {
    int top, left, bottom, right; /* pixels */
    const float *value;           /* per channel, real; NULL: 0 */
};

/* One run in float: what there is beside the tensors. */
struct qd_f32_run {
    const struct qd_kernels *kernels;
    void *scratch;        /* scratch_f32's bytes, this thread's, 64-byte aligned */
    const void *prepared; /* in blocks: what the form's prepare made */
};

/* What of a node lies in blocks: bit i, input i below QD_BLOCKS_INPUTS; and whether blocks may begin here. */
#define QD_BLOCKS_INPUTS 24
#define QD_BLOCKS_BEGIN (1u << 30)
#define QD_BLOCKS_OUTPUT (1u << 31)

/*
 * An operator's float run on pictures that lie in blocks of channels (kernel_f32.h), for plans that keep them so from
 * step to step. The same floats as run_f32's.
 */
struct qd_op_blocks {
    /* Which inputs, and whether output 0. 0: this node cannot. Inputs are of rank 4, [1,c,h,w]. */
    unsigned (*takes)(const struct qd_graph *graph, const struct qd_node *node);
    /* *ret lives in the arena: packed weights. NULL: there is nothing to prepare. */
    enum qd_status (*prepare)(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                              const void **ret, struct qd_error *err);
    size_t (*scratch)(const struct qd_graph *graph, const struct qd_node *node); /* NULL: none */
    /* As run_f32; shapes are those of the pictures, data is where their blocks lie. */
    void (*run)(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                const struct qd_f32_run *run);
};

/* Floats of a picture in blocks. */
static inline size_t qd_blocks_count(const struct qd_shape *shape)
{
    return qd_f32_blocks((size_t)shape->dims[1]) * QD_F32_BLOCK * (size_t)(shape->dims[2] * shape->dims[3]);
}

/* What prepare_q8 gets and gives. */
struct qd_q8_prepare {
    const struct qd_graph *graph;
    const struct qd_node *node;
    const struct qd_kernels *kernels;
    const struct qd_steps *in_steps; /* by input: how pictures lie; others are contiguous */
    const struct qd_steps *out_steps;
    struct qd_arena *arena; /* the plan's: prepared data and packed weights live here */
    bool output_f32;        /* output 0 leaves as float (only where QD_OP_F32_OUTPUT) */
    void *prepared;         /* out: for run_q8 */
    size_t scratch_size;    /* out: bytes of scratch that each thread needs */
};

/*
 * One run over a batch. Image i of input j begins at inputs[j] + i * input_pitch[j] bytes. Quantized pictures lie NHWC,
 * other tensors as their shape says. Constants have no pointer here (NULL): prepare_q8 took what it needs.
 */
struct qd_q8_run {
    const void *prepared;
    const uint8_t *const *inputs;
    const size_t *input_pitch;
    void *const *outputs; /* bytes, or floats where prepared so */
    const size_t *output_pitch;
    int n_images;
    void *scratch; /* this thread's, 64-byte aligned */
};

/* A convolution with constant weights, and what can be seen as one. n divides into the groups. */
struct qd_layer {
    struct qd_window window;
    int group, c, h, w, out_h, out_w, n;
    const float *weights;    /* [n][c / group][kernel_h][kernel_w] */
    const float *bias;       /* [n] or NULL */
    bool padded_with_values; /* real ones: the padding is not 0 */
    bool rows;               /* input and output are no pictures: their floats lie as [pixels][channels], too */
};

enum qd_op_flags {
    QD_OP_SAME_SCALE = 1, /* all activation inputs and outputs must share one scale and zero point when quantized */
    QD_OP_F32_OUTPUT = 2, /* run_q8 can leave its output 0 as float (in the order of the ONNX shape) */
    QD_OP_RESIDUAL = 4,   /* can add a fused residual before its activation */
    QD_OP_SHAPE_ONLY = 8, /* reads its input's shape, never its data: folds to a constant */
    QD_OP_COPY = 16,  /* f32: the output has the input's elements in the same order (Reshape, Flatten, Identity...) */
    QD_OP_STEPS = 64, /* prepare_q8 follows in_steps and out_steps; other operators' tensors are contiguous */
    QD_OP_FINISHES_F32 = 128, /* run_f32 adds the fused residual and applies the activation itself */
    QD_OP_MOVES = 256,        /* only copies elements, some of them, or constants beside them */
    QD_OP_KEEP = 512,         /* not folded when loading, also where all inputs are constant: import_qdq reads it */
    QD_OP_FIXED_Q = 32,       /* output_q says the output's qparams (a constant range such as Sigmoid's) */
    /* What an int8 form takes as tensors of rank 4. None of these: pictures alone. */
    QD_OP_ROWS = 1024,       /* no pictures: channels are the last dimension */
    QD_OP_ANY_ORDER = 2048,  /* both, but inputs and outputs of rank 4 have to be the same */
    QD_OP_TWO_ORDERS = 4096, /* each of them whatever it is */
};

#define QD_STEPS_OF_OUTPUT (-1)

/* A channel of a tensor of the graph. */
struct qd_channel {
    int value;
    int64_t c;
};

/* The operators that ONNX Runtime adds; their opset is 1. */
#define QD_DOMAIN_MICROSOFT "com.microsoft"

struct qd_op {
    const char *domain; /* NULL: ONNX's own */
    const char *name;   /* ONNX's; a name with a dot ("quantd.Normalize") is our own, no file can name it */
    int min_opset, max_opset;
    int min_inputs, max_inputs; /* max -1: any number */
    int n_outputs;              /* at most; 0: any number */
    unsigned flags;
    const char *limits; /* for the list of operators: what is not taken, or runs in f32 only; NULL: nothing to say */

    const void *functions; /* of the operator's family: its header says the type. NULL: of no family */
    /*
     * The operator is a composition: node n becomes its core, and nodes are added around it, when a model is loaded;
     * nothing below is called then. Nodes may move. Shapes are not known yet, but those of inputs and constants. NULL:
     * it is itself.
     */
    enum qd_status (*expand)(struct qd_graph *graph, int n, struct qd_error *err);
    /* Attributes into node->params (in the graph's arena). NULL: no attributes. */
    enum qd_status (*parse)(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
    /*
     * Output shapes and dtypes from the inputs' (set through graph->values[...]; has_shape too). Inputs whose values
     * decide shapes (Reshape's second) have data here when they are constant; when not: QD_UNSUPPORTED.
     */
    enum qd_status (*infer)(struct qd_graph *graph, struct qd_node *node, struct qd_error *err);
    /* Bytes of scratch that run_f32 needs. NULL: none. */
    size_t (*scratch_f32)(const struct qd_graph *graph, const struct qd_node *node);
    /* in and out are in the order of node->inputs and outputs. A fused residual is added and the activation
     * applied by the caller, but where QD_OP_FINISHES_F32 says otherwise. */
    void (*run_f32)(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run);

    const struct qd_op_blocks *blocks; /* NULL: none */

    /* True when this node is a plain elementwise activation that others may absorb; fills *ret. NULL: never. */
    bool (*as_activation)(const struct qd_graph *graph, const struct qd_node *node, struct qd_activation *ret);
    /* Whether this operator can absorb the activation when quantized. NULL: none. */
    bool (*fuses)(const struct qd_node *node, const struct qd_activation *act);
    /* Multiply-accumulates of one image. NULL: 0. */
    int64_t (*macs)(const struct qd_graph *graph, const struct qd_node *node);

    /*
     * Where input i begins among the channels of output 0, where the output is its inputs of rank 4 side by side: the
     * plan then lets the inputs' makers write right there. -1: it is not. NULL: never.
     */
    int64_t (*joins_at)(const struct qd_graph *graph, const struct qd_node *node, int input);
    /*
     * Whether output 0, as bytes, is input 0 as it lies in memory: the plan then lets both be one. NULL: never.
     */
    bool (*keeps_bytes)(const struct qd_graph *graph, const struct qd_node *node);
    /*
     * The node as a convolution with constant weights (a fully connected layer is one of one output pixel); arrays that
     * had to be made live in the arena. QD_UNSUPPORTED: it is none. NULL: never.
     */
    enum qd_status (*layer)(const struct qd_graph *graph, const struct qd_node *node, struct qd_arena *arena,
                            struct qd_layer *ret, struct qd_error *err);
    /* Whether this node (its shapes, constants, attributes) can run quantized. NULL: never. */
    bool (*supports_q8)(const struct qd_graph *graph, const struct qd_node *node);
    /*
     * Whether input i may have a step per channel when quantized, or, i being QD_STEPS_OF_OUTPUT, output 0. NULL:
     * neither.
     */
    bool (*channel_steps)(const struct qd_graph *graph, const struct qd_node *node, int i);
    /*
     * Of which input's channel channel c of an output is a copy, or a blend of its pixels: its bytes then have that
     * one's step, whatever it is. False: of none alone. NULL: never.
     */
    bool (*channel_source)(const struct qd_graph *graph, const struct qd_node *node, int output, int64_t c,
                           struct qd_channel *ret);
    /* The padding that run_q8 reads; needs QD_OP_STEPS. NULL: none. */
    void (*padding_q8)(const struct qd_graph *graph, const struct qd_node *node, struct qd_q8_padding *ret);
    /* QD_UNSUPPORTED: not with these scales; the plan then runs the node in f32. */
    enum qd_status (*prepare_q8)(struct qd_q8_prepare *prepare, struct qd_error *err);
    void (*run_q8)(const struct qd_q8_run *run, int thread, int n_threads);
};

/* The operator of ONNX's own domain by its name, or NULL. */
const struct qd_op *qd_op_find(const char *name);
/* The same of any domain; NULL is ONNX's own. */
const struct qd_op *qd_op_find_in(const char *domain, const char *name);
/* The table, for listings: row i, or NULL past the end. */
const struct qd_op *qd_op_at(int i);

/*
 * What is common to all: an input's value, messages.
 */
static inline const struct qd_value *qd_node_input(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    return i < node->n_inputs && node->inputs[i] != QD_NO_VALUE ? &graph->values[node->inputs[i]] : NULL;
}

static inline struct qd_value *qd_node_output(const struct qd_graph *graph, const struct qd_node *node, int i)
{
    return i < node->n_outputs && node->outputs[i] != QD_NO_VALUE ? &graph->values[node->outputs[i]] : NULL;
}

/* Whether inputs and outputs of the node have to share one scale. */
static inline bool qd_node_shares_scale(const struct qd_node *node)
{
    return (node->op->flags & QD_OP_SAME_SCALE) && node->precision == QD_PRECISION_Q8;
}

/*
 * Whether output 0, as bytes, is input 0 by another name, wherever that lies and in whatever steps: a Requantize
 * between equal scales.
 */
static inline bool qd_node_renames(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct qd_value *in = qd_node_input(graph, node, 0), *out = qd_node_output(graph, node, 0);

    return node->op->keeps_bytes && (node->op->flags & QD_OP_STEPS) && in && in->rows == out->rows &&
           qd_shape_equal(&in->shape, &out->shape) && node->op->keeps_bytes(graph, node);
}

/* Whether they have one scale, also of what is no more than a name as its scales are now. */
static inline bool qd_node_ties_scales(const struct qd_graph *graph, const struct qd_node *node)
{
    return qd_node_shares_scale(node) || (node->precision == QD_PRECISION_Q8 && qd_node_renames(graph, node));
}

/* Sets an output's shape and dtype; QD_TOO_LARGE when the shape passes QD_MAX_ELEMENTS. An absent output is skipped. */
enum qd_status qd_op_set_output(struct qd_graph *graph, struct qd_node *node, int i, enum qd_dtype dtype,
                                const struct qd_shape *shape, struct qd_error *err);

/* The elements of a constant I64 (or I32) input as int64: at most limit of them into ret_values; *ret_n is their
 * number. */
enum qd_status qd_op_const_ints(const struct qd_graph *graph, const struct qd_node *node, int i, int limit,
                                int64_t *ret_values, int *ret_n, struct qd_error *err);

/* The one range [*ret_begin, *ret_end) of total units that belongs to this thread; ranges differ by at most one unit.
 */
static inline void qd_share(int64_t total, int thread, int n_threads, int64_t *ret_begin, int64_t *ret_end)
{
    int64_t base = total / n_threads, rest = total % n_threads;

    *ret_begin = thread * base + (thread < rest ? thread : rest);
    *ret_end = *ret_begin + base + (thread < rest);
}

/* Our own operators and those that passes and the plan must recognise. */
extern const struct qd_op qd_op_conv, qd_op_batch_normalization, qd_op_add, qd_op_mul, qd_op_pad, qd_op_normalize,
    qd_op_identity, qd_op_dropout, qd_op_gemm, qd_op_softmax, qd_op_clip, qd_op_div, qd_op_sub, qd_op_sigmoid,
    qd_op_silu, qd_op_hard_sigmoid, qd_op_hard_swish, qd_op_reshape, qd_op_slice, qd_op_gather, qd_op_transpose,
    qd_op_channel_shuffle, qd_op_repeat_channels, qd_op_tanh, qd_op_erf, qd_op_cast, qd_op_softplus, qd_op_gelu,
    qd_op_mish, qd_op_quantize_linear, qd_op_dequantize_linear, qd_op_ms_quantize_linear, qd_op_ms_dequantize_linear,
    qd_op_requantize, qd_op_linear, qd_op_mat_mul;

#endif
