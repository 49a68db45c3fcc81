/*
 * checkkernel --bench: one thread, the best of several runs, each matrix product beside one of floats.
 * The data are random: zeros flatter, and so does an idle machine beside a busy one: compare figures of one run only.
 */
#include "tests/kernel/check.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/mem.h"

#define N_RUNS 15
#define MIN_RUN_NS 3e6

/* What one call works on; each kind of call fills what it needs. */
struct work {
    const struct qd_kernels *kernels;
    struct qd_conv_params conv;
    struct qd_conv_f32_params conv_f32;
    struct qd_depthwise_params depthwise;
    struct qd_pool_params pool;
    struct qd_add_params add;
    struct qd_mul_params mul;
    struct qd_affine_params affine;
    uint8_t *bytes, *out;
    float *floats;
    const uint8_t *table;
    int32_t *sums;
    size_t n;
    int c;
};

typedef void call_function(const struct work *work);

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Nanoseconds of one call. */
static double best_time(call_function *call, const struct work *work)
{
    double start = now_ns(), best;
    int n;

    call(work);
    best = now_ns() - start;
    n = (int)(MIN_RUN_NS / (best + 1)) + 1;
    for (int run = 0; run < N_RUNS; run++) {
        double each;

        start = now_ns();
        for (int i = 0; i < n; i++)
            call(work);
        each = (now_ns() - start) / n;
        best = each < best ? each : best;
    }
    return best;
}

static void call_conv(const struct work *work)
{
    work->kernels->conv(&work->conv);
}

static void call_conv_f32(const struct work *work)
{
    work->kernels->f32->conv(&work->conv_f32);
}

static void call_depthwise(const struct work *work)
{
    work->kernels->depthwise(&work->depthwise);
}

static void call_max_pool(const struct work *work)
{
    work->kernels->max_pool(&work->pool);
}

static void call_average_pool(const struct work *work)
{
    work->kernels->average_pool(&work->pool);
}

static void call_add(const struct work *work)
{
    work->kernels->add(&work->add);
}

static void call_mul(const struct work *work)
{
    work->kernels->mul(&work->mul);
}

static void call_affine(const struct work *work)
{
    work->kernels->affine(&work->affine);
}

static void call_sum_rows(const struct work *work)
{
    memset(work->sums, 0, (size_t)work->c * sizeof(int32_t));
    work->kernels->sum_rows(work->bytes, work->c, work->n / (size_t)work->c, work->c, work->sums);
}

static void call_shuffle(const struct work *work)
{
    work->kernels->shuffle(work->bytes, work->out, work->n / (size_t)work->c, work->c, 2);
}

static void call_lookup(const struct work *work)
{
    work->kernels->lookup(work->bytes, work->out, work->n, work->table);
}

static void call_quantize(const struct work *work)
{
    work->kernels->quantize(work->floats, work->out, work->n, 10, 3);
}

static void call_dequantize(const struct work *work)
{
    work->kernels->dequantize(work->bytes, work->floats, work->n, 0.1f, 3);
}

static void usual_requant(struct check *check, int n, int k, struct qd_requant *ret)
{
    check_requant(check, n, (int64_t)k * 255 * 127, ret);
    ret->act = QD_REQUANT_LINEAR;
    ret->clamp_min = 0;
    ret->clamp_max = 255;
}

/* A square convolution of size x size pixels out, c channels in, n out, whose input has its padding in memory. */
static double conv_speed(const struct qd_kernels *kernels, int size, int n, int c, int kernel, int stride,
                         enum qd_requant_act act)
{
    struct check check = {.random_state = 1};
    struct qd_piecewise piecewise = {.scale = 0.05f, .first = QD_PIECEWISE_FIRST + 3};
    int row_pixels = (size - 1) * stride + kernel, k = kernel * kernel * c;
    ptrdiff_t offsets[7];
    struct qd_requant requant;
    struct work work = {.kernels = kernels};
    struct qd_conv_params *p = &work.conv;
    float *slope = check_input(&check, (size_t)n * sizeof(float), sizeof(float));
    int8_t *w = check_weights(&check, (size_t)n * (size_t)k);
    void *packed = qd_alloc(kernels->conv_pack_size(n, kernel, kernel * c));
    double ns;

    if (!packed)
        return 0;
    for (int i = 0; i < n; i++)
        slope[i] = 0.01f;
    for (int r = 0; r < kernel; r++)
        offsets[r] = (ptrdiff_t)r * row_pixels * c;
    kernels->conv_pack(packed, w, n, kernel, kernel * c);
    usual_requant(&check, n, k, &requant);
    requant.act = act;
    requant.slope = slope;
    requant.piecewise = &piecewise;
    *p = (struct qd_conv_params){.run_offset = offsets,
                                 .n_runs = kernel,
                                 .run_k = kernel * c,
                                 .weights = packed,
                                 .n = n,
                                 .n_end = n,
                                 .out_h = size,
                                 .out_w = size,
                                 .m = size * size,
                                 .in_steps = {stride * c, (ptrdiff_t)stride * row_pixels * c, 0},
                                 .out_steps = {n, (ptrdiff_t)size * n, 0},
                                 .requant = &requant};
    p->in = check_input(&check, (size_t)row_pixels * (size_t)row_pixels * (size_t)c, 1);
    p->out = check_input(&check, (size_t)size * (size_t)size * (size_t)n, 1);
    ns = best_time(call_conv, &work);
    check_free(&check);
    qd_free(packed);
    return (double)size * size * n * k / ns;
}

