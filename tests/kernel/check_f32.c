/* Problems for the float kernels. */
#include "tests/kernel/check.h"

#include <math.h>

float *check_floats(struct check *check, int n)
{
    size_t size = (size_t)n * sizeof(float);
    float *x = check_input(check, size > QD_KERNEL_SLACK ? size - QD_KERNEL_SLACK : size, sizeof(float));
    float scale = check_chance(check, 20) ? 1e-22f : 1;

    for (int i = 0; i < n; i++)
        x[i] = check_chance(check, 16) ? 0 : check_real(check, -2, 2) * scale;
    return x;
}

struct qd_activation check_activation(struct check *check)
{
    struct qd_activation act = {.kind = (enum qd_activation_kind)check_between(check, QD_ACT_NONE, QD_ACT_MISH)};

    act.min = check_chance(check, 2) ? 0 : check_real(check, -1, 0);
    act.max = check_chance(check, 2) ? INFINITY : check_real(check, 0, 6);
    act.alpha = check_real(check, 0, 1);
    act.beta = check_real(check, 0, 1);
    return act;
}

static int output_size(int in, int kernel, int stride, int dilation, int pad)
{
    int room = in + pad - (kernel - 1) * dilation - 1;

    return room < 0 ? 1 : room / stride + 1;
}

void check_window(struct check *check, struct qd_conv_f32_params *p)
{
    static const int usual[] = {1, 1, 3, 3, 3, 5, 7};
    struct qd_window_f32 *w = &p->window;
    bool any = check_chance(check, 4);

    w->kernel_h = any ? check_between(check, 1, 8) : usual[check_between(check, 0, 6)];
    w->kernel_w = any ? check_between(check, 1, 8) : w->kernel_h;
    w->stride_h = any ? check_between(check, 1, 9) : check_between(check, 1, 2);
    w->stride_w = any ? check_between(check, 1, 9) : w->stride_h;
    w->dilation_h = any ? check_between(check, 1, 5) : check_chance(check, 6) ? 2 : 1;
    w->dilation_w = any ? check_between(check, 1, 5) : w->dilation_h;
    w->pad_top = any ? check_between(check, 0, 9) : w->kernel_h / 2;
    w->pad_left = any ? check_between(check, 0, 9) : w->kernel_w / 2;
    p->out_h = output_size(p->h, w->kernel_h, w->stride_h, w->dilation_h, 2 * w->pad_top);
    p->out_w = output_size(p->w, w->kernel_w, w->stride_w, w->dilation_w, any ? w->pad_left : 2 * w->pad_left);
}

/* c and n are set. */
static bool float_conv(struct check *check, struct qd_conv_f32_params *base, bool depthwise)
{
    struct qd_activation act = check_activation(check);
    struct qd_conv_f32_params tested;
    struct check_output out;
    int taps, pixels;
    size_t scratch;

    base->h = check_size(check, 20, 40);
    base->w = check_size(check, 40, 70);
    if (check_chance(check, 2)) /* a picture of few pixels */
        base->h = base->w = check_between(check, 1, 8);
    check_window(check, base);
    taps = base->window.kernel_h * base->window.kernel_w;
    pixels = base->out_h * base->out_w;
    base->in = check_floats(check, base->c * base->h * base->w);
    base->weights = check_floats(check, (depthwise ? 1 : base->n) * base->c * taps);
    base->bias = check_chance(check, 4) ? NULL : check_floats(check, base->n);
    base->pad = check_chance(check, 4) ? check_floats(check, base->c) : NULL;
    base->act = check_chance(check, 2) ? NULL : &act;
    base->residual = base->act && check_chance(check, 2) ? check_floats(check, base->n * pixels) : NULL;
    check_output(check, (size_t)(base->n * pixels) * sizeof(float), sizeof(float), &out);
    tested = *base;
    base->out = (float *)(void *)out.base;
    tested.out = (float *)(void *)out.tested;
    scratch = depthwise ? qd_depthwise_f32_scratch(base) : qd_conv_f32_scratch(base);
    base->scratch = check_input(check, scratch > QD_KERNEL_SLACK ? scratch - QD_KERNEL_SLACK : scratch, 64);
    tested.scratch = base->scratch;
    if (depthwise) {
        check->base->f32->depthwise(base);
        check->tested->f32->depthwise(&tested);
    } else {
        check->base->f32->conv(base);
        check->tested->f32->conv(&tested);
    }
    return check_same(check, &out,
                      "%d channels of %dx%d to %d of %dx%d, window %dx%d strides %d %d dilations %d %d "
                      "pads %d %d act %d residual %d",
                      base->c, base->h, base->w, base->n, base->out_h, base->out_w, base->window.kernel_h,
                      base->window.kernel_w, base->window.stride_h, base->window.stride_w, base->window.dilation_h,
                      base->window.dilation_w, base->window.pad_top, base->window.pad_left,
                      base->act ? (int)act.kind : -1, base->residual != NULL);
}

