/*
 * Einsum: sums of products over labelled dimensions. The definition is the loop over all labels; two operands whose
 * summed labels are all common are a batched product of matrices, around which the operands and the result are copied.
 */
#include <ctype.h>
#include <string.h>

#include "op/move.h"
#include "op/product.h"

#define MAX_TERMS 8
#define MAX_LABELS 24
#define MAX_STEPS 0x1p36 /* products of one run: a minute or so of the definition */
/* The dimensions of an ellipsis have these names, from the last one on. */
#define ELLIPSIS 256

struct labels {
    int n, names[MAX_LABELS];
};

/* By label: those of the output first, in its order, then those that are summed over. */
struct einsum_params {
    const char *equation; /* without spaces */
    int n_terms, n_labels, n_out;
    int names[MAX_LABELS];
    int64_t dims[MAX_LABELS];
    bool has[MAX_TERMS][MAX_LABELS];
    int64_t strides[MAX_TERMS][MAX_LABELS]; /* 0 where it is not the term's, or broadcast */
    bool is_product;
};

static enum qd_status parse(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct einsum_params *params = qd_arena_alloc(&graph->arena, sizeof(*params));
    const char *equation;
    char *copy;
    enum qd_status status = qd_node_attr_string(node, "equation", "", &equation, err);

    if (status != QD_OK)
        return status;
    copy = params ? qd_arena_strdup(&graph->arena, equation) : NULL;
    if (!copy)
        return qd_error_set(err, QD_NO_MEMORY, "no memory for attributes");
    node->params = params;
    params->equation = copy;
    for (; *equation; equation++)
        if (*equation != ' ')
            *copy++ = *equation;
    *copy = 0;
    return QD_OK;
}

static enum qd_status bad_equation(const struct einsum_params *params, const char *what, struct qd_error *err)
{
    return qd_error_set(err, QD_INVALID, "equation '%.80s': %s", params->equation, what);
}

/* One term, up to its end, for a tensor of n_dims; n_dims -1: an ellipsis has n_ellipsis dimensions. */
static enum qd_status read_term(const struct einsum_params *params, const char *text, const char *end, int n_dims,
                                int n_ellipsis, struct labels *ret, struct qd_error *err)
{
    int n_letters = 0, n_dots = 0;
    const char *dots = strstr(text, "...");

    for (const char *c = text; c < end; c++) {
        n_letters += isalpha((unsigned char)*c) != 0;
        n_dots += *c == '.';
        if (!isalpha((unsigned char)*c) && *c != '.')
            return bad_equation(params, "expected letters and ellipses", err);
    }
    if (n_dots != 0 && (n_dots != 3 || !dots || dots >= end))
        return bad_equation(params, "expected one ellipsis at most", err);
    if (n_dims >= 0)
        n_ellipsis = n_dims - n_letters;
    if (n_dims >= 0 && (n_ellipsis < 0 || (!n_dots && n_ellipsis > 0)))
        return bad_equation(params, "expected a letter per dimension of each input", err);
    if (n_letters + n_ellipsis > MAX_LABELS)
        return bad_equation(params, "too many labels", err);
    ret->n = 0;
    while (text < end) {
        if (*text != '.') {
            ret->names[ret->n++] = *text++;
            continue;
        }
        for (int i = n_ellipsis - 1; i >= 0; i--)
            ret->names[ret->n++] = ELLIPSIS + i;
        text += 3;
    }
    return QD_OK;
}

static int find_label(const struct einsum_params *params, int name)
{
    for (int l = 0; l < params->n_labels; l++)
        if (params->names[l] == name)
            return l;
    return -1;
}