/* n outputs of k over m pixels in float, by the best tier: what int8 has to beat. */
static double float_speed(int m, int n, int k)
{
    struct check check = {.random_state = 1};
    struct work work = {0};
    struct qd_conv_f32_params *p = &work.conv_f32;
    size_t in_size = (size_t)m * (size_t)k, size = in_size + (size_t)n * (size_t)k;
    struct qd_error err;
    double ns;

    if (qd_kernels_named(NULL, &work.kernels, &err) != QD_OK)
        return 0;
    work.floats = check_input(&check, (size + (size_t)m * (size_t)n) * sizeof(float), sizeof(float));
    for (size_t i = 0; i < size; i++)
        work.floats[i] = check_real(&check, -1, 1);
    *p = (struct qd_conv_f32_params){.in = work.floats,
                                     .c = k,
                                     .h = 1,
                                     .w = m,
                                     .window = {1, 1, 1, 1, 1, 1, 0, 0},
                                     .weights = work.floats + in_size,
                                     .out = work.floats + size,
                                     .n = n,
                                     .out_h = 1,
                                     .out_w = m};
    p->scratch = check_input(&check, qd_conv_f32_scratch(p), 64);
    ns = best_time(call_conv_f32, &work);
    check_free(&check);
    return (double)m * n * k / ns;
}

static double depthwise_speed(const struct qd_kernels *kernels, int size, int c, int kernel, int stride)
{
    struct check check = {.random_state = 1};
    struct qd_requant requant;
    struct work work = {.kernels = kernels};
    struct qd_depthwise_params *p = &work.depthwise;
    int taps = kernel * kernel, out_size = (size - 1) / stride + 1, in_size = (out_size - 1) * stride + kernel;
    int8_t *w = check_weights(&check, (size_t)c * (size_t)taps);
    void *weights = qd_alloc(kernels->depthwise_pack_size(c, taps));
    double ns;

    if (!weights)
        return 0;
    kernels->depthwise_pack(weights, w, c, taps);
    usual_requant(&check, c, taps, &requant);
    *p = (struct qd_depthwise_params){.weights = weights,
                                      .c = c,
                                      .out_w = out_size,
                                      .kernel_h = kernel,
                                      .kernel_w = kernel,
                                      .stride_h = stride,
                                      .stride_w = stride,
                                      .dilation_h = 1,
                                      .dilation_w = 1,
                                      .in_steps = {c, (ptrdiff_t)in_size * c, 0},
                                      .out_steps = {c, (ptrdiff_t)out_size * c, 0},
                                      .y_end = out_size,
                                      .requant = &requant};
    p->in = check_input(&check, (size_t)in_size * (size_t)in_size * (size_t)c, 1);
    p->out = check_input(&check, (size_t)out_size * (size_t)out_size * (size_t)c, 1);
    ns = best_time(call_depthwise, &work);
    check_free(&check);
    qd_free(weights);
    return (double)out_size * out_size * c * taps / ns;
}

/* Bytes of int8 activations read per nanosecond. */
static double bytes_speed(const struct qd_kernels *kernels, call_function *call)
{
    enum { SIZE = 56, C = 64, N = SIZE * SIZE * C };
    struct check check = {.random_state = 1};
    struct work work = {.kernels = kernels, .n = N, .c = C};
    struct qd_requant requant;
    double ns;

    work.bytes = check_input(&check, N, 1);
    work.out = check_input(&check, N, 1);
    work.floats = check_input(&check, N * sizeof(float), sizeof(float));
    work.table = check_input(&check, 256, 1);
    work.sums = check_input(&check, C * sizeof(int32_t), sizeof(int32_t));
    for (int i = 0; i < N; i++)
        work.floats[i] = check_real(&check, -10, 30);
    work.pool = (struct qd_pool_params){.in = work.bytes,
                                        .in_steps = {C, SIZE * C, 0},
                                        .out = work.out,
                                        .out_steps = {C, SIZE / 2 * C, 0},
                                        .h = SIZE,
                                        .w = SIZE,
                                        .c = C,
                                        .out_h = SIZE / 2,
                                        .out_w = SIZE / 2,
                                        .kernel_h = 3,
                                        .kernel_w = 3,
                                        .stride_h = 2,
                                        .stride_w = 2,
                                        .dilation_h = 1,
                                        .dilation_w = 1,
                                        .pad_top = 1,
                                        .pad_left = 1,
                                        .y_end = SIZE / 2,
                                        .mult = 1,
                                        .clamp_max = 255};
    work.add = (struct qd_add_params){.a = work.bytes,
                                      .b = check_input(&check, N, 1),
                                      .out = work.out,
                                      .n = N,
                                      .a_mult = 0.7f,
                                      .b_mult = 0.4f,
                                      .offset = 3,
                                      .clamp_max = 255};
    work.mul = (struct qd_mul_params){
        .a = work.bytes, .b = work.add.b, .out = work.out, .n = N, .mult = 0.005f, .clamp_max = 255};
    usual_requant(&check, C, 1, &requant);
    work.affine = (struct qd_affine_params){.in = work.bytes,
                                            .out = work.out,
                                            .m = N / C,
                                            .c = C,
                                            .mult = requant.mult,
                                            .offset = requant.offset,
                                            .clamp_max = 255};
    ns = best_time(call, &work);
    check_free(&check);
    return N / ns;
}

