/*
 * How quantized values lie in a frame (padding, concatenations made in place). Each graph runs with every tier, 1 to 4
 * threads, 1 to 3 images, memory shared and not, and is held against its operators run one by one in memory of their
 * own, which no layout has a hand in. Step by step, nothing is written but what the step makes and its padding.
 */
#include <stdio.h>
#include <string.h>

#include "engine/internal.h"
#include "op/conv.h"
#include "op/q8.h"
#include "pass/pass.h"
#include "tests/unit/build_graph.h"

#define MAX_BATCH 3
#define MAX_THREADS 4

static const int64_t none[] = {0, 0, 0, 0}, same[] = {1, 1, 1, 1}, uneven[] = {0, 1, 1, 2}, wide[] = {2, 2, 2, 2},
                     tensorflow[] = {0, 0, 1, 1}, left[] = {2, 1, 0, 0}, skewed[] = {0, 2, 2, 0},
                     turned[] = {2, 0, 0, 2};

/* What the layout is expected to do: concatenations made in place, padded copies, nodes that stay in float. */
struct layout {
    const char *name;
    void (*build)(void);
    int n_joined, n_padded, n_f32;
    double steps; /* of the output that int8 may be away from float */
};

static int conv_of(const char *name, int x, int64_t n, int64_t kernel, const int64_t *pads, int64_t stride,
                   int64_t group)
{
    const int64_t strides[] = {stride, stride};
    struct qd_attr attrs[] = {ints("pads", 4, pads), ints("strides", 2, strides), one("group", group)};
    int64_t k = graph->values[x].shape.dims[1] / group * kernel * kernel;
    char text[32];
    int inputs[2];

    snprintf(text, sizeof(text), "%s.w", name);
    inputs[0] = x;
    inputs[1] = constant(text, (struct qd_shape){4, {n, k / kernel / kernel, kernel, kernel}}, 4 / sqrtf((float)k));
    return node("Conv", name, inputs, 2, attrs, 3);
}

static int conv(const char *name, int x, int64_t n, int64_t kernel, const int64_t *pads)
{
    return conv_of(name, x, n, kernel, pads, 1, 1);
}

static int depthwise(const char *name, int x, int64_t kernel, const int64_t *pads, int64_t stride)
{
    int64_t c = graph->values[x].shape.dims[1];

    return conv_of(name, x, c, kernel, pads, stride, c);
}

static int concat(const char *name, int n, const int *parts, int64_t axis)
{
    struct qd_attr attr = one("axis", axis);

    return node("Concat", name, parts, n, &attr, 1);
}

static int pool(const char *name, int x)
{
    const int64_t three[] = {3, 3};
    struct qd_attr attrs[] = {ints("kernel_shape", 2, three), ints("pads", 4, same)};

    return node("MaxPool", name, &x, 1, attrs, 2);
}

static int add(const char *name, int a, int b)
{
    return node("Add", name, (int[]){a, b}, 2, NULL, 0);
}

static int features(int64_t c)
{
    begin(shape4(3, 8, 9));
    return conv("features", graph->inputs[0], c, 1, none);
}

/* The network's end: int8 values in front of it are read as int8. */
static void finish(int x)
{
    int inputs[2];

    inputs[0] = node1("Flatten", "flat", node1("GlobalAveragePool", "mean", x));
    inputs[1] = constant("classes", (struct qd_shape){2, {graph->values[x].shape.dims[1], 5}}, 1);
    end(node("Gemm", "y", inputs, 2, NULL, 0));
}

static void build_inception(void)
{
    int x = features(7), parts[3];

    parts[0] = pool("pool", x);
    parts[1] = conv("part", x, 5, 3, same);
    parts[2] = add("sum", x, parts[0]);
    finish(conv("last", concat("all", 3, parts, 1), 6, 3, uneven));
}

