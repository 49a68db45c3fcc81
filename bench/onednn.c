/*
 * quantd against oneDNN 2.x in one process, in turn, on random data: the whole network against the sum of its
 * convolutions and fully connected layers in oneDNN (each with its own weights, activations in rotating buffers), or
 * with --layers each layer alone. oneDNN is held to the tier that quantd runs.
 */
#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "op/conv.h"
#include "op/op.h"
#include "op/ops.h"
#include "util/clock.h"

#define N_BUFFERS 3 /* of activations, one after the other */

static const struct qd_cli_flag flags[] = {
    {"--layers", NULL, "each layer alone instead of the whole network", QD_FLAG_SWITCH,
     offsetof(struct qd_cli_options, layers)},
    {"--json", NULL, "print one JSON object", QD_FLAG_SWITCH, offsetof(struct qd_cli_options, json)},
    {"--batch", "N", "images per run (default 1)", QD_FLAG_INT, offsetof(struct qd_cli_options, batch)},
    {"--threads", "N", "threads of both (default: as OpenMP says)", QD_FLAG_INT,
     offsetof(struct qd_cli_options, threads)},
    {"--isa", "NAME", "quantd's tier, oneDNN's follows; default: the best of", QD_FLAG_ISA,
     offsetof(struct qd_cli_options, isa)},
    {"--repeats", "N", "timed runs of each (default 30)", QD_FLAG_INT, offsetof(struct qd_cli_options, repeats)},
    {"--cache", "DIR", "scale cache folder (default: none)", QD_FLAG_TEXT, offsetof(struct qd_cli_options, cache)},
};
static int run(int argc, char **argv);
static const struct qd_command command = {"onednn", "DIR|FILE", "quantd against oneDNN's convolutions", run};

/* What oneDNN may use beside each of our tiers; a tier that is not listed leaves it free. */
static const struct {
    const char *name;
    dnnl_cpu_isa_t isa;
} isas[] = {
    {"scalar", dnnl_cpu_isa_sse41},
    {"avx2", dnnl_cpu_isa_avx2},
    {"avxvnni", dnnl_cpu_isa_avx2_vnni},
    {"vnni", dnnl_cpu_isa_avx512_core_vnni},
};

/* How oneDNN says our activations; what it lacks (HardSigmoid) it is spared. */
static const struct {
    enum qd_activation_kind kind;
    dnnl_alg_kind_t algorithm;
    bool has_alpha;
    float alpha;
} activations[] = {
    {QD_ACT_CLIP, dnnl_eltwise_relu, false, 0},           {QD_ACT_LEAKY, dnnl_eltwise_relu, true, 0},
    {QD_ACT_HARDSWISH, dnnl_eltwise_hardswish, false, 0}, {QD_ACT_SIGMOID, dnnl_eltwise_logistic, false, 0},
    {QD_ACT_TANH, dnnl_eltwise_tanh, false, 0},           {QD_ACT_SILU, dnnl_eltwise_swish, false, 1},
    {QD_ACT_GELU, dnnl_eltwise_gelu_erf, false, 0},       {QD_ACT_MISH, dnnl_eltwise_mish, false, 0},
};

struct layer {
    int step;
    const char *name;
    char shape[64];
    int64_t macs;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t src, dst;
    dnnl_memory_t weights, bias, in, out;
    double ours, ours_median, theirs, theirs_median; /* ms per image */
};

struct bench {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const struct qd_plan *plan;
    struct qd_frame *frame;
    struct layer *layers;
    int n_layers, batch, threads, repeats;
    void *buffers[N_BUFFERS];
    double *times[2];
};

static void check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "onednn: %s: oneDNN's status %d\n", what, (int)status);
    exit(1);
}

static uint32_t next_random(void)
{
    static uint32_t state = 1;

    return (state = state * 1664525 + 1013904223) >> 8;
}

static void fill_bytes(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(next_random() >> 8);
}

static void *allocate(size_t size)
{
    void *memory = qd_alloc(size);

    if (memory)
        return memory;
    fprintf(stderr, "onednn: no memory\n");
    exit(1);
}

static dnnl_memory_t new_memory(const struct bench *b, const dnnl_memory_desc_t *md, void *data)
{
    dnnl_memory_t memory;

    check(dnnl_memory_create(&memory, md, b->engine, data), "a memory object");
    return memory;
}