/* The labels of one input: new ones are added, a dimension of 1 is broadcast. */
static enum qd_status add_term(struct einsum_params *params, int t, const struct labels *labels,
                               const struct qd_shape *shape, struct qd_error *err)
{
    int64_t strides[QD_MAX_DIMS];

    qd_shape_strides(shape, strides);
    for (int d = 0; d < labels->n; d++) {
        int l = find_label(params, labels->names[d]);
        int64_t dim = shape->dims[d];

        if (l < 0 && params->n_labels == MAX_LABELS)
            return bad_equation(params, "too many labels", err);
        if (l < 0) {
            l = params->n_labels++;
            params->names[l] = labels->names[d];
            params->dims[l] = dim;
        }
        if (dim != params->dims[l] && dim != 1 && params->dims[l] != 1)
            return qd_error_set(err, QD_INVALID, "equation '%.80s': input %d: dimension %d: expected %lld, found %lld",
                                params->equation, t, d, (long long)params->dims[l], (long long)dim);
        params->dims[l] = params->dims[l] == 1 ? dim : params->dims[l];
        params->has[t][l] = true;
        params->strides[t][l] += dim == 1 ? 0 : strides[d];
    }
    return QD_OK;
}

/* Without "->": the ellipsis, then the letters that stand once, by the alphabet. */
static void implicit_output(const struct einsum_params *params, int n_ellipsis, const int *uses, struct labels *ret)
{
    ret->n = 0;
    for (int i = n_ellipsis - 1; i >= 0; i--)
        ret->names[ret->n++] = ELLIPSIS + i;
    for (int name = 'A'; name <= 'z'; name++) {
        int l = find_label(params, name);

        if (l >= 0 && uses[name] == 1)
            ret->names[ret->n++] = name;
    }
}

static void swap_labels(struct einsum_params *params, int a, int b)
{
    int name = params->names[a];
    int64_t dim = params->dims[a];

    params->names[a] = params->names[b];
    params->names[b] = name;
    params->dims[a] = params->dims[b];
    params->dims[b] = dim;
    for (int t = 0; t < params->n_terms; t++) {
        int64_t stride = params->strides[t][a];
        bool has = params->has[t][a];

        params->strides[t][a] = params->strides[t][b];
        params->strides[t][b] = stride;
        params->has[t][a] = params->has[t][b];
        params->has[t][b] = has;
    }
}

static enum qd_status order_labels(struct einsum_params *params, const struct labels *out, struct qd_error *err)
{
    for (int i = 0; i < out->n; i++) {
        int l = find_label(params, out->names[i]);

        if (l < i)
            return bad_equation(params,
                                l < 0 ? "a label of the output is no input's" : "a label stands twice behind ->", err);
        swap_labels(params, i, l);
    }
    params->n_out = out->n;
    return QD_OK;
}

/* What a label is in a product of matrices. */
enum role { ROLE_BATCH, ROLE_M, ROLE_N, ROLE_K, N_ROLES };

static enum role role_of(const struct einsum_params *params, int l)
{
    if (l >= params->n_out)
        return ROLE_K;
    return !params->has[1][l] ? ROLE_M : !params->has[0][l] ? ROLE_N : ROLE_BATCH;
}

/* The product of the dimensions of a role, at most QD_MAX_ELEMENTS + 1. */
static int64_t size_of(const struct einsum_params *params, enum role role)
{
    int64_t size = 1;

    for (int l = 0; l < params->n_labels; l++)
        if (role_of(params, l) == role && (size *= params->dims[l]) > QD_MAX_ELEMENTS)
            return (int64_t)QD_MAX_ELEMENTS + 1;
    return size;
}

static bool find_product(const struct einsum_params *params)
{
    int64_t batch, m, n, k;

    if (params->n_terms != 2 || params->n_labels > QD_MAX_DIMS)
        return false;
    for (int l = params->n_out; l < params->n_labels; l++)
        if (!params->has[0][l] || !params->has[1][l])
            return false;
    batch = size_of(params, ROLE_BATCH);
    m = size_of(params, ROLE_M);
    n = size_of(params, ROLE_N);
    k = size_of(params, ROLE_K);
    if (batch < 1 || m < 1 || n < 1 || k < 1 || batch > QD_MAX_ELEMENTS || k > QD_MAX_ELEMENTS)
        return false;
    /* Where nothing is summed there is nothing to gain. */
    return k > 1 && m <= QD_MAX_ELEMENTS / batch / k && n <= QD_MAX_ELEMENTS / batch / k;
}