/* Each concatenation begins with the one before it, named part by part as torchvision does. */
static void build_dense(void)
{
    int parts[4], all;

    parts[0] = features(7);
    parts[1] = conv("f1", parts[0], 4, 3, same);
    parts[2] = conv("f2", concat("c1", 2, parts, 1), 4, 3, skewed);
    parts[3] = conv("f3", concat("c2", 3, parts, 1), 4, 1, none);
    all = concat("c3", 4, parts, 1);
    finish(conv("last", all, 6, 3, left));
}

/* The same with each concatenation an input of the next. */
static void build_nested(void)
{
    int x = features(7), c1, c2;

    c1 = concat("c1", 2, (int[]){x, conv("f1", x, 4, 3, same)}, 1);
    c2 = concat("c2", 2, (int[]){c1, conv("f2", c1, 4, 3, skewed)}, 1);
    finish(conv("last", concat("c3", 2, (int[]){c2, conv("f3", c2, 4, 1, none)}, 1), 6, 3, same));
}

/* A prefix that an operator reads which wants it contiguous: it cannot be a view of the longer one. */
static void build_dense_contiguous(void)
{
    int parts[3], c1, flat;

    parts[0] = features(7);
    parts[1] = conv("f1", parts[0], 4, 3, same);
    c1 = concat("c1", 2, parts, 1);
    parts[2] = conv("f2", c1, 4, 3, same);
    flat = node1("Identity", "copy", c1);
    finish(add("sum", conv("last", concat("c2", 3, parts, 1), 11, 3, same), conv("other", flat, 11, 3, same)));
}

/* The concatenation itself, its parts free, read by one that wants it contiguous. */
static void build_contiguous_concat(void)
{
    int x = features(7), all = concat("all", 2, (int[]){x, conv("f1", x, 4, 3, same)}, 1);
    int padded = conv("padded", all, 6, 3, uneven);

    finish(add("sum", padded, conv("other", node1("Identity", "copy", all), 6, 3, uneven)));
}

static void build_padded_copy(void)
{
    int x = features(7), copy = node1("Identity", "copy", x);

    finish(add("sum", conv("last", x, 6, 3, uneven), conv("other", copy, 6, 3, uneven)));
}

static void build_two_paddings(void)
{
    int x = features(20), a = conv("a", x, 6, 5, wide), b = conv("b", x, 6, 3, same), c = conv("c", x, 6, 1, none);

    finish(add("sum2", add("sum", a, b), add("sum3", c, conv("d", depthwise("deep", x, 3, same, 1), 6, 1, none))));
}

static void build_one_sided(void)
{
    int x = features(20), a = conv_of("a", x, 6, 3, tensorflow, 2, 1), b = depthwise("b", x, 3, tensorflow, 2);

    finish(concat("all", 3, (int[]){conv_of("c", x, 6, 3, left, 2, 1), a, b}, 1));
}

/* A padded part beside others, strided and in groups, and as a residual. */
static void build_parts_read(void)
{
    int x = features(8), a = conv("a", x, 6, 3, same), b = conv("b", x, 8, 3, same), all, deep, last;
    struct qd_node *made;

    all = concat("all", 3, (int[]){a, b, x}, 1);
    deep = conv_of("groups", all, 22, 3, uneven, 2, 2);
    last = conv("last", b, 6, 1, none);
    made = &graph->nodes[graph->n_nodes - 1];
    ck_assert_ok(qd_graph_set_input(graph, made, 3, a, &err), &err);
    made->residual = 3;
    made->act = (struct qd_activation){.kind = QD_ACT_CLIP, .min = 0, .max = 1000};
    finish(concat("ends", 2, (int[]){conv_of("d", last, 4, 3, tensorflow, 2, 1), conv("e", deep, 4, 3, left)}, 1));
}

