/* Problems for the kernels that multiply by weights: the convolution and the depthwise convolution. */
#include "tests/kernel/check.h"

#include <string.h>

static void *packed_conv(struct check *check, const struct qd_kernels *kernels, const int8_t *w,
                         const struct qd_conv_params *p)
{
    void *memory = check_input(check, kernels->conv_pack_size(p->n, p->n_runs, p->run_k), 1);

    kernels->conv_pack(memory, w, p->n, p->n_runs, p->run_k);
    return memory;
}

static void *packed_depthwise(struct check *check, const struct qd_kernels *kernels, const int8_t *w, int c, int taps)
{
    void *memory = check_input(check, kernels->depthwise_pack_size(c, taps), 1);

    kernels->depthwise_pack(memory, w, c, taps);
    return memory;
}

/* Out of a batch of images: some of the pixels, the panels of some of the channels. Returns the number of images. */
static int conv_sizes(struct check *check, struct qd_conv_params *p)
{
    int m = check_size(check, 70, 300), n = check_size(check, 70, 300), k = check_size(check, 70, 3000), pixels;
    int n_images = check_between(check, 1, 3), panel = QD_CONV_PANEL;

    if (check->iteration < 70) { /* one size goes through 1 .. 70 at a time */
        int *fixed[] = {&m, &n, &k};
        for (int i = 0; i < 3; i++)
            *fixed[i] = check_chance(check, 2) ? *fixed[i] : check_between(check, 1, 20);
    }
    if (check_chance(check, 100)) { /* rows too long to be copied together */
        m = check_between(check, 1, 40);
        n = check_between(check, 1, 20);
        k = check_between(check, 3000, 12000);
    }
    if (check_chance(check, 50)) { /* more pixels than go through the weights together */
        m = check_between(check, 300, 1500);
        n = check_between(check, 1, 40);
        k = check_between(check, 1, 40);
    }
    p->n = n;
    p->n_runs = check_chance(check, 2) ? 1 : check_between(check, 1, 12);
    p->run_k = (k + p->n_runs - 1) / p->n_runs;
    if (check_chance(check, 4)) /* as most channels have it: whole steps of the widest kernels */
        p->run_k = (p->run_k + 63) / 64 * 64;
    p->out_w = check_chance(check, 4) ? m : check_between(check, 1, m);
    p->out_h = (m + p->out_w * n_images - 1) / (p->out_w * n_images);
    pixels = p->out_w * p->out_h * n_images;
    p->first = check_chance(check, 2) ? 0 : check_between(check, 0, pixels - 1);
    p->m = check_chance(check, 2) ? pixels - (int)p->first : check_between(check, 1, pixels - (int)p->first);
    p->n_begin = check_chance(check, 2) ? 0 : check_between(check, 0, (n - 1) / panel) * panel;
    p->n_end = check_chance(check, 2) ? n : check_between(check, p->n_begin / panel + 1, n / panel + 1) * panel;
    p->n_end = p->n_end > n ? n : p->n_end;
    return n_images;
}

/* Rows and images whole pixels apart, as padding leaves them; returns the bytes up to the last pixel's end. */
static size_t padded_steps(struct check *check, const struct qd_conv_params *p, int size, int n_images,
                           struct qd_steps *ret)
{
    ret->x = size;
    ret->y = (ptrdiff_t)size * (p->out_w + check_between(check, 0, 3));
    ret->image = ret->y * (p->out_h + check_between(check, 0, 2));
    return (size_t)((n_images - 1) * ret->image + (p->out_h - 1) * ret->y + p->out_w * ret->x);
}

/* Windows that overlap, as a convolution's do, or any other place of the runs. */
static void conv_input(struct check *check, struct qd_conv_params *p, int n_images)
{
    ptrdiff_t *offsets = check_input(check, (size_t)p->n_runs * sizeof(ptrdiff_t), sizeof(ptrdiff_t));
    int reach = check_chance(check, 2) ? p->run_k : 3 * p->run_k + 100, furthest = 0;
    int pixel_size = check_between(check, 1, p->run_k);
    size_t size = check_chance(check, 2) ? padded_steps(check, p, pixel_size, n_images, &p->in_steps)
                                         : check_steps(check, pixel_size, p->out_h, p->out_w, n_images, &p->in_steps);

    for (int r = 0; r < p->n_runs; r++) {
        int offset = check_between(check, 0, reach);

        offsets[r] = offset;
        furthest = offset > furthest ? offset : furthest;
    }
    p->run_offset = offsets;
    p->in = check_activations(check, size + (size_t)(furthest + p->run_k));
}

