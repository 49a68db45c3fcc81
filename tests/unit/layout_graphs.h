/* The networks of test_layout.c, and what the layout is expected to make of each. */
#ifndef QD_TESTS_UNIT_LAYOUT_GRAPHS_H
#define QD_TESTS_UNIT_LAYOUT_GRAPHS_H

#include "tests/unit/build_graph.h"

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

#endif
