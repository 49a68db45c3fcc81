/*
 * checkkernel [--seed N] [--rounds N] [--bench]: every tier that this CPU has against scalar, byte for byte, after
 * dav1d's checkasm: random sizes over all tails, extreme inputs, unaligned pointers, guard bytes. Speaks TAP. And scalar
 * itself against the formula written out in double. --bench prints how fast each tier is.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"
#include "kernel/requant.h"
#include "util/clock.h"

#define GUARD 64
#define SIZE (1 << 20)

static uint64_t seed = 1;
static int rounds = 400;

static uint32_t rnd(void)
{
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}

static int below(int n)
{
    return (int)(rnd() % (uint32_t)n);
}

static float unit(void)
{
    return (float)(rnd() % 1000003) / 1000003.0f;
}

/* One of three kinds: any bytes, only extremes, mostly one value. */
static void fill(uint8_t *p, size_t n)
{
    int kind = below(3);

    for (size_t i = 0; i < n; i++)
        p[i] = kind == 0 ? (uint8_t)rnd() : kind == 1 ? (rnd() & 1 ? 255 : 0) : (uint8_t)(rnd() % 16 ? 7 : rnd());
}

static void fill_weights(int8_t *p, size_t n)
{
    int kind = below(2);

    for (size_t i = 0; i < n; i++)
        p[i] = (int8_t)(kind ? (rnd() & 1 ? 127 : -127) : below(255) - 127);
}

static uint8_t in_a[SIZE + GUARD], in_b[SIZE + GUARD], res[SIZE + GUARD];
static uint8_t want[SIZE + 2 * GUARD], got[SIZE + 2 * GUARD];
static float want_f32[SIZE / 4], got_f32[SIZE / 4];
static int8_t weights[SIZE];
static float mult[5000], offset[5000];
static _Alignas(64) uint8_t packed[2][8 * SIZE];

static void fill_requant(struct qd_requant *q, int n, int k)
{
    float size = 1.0f / (127.0f * 40 * sqrtf((float)k) / 60);

    /* A third of the rounds have multipliers and offsets that make exact ties. */
    int ties = below(3) == 0;
    for (int i = 0; i < n; i++) {
        mult[i] = ties ? 0.5f : size * (0.2f + unit());
        offset[i] = ties ? (float)below(64) + 0.5f * (float)below(2) : 300 * unit() - 80;
    }
    q->mult = mult;
    q->offset = offset;
    q->act = (enum qd_requant_act)below(3);
    q->slope = q->act == QD_REQUANT_LEAKY ? 0.1f : 0.01f + 0.1f * unit();
    q->zero = q->act == QD_REQUANT_LINEAR ? 0 : (float)below(200);
    q->residual_mult = unit() * 2;
    q->clamp_min = (uint8_t)below(30);
    q->clamp_max = (uint8_t)(255 - below(30));
}

static int compare(const char *what, size_t n)
{
    for (size_t i = 0; i < n + 2 * GUARD; i++) {
        if (want[i] == got[i])
            continue;
        printf("# %s: byte %zd: expected %d, found %d\n", what, (ssize_t)i - GUARD, want[i], got[i]);
        return 1;
    }
    return 0;
}

static void reset(size_t n)
{
    for (size_t i = 0; i < n + 2 * GUARD; i++)
        want[i] = got[i] = (uint8_t)(i * 37 + 11);
}

static int random_k(void)
{
    return below(8) ? 1 + below(140) : 1 + below(4700);
}

static int check_gemm(const struct qd_kernels *s, const struct qd_kernels *t)
{
    int m = 1 + below(30), n = 1 + below(below(4) ? 80 : 300), k = random_k(), f32 = below(4) == 0;
    ptrdiff_t a_stride = k + below(5), out_stride = n + below(9);
    struct qd_requant q;
    struct qd_gemm_params p = {.a_stride = a_stride, .m = m, .n = n, .k = k, .out_stride = out_stride, .requant = &q};

    while ((size_t)n * (size_t)k > SIZE || (size_t)m * (size_t)a_stride + 16 > SIZE)
        k = p.k = k / 2, p.a_stride = a_stride = k + 1;
    fill(in_a, (size_t)m * (size_t)a_stride + 16);
    fill(res, (size_t)m * (size_t)out_stride + 16);
    fill_weights(weights, (size_t)n * (size_t)k);
    fill_requant(&q, n, k);
    p.a = in_a + below(16);
    s->gemm_pack(packed[0], weights, n, k);
    t->gemm_pack(packed[1], weights, n, k);
    reset((size_t)m * (size_t)out_stride);
    if (f32) {
        p.out_stride = n * 4;
        p.b = packed[0];
        p.out_f32 = want_f32;
        s->gemm(&p);
        p.b = packed[1];
        p.out_f32 = got_f32;
        t->gemm(&p);
        return memcmp(want_f32, got_f32, (size_t)m * (size_t)n * 4) != 0;
    }
    if (below(2)) {
        p.residual = res + below(16);
        p.residual_stride = out_stride;
    }
    if (below(3) == 0) { /* the residual is the output itself */
        memcpy(want + GUARD, res, (size_t)m * (size_t)out_stride);
        memcpy(got + GUARD, res, (size_t)m * (size_t)out_stride);
        p.residual = want + GUARD;
        p.residual_stride = out_stride;
    }
    p.b = packed[0];
    p.out = want + GUARD;
    s->gemm(&p);
    p.b = packed[1];
    p.out = got + GUARD;
    if (p.residual == want + GUARD)
        p.residual = got + GUARD;
    t->gemm(&p);
    return compare("gemm", (size_t)m * (size_t)out_stride);
}