static bool conv_problem(struct check *check, bool f32)
{
    struct qd_conv_params base = {0}, tested;
    struct check_output out;
    struct qd_requant requant;
    int n_images = conv_sizes(check, &base);
    size_t out_size = check_steps(check, base.n, base.out_h, base.out_w, n_images, &base.out_steps);
    int8_t *w = check_weights(check, (size_t)base.n * (size_t)base.n_runs * (size_t)base.run_k);

    base.requant = &requant;
    conv_input(check, &base, n_images);
    if (f32)
        check_output(check, (size_t)base.m * (size_t)base.n * sizeof(float), sizeof(float), &out);
    else
        check_output(check, out_size, 1, &out);
    check_requant(check, base.n, (int64_t)base.n_runs * base.run_k * 255 * 127, &requant);
    if (!f32 && check_chance(check, 3))
        base.residual = check_activations(
            check, check_steps(check, base.n, base.out_h, base.out_w, n_images, &base.residual_steps));
    tested = base;
    base.weights = packed_conv(check, check->base, w, &base);
    tested.weights = packed_conv(check, check->tested, w, &base);
    base.out = f32 ? NULL : out.base;
    tested.out = f32 ? NULL : out.tested;
    base.out_f32 = f32 ? (float *)out.base : NULL;
    tested.out_f32 = f32 ? (float *)out.tested : NULL;
    if (!f32 && check_chance(check, 6)) { /* in place */
        base.residual_steps = tested.residual_steps = base.out_steps;
        base.residual = out.base;
        tested.residual = out.tested;
    }
    check->base->conv(&base);
    check->tested->conv(&tested);
    return check_same(check, &out,
                      "conv %d images %dx%d pixels %d +%d channels %d .. %d of %d runs %dx%d steps %td %td %td "
                      "residual %d act %d",
                      n_images, base.out_h, base.out_w, (int)base.first, base.m, base.n_begin, base.n_end, base.n,
                      base.n_runs, base.run_k, base.in_steps.x, base.in_steps.y, base.in_steps.image,
                      base.residual != NULL, requant.act);
}

bool check_conv(struct check *check)
{
    return conv_problem(check, false);
}

bool check_conv_f32(struct check *check)
{
    return conv_problem(check, true);
}

/* A window over rows and columns that hold its padding: sizes of the output, and of the input that it takes. */
static void depthwise_window(struct check *check, struct qd_depthwise_params *p, int *ret_h, int *ret_w, int *ret_out_h)
{
    static const int usual[] = {1, 3, 3, 3, 5, 5, 7};

    p->kernel_h = p->kernel_w = usual[check_between(check, 0, 6)];
    if (check_chance(check, 4)) {
        p->kernel_h = check_between(check, 1, 6);
        p->kernel_w = check_between(check, 1, 6);
    }
    if (check_chance(check, 60)) { /* more taps than are taken at a time */
        p->kernel_h = check_between(check, 8, 40);
        p->kernel_w = check_between(check, 8, 40);
    }
    p->stride_h = check_between(check, 1, 3);
    p->stride_w = check_between(check, 1, 3);
    p->dilation_h = check_chance(check, 4) ? check_between(check, 1, 3) : 1;
    p->dilation_w = check_chance(check, 4) ? check_between(check, 1, 3) : 1;
    *ret_out_h = check_between(check, 1, 14);
    p->out_w = check_chance(check, 8) ? check_between(check, 50, 200) : check_between(check, 1, 20);
    *ret_h = (*ret_out_h - 1) * p->stride_h + (p->kernel_h - 1) * p->dilation_h + 1;
    *ret_w = (p->out_w - 1) * p->stride_w + (p->kernel_w - 1) * p->dilation_w + 1;
    p->y_begin = check_chance(check, 2) ? 0 : check_between(check, 0, *ret_out_h - 1);
    p->y_end = check_chance(check, 2) ? *ret_out_h : check_between(check, p->y_begin, *ret_out_h);
}

bool check_depthwise(struct check *check)
{
    struct qd_depthwise_params base = {0}, tested;
    struct check_output out;
    struct qd_requant requant;
    int taps, h, w, out_h;
    int8_t *weights;

    depthwise_window(check, &base, &h, &w, &out_h);
    base.c = check_size(check, 70, 200);
    if (base.kernel_h * base.kernel_w > 49)
        base.c = check_between(check, 1, 20);
    taps = base.kernel_h * base.kernel_w;
    weights = check_weights(check, (size_t)base.c * (size_t)taps);
    base.in = check_activations(check, check_steps(check, base.c, h, w, 1, &base.in_steps));
    base.requant = &requant;
    check_output(check, check_steps(check, base.c, out_h, base.out_w, 1, &base.out_steps), 1, &out);
    check_requant(check, base.c, (int64_t)taps * 255 * 127, &requant);
    if (check_chance(check, 3))
        base.residual =
            check_activations(check, check_steps(check, base.c, out_h, base.out_w, 1, &base.residual_steps));
    tested = base;
    base.weights = packed_depthwise(check, check->base, weights, base.c, taps);
    tested.weights = packed_depthwise(check, check->tested, weights, base.c, taps);
    base.out = out.base;
    tested.out = out.tested;
    if (check_chance(check, 6)) {
        base.residual_steps = tested.residual_steps = base.out_steps;
        base.residual = out.base;
        tested.residual = out.tested;
    }
    check->base->depthwise(&base);
    check->tested->depthwise(&tested);
    return check_same(
        check, &out,
        "depthwise c %d kernel %dx%d stride %dx%d dilation %dx%d out %dx%d rows %d .. %d residual %d act %d", base.c,
        base.kernel_h, base.kernel_w, base.stride_h, base.stride_w, base.dilation_h, base.dilation_w, out_h, base.out_w,
        base.y_begin, base.y_end, base.residual != NULL, requant.act);
}