/* Split's halves: one is a part, the other goes through a branch (ShuffleNet). Each reader of a part gets its steps. */
static void build_split(void)
{
    struct qd_attr axis = one("axis", 1);
    int x = features(12), halves[2], sizes, branch, all, gate;
    const int64_t six[] = {6, 6};
    struct qd_node *made;

    sizes = integers("sizes", 2, six);
    for (int i = 0; i < 2; i++)
        ck_assert_ok(qd_graph_add_value(graph, i ? "right" : "left", &halves[i], &err), &err);
    ck_assert_ok(
        qd_graph_add_node(graph, "split", "Split", qd_op_find("Split"), (int[]){x, sizes}, 2, halves, 2, &made, &err),
        &err);
    made->opset = 13;
    made->attrs = &axis;
    made->n_attrs = 1;
    ck_assert_ok(made->op->parse(graph, made, &err), &err);
    ck_assert_ok(made->op->infer(graph, made, &err), &err);
    branch = depthwise("deep", node1("Relu", "relu", halves[1]), 3, same, 1);
    all = concat("all", 2, (int[]){halves[0], branch}, 1);
    gate = node1("Sigmoid", "gate", node1("GlobalAveragePool", "squeeze", all));
    finish(conv("last", node("Mul", "scaled", (int[]){all, gate}, 2, NULL, 0), 6, 3, same));
}

/* Twice the same part, and a join of rows: copies. */
static void build_not_joined(void)
{
    int x = features(7), twice = concat("twice", 2, (int[]){x, x}, 1);

    finish(conv("last", concat("rows", 2, (int[]){twice, conv("a", x, 14, 3, same)}, 2), 6, 3, uneven));
}

/* Two orders of the same parts: only one of them can be in place. */
static void build_two_orders(void)
{
    int x = features(7), a = conv("a", x, 5, 3, same), b = pool("b", x);
    int first = concat("ab", 2, (int[]){a, b}, 1), second = concat("ba", 2, (int[]){b, a}, 1);

    finish(add("sum", conv("c", first, 6, 3, skewed), conv("d", second, 6, 3, same)));
}

/* A part whose maker or reader is float. */
static void build_float_part(void)
{
    int x = features(7), a = conv("a", x, 5, 3, same);

    graph->nodes[graph->n_nodes - 1].precision = QD_PRECISION_F32;
    a = concat("all", 2, (int[]){x, a}, 1);
    a = concat("more", 2, (int[]){a, conv("b", a, 3, 3, same)}, 1);
    x = conv("c", a, 6, 3, skewed);
    graph->nodes[graph->n_nodes - 1].precision = QD_PRECISION_F32;
    finish(add("sum", x, conv("d", a, 6, 3, turned)));
}

/* Mean and deviation folded into two first convolutions: outside the picture lies the byte of the mean. */
static void build_preprocessing(void)
{
    static const float scale[] = {0.02f, 0.017f, 0.018f}, bias[] = {-2.1f, -2.04f, -1.8f};
    int x;

    begin(shape4(3, 8, 9));
    x = graph->inputs[0];
    finish(add("sum", conv("first", x, 6, 3, same), conv("second", x, 6, 5, wide)));
    ck_assert_ok(qd_pass_insert_normalize(graph, scale, bias, 3, &err), &err);
    ck_assert_ok(qd_passes_run(graph, &err), &err);
    for (int n = 0; n < graph->n_nodes; n++)
        if (graph->nodes[n].op == &qd_op_conv)
            ck_assert_ptr_nonnull(((const struct qd_conv_attrs *)graph->nodes[n].params)->pad_value);
}

/* Two readers that disagree on what lies outside: the second one is float. */
static void build_two_values(void)
{
    static const float values[] = {100, 110, 120};
    int x, a;

    begin(shape4(3, 8, 9));
    x = graph->inputs[0];
    a = conv("first", x, 6, 3, same);
    ((struct qd_conv_attrs *)graph->nodes[0].params)->pad_value = values;
    finish(add("sum", a, conv("second", x, 6, 3, skewed)));
}