static void bench_products(const struct check_tier *tiers, size_t n_tiers)
{
    static const int conv_sizes[][5] = {
        {112, 64, 3, 7, 2},  {56, 64, 64, 1, 1},    {56, 64, 64, 3, 1},    {28, 128, 128, 3, 1}, {14, 256, 256, 3, 2},
        {7, 512, 512, 3, 1}, {14, 1024, 256, 1, 1}, {7, 2048, 512, 1, 1},  {112, 32, 3, 3, 2},   {56, 24, 96, 1, 1},
        {28, 32, 144, 1, 1}, {14, 96, 576, 1, 1},   {1, 1000, 2048, 1, 1}, {112, 16, 3, 3, 2},   {112, 16, 16, 1, 1},
        {55, 16, 64, 1, 1},  {13, 256, 64, 1, 1}};
    static const int depthwise_sizes[][4] = {{112, 32, 3, 1}, {112, 96, 3, 2}, {56, 144, 3, 1},
                                             {28, 192, 3, 1}, {14, 576, 3, 1}, {7, 960, 3, 1},
                                             {28, 120, 5, 1}, {14, 240, 5, 2}, {28, 96, 7, 1}};

    for (size_t i = 0; i < QD_ARRAY_SIZE(conv_sizes); i++) {
        const int *size = conv_sizes[i];

        printf("conv %3dx%-3d n %4d c %4d %dx%d/%d, GMAC/s:", size[0], size[0], size[1], size[2], size[3], size[3],
               size[4]);
        for (size_t t = 0; t < n_tiers; t++) {
            if (tiers[t].kernels && tiers[t].benched)
                printf("  %s %7.2f", tiers[t].name,
                       conv_speed(tiers[t].kernels, size[0], size[1], size[2], size[3], size[4], QD_REQUANT_LINEAR));
        }
        printf("  fp32 %7.2f\n", float_speed(size[0] * size[0], size[1], size[2] * size[3] * size[3]));
    }
    for (size_t i = 0; i < QD_ARRAY_SIZE(depthwise_sizes); i++) {
        const int *size = depthwise_sizes[i];

        printf("depthwise %3dx%-3d c %3d kernel %d stride %d, GMAC/s:", size[0], size[0], size[1], size[2], size[3]);
        for (size_t t = 0; t < n_tiers; t++) {
            if (tiers[t].kernels && tiers[t].benched)
                printf("  %s %7.2f", tiers[t].name,
                       depthwise_speed(tiers[t].kernels, size[0], size[1], size[2], size[3]));
        }
        printf("\n");
    }
}

/* A product with little to sum, whose time is what is done with the sums. */
static void bench_activations(const struct check_tier *tiers, size_t n_tiers)
{
    static const char *const names[] = {"linear", "leaky", "hardswish", "piecewise", "p. steps"};

    for (int act = QD_REQUANT_LINEAR; act <= QD_REQUANT_PIECEWISE_STEPS; act++) {
        printf("conv 112x112 n 96 c 16 1x1 with %-9s, GMAC/s:", names[act]);
        for (size_t t = 0; t < n_tiers; t++) {
            if (tiers[t].kernels && tiers[t].benched)
                printf("  %s %7.2f", tiers[t].name,
                       conv_speed(tiers[t].kernels, 112, 96, 16, 1, 1, (enum qd_requant_act)act));
        }
        printf("\n");
    }
}

void check_bench(void)
{
    static const struct {
        const char *name;
        call_function *call;
    } calls[] = {
        {"add", call_add},
        {"mul", call_mul},
        {"affine", call_affine},
        {"max_pool 3x3 stride 2", call_max_pool},
        {"average_pool 3x3 stride 2", call_average_pool},
        {"sum_rows", call_sum_rows},
        {"shuffle of 2 groups", call_shuffle},
        {"lookup", call_lookup},
        {"quantize", call_quantize},
        {"dequantize", call_dequantize},
    };

    const struct check_tier *tiers;
    size_t n_tiers = check_tiers(&tiers);

    bench_products(tiers, n_tiers);
    bench_activations(tiers, n_tiers);
    for (size_t i = 0; i < QD_ARRAY_SIZE(calls); i++) {
        printf("%-26s 56x56x64, GB/s of bytes:", calls[i].name);
        for (size_t t = 0; t < n_tiers; t++) {
            if (tiers[t].kernels && tiers[t].benched)
                printf("  %s %7.2f", tiers[t].name, bytes_speed(tiers[t].kernels, calls[i].call));
        }
        printf("\n");
    }
}