/* What follows the product: scales that keep the bytes spread out, the residual, the activation. */
static dnnl_primitive_attr_t new_attr(const struct qd_node *node, int n, int64_t k)
{
    float *scales = allocate((size_t)n * sizeof(float));
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;

    for (int i = 0; i < n; i++)
        scales[i] = 48.0f / (10700.0f * sqrtf((float)k)); /* bytes times weights deviate by 10700 from 0 */
    check(dnnl_primitive_attr_create(&attr), "attributes");
    check(dnnl_primitive_attr_set_output_scales(attr, n, 1 << 1, scales), "output scales");
    check(dnnl_post_ops_create(&ops), "post-operations");
    if (node->residual >= 0)
        check(dnnl_post_ops_append_sum(ops, 0.5f), "a residual");
    for (size_t i = 0; i < QD_ARRAY_SIZE(activations); i++)
        if (activations[i].kind == node->act.kind)
            check(dnnl_post_ops_append_eltwise(ops, 1, activations[i].algorithm,
                                               activations[i].has_alpha ? node->act.alpha : activations[i].alpha, 0),
                  "an activation");
    check(dnnl_primitive_attr_set_post_ops(attr, ops), "post-operations");
    dnnl_post_ops_destroy(ops);
    qd_free(scales);
    return attr;
}

/* The library's own layout, filled by a reorder: the compensation that it hides behind the weights is then right. */
static dnnl_memory_t new_weights(const struct bench *b, const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *md)
{
    dnnl_memory_t from = new_memory(b, plain, DNNL_MEMORY_ALLOCATE), to = new_memory(b, md, DNNL_MEMORY_ALLOCATE);
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t reorder;
    void *bytes;

    check(dnnl_memory_get_data_handle(from, &bytes), "weights");
    fill_bytes(bytes, dnnl_memory_desc_get_size(plain));
    check(dnnl_reorder_primitive_desc_create(&pd, plain, b->engine, md, b->engine, NULL), "a reorder");
    check(dnnl_primitive_create(&reorder, pd), "a reorder");
    check(dnnl_primitive_execute(reorder, b->stream, 2, (dnnl_exec_arg_t[]){{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}),
          "a reorder");
    check(dnnl_stream_wait(b->stream), "a reorder");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(from);
    return to;
}

static dnnl_memory_t new_bias(const struct bench *b, const dnnl_memory_desc_t *md, int n, int64_t k)
{
    dnnl_memory_t bias = new_memory(b, md, DNNL_MEMORY_ALLOCATE);
    void *data;

    check(dnnl_memory_get_data_handle(bias, &data), "biases");
    for (int i = 0; i < n; i++)
        ((int32_t *)data)[i] = (int32_t)((float)(next_random() % 10700) * sqrtf((float)k)); /* mostly above 0 */
    return bias;
}

/* From a descriptor to a primitive with its weights; plain: the weights as ONNX has them. */
static void make_primitive(const struct bench *b, struct layer *layer, const struct qd_node *node, const void *desc,
                           const dnnl_memory_desc_t *plain, int n, int64_t k)
{
    dnnl_primitive_attr_t attr = new_attr(node, n, k);
    dnnl_primitive_desc_t pd;

    check(dnnl_primitive_desc_create(&pd, desc, attr, b->engine, NULL), layer->name);
    check(dnnl_primitive_create(&layer->primitive, pd), layer->name);
    layer->src = *dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0);
    layer->dst = *dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);
    layer->weights = new_weights(b, plain, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    layer->bias = new_bias(b, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 1), n, k);
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_attr_destroy(attr);
}

static void describe(dnnl_memory_desc_t *md, int n_dims, const dnnl_dims_t dims, dnnl_data_type_t type,
                     dnnl_format_tag_t tag)
{
    check(dnnl_memory_desc_init_by_tag(md, n_dims, dims, type, tag), "a tensor's description");
}