/* Rank 4 with a first dimension that is no batch, by Transpose and by Reshape: float. */
static void build_many_planes(void)
{
    const int64_t perm[] = {1, 0, 2, 3}, shape[] = {7, 2, 8, 9}, back[] = {1, 14, 8, 9};
    struct qd_attr attr = ints("perm", 4, perm);
    int x = features(7), inputs[2];

    x = node("Transpose", "moved", &x, 1, &attr, 1);
    x = conv("a", x, 2, 3, same);
    inputs[0] = node1("Flatten", "line", node1("Relu", "relu", x));
    inputs[1] = integers("shape", 4, shape);
    inputs[0] = node("Reshape", "planes", inputs, 2, NULL, 0);
    inputs[0] = conv("b", inputs[0], 2, 3, skewed);
    inputs[1] = integers("back", 4, back);
    finish(conv("last", node("Reshape", "picture", inputs, 2, NULL, 0), 6, 3, same));
}

static int requantize(const char *name, int x)
{
    return node1("quantd.Requantize", name, x);
}

/* Names of rows that are themselves their input's bytes, a picture of one pixel. */
static void build_named_rows(void)
{
    int x = features(7), parts[2], inputs[2];
    struct qd_attr axis = one("axis", 1);

    parts[0] = requantize("a.rescaled", node1("Flatten", "a", node1("GlobalAveragePool", "mean", x)));
    parts[1] = requantize("b.rescaled", node1("Flatten", "b", node1("GlobalMaxPool", "most", x)));
    inputs[0] = node("Concat", "all", parts, 2, &axis, 1);
    inputs[1] = constant("classes", (struct qd_shape){2, {14, 5}}, 1);
    end(node("Gemm", "y", inputs, 2, NULL, 0));
}

/* A name of a picture that is the bytes of rows, in a concatenation that is no join of channels. */
static void build_named_picture(void)
{
    const int64_t to_rows[] = {0, 2, 3, 1}, to_picture[] = {0, 3, 1, 2};
    struct qd_attr perms[] = {ints("perm", 4, to_rows), ints("perm", 4, to_picture)};
    int x = features(7), y = node("Transpose", "rows", &x, 1, &perms[0], 1), parts[2];

    graph->values[y].rows = true;
    y = node1("Relu", "relu", y);
    graph->values[y].rows = true;
    y = node("Transpose", "picture", &y, 1, &perms[1], 1);
    parts[0] = requantize("picture.rescaled", y);
    parts[1] = requantize("pool.rescaled", pool("pool", x));
    finish(conv("last", concat("all", 2, parts, 2), 6, 3, same));
}

static const struct layout layouts[] = {
    {"inception", build_inception, 1, 0, 0, 8},
    {"dense", build_dense, 3, 0, 0, 8},
    {"nested", build_nested, 3, 0, 0, 8},
    {"dense, a prefix contiguous", build_dense_contiguous, 1, 2, 0, 8},
    {"a contiguous concat", build_contiguous_concat, 1, 3, 0, 8},
    {"padded copy", build_padded_copy, 0, 2, 0, 8},
    {"two paddings", build_two_paddings, 0, 0, 0, 8},
    {"one-sided", build_one_sided, 1, 0, 0, 8},
    {"parts read", build_parts_read, 2, 0, 0, 8},
    {"split", build_split, 1, 0, 0, 8},
    {"not joined", build_not_joined, 0, 0, 0, 8},
    {"two orders", build_two_orders, 1, 0, 0, 8},
    {"float part", build_float_part, 1, 0, 2, 8},
    {"preprocessing", build_preprocessing, 0, 1, 0, 8},
    {"two values", build_two_values, 0, 1, 1, 8},
    {"many planes", build_many_planes, 0, 1, 7, 8},
    {"named rows", build_named_rows, 2, 0, 0, 8},
    {"named picture", build_named_picture, 2, 0, 0, 8},
};

static size_t bytes_of(int value)
{
    return (size_t)qd_shape_count(&graph->values[value].shape);
}