static int check_depthwise(const struct qd_kernels *s, const struct qd_kernels *t)
{
    struct qd_requant q;
    uint8_t pad[400 + GUARD];
    struct qd_depthwise_params p = {
        .h = 1 + below(12),       .w = 1 + below(12),        .c = 1 + below(below(3) ? 70 : 300),
        .kernel_h = 1 + below(7), .kernel_w = 1 + below(7),  .stride_h = 1 + below(3),
        .stride_w = 1 + below(3), .dilation_h = 1 + below(2), .dilation_w = 1 + below(2),
        .pad_value = pad,         .requant = &q,
    };
    int taps = p.kernel_h * p.kernel_w;
    size_t size;

    p.pad_top = below(p.kernel_h);
    p.pad_left = below(p.kernel_w);
    p.out_h = 1 + below(10);
    p.out_w = 1 + below(10);
    p.y_begin = below(p.out_h);
    p.y_end = p.y_begin + 1 + below(p.out_h - p.y_begin);
    size = (size_t)p.out_h * (size_t)p.out_w * (size_t)p.c;
    fill(in_a, (size_t)p.h * (size_t)p.w * (size_t)p.c + 16);
    fill(pad, sizeof(pad));
    fill(res, size + 16);
    fill_weights(weights, (size_t)p.c * (size_t)taps);
    fill_requant(&q, p.c, taps);
    p.in = in_a + below(16);
    p.residual = below(3) ? NULL : res + below(8);
    s->depthwise_pack(packed[0], weights, p.c, taps);
    t->depthwise_pack(packed[1], weights, p.c, taps);
    reset(size);
    p.weights = packed[0];
    p.out = want + GUARD;
    s->depthwise(&p);
    p.weights = packed[1];
    p.out = got + GUARD;
    t->depthwise(&p);
    return compare("depthwise", size);
}

static int check_pool(const struct qd_kernels *s, const struct qd_kernels *t, int average)
{
    struct qd_pool_params p = {
        .h = 1 + below(12),       .w = 1 + below(12),       .c = 1 + below(70),
        .kernel_h = 1 + below(4), .kernel_w = 1 + below(4), .stride_h = 1 + below(3),
        .stride_w = 1 + below(3), .dilation_h = 1,          .dilation_w = 1,
        .in_zero = below(256),    .mult = 0.2f + 2 * unit(), .out_zero = (float)below(256),
        .clamp_min = 0,           .clamp_max = 255,
    };
    size_t size;

    p.pad_top = below(p.kernel_h);
    p.pad_left = below(p.kernel_w);
    /* Every window holds a pixel. */
    p.out_h = (p.h - 1 + p.pad_top) / p.stride_h + 1;
    p.out_w = (p.w - 1 + p.pad_left) / p.stride_w + 1;
    p.y_begin = below(p.out_h);
    p.y_end = p.y_begin + 1 + below(p.out_h - p.y_begin);
    p.divisor_all = below(2) ? p.kernel_h * p.kernel_w : 0;
    size = (size_t)p.out_h * (size_t)p.out_w * (size_t)p.c;
    fill(in_a, (size_t)p.h * (size_t)p.w * (size_t)p.c + 16);
    p.in = in_a + below(16);
    reset(size);
    p.out = want + GUARD;
    (average ? s->average_pool : s->max_pool)(&p);
    p.out = got + GUARD;
    (average ? t->average_pool : t->max_pool)(&p);
    return compare(average ? "average_pool" : "max_pool", size);
}

static int check_max_pool(const struct qd_kernels *s, const struct qd_kernels *t)
{
    return check_pool(s, t, 0);
}

static int check_average_pool(const struct qd_kernels *s, const struct qd_kernels *t)
{
    return check_pool(s, t, 1);
}

