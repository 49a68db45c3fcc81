/* Problems for the kernels that multiply by weights: the matrix product and the depthwise convolution. */
#include "tests/kernel/check.h"

#include <string.h>

struct strides {
    ptrdiff_t a, out, residual;
};

static void *packed(struct check *check, const struct qd_kernels *kernels, const int8_t *w, int n, int k, bool gemm)
{
    size_t size = gemm ? kernels->gemm_pack_size(n, k) : kernels->depthwise_pack_size(n, k);
    void *memory = check_input(check, size, 1);

    if (gemm)
        kernels->gemm_pack(memory, w, n, k);
    else
        kernels->depthwise_pack(memory, w, n, k);
    return memory;
}

static int gap(struct check *check)
{
    return check_chance(check, 2) ? 0 : check_between(check, 1, 40);
}

static bool gemm_problem(struct check *check, bool f32)
{
    int m = check_size(check, 70, 300), n = check_size(check, 70, 300), k = check_size(check, 70, 3000);
    size_t element = f32 ? sizeof(float) : 1, row_size;
    struct qd_gemm_params base = {0}, tested;
    struct check_output out;
    struct qd_requant requant;
    int8_t *w;

    if (check->iteration < 70) { /* one size goes through 1 .. 70 at a time */
        int *fixed[] = {&m, &n, &k};
        for (int i = 0; i < 3; i++)
            *fixed[i] = check_chance(check, 2) ? *fixed[i] : check_between(check, 1, 20);
    }
    w = check_weights(check, (size_t)n * (size_t)k);
    base = (struct qd_gemm_params){.a_stride = k + gap(check), .m = m, .n = n, .k = k, .requant = &requant};
    base.a = check_activations(check, (size_t)m * (size_t)base.a_stride);
    base.out_stride = ((ptrdiff_t)n + gap(check)) * (ptrdiff_t)element;
    row_size = (size_t)n * element;
    check_output(check, (size_t)(m - 1) * (size_t)base.out_stride + row_size, element, &out);
    check_requant(check, n, (int64_t)k * 255 * 127, &requant);
    if (!f32 && check_chance(check, 3)) {
        base.residual_stride = n + gap(check);
        base.residual = check_activations(check, (size_t)m * (size_t)base.residual_stride);
    }
    tested = base;
    base.b = packed(check, check->base, w, n, k, true);
    tested.b = packed(check, check->tested, w, n, k, true);
    base.out = f32 ? NULL : out.base;
    tested.out = f32 ? NULL : out.tested;
    base.out_f32 = f32 ? (float *)out.base : NULL;
    tested.out_f32 = f32 ? (float *)out.tested : NULL;
    if (!f32 && check_chance(check, 6)) { /* in place */
        base.residual_stride = tested.residual_stride = base.out_stride;
        base.residual = out.base;
        tested.residual = out.tested;
    }
    check->base->gemm(&base);
    check->tested->gemm(&tested);
    return check_same(check, &out, "gemm m %d n %d k %d strides %td %td residual %d act %d", m, n, k, base.a_stride,
                      base.out_stride, base.residual != NULL, requant.act);
}

bool check_gemm(struct check *check)
{
    return gemm_problem(check, false);
}

bool check_gemm_f32(struct check *check)
{
    return gemm_problem(check, true);
}

/* One axis: sizes such that there is at least one output. */
static void window_axis(struct check *check, int kernel, int *ret_in, int *ret_stride, int *ret_dilation, int *ret_pad,
                        int *ret_out)
{
    int extent, pad_end;

    *ret_stride = check_between(check, 1, 3);
    *ret_dilation = check_chance(check, 4) ? check_between(check, 1, 3) : 1;
    extent = (kernel - 1) * *ret_dilation + 1;
    *ret_pad = check_chance(check, 2) ? extent / 2 : check_between(check, 0, extent);
    pad_end = check_chance(check, 2) ? extent / 2 : check_between(check, 0, extent);
    if (*ret_in + *ret_pad + pad_end < extent)
        *ret_in = extent;
    *ret_out = (*ret_in + *ret_pad + pad_end - extent) / *ret_stride + 1;
}

static void depthwise_window(struct check *check, struct qd_depthwise_params *p)
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
    p->h = check_between(check, 1, 14);
    p->w = check_chance(check, 8) ? check_between(check, 50, 200) : check_between(check, 1, 20);
    window_axis(check, p->kernel_h, &p->h, &p->stride_h, &p->dilation_h, &p->pad_top, &p->out_h);
    window_axis(check, p->kernel_w, &p->w, &p->stride_w, &p->dilation_w, &p->pad_left, &p->out_w);
    p->y_begin = check_chance(check, 2) ? 0 : check_between(check, 0, p->out_h - 1);
    p->y_end = check_chance(check, 2) ? p->out_h : check_between(check, p->y_begin, p->out_h);
}

bool check_depthwise(struct check *check)
{
    struct qd_depthwise_params base = {0}, tested;
    struct check_output out;
    struct qd_requant requant;
    size_t out_size;
    int taps;
    int8_t *w;

    depthwise_window(check, &base);
    base.c = check_size(check, 70, 200);
    if (base.kernel_h * base.kernel_w > 49)
        base.c = check_between(check, 1, 20);
    taps = base.kernel_h * base.kernel_w;
    out_size = (size_t)base.out_h * (size_t)base.out_w * (size_t)base.c;
    w = check_weights(check, (size_t)base.c * (size_t)taps);
    base.in = check_activations(check, (size_t)base.h * (size_t)base.w * (size_t)base.c);
    base.pad_value = check_activations(check, (size_t)base.c);
    base.requant = &requant;
    check_output(check, out_size, 1, &out);
    check_requant(check, base.c, (int64_t)taps * 255 * 127, &requant);
    if (check_chance(check, 3))
        base.residual = check_activations(check, out_size);
    tested = base;
    base.weights = packed(check, check->base, w, base.c, taps, false);
    tested.weights = packed(check, check->tested, w, base.c, taps, false);
    base.out = out.base;
    tested.out = out.tested;
    if (check_chance(check, 6)) {
        base.residual = out.base;
        tested.residual = out.tested;
    }
    check->base->depthwise(&base);
    check->tested->depthwise(&tested);
    return check_same(check, &out,
                      "depthwise %dx%dx%d kernel %dx%d stride %dx%d dilation %dx%d pads %d %d out %dx%d rows %d .. %d "
                      "residual %d act %d",
                      base.h, base.w, base.c, base.kernel_h, base.kernel_w, base.stride_h, base.stride_w,
                      base.dilation_h, base.dilation_w, base.pad_top, base.pad_left, base.out_h, base.out_w,
                      base.y_begin, base.y_end, base.residual != NULL, requant.act);
}