static bool is_picture(int value)
{
    return qd_value_is_picture(&graph->values[value]);
}

static struct qd_steps tight_steps(int value)
{
    const int64_t *dims = graph->values[value].shape.dims;

    if (!is_picture(value))
        return (struct qd_steps){1, (ptrdiff_t)bytes_of(value), (ptrdiff_t)bytes_of(value)};
    return (struct qd_steps){dims[1], dims[3] * dims[1], (ptrdiff_t)bytes_of(value)};
}

static void fill_input(struct qd_frame *frame, int image)
{
    size_t size = bytes_of(graph->inputs[0]);

    for (size_t j = 0; j < size; j++)
        qd_frame_input(frame, image)[j] = (uint8_t)(j * 31 + (j * j) % 17 * 11 + (size_t)image * 77);
}

/* One image's bytes with padding around, on the heap; *ret_pixel is where it begins, *steps how it lies. */
static uint8_t *with_padding(int value, const uint8_t *in, const struct qd_q8_padding *padding, struct qd_steps *steps,
                             const uint8_t **ret_pixel)
{
    const int64_t *dims = graph->values[value].shape.dims;
    int64_t c = dims[1], h = dims[2], w = dims[3], row = w + padding->left + padding->right;
    size_t size = (size_t)((h + padding->top + padding->bottom) * row * c);
    uint8_t *out = malloc(size + QD_KERNEL_SLACK);

    for (size_t i = 0; i < size; i++)
        out[i] = qd_q8_byte(padding->value ? padding->value[i % (size_t)c] : 0, qd_q8_of(graph, value));
    memset(out + size, 0x5a, QD_KERNEL_SLACK);
    for (int64_t y = 0; y < h; y++)
        memcpy(out + ((y + padding->top) * row + padding->left) * c, in + y * w * c, (size_t)(w * c));
    *steps = (struct qd_steps){c, row * c, (ptrdiff_t)size};
    *ret_pixel = out + (padding->top * row + padding->left) * c;
    return out;
}

/* The node alone: each input a copy of its own on the heap, where a sanitizer sees what is read past its end. */
static void run_alone(const struct qd_node *node, const struct qd_kernels *kernels, uint8_t *const *values)
{
    struct qd_arena arena = {0};
    struct qd_steps in_steps[8] = {{0}}, out_steps[4] = {{0}};
    const uint8_t *inputs[8] = {NULL};
    uint8_t *copies[8] = {NULL};
    void *outputs[4] = {NULL};
    size_t in_pitch[8], out_pitch[4];
    struct qd_q8_prepare prepare = {.graph = graph,
                                    .node = node,
                                    .kernels = kernels,
                                    .in_steps = in_steps,
                                    .out_steps = out_steps,
                                    .arena = &arena};
    struct qd_q8_run run = {
        .inputs = inputs, .input_pitch = in_pitch, .outputs = outputs, .output_pitch = out_pitch, .n_images = 1};

    for (int i = 0; i < node->n_inputs; i++) {
        struct qd_q8_padding padding = {0};
        int v = node->inputs[i];

        if (v == QD_NO_VALUE || graph->values[v].data)
            continue;
        if (i == 0 && node->op->padding_q8)
            node->op->padding_q8(graph, node, &padding);
        if (is_picture(v)) {
            copies[i] = with_padding(v, values[v], &padding, &in_steps[i], &inputs[i]);
        } else {
            inputs[i] = copies[i] = malloc(bytes_of(v) + QD_KERNEL_SLACK);
            memcpy(copies[i], values[v], bytes_of(v));
            memset(copies[i] + bytes_of(v), 0x5a, QD_KERNEL_SLACK);
            in_steps[i] = tight_steps(v);
        }
        in_pitch[i] = (size_t)in_steps[i].image;
    }
    for (int i = 0; i < node->n_outputs; i++) {
        outputs[i] = values[node->outputs[i]];
        out_steps[i] = tight_steps(node->outputs[i]);
        out_pitch[i] = (size_t)out_steps[i].image;
    }
    ck_assert_ok(node->op->prepare_q8(&prepare, &err), &err);
    run.prepared = prepare.prepared;
    run.scratch = qd_alloc(prepare.scratch_size);
    node->op->run_q8(&run, 0, 1);
    qd_free(run.scratch);
    for (int i = 0; i < node->n_inputs; i++)
        free(copies[i]);
    qd_arena_done(&arena);
}