static int check_add(const struct qd_kernels *s, const struct qd_kernels *t)
{
    struct qd_add_params p = {.n = (size_t)below(200), .a_mult = 2 * unit(), .b_mult = 2 * unit(),
                              .offset = 200 * unit() - 100, .clamp_min = (uint8_t)below(9), .clamp_max = (uint8_t)(255 - below(9))};

    fill(in_a, p.n + 16);
    fill(in_b, p.n + 16);
    p.a = in_a + below(16);
    p.b = in_b + below(16);
    reset(p.n);
    p.out = want + GUARD;
    s->add(&p);
    p.out = got + GUARD;
    t->add(&p);
    return compare("add", p.n);
}

static int check_mul(const struct qd_kernels *s, const struct qd_kernels *t)
{
    struct qd_mul_params p = {.m = (size_t)below(20), .c = 1 + below(70), .a_zero = below(256), .b_zero = below(256),
                              .mult = 0.02f * unit(), .zero = (float)below(256), .clamp_max = 255};
    size_t n = p.m * (size_t)p.c;

    p.b_stride = below(2) ? p.c : 0;
    fill(in_a, n + 16);
    fill(in_b, n + 100);
    p.a = in_a + below(16);
    p.b = in_b + below(16);
    reset(n);
    p.out = want + GUARD;
    s->mul(&p);
    p.out = got + GUARD;
    t->mul(&p);
    return compare("mul", n);
}

static int check_sum_rows(const struct qd_kernels *s, const struct qd_kernels *t)
{
    size_t m = (size_t)below(60);
    int c = 1 + below(70);
    int32_t a[80], b[80];

    for (int i = 0; i < 80; i++)
        a[i] = b[i] = below(1000);
    fill(in_a, m * (size_t)c);
    s->sum_rows(in_a, m, c, a);
    t->sum_rows(in_a, m, c, b);
    return memcmp(a, b, sizeof(a)) != 0;
}

static int check_lookup(const struct qd_kernels *s, const struct qd_kernels *t)
{
    size_t n = (size_t)below(200);

    fill(in_a, n);
    fill(in_b, 256);
    reset(n);
    s->lookup(in_a, want + GUARD, n, in_b);
    t->lookup(in_a, got + GUARD, n, in_b);
    return compare("lookup", n);
}

static int check_quantize(const struct qd_kernels *s, const struct qd_kernels *t)
{
    size_t n = (size_t)below(200);
    float scale = 10 * unit(), zero = (float)below(256);

    for (size_t i = 0; i < n; i++)
        want_f32[i] = below(20) ? 40 * unit() - 20 : below(2) ? NAN : below(2) ? INFINITY : -INFINITY;
    reset(n);
    s->quantize(want_f32, want + GUARD, n, scale, zero);
    t->quantize(want_f32, got + GUARD, n, scale, zero);
    return compare("quantize", n);
}

static int check_dequantize(const struct qd_kernels *s, const struct qd_kernels *t)
{
    size_t n = (size_t)below(200);
    int zero = below(256);

    fill(in_a, n);
    s->dequantize(in_a, want_f32, n, 0.37f, zero);
    t->dequantize(in_a, got_f32, n, 0.37f, zero);
    return memcmp(want_f32, got_f32, n * 4) != 0;
}

static const struct {
    const char *name;
    int (*check)(const struct qd_kernels *scalar, const struct qd_kernels *tier);
} kernels[] = {
    {"gemm", check_gemm},         {"depthwise", check_depthwise}, {"max_pool", check_max_pool},
    {"average_pool", check_average_pool}, {"add", check_add},     {"mul", check_mul},
    {"sum_rows", check_sum_rows}, {"lookup", check_lookup},       {"quantize", check_quantize},
    {"dequantize", check_dequantize},
};
#define N_KERNELS ((int)(sizeof(kernels) / sizeof(kernels[0])))

/* scalar against the formula in double, where fma and rint are exact for these sizes. */
static int check_scalar(const struct qd_kernels *s)
{
    for (int round = 0; round < 200; round++) {
        int m = 1 + below(4), n = 1 + below(9), k = 1 + below(60);
        struct qd_requant q;
        struct qd_gemm_params p = {.a = in_a, .a_stride = k, .b = packed[0], .m = m, .n = n, .k = k, .out = got,
                                   .out_stride = n, .requant = &q};

        fill(in_a, (size_t)(m * k));
        fill_weights(weights, (size_t)(n * k));
        fill_requant(&q, n, k);
        q.act = QD_REQUANT_LINEAR;
        s->gemm_pack(packed[0], weights, n, k);
        s->gemm(&p);
        for (int i = 0; i < m * n; i++) {
            double acc = 0, u;

            for (int x = 0; x < k; x++)
                acc += (double)in_a[i / n * k + x] * weights[i % n * k + x];
            u = rint((double)(float)(acc * (double)mult[i % n] + (double)offset[i % n]));
            u = u < q.clamp_min ? q.clamp_min : u > q.clamp_max ? q.clamp_max : u;
            if (got[i] != (uint8_t)u) {
                printf("# scalar gemm: expected %g, found %d\n", u, got[i]);
                return 1;
            }
        }
    }
    return 0;
}