static void make_conv(const struct bench *b, struct layer *layer, const struct qd_node *node)
{
    const struct qd_graph *graph = qd_plan_graph(b->plan);
    const struct qd_conv_attrs *params = node->params;
    const struct qd_window *window = &params->window;
    const struct qd_shape *in = &graph->values[node->inputs[0]].shape, *out = &graph->values[node->outputs[0]].shape;
    const int64_t *weights = graph->values[node->inputs[1]].shape.dims;
    const dnnl_dims_t src_dims = {b->batch, in->dims[1], in->dims[2], in->dims[3]};
    const dnnl_dims_t dst_dims = {b->batch, out->dims[1], out->dims[2], out->dims[3]}, bias_dims = {weights[0]};
    const dnnl_dims_t plain_dims = {weights[0], weights[1], weights[2], weights[3]};
    const dnnl_dims_t group_dims = {params->group, weights[0] / params->group, weights[1], weights[2], weights[3]};
    const dnnl_dims_t strides = {window->stride[0], window->stride[1]};
    const dnnl_dims_t dilates = {window->dilation[0] - 1, window->dilation[1] - 1};
    const dnnl_dims_t begin = {window->pad_begin[0], window->pad_begin[1]};
    const dnnl_dims_t end = {window->pad_end[0], window->pad_end[1]};
    bool grouped = params->group > 1;
    const int64_t *w_dims = grouped ? group_dims : plain_dims;
    dnnl_memory_desc_t src, w, plain, bias, dst;
    dnnl_convolution_desc_t desc;

    describe(&src, 4, src_dims, dnnl_u8, dnnl_format_tag_any);
    describe(&w, grouped ? 5 : 4, w_dims, dnnl_s8, dnnl_format_tag_any);
    describe(&plain, grouped ? 5 : 4, w_dims, dnnl_s8, grouped ? dnnl_goihw : dnnl_oihw);
    describe(&bias, 1, bias_dims, dnnl_s32, dnnl_x);
    describe(&dst, 4, dst_dims, dnnl_u8, dnnl_format_tag_any);
    check(dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct, &src, &w,
                                                     &bias, &dst, strides, dilates, begin, end),
          layer->name);
    make_primitive(b, layer, node, &desc, &plain, (int)weights[0], weights[1] * weights[2] * weights[3]);
    snprintf(layer->shape, sizeof(layer->shape), "%d>%d %dx%d/%d g%d %dx%d", (int)in->dims[1], (int)out->dims[1],
             (int)weights[2], (int)weights[3], (int)window->stride[0], (int)params->group, (int)out->dims[2],
             (int)out->dims[3]);
}

static void make_inner_product(const struct bench *b, struct layer *layer, const struct qd_node *node)
{
    const struct qd_graph *graph = qd_plan_graph(b->plan);
    const struct qd_shape *out = &graph->values[node->outputs[0]].shape;
    int64_t n = out->dims[out->n_dims - 1], k = qd_shape_count(&graph->values[node->inputs[1]].shape) / n;
    const dnnl_dims_t src_dims = {b->batch, k}, w_dims = {n, k}, bias_dims = {n}, dst_dims = {b->batch, n};
    dnnl_memory_desc_t src, w, plain, bias, dst;
    dnnl_inner_product_desc_t desc;

    describe(&src, 2, src_dims, dnnl_u8, dnnl_format_tag_any);
    describe(&w, 2, w_dims, dnnl_s8, dnnl_format_tag_any);
    describe(&plain, 2, w_dims, dnnl_s8, dnnl_oi);
    describe(&bias, 1, bias_dims, dnnl_s32, dnnl_x);
    describe(&dst, 2, dst_dims, dnnl_u8, dnnl_format_tag_any);
    check(dnnl_inner_product_forward_desc_init(&desc, dnnl_forward_inference, &src, &w, &bias, &dst), layer->name);
    make_primitive(b, layer, node, &desc, &plain, (int)n, k);
    snprintf(layer->shape, sizeof(layer->shape), "%d>%d fully connected", (int)k, (int)n);
}

/* The buffers grow to the largest tensor; layer i reads one and writes the next. */
static void place_activations(struct bench *b)
{
    size_t size = 0;

    for (int i = 0; i < b->n_layers; i++) {
        size_t src = dnnl_memory_desc_get_size(&b->layers[i].src), dst = dnnl_memory_desc_get_size(&b->layers[i].dst);

        size = src > size ? src : size;
        size = dst > size ? dst : size;
    }
    for (int i = 0; i < N_BUFFERS; i++) {
        b->buffers[i] = allocate(size);
        fill_bytes(b->buffers[i], size);
    }
    for (int i = 0; i < b->n_layers; i++) {
        b->layers[i].in = new_memory(b, &b->layers[i].src, b->buffers[i % N_BUFFERS]);
        b->layers[i].out = new_memory(b, &b->layers[i].dst, b->buffers[(i + 1) % N_BUFFERS]);
    }
}