static bool runs_q8(const struct qd_plan *plan, const struct qd_node *node)
{
    for (int s = 0; s < plan->n_steps; s++)
        if (plan->steps[s].node == (int)(node - graph->nodes))
            return plan->steps[s].kind == QD_STEP_Q8;
    return plan->joined[node - graph->nodes];
}

/* Every int8 value of one image, against its operator alone on what came before. */
static void check_values(const char *name, const struct qd_plan *plan, const struct qd_frame *frame, int image,
                         const struct qd_kernels *kernels)
{
    uint8_t **values = qd_alloc_array((size_t)graph->n_values, sizeof(*values));

    for (int v = 0; v < graph->n_values; v++) {
        if (graph->values[v].data)
            continue;
        values[v] = malloc(bytes_of(v));
        memset(values[v], 0, bytes_of(v));
        if (graph->values[v].producer < 0 || !runs_q8(plan, &graph->nodes[graph->values[v].producer]))
            qd_frame_copy_q8(frame, v, image, values[v]);
    }
    for (int n = 0; n < graph->n_nodes; n++) {
        const struct qd_node *node = &graph->nodes[n];

        if (!runs_q8(plan, node))
            continue;
        run_alone(node, kernels, values);
        for (int i = 0; i < node->n_outputs; i++) {
            size_t size = bytes_of(node->outputs[i]);
            uint8_t *found = malloc(size);

            if (qd_frame_copy_q8(frame, node->outputs[i], image, found))
                for (size_t j = 0; j < size; j++)
                    if (found[j] != values[node->outputs[i]][j])
                        ck_abort_msg("%s, %s, image %d: byte %zu of '%s' is %d in the plan, %d alone", name,
                                     kernels->name, image, j, graph->values[node->outputs[i]].name, found[j],
                                     values[node->outputs[i]][j]);
            free(found);
        }
    }
    for (int v = 0; v < graph->n_values; v++)
        free(values[v]);
    qd_free(values);
}

enum { MARK_PIXELS = 1, MARK_PADDING = 2 };

static void mark_place(const struct qd_place *place, int n_images, uint8_t mark, uint8_t *marks)
{
    for (int image = 0; image < n_images; image++) {
        uint8_t *first = marks + place->offset + place->at + image * place->steps.image;

        for (int64_t y = 0; y < place->h; y++)
            for (int64_t x = 0; x < place->w; x++)
                memset(first + y * place->steps.y + x * place->steps.x, mark, (size_t)place->c);
    }
}

/* What a step may write: the padding of a place is all of it but the pixels. */
static void mark_step(const struct qd_plan *plan, int s, int n_images, uint8_t *marks)
{
    static const enum qd_form forms[] = {
        [QD_STEP_Q8] = QD_FORM_Q8,          [QD_STEP_F32] = QD_FORM_F32,    [QD_STEP_QUANTIZE] = QD_FORM_Q8,
        [QD_STEP_DEQUANTIZE] = QD_FORM_F32, [QD_STEP_PIXELS] = QD_FORM_F32, [QD_STEP_PAD] = QD_FORM_PADDED};
    const struct qd_step *step = &plan->steps[s];

    memset(marks, 0, plan->slab_size);
    for (int i = 0; i < step->n_to_pad; i++) {
        memset(marks + step->to_pad[i]->offset, MARK_PADDING, (size_t)(step->to_pad[i]->steps.image * n_images));
        mark_place(step->to_pad[i], n_images, 0, marks);
    }
    for (int i = 0; i < (step->node < 0 ? 1 : graph->nodes[step->node].n_outputs); i++) {
        int v = step->node < 0 ? step->value : graph->nodes[step->node].outputs[i];
        enum qd_form form = step->output_f32 ? QD_FORM_F32 : forms[step->kind];
        const struct qd_place *place = &plan->places[form][v];

        if (form != QD_FORM_F32) {
            mark_place(place, n_images, MARK_PIXELS, marks);
            continue;
        }
        for (int image = 0; image < n_images; image++)
            memset(marks + place->offset + image * place->steps.image, MARK_PIXELS, bytes_of(v) * sizeof(float));
    }
}

