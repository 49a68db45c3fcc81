/* Problems for the kernels without weights: pools and element by element. */
#include "tests/kernel/check.h"

#include <math.h>
#include <string.h>

bool check_add(struct check *check)
{
    size_t n = (size_t)check_size(check, 200, 5000);
    struct qd_add_params base = {.n = n}, tested;
    struct check_output out;
    bool ties = check_chance(check, 2);
    int in_place = check_between(check, 0, 3);

    base.a = check_activations(check, n);
    base.b = check_activations(check, n);
    base.a_mult = ties ? 0.5f : check_real(check, 0, 2);
    base.b_mult = ties ? 0.25f : check_real(check, 0, 2);
    base.offset = ties ? (float)check_between(check, -400, 200) / 4 : check_real(check, -300, 200);
    check_clamp(check, &base.clamp_min, &base.clamp_max);
    check_output(check, n, 1, &out);
    tested = base;
    base.out = out.base;
    tested.out = out.tested;
    if (in_place == 1) {
        base.a = out.base;
        tested.a = out.tested;
    } else if (in_place == 2) {
        base.b = out.base;
        tested.b = out.tested;
    }
    check->base->add(&base);
    check->tested->add(&tested);
    return check_same(check, &out, "add n %zu in place %d", n, in_place);
}

bool check_mul(struct check *check)
{
    size_t n = (size_t)check_size(check, 200, 5000);
    struct qd_mul_params base = {.n = n}, tested;
    struct check_output out;
    bool in_place = check_chance(check, 3);

    base.a = check_activations(check, n);
    base.b = check_activations(check, n);
    base.a_zero = check_between(check, 0, 255);
    base.b_zero = check_between(check, 0, 255);
    base.mult = check_chance(check, 2) ? 1.0f / 128 : check_real(check, 0, 0.02f);
    base.zero = (float)check_between(check, 0, 255);
    check_clamp(check, &base.clamp_min, &base.clamp_max);
    check_output(check, n, 1, &out);
    tested = base;
    base.out = out.base;
    tested.out = out.tested;
    if (in_place) {
        base.a = out.base;
        tested.a = out.tested;
    }
    check->base->mul(&base);
    check->tested->mul(&tested);
    return check_same(check, &out, "mul n %zu in place %d", n, in_place);
}

bool check_affine(struct check *check)
{
    struct qd_affine_params base = {.m = (size_t)check_between(check, 1, 12)}, tested;
    struct qd_requant requant;
    struct check_output out;
    bool in_place = check_chance(check, 3);
    size_t size;

    base.c = check_size(check, 140, 600);
    size = base.m * (size_t)base.c;
    base.in = check_activations(check, size);
    check_requant(check, base.c, 255, &requant);
    base.mult = requant.mult;
    base.offset = requant.offset;
    base.clamp_min = requant.clamp_min;
    base.clamp_max = requant.clamp_max;
    check_output(check, size, 1, &out);
    tested = base;
    base.out = out.base;
    tested.out = out.tested;
    if (in_place) {
        base.in = out.base;
        tested.in = out.tested;
    }
    check->base->affine(&base);
    check->tested->affine(&tested);
    return check_same(check, &out, "affine %zu rows of %d, in place %d", base.m, base.c, in_place);
}

/* ceil(sizes) as ceil_mode makes them, so that windows may hang over the end. */
static int pool_out(int in, int kernel, int stride, int dilation, int pads)
{
    int room = in + pads - ((kernel - 1) * dilation + 1);

    return room < 0 ? 1 : (room + stride - 1) / stride + 1;
}

static bool pool_problem(struct check *check, bool average)
{
    struct qd_pool_params base = {0}, tested;
    struct check_output out;
    int big = check_chance(check, 20) ? 24 : 4;

    base.h = check_between(check, 1, big + 8);
    base.w = check_between(check, 1, big + 8);
    base.c = check_size(check, 80, 300);
    base.kernel_h = check_between(check, 1, big);
    base.kernel_w = check_between(check, 1, big);
    base.stride_h = check_between(check, 1, 3);
    base.stride_w = check_between(check, 1, 3);
    base.dilation_h = check_between(check, 1, 2);
    base.dilation_w = check_between(check, 1, 2);
    base.pad_top = check_between(check, 0, base.kernel_h);
    base.pad_left = check_between(check, 0, base.kernel_w);
    base.out_h = pool_out(base.h, base.kernel_h, base.stride_h, base.dilation_h, 2 * base.pad_top);
    base.out_w = pool_out(base.w, base.kernel_w, base.stride_w, base.dilation_w, 2 * base.pad_left);
    base.y_begin = check_between(check, 0, base.out_h - 1);
    base.y_end = check_between(check, base.y_begin, base.out_h);
    base.in = check_activations(check, check_steps(check, base.c, base.h, base.w, 1, &base.in_steps));
    base.in_zero = check_between(check, 0, 255);
    base.divisor_all = check_chance(check, 2) ? 0 : base.kernel_h * base.kernel_w;
    base.mult = check_chance(check, 2) ? 1 : check_real(check, 0, 4);
    base.out_zero = (float)check_between(check, 0, 255);
    check_clamp(check, &base.clamp_min, &base.clamp_max);
    check_output(check, check_steps(check, base.c, base.out_h, base.out_w, 1, &base.out_steps), 1, &out);
    tested = base;
    base.out = out.base;
    tested.out = out.tested;
    (average ? check->base->average_pool : check->base->max_pool)(&base);
    (average ? check->tested->average_pool : check->tested->max_pool)(&tested);
    return check_same(check, &out, "%s pool %dx%dx%d kernel %dx%d stride %dx%d dilation %dx%d pads %d %d rows %d .. %d",
                      average ? "average" : "max", base.h, base.w, base.c, base.kernel_h, base.kernel_w, base.stride_h,
                      base.stride_w, base.dilation_h, base.dilation_w, base.pad_top, base.pad_left, base.y_begin,
                      base.y_end);
}