static enum qd_status infer(struct qd_graph *graph, struct qd_node *node, struct qd_error *err)
{
    struct einsum_params *params = node->params;
    const char *arrow = strstr(params->equation, "->"), *at = params->equation;
    const char *end = arrow ? arrow : at + strlen(at);
    int uses[128] = {0}, n_ellipsis = 0;
    struct labels labels;
    struct qd_shape out = {0};
    double steps = 1;
    enum qd_status status = QD_OK;

    *params = (struct einsum_params){.equation = params->equation, .n_terms = node->n_inputs};
    if (node->n_inputs > MAX_TERMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d inputs, found %d", MAX_TERMS, node->n_inputs);
    for (int t = 0; t < node->n_inputs && status == QD_OK; t++) {
        const struct qd_value *value = qd_node_input(graph, node, t);
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;

        if (!value || (comma == NULL) != (t == node->n_inputs - 1))
            return bad_equation(params, "expected a term for each input", err);
        status = qd_op_need_f32(graph, node, t, err);
        if (status == QD_OK)
            status = read_term(params, at, stop, value->shape.n_dims, 0, &labels, err);
        if (status == QD_OK)
            status = add_term(params, t, &labels, &value->shape, err);
        for (int i = 0; i < labels.n && status == QD_OK; i++) {
            if (labels.names[i] < ELLIPSIS)
                uses[labels.names[i]]++;
            else if (labels.names[i] - ELLIPSIS >= n_ellipsis)
                n_ellipsis = labels.names[i] - ELLIPSIS + 1;
        }
        at = comma ? comma + 1 : end;
    }
    if (status == QD_OK && arrow)
        status = read_term(params, arrow + 2, arrow + strlen(arrow), -1, n_ellipsis, &labels, err);
    else if (status == QD_OK)
        implicit_output(params, n_ellipsis, uses, &labels);
    if (status == QD_OK)
        status = order_labels(params, &labels, err);
    if (status != QD_OK)
        return status;
    for (int l = 0; l < params->n_labels; l++)
        steps *= (double)params->dims[l];
    if (steps > MAX_STEPS)
        return qd_error_set(err, QD_TOO_LARGE, "equation: expected at most %g products, found %g", MAX_STEPS, steps);
    if (params->n_out > QD_MAX_DIMS)
        return qd_error_set(err, QD_UNSUPPORTED, "expected at most %d dimensions, found %d", QD_MAX_DIMS,
                            params->n_out);
    out.n_dims = params->n_out;
    memcpy(out.dims, params->dims, (size_t)out.n_dims * sizeof(*out.dims));
    params->is_product = find_product(params);
    return qd_op_set_output(graph, node, 0, QD_F32, &out, err);
}

/* The next index over labels [begin, end); false past the last. */
static bool step(const struct einsum_params *params, int64_t *index, int begin, int end)
{
    for (int l = end - 1; l >= begin; l--) {
        if (++index[l] < params->dims[l])
            return true;
        index[l] = 0;
    }
    return false;
}

/* The sum of products over the labels that the output lacks, at one index of those that it has. */
static float sum_at(const struct einsum_params *params, const struct qd_view *in, int64_t *index)
{
    double sum = 0;

    for (int l = params->n_out; l < params->n_labels; l++)
        if (params->dims[l] == 0)
            return 0;
    do {
        double product = 1;

        for (int t = 0; t < params->n_terms; t++) {
            int64_t at = 0;

            for (int l = 0; l < params->n_labels; l++)
                at += index[l] * params->strides[t][l];
            product *= (double)((const float *)in[t].data)[at];
        }
        sum += product;
    } while (step(params, index, params->n_out, params->n_labels));
    return (float)sum;
}

/* A copy between a tensor's own order, which strides say, and the order of these roles. */
static void set_move(const struct einsum_params *params, const int64_t *strides, const enum role roles[3],
                     struct qd_move *ret)
{
    int64_t stride = 1;