/* Runs on memory full of `pattern`: a byte that a step wrote outside of what it makes shows. */
static void run_watched(const char *name, const struct qd_plan *plan, struct qd_frame *frame, int n_images,
                        int n_threads, uint8_t pattern)
{
    const struct qd_place *input = &plan->places[QD_FORM_Q8][graph->inputs[0]];
    uint8_t *slab = qd_frame_input(frame, 0) - input->at - input->offset;
    uint8_t *before = malloc(plan->slab_size), *marks = malloc(plan->slab_size);

    memset(slab, pattern, plan->slab_size);
    for (int image = 0; image < n_images; image++)
        fill_input(frame, image);
    for (int s = 0; s < plan->n_steps; s++) {
        struct qd_step_info info;

        qd_plan_step(plan, s, &info);
        memcpy(before, slab, plan->slab_size);
        mark_step(plan, s, n_images, marks);
        qd_frame_run_step(frame, s, n_images, n_threads);
        for (size_t i = 0; i < plan->slab_size; i++)
            if (before[i] != slab[i] && !marks[i])
                ck_abort_msg("%s, %s, %d images, %d threads: step %d (%s) wrote byte %zu, which is not its own", name,
                             plan->options.kernels->name, n_images, n_threads, s, info.name, i);
    }
    free(before);
    free(marks);
}

static void check_shape_of_plan(const struct layout *layout, const struct qd_plan *plan)
{
    int n_joined = 0, n_padded = 0, n_f32 = 0;

    for (int n = 0; n < graph->n_nodes; n++)
        n_joined += plan->joined[n] && !plan->places[QD_FORM_Q8][graph->nodes[n].outputs[0]].renamed;
    for (int s = 0; s < plan->n_steps; s++) {
        n_padded += plan->steps[s].kind == QD_STEP_PAD;
        n_f32 += plan->steps[s].kind == QD_STEP_F32;
    }
    ck_assert_msg(n_joined == layout->n_joined && n_padded == layout->n_padded && n_f32 == layout->n_f32,
                  "%s: expected %d joined, %d padded copies, %d in float; found %d, %d, %d", layout->name,
                  layout->n_joined, layout->n_padded, layout->n_f32, n_joined, n_padded, n_f32);
}

static struct qd_frame *new_frame(enum qd_precision precision, const struct qd_kernels *kernels, int n_threads,
                                  int max_batch, bool keep_all, struct qd_plan **ret_plan)
{
    struct qd_plan_options options = {precision, max_batch, kernels, keep_all, false};
    struct qd_frame *frame;

    ck_assert_ok(qd_plan_new(graph, &options, ret_plan, &err), &err);
    ck_assert_ok(qd_frame_new(*ret_plan, n_threads, &frame, &err), &err);
    for (int image = 0; image < max_batch; image++)
        fill_input(frame, image);
    return frame;
}

static void check_outputs(const struct layout *layout, const struct qd_frame *frame, int n_images, size_t size,
                          const float *want, const char *how)
{
    for (int image = 0; image < n_images; image++)
        ck_assert_msg(memcmp(qd_frame_output(frame, 0, image), want + (size_t)image * size, size * sizeof(float)) == 0,
                      "%s, %s: image %d of %d has other bytes", layout->name, how, image, n_images);
}