bool check_max_pool(struct check *check)
{
    return pool_problem(check, false);
}

bool check_average_pool(struct check *check)
{
    return pool_problem(check, true);
}

bool check_sum_rows(struct check *check)
{
    size_t m = (size_t)check_between(check, 0, check_chance(check, 4) ? 1200 : 70);
    int c = check_size(check, 80, 300);
    ptrdiff_t stride = c + (check_chance(check, 2) ? 0 : check_between(check, 1, 70));
    const uint8_t *in = check_activations(check, m * (size_t)stride);
    struct check_output out;

    check_output(check, (size_t)c * sizeof(int32_t), sizeof(int32_t), &out);
    for (int i = 0; i < c; i++) { /* far from overflow, and not 0: the kernel adds */
        ((int32_t *)out.base)[i] %= 1000000;
        ((int32_t *)out.tested)[i] %= 1000000;
    }
    check->base->sum_rows(in, stride, m, c, (int32_t *)out.base);
    check->tested->sum_rows(in, stride, m, c, (int32_t *)out.tested);
    return check_same(check, &out, "sum of %zu rows of %d, %td apart", m, c, stride);
}

bool check_shuffle(struct check *check)
{
    int groups = check_chance(check, 2) ? 2 : check_between(check, 1, 5), c = groups * check_size(check, 70, 300);
    size_t m = (size_t)check_between(check, 1, 12);
    const uint8_t *in = check_activations(check, m * (size_t)c);
    struct check_output out;

    check_output(check, m * (size_t)c, 1, &out);
    check->base->shuffle(in, out.base, m, c, groups);
    check->tested->shuffle(in, out.tested, m, c, groups);
    return check_same(check, &out, "shuffle of %zu rows of %d in %d groups", m, c, groups);
}

bool check_lookup(struct check *check)
{
    size_t n = (size_t)check_size(check, 300, 5000);
    const uint8_t *table = check_input(check, 256, 1), *in = check_input(check, n, 1);
    struct check_output out;
    bool in_place = check_chance(check, 3);

    check_output(check, n, 1, &out);
    check->base->lookup(in_place ? out.base : in, out.base, n, table);
    check->tested->lookup(in_place ? out.tested : in, out.tested, n, table);
    return check_same(check, &out, "lookup n %zu in place %d", n, in_place);
}

bool check_quantize(struct check *check)
{
    static const float extremes[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 0.0f, -0.0f, 1e-40f};
    size_t n = (size_t)check_size(check, 200, 5000);
    float *in = check_input(check, n * sizeof(float), sizeof(float));
    bool ties = check_chance(check, 2);
    float inverse_scale = ties ? 0.5f : check_real(check, 0.01f, 100), zero = (float)check_between(check, 0, 255);
    struct check_output out;

    for (size_t i = 0; i < n; i++) {
        in[i] = ties ? (float)check_between(check, -600, 600) : check_real(check, -300, 300) / inverse_scale;
        if (check_chance(check, 10))
            in[i] = extremes[check_between(check, 0, 7)];
    }
    check_output(check, n, 1, &out);
    check->base->quantize(in, out.base, n, inverse_scale, zero);
    check->tested->quantize(in, out.tested, n, inverse_scale, zero);
    return check_same(check, &out, "quantize n %zu inverse scale %g zero %g", n, (double)inverse_scale, (double)zero);
}

bool check_dequantize(struct check *check)
{
    size_t n = (size_t)check_size(check, 200, 5000);
    const uint8_t *in = check_input(check, n, 1);
    float scale = check_real(check, 1e-4f, 10);
    int zero = check_between(check, 0, 255);
    struct check_output out;

    check_output(check, n * sizeof(float), sizeof(float), &out);
    check->base->dequantize(in, (float *)out.base, n, scale, zero);
    check->tested->dequantize(in, (float *)out.tested, n, scale, zero);
    return check_same(check, &out, "dequantize n %zu scale %g zero %d", n, (double)scale, zero);
}