/* A quarter of a second of one gemm shape: GMAC/s, one thread. */
static void bench_gemm(const struct qd_kernels *t, int m, int n, int k)
{
    struct qd_requant q;
    struct qd_gemm_params p = {.a = in_a, .a_stride = k, .b = packed[0], .m = m, .n = n, .k = k, .out = got,
                               .out_stride = n, .requant = &q};
    double best = 0;

    fill_requant(&q, n, k);
    q.act = QD_REQUANT_LINEAR;
    for (size_t i = 0; i < (size_t)m * (size_t)k; i++)
        in_a[i] = (uint8_t)rnd();
    for (size_t i = 0; i < (size_t)n * (size_t)k; i++)
        weights[i] = (int8_t)(below(255) - 127);
    t->gemm_pack(packed[0], weights, n, k);
    for (int64_t begin = qd_now_ns(); qd_now_ns() - begin < 250000000;) {
        int64_t start = qd_now_ns();
        double rate;

        t->gemm(&p);
        rate = (double)m * n * k / (double)(qd_now_ns() - start);
        best = rate > best ? rate : best;
    }
    printf("%-8s gemm %4d x %4d x %4d  %7.1f GMAC/s\n", t->name, m, n, k, best);
}

static void bench_depthwise(const struct qd_kernels *t, int size, int c, int kernel)
{
    struct qd_requant q;
    uint8_t pad[1024] = {0};
    struct qd_depthwise_params p = {.in = in_a, .weights = packed[0], .pad_value = pad, .out = got, .h = size, .w = size,
                                    .c = c, .out_h = size, .out_w = size, .kernel_h = kernel, .kernel_w = kernel,
                                    .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1,
                                    .pad_top = kernel / 2, .pad_left = kernel / 2, .y_end = size, .requant = &q};
    double best = 0;

    fill_requant(&q, c, kernel * kernel);
    fill_weights(weights, (size_t)(c * kernel * kernel));
    t->depthwise_pack(packed[0], weights, c, kernel * kernel);
    for (int64_t begin = qd_now_ns(); qd_now_ns() - begin < 250000000;) {
        int64_t start = qd_now_ns();
        double rate;

        t->depthwise(&p);
        rate = (double)size * size * c * kernel * kernel / (double)(qd_now_ns() - start);
        best = rate > best ? rate : best;
    }
    printf("%-8s depthwise %d x %d x %d, %dx%d  %7.1f GMAC/s\n", t->name, size, size, c, kernel, kernel, best);
}

static void bench(void)
{
    for (int i = 0; i < QD_N_ISA; i++) {
        const struct qd_kernels *t = qd_kernels_of((enum qd_isa)i);

        if (!t)
            continue;
        bench_gemm(t, 196, 64, 64);
        bench_gemm(t, 196, 256, 576);
        bench_gemm(t, 196, 96, 32);
        bench_gemm(t, 49, 64, 4608);
        bench_gemm(t, 1, 64, 1280);
        bench_depthwise(t, 28, 96, 3);
        bench_depthwise(t, 14, 144, 5);
    }
}

int main(int argc, char **argv)
{
    const struct qd_kernels *scalar = qd_kernels_of(QD_ISA_SCALAR);
    int number = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0) {
            bench();
            return 0;
        }
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc)
            rounds = atoi(argv[++i]);
    }
    printf("1..%d\n# seed %llu\n", 1 + N_KERNELS * (QD_N_ISA - 1), (unsigned long long)seed);
    printf("%s %d - scalar gemm against the formula\n", check_scalar(scalar) ? "not ok" : "ok", number++);
    for (int i = QD_ISA_SCALAR + 1; i < QD_N_ISA; i++) {
        const struct qd_kernels *tier = qd_kernels_of((enum qd_isa)i);

        printf("# tier %s: %s\n", qd_isa_name((enum qd_isa)i), tier ? "covered" : "NOT covered: this CPU lacks it");
        for (int j = 0; j < N_KERNELS; j++, number++) {
            int failed = 0;

            if (!tier) {
                printf("ok %d - %s %s # SKIP this CPU lacks %s\n", number, kernels[j].name, qd_isa_name((enum qd_isa)i),
                       qd_isa_name((enum qd_isa)i));
                continue;
            }
            for (int round = 0; round < rounds && !failed; round++)
                failed = kernels[j].check(scalar, tier);
            printf("%s %d - %s %s\n", failed ? "not ok" : "ok", number, kernels[j].name, tier->name);
        }
    }
    return 0;
}