static void make_layers(struct bench *b)
{
    b->layers = allocate((size_t)qd_plan_n_steps(b->plan) * sizeof(*b->layers));
    for (int s = 0; s < qd_plan_n_steps(b->plan); s++) {
        struct layer *layer = &b->layers[b->n_layers];
        struct qd_step_info info;

        qd_plan_step(b->plan, s, &info);
        if (!info.node || !info.macs)
            continue;
        layer->step = s;
        layer->name = info.name;
        layer->macs = info.macs;
        if (info.node->op == &qd_op_conv)
            make_conv(b, layer, info.node);
        else if (info.node->op == &qd_op_gemm || info.node->op == &qd_op_mat_mul)
            make_inner_product(b, layer, info.node);
        else
            continue;
        b->n_layers++;
    }
    place_activations(b);
}

static void run_theirs(const struct bench *b, int first, int last)
{
    for (int i = first; i < last; i++) {
        const struct layer *layer = &b->layers[i];
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, layer->in},
                                        {DNNL_ARG_WEIGHTS, layer->weights},
                                        {DNNL_ARG_BIAS, layer->bias},
                                        {DNNL_ARG_DST, layer->out}};

        check(dnnl_primitive_execute(layer->primitive, b->stream, 4, args), layer->name);
    }
    check(dnnl_stream_wait(b->stream), "a run");
}

static void run_ours(const struct bench *b, int step)
{
    if (step < 0)
        qd_frame_run(b->frame, b->batch, b->threads);
    else
        qd_frame_run_step(b->frame, step, b->batch, b->threads);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* In turn, so that whatever disturbs the machine disturbs both. step -1: the whole network. */
static void measure(const struct bench *b, int step, int first, int last, struct layer *ret)
{
    for (int i = -3; i < b->repeats; i++) {
        int64_t start = qd_now_ns(), middle;

        run_ours(b, step);
        middle = qd_now_ns();
        run_theirs(b, first, last);
        if (i < 0)
            continue;
        b->times[0][i] = (double)(middle - start) / 1e6 / b->batch;
        b->times[1][i] = (double)(qd_now_ns() - middle) / 1e6 / b->batch;
    }
    for (int i = 0; i < 2; i++)
        qsort(b->times[i], (size_t)b->repeats, sizeof(double), by_value);
    ret->ours = b->times[0][0];
    ret->ours_median = b->times[0][b->repeats / 2];
    ret->theirs = b->times[1][0];
    ret->theirs_median = b->times[1][b->repeats / 2];
}

static int by_ratio(const void *a, const void *b)
{
    const struct layer *x = a, *y = b;
    double left = x->theirs * y->ours, right = y->theirs * x->ours;

    return left < right ? -1 : left > right;
}

static json_t *result_to_json(const struct layer *layer)
{
    return json_pack("{s:{s:f, s:f}, s:{s:f, s:f}, s:f, s:f}", "quantd_ms", "best", layer->ours, "median",
                     layer->ours_median, "onednn_ms", "best", layer->theirs, "median", layer->theirs_median, "ratio",
                     layer->theirs / layer->ours, "ratio_median", layer->theirs_median / layer->ours_median);
}

static int report(const struct bench *b, const struct layer *total, const char *model, bool as_json)
{
    const char *isa = qd_plan_kernels(b->plan)->name;
    json_t *json;

    if (!as_json) {
        printf("%s: quantd %.3f ms per image best, %.3f median; oneDNN's %d products %.3f, %.3f; ratio %.2f, %.2f "
               "(batch %d, %d threads, %s)\n",
               model, total->ours, total->ours_median, b->n_layers, total->theirs, total->theirs_median,
               total->theirs / total->ours, total->theirs_median / total->ours_median, b->batch, b->threads, isa);
        return 0;
    }
    json = result_to_json(total);
    json_object_set_new(json, "model", json_string(model));
    json_object_set_new(json, "batch", json_integer(b->batch));
    json_object_set_new(json, "threads", json_integer(b->threads));
    json_object_set_new(json, "isa", json_string(isa));
    return qd_cli_print_json(json);
}

static int report_layers(struct bench *b, const char *model, bool as_json)
{
    json_t *list = json_array();

    qsort(b->layers, (size_t)b->n_layers, sizeof(*b->layers), by_ratio);
    if (!as_json)
        printf(
            "%s, batch %d, %d threads, %s: layers, the slowest against oneDNN first\n%-28s %-30s %7s %9s %9s %9s %9s "
            "%6s\n",
            model, b->batch, b->threads, qd_plan_kernels(b->plan)->name, "layer", "shape", "GMAC/s", "us best",
            "median", "oneDNN", "median", "ratio");
    for (int i = 0; i < b->n_layers; i++) {
        const struct layer *layer = &b->layers[i];
        json_t *row = result_to_json(layer);

        json_object_set_new(row, "name", json_string(layer->name));
        json_object_set_new(row, "shape", json_string(layer->shape));
        json_array_append_new(list, row);
        if (!as_json)
            printf("%-28.28s %-30s %7.1f %9.1f %9.1f %9.1f %9.1f %6.2f\n", layer->name, layer->shape,
                   (double)layer->macs / layer->ours / 1e6, layer->ours * 1e3, layer->ours_median * 1e3,
                   layer->theirs * 1e3, layer->theirs_median * 1e3, layer->theirs / layer->ours);
    }
    if (as_json)
        return qd_cli_print_json(json_pack("{s:s, s:o}", "model", model, "layers", list));
    if (b->n_layers)
        printf("worst ratio %.2f: %s\n", b->layers[0].theirs / b->layers[0].ours, b->layers[0].name);
    json_decref(list);
    return 0;
}

static void free_layers(struct bench *b)
{
    for (int i = 0; i < b->n_layers; i++) {
        dnnl_primitive_destroy(b->layers[i].primitive);
        dnnl_memory_destroy(b->layers[i].weights);
        dnnl_memory_destroy(b->layers[i].bias);
        dnnl_memory_destroy(b->layers[i].in);
        dnnl_memory_destroy(b->layers[i].out);
    }
    for (int i = 0; i < N_BUFFERS; i++)
        qd_free(b->buffers[i]);
    qd_free(b->layers);
    qd_free(b->times[0]);
    qd_free(b->times[1]);
}

static void limit_isa(const char *ours)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(isas); i++)
        if (strcmp(isas[i].name, ours) == 0)
            check(dnnl_set_max_cpu_isa(isas[i].isa), "the tier");
}