bool check_float_conv(struct check *check)
{
    struct qd_conv_f32_params base = {.c = check_between(check, 1, 20), .n = check_size(check, 20, 40)};

    if (check_chance(check, 30)) /* several blocks of k */
        base.c = check_between(check, 20, 600);
    return float_conv(check, &base, false);
}

bool check_float_depthwise(struct check *check)
{
    int c = check_between(check, 1, 6);
    struct qd_conv_f32_params base = {.c = c, .n = c};

    return float_conv(check, &base, true);
}

bool check_float_max_pool(struct check *check)
{
    int c = check_between(check, 1, 6);
    struct qd_conv_f32_params base = {.c = c}, tested;
    struct check_output out;
    size_t scratch;

    base.h = check_size(check, 20, 40);
    base.w = check_size(check, 40, 70);
    check_window(check, &base);
    base.in = check_floats(check, c * base.h * base.w);
    check_output(check, (size_t)(c * base.out_h * base.out_w) * sizeof(float), sizeof(float), &out);
    scratch = qd_depthwise_f32_scratch(&base);
    base.scratch = check_input(check, scratch > QD_KERNEL_SLACK ? scratch - QD_KERNEL_SLACK : scratch, 64);
    tested = base;
    base.out = (float *)(void *)out.base;
    tested.out = (float *)(void *)out.tested;
    check->base->f32->max_pool(&base);
    check->tested->f32->max_pool(&tested);
    return check_same(check, &out, "max pool of %d channels of %dx%d window %dx%d strides %d %d", c, base.h, base.w,
                      base.window.kernel_h, base.window.kernel_w, base.window.stride_h, base.window.stride_w);
}

bool check_float_matvec(struct check *check)
{
    struct qd_matvec_f32_params base = {.n = check_size(check, 20, 60), .k = check_size(check, 70, 2000)}, tested;
    struct check_output out;

    base.weights = check_floats(check, base.n * base.k);
    base.in = check_floats(check, base.k);
    base.bias = check_chance(check, 4) ? NULL : check_floats(check, base.n);
    check_output(check, (size_t)base.n * sizeof(float), sizeof(float), &out);
    tested = base;
    base.out = (float *)(void *)out.base;
    tested.out = (float *)(void *)out.tested;
    check->base->f32->matvec(&base);
    check->tested->f32->matvec(&tested);
    return check_same(check, &out, "matvec of %d by %d", base.n, base.k);
}

bool check_float_activate(struct check *check)
{
    struct qd_activation act = check_activation(check);
    int n = check_size(check, 70, 2000);
    const float *residual = check_chance(check, 2) ? NULL : check_floats(check, n);
    float scale = check_chance(check, 4) ? 60 : 4;
    struct check_output out;

    check_output(check, (size_t)n * sizeof(float), sizeof(float), &out);
    for (int i = 0; i < n; i++)
        ((float *)(void *)out.base)[i] = ((float *)(void *)out.tested)[i] = check_real(check, -scale, scale);
    check->base->f32->activate(&act, residual, (float *)(void *)out.base, (size_t)n);
    check->tested->f32->activate(&act, residual, (float *)(void *)out.tested, (size_t)n);
    return check_same(check, &out, "activation %d of %d", (int)act.kind, n);
}