/*
 * One plan: each number of images and threads, on clean memory and on two kinds of dirt. Steps one by one are watched
 * where none of them runs depth first: with one image, and with all values kept.
 */
static void check_plan(const struct layout *layout, const struct qd_kernels *kernels, int max_batch, bool keep_all,
                       size_t size, const float *want)
{
    struct qd_plan *plan;
    struct qd_frame *frame = new_frame(QD_PRECISION_Q8, kernels, MAX_THREADS, max_batch, keep_all, &plan);
    char how[64];

    check_shape_of_plan(layout, plan);
    for (int n = 1; n <= max_batch; n++) {
        for (int n_threads = 1; n_threads <= (n < MAX_BATCH ? 2 : MAX_THREADS); n_threads++) {
            snprintf(how, sizeof(how), "%s, %d threads%s", kernels->name, n_threads, keep_all ? ", all kept" : "");
            for (int image = 0; image < n; image++)
                fill_input(frame, image); /* its memory is shared */
            qd_frame_run(frame, n, n_threads);
            check_outputs(layout, frame, n, size, want, how);
        }
        if (keep_all)
            check_values(layout->name, plan, frame, n - 1, kernels);
        for (int dirt = 0; dirt < 2 && !plan->depth_steps; dirt++) {
            run_watched(layout->name, plan, frame, n, n == MAX_BATCH ? 2 : 1, dirt ? 0xff : 0);
            check_outputs(layout, frame, n, size, want, dirt ? "memory of ones" : "memory of zeros");
        }
    }
    qd_frame_free(frame);
    qd_plan_free(plan);
}

static void check_layout(const struct layout *layout)
{
    struct qd_plan *plan, *f32_plan;
    struct qd_frame *frame, *f32;
    size_t size;
    float *want;
    int y;

    layout->build();
    y = graph->outputs[0];
    size = bytes_of(y);
    f32 = new_frame(QD_PRECISION_F32, qd_kernels_of(QD_ISA_SCALAR), 1, MAX_BATCH, true, &f32_plan);
    qd_frame_run(f32, MAX_BATCH, 1);
    scales_from(f32, MAX_BATCH);
    frame = new_frame(QD_PRECISION_Q8, qd_kernels_of(QD_ISA_SCALAR), 1, MAX_BATCH, true, &plan);
    qd_frame_run(frame, MAX_BATCH, 1);
    want = qd_alloc_array(MAX_BATCH * size, sizeof(float));
    for (int image = 0; image < MAX_BATCH; image++) {
        memcpy(want + (size_t)image * size, qd_frame_output(frame, 0, image), size * sizeof(float));
        for (size_t i = 0; i < size; i++) {
            double expected = (double)qd_frame_output(f32, 0, image)[i], found = (double)want[(size_t)image * size + i];

            ck_assert_msg(fabs(expected - found) <= layout->steps * (double)graph->values[y].q.scale,
                          "%s, image %d, element %zu: expected %g, found %g, a step is %g", layout->name, image, i,
                          expected, found, (double)graph->values[y].q.scale);
        }
    }
    for (int isa = 0; isa < QD_N_ISA; isa++) {
        const struct qd_kernels *kernels = qd_kernels_of((enum qd_isa)isa);

        if (!kernels)
            continue;
        check_plan(layout, kernels, 1, false, size, want);
        check_plan(layout, kernels, MAX_BATCH, false, size, want);
        check_plan(layout, kernels, MAX_BATCH, true, size, want);
    }
    qd_frame_free(frame);
    qd_plan_free(plan);
    qd_frame_free(f32);
    qd_plan_free(f32_plan);
    qd_free(want);
    qd_graph_free(graph);
}

START_TEST(test_layouts)
{
    check_layout(&layouts[_i]);
}
END_TEST

QD_UNIT_LOOP_MAIN("layout", test_layouts, QD_ARRAY_SIZE(layouts))