static void fill_inputs(const struct bench *b)
{
    int h, w, c;

    qd_plan_input_size(b->plan, &h, &w, &c);
    for (int i = 0; i < b->batch; i++)
        fill_bytes(qd_frame_input(b->frame, i), (size_t)(h * w * c));
}

static int compare(struct bench *b, const struct qd_model *model, const struct qd_cli_options *cli)
{
    struct layer total = {0};
    int code;

    limit_isa(qd_plan_kernels(b->plan)->name);
    omp_set_num_threads(b->threads);
    check(dnnl_engine_create(&b->engine, dnnl_cpu, 0), "the engine");
    check(dnnl_stream_create(&b->stream, b->engine, dnnl_stream_default_flags), "the stream");
    b->times[0] = allocate((size_t)b->repeats * sizeof(double));
    b->times[1] = allocate((size_t)b->repeats * sizeof(double));
    fill_inputs(b);
    make_layers(b);
    measure(b, -1, 0, b->n_layers, &total); /* with --layers it fills the frame */
    if (cli->layers) {
        for (int i = 0; i < b->n_layers; i++)
            measure(b, b->layers[i].step, i, i + 1, &b->layers[i]);
        code = report_layers(b, model->config.name, cli->json);
    } else {
        code = report(b, &total, model->config.name, cli->json);
    }
    free_layers(b);
    dnnl_stream_destroy(b->stream);
    dnnl_engine_destroy(b->engine);
    return code;
}

static int run(int argc, char **argv)
{
    struct qd_cli_options cli = {.repeats = 30, .batch = 1};
    struct qd_model_options options;
    struct qd_model *model = NULL;
    struct qd_error err = {""};
    struct bench b = {0};
    enum qd_status status;
    int code;

    if (!qd_cli_parse(argc, argv, &command, flags, QD_ARRAY_SIZE(flags), &cli, &code))
        return code;
    if (cli.batch < 1 || cli.repeats < 1) {
        fprintf(stderr, "onednn: --batch and --repeats: expected 1 or more\n");
        return 2;
    }
    status = qd_cli_model_options(&cli, &options, &err);
    options.allow_synthetic = true;
    if (status == QD_OK)
        status = qd_model_load(cli.path, &options, &model, &err);
    if (status == QD_OK)
        status = qd_frame_new(model->result.int8, options.n_threads, &b.frame, &err);
    if (status != QD_OK) {
        qd_model_unref(model);
        return qd_cli_fail(&err);
    }
    b.plan = model->result.int8;
    b.batch = cli.batch;
    b.threads = options.n_threads;
    b.repeats = cli.repeats;
    code = compare(&b, model, &cli);
    qd_frame_free(b.frame);
    qd_model_unref(model);
    return code;
}

int main(int argc, char **argv)
{
    return run(argc, argv);
}