    *ret = (struct qd_move){0};
    for (int r = 0; r < 3; r++) {
        for (int l = 0; l < params->n_labels; l++) {
            if (role_of(params, l) != roles[r])
                continue;
            ret->dims[ret->n_dims] = params->dims[l];
            ret->in_strides[ret->n_dims++] = strides[l];
        }
    }
    for (int d = ret->n_dims - 1; d >= 0; d--) {
        ret->out_strides[d] = stride;
        stride *= ret->dims[d];
    }
}

static size_t aligned(int64_t n)
{
    return ((size_t)n * sizeof(float) + 63) / 64 * 64;
}

static void run_product(const struct einsum_params *params, const struct qd_view *in, const struct qd_view *out,
                        const struct qd_f32_run *run)
{
    static const enum role orders[3][3] = {
        {ROLE_BATCH, ROLE_M, ROLE_K}, {ROLE_BATCH, ROLE_K, ROLE_N}, {ROLE_BATCH, ROLE_M, ROLE_N}};
    int64_t batch = size_of(params, ROLE_BATCH), m = size_of(params, ROLE_M), n = size_of(params, ROLE_N);
    int64_t k = size_of(params, ROLE_K), strides[MAX_LABELS] = {0};
    float *a = run->scratch, *b = (float *)(void *)((uint8_t *)(void *)a + aligned(batch * m * k));
    float *c = (float *)(void *)((uint8_t *)(void *)b + aligned(batch * k * n));
    void *scratch = (uint8_t *)(void *)c + aligned(batch * m * n);
    struct qd_move move, back;

    set_move(params, params->strides[0], orders[0], &move);
    qd_move_run(&move, sizeof(float), in[0].data, a, 0, move.dims[0]);
    set_move(params, params->strides[1], orders[1], &move);
    qd_move_run(&move, sizeof(float), in[1].data, b, 0, move.dims[0]);
    for (int64_t i = 0; i < batch; i++)
        qd_product_f32(run->kernels->f32, a + i * m * k, b + i * k * n, m, n, k, c + i * m * n, scratch);
    qd_shape_strides(out[0].shape, strides);
    set_move(params, strides, orders[2], &move);
    back = move;
    memcpy(back.in_strides, move.out_strides, sizeof(back.in_strides));
    memcpy(back.out_strides, move.in_strides, sizeof(back.out_strides));
    qd_move_run(&back, sizeof(float), c, out[0].data, 0, back.dims[0]);
}

static void run_f32(const struct qd_node *node, const struct qd_view *in, const struct qd_view *out,
                    const struct qd_f32_run *run)
{
    const struct einsum_params *params = node->params;
    int64_t index[MAX_LABELS] = {0}, count = qd_shape_count(out[0].shape);

    if (params->is_product) {
        run_product(params, in, out, run);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        ((float *)out[0].data)[i] = sum_at(params, in, index);
        step(params, index, 0, params->n_out);
    }
}

static size_t scratch_f32(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct einsum_params *params = node->params;
    int64_t batch, m, n, k;

    (void)graph;
    if (!params->is_product)
        return 1;
    batch = size_of(params, ROLE_BATCH);
    m = size_of(params, ROLE_M);
    n = size_of(params, ROLE_N);
    k = size_of(params, ROLE_K);
    return aligned(batch * m * k) + aligned(batch * k * n) + aligned(batch * m * n) + qd_product_scratch(n, k);
}

static int64_t macs(const struct qd_graph *graph, const struct qd_node *node)
{
    const struct einsum_params *params = node->params;
    int64_t count = qd_shape_count(&graph->values[node->outputs[0]].shape);

    for (int l = params->n_out; l < params->n_labels && count <= INT64_MAX / QD_MAX_ELEMENTS; l++)
        count *= params->dims[l];
    return count;
}

const struct qd_op qd_op_einsum = {
    .name = "Einsum",
    .limits = "floats; at most 8 inputs and 24 labels",
    .min_opset = 12,
    .max_opset = 22,
    .min_inputs = 1,
    .max_inputs = -1,
    .n_outputs = 1,
    .parse = parse,
    .infer = infer,
    .scratch_f32 = scratch_f32,
    .run_f32 = run_f32,
    .macs = macs,
};
