/*
 * Problems for the float kernels on blocks of channels: the base solves them in planes, so that the same floats are
 * proven whatever the order.
 */
#include "tests/kernel/check.h"

static int blocked(int c)
{
    return (int)qd_f32_blocks((size_t)c) * QD_F32_BLOCK;
}

/* Where channel c of pixel i lies in blocks. */
static ptrdiff_t place(int c, int pixels, int i)
{
    return ((ptrdiff_t)(c / QD_F32_BLOCK) * pixels + i) * QD_F32_BLOCK + c % QD_F32_BLOCK;
}

/* Planes as blocks; what is past c is random. */
static const float *to_blocks(struct check *check, const float *planes, int c, int pixels)
{
    float *blocks = check_floats(check, blocked(c) * pixels);

    for (int i = 0; i < c * pixels; i++)
        blocks[place(i / pixels, pixels, i % pixels)] = planes[i];
    return blocks;
}

/* The base's planes into its copy of the output; what is past n is as the tested kernel left it. */
static void put_base(const struct check_output *out, const float *planes, int n, int pixels)
{
    float *base = (float *)(void *)out->base;

    for (int c = 0; c < blocked(n); c++)
        for (int i = 0; i < pixels; i++) {
            ptrdiff_t at = place(c, pixels, i);

            base[at] = c < n ? planes[(ptrdiff_t)c * pixels + i] : ((const float *)(const void *)out->tested)[at];
        }
}

static const float *packed(struct check *check, const float *rows, int n, int k)
{
    float *out = rows ? check_floats(check, blocked(n) * k) : NULL;

    if (out)
        qd_f32_pack_blocks(rows, n, (size_t)k, out);
    return out;
}

static void *scratch(struct check *check, size_t size)
{
    return check_input(check, size > QD_KERNEL_SLACK ? size - QD_KERNEL_SLACK : size, 64);
}

typedef void kernel(const struct qd_conv_f32_params *params);

/* c and n are set. k: weights of an output, 0: it has none. */
static bool solve(struct check *check, struct qd_conv_f32_params *base, int n_weights, kernel *planes, kernel *blocks,
                  size_t (*planes_scratch)(const struct qd_conv_f32_params *),
                  size_t (*blocks_scratch)(const struct qd_conv_f32_params *))
{
    struct qd_activation act = check_activation(check);
    struct qd_conv_f32_params tested;
    struct check_output out;
    int k, in_pixels, pixels;

    base->h = check_size(check, 20, 40);
    base->w = check_size(check, 40, 70);
    if (check_chance(check, 2)) /* a picture of few pixels */
        base->h = base->w = check_between(check, 1, 8);
    if (check_chance(check, 8)) { /* rows of many stretches, whatever the stride */
        base->h = check_between(check, 1, 6);
        base->w = check_between(check, 60, 150);
    }
    check_window(check, base);
    k = n_weights * base->window.kernel_h * base->window.kernel_w;
    in_pixels = base->h * base->w;
    pixels = base->out_h * base->out_w;
    base->in = check_floats(check, base->c * in_pixels);
    if (k) {
        base->weights = check_floats(check, base->n * k);
        base->bias = check_chance(check, 4) ? NULL : check_floats(check, base->n);
        base->pad = check_chance(check, 4) ? check_floats(check, base->c) : NULL;
        base->act = check_chance(check, 2) ? NULL : &act;
        base->residual = base->act && check_chance(check, 2) ? check_floats(check, base->n * pixels) : NULL;
    }
    tested = *base;
    tested.in_planes = n_weights == base->c && base->n != base->c && check_chance(check, 3);
    tested.in = tested.in_planes ? base->in : to_blocks(check, base->in, base->c, in_pixels);
    tested.weights = packed(check, base->weights, base->n, k);
    tested.bias = packed(check, base->bias, base->n, 1);
    tested.residual = base->residual ? to_blocks(check, base->residual, base->n, pixels) : NULL;
    check_output(check, (size_t)(blocked(base->n) * pixels) * sizeof(float), sizeof(float), &out);
    tested.out = (float *)(void *)out.tested;
    tested.scratch = scratch(check, blocks_scratch(&tested));
    base->out = check_floats(check, base->n * pixels);
    base->scratch = scratch(check, planes_scratch(base));
    planes(base);
    blocks(&tested);
    put_base(&out, base->out, base->n, pixels);
    return check_same(check, &out,
                      "%d channels of %dx%d%s to %d of %dx%d, window %dx%d strides %d %d dilations %d %d pads %d %d "
                      "act %d residual %d",
                      base->c, base->h, base->w, tested.in_planes ? " in planes" : "", base->n, base->out_h,
                      base->out_w, base->window.kernel_h, base->window.kernel_w, base->window.stride_h,
                      base->window.stride_w, base->window.dilation_h, base->window.dilation_w, base->window.pad_top,
                      base->window.pad_left, base->act ? (int)act.kind : -1, base->residual != NULL);
}

bool check_blocks_conv(struct check *check)
{
    struct qd_conv_f32_params base = {.c = check_between(check, 1, 40), .n = check_size(check, 60, 90)};

    if (check_chance(check, 30)) /* several blocks of k */
        base.c = check_between(check, 40, 600);
    return solve(check, &base, base.c, check->base->f32->conv, check->tested->f32->conv_blocks, qd_conv_f32_scratch,
                 qd_conv_blocks_f32_scratch);
}

bool check_blocks_depthwise(struct check *check)
{
    int c = check_between(check, 1, 40);
    struct qd_conv_f32_params base = {.c = c, .n = c};

    return solve(check, &base, 1, check->base->f32->depthwise, check->tested->f32->depthwise_blocks,
                 qd_depthwise_f32_scratch, qd_window_blocks_f32_scratch);
}

bool check_blocks_max_pool(struct check *check)
{
    int c = check_between(check, 1, 40);
    struct qd_conv_f32_params base = {.c = c, .n = c};

    return solve(check, &base, 0, check->base->f32->max_pool, check->tested->f32->max_pool_blocks,
                 qd_depthwise_f32_scratch, qd_window_blocks_f32_scratch);
}

bool check_blocks_order(struct check *check)
{
    int c = check_between(check, 1, 40), pixels = check_size(check, 50, 2000);
    bool back = check_chance(check, 2);
    const float *planes = check_floats(check, c * pixels);
    const float *blocks = to_blocks(check, planes, c, pixels);
    struct check_output out;

    check_output(check, (size_t)((back ? c : blocked(c)) * pixels) * sizeof(float), sizeof(float), &out);
    if (back) {
        for (int i = 0; i < c * pixels; i++)
            ((float *)(void *)out.base)[i] = planes[i];
        check->tested->f32->from_blocks(blocks, (float *)(void *)out.tested, c, (size_t)pixels);
    } else {
        for (int i = 0; i < blocked(c) * pixels; i++)
            ((float *)(void *)out.base)[i] = 0;
        for (int i = 0; i < c * pixels; i++)
            ((float *)(void *)out.base)[place(i / pixels, pixels, i % pixels)] = planes[i];
        check->tested->f32->to_blocks(planes, (float *)(void *)out.tested, c, (size_t)pixels);
    }
    return check_same(check, &out, "%d channels of %d pixels %s blocks", c, pixels, back ? "from" : "to");
}
