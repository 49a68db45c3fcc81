/* Every kernel as kernel.h defines it, written for being right: 64-bit sums, and an fma of its own making. */
#include "tests/kernel/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * fma for floats without fmaf: the product is exact in double; the sum is rounded to odd, which makes the second
 * rounding, to float, the only one that counts (Boldo and Melquiond, Emulation of FMA and correctly rounded sums,
 * 2008).
 */
static float exact_fma(float a, float b, float c)
{
    double product = (double)a * b, sum = product + c, c_part = sum - product;
    double lost = (product - (sum - c_part)) + (c - c_part);
    uint64_t bits;

    if (!isfinite(sum) || lost == 0)
        return (float)sum;
    memcpy(&bits, &sum, sizeof(bits));
    if (bits % 2 == 0)
        bits += (lost > 0) == (sum > 0) ? 1u : ~(uint64_t)0;
    memcpy(&sum, &bits, sizeof(sum));
    return (float)sum;
}

/* The clamp after rounding, on the whole double. */
static uint8_t to_byte(float t, int clamp_min, int clamp_max)
{
    double rounded = rint(t);

    if (isnan(t) || rounded < clamp_min)
        return (uint8_t)clamp_min;
    return rounded > clamp_max ? (uint8_t)clamp_max : (uint8_t)rounded;
}

/* The segment whose middle, (s - k) / scale with first = 2^23 + k, is nearest; ties to the even one. */
static float piecewise(const struct qd_piecewise *p, float t)
{
    double u = rint((double)exact_fma(t, p->scale, p->first)) - 0x1p23;
    int s = isnan(u) ? 0 : (int)fmin(fmax(u, 0), 15);

    return exact_fma(exact_fma(exact_fma(p->c[3][s], t, p->c[2][s]), t, p->c[1][s]), t, p->c[0][s]);
}

static uint8_t requant(const struct qd_requant *r, int64_t acc, int c, const uint8_t *residual)
{
    float t = exact_fma((float)acc, r->mult[c], r->offset[c]);

    if (residual)
        t = exact_fma(*residual, r->residual_mult, t);
    if (r->act == QD_REQUANT_LEAKY)
        t = (t < 0 ? t * r->slope[c] : t) + r->zero;
    if (r->act == QD_REQUANT_PIECEWISE)
        t = piecewise(r->piecewise, t);
    if (r->act == QD_REQUANT_PIECEWISE_STEPS)
        t = exact_fma(piecewise(r->piecewise, t), r->slope[c], r->zero);
    if (r->act == QD_REQUANT_HARDSWISH)
        t = t * fminf(fmaxf(exact_fma(t, r->slope[c], 0.5f), 0), 1) + r->zero;
    return to_byte(t, r->clamp_min, r->clamp_max);
}

static size_t pack_size(int rows, int row_size)
{
    return (size_t)rows * (size_t)row_size;
}

static void pack(void *packed, const int8_t *w, int rows, int row_size)
{
    memcpy(packed, w, pack_size(rows, row_size));
}

static size_t conv_pack_size(int n, int n_runs, int run_k)
{
    return pack_size(n, n_runs * run_k);
}

static void conv_pack(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    pack(packed, w, n, n_runs * run_k);
}

static ptrdiff_t pixel_offset(const struct qd_conv_params *p, const struct qd_steps *steps, int64_t pixel)
{
    return pixel / (p->out_h * p->out_w) * steps->image + pixel / p->out_w % p->out_h * steps->y +
           pixel % p->out_w * steps->x;
}

static void conv(const struct qd_conv_params *p)
{
    for (int m = 0; m < p->m; m++) {
        const uint8_t *in = p->in + pixel_offset(p, &p->in_steps, p->first + m);

        for (int n = p->n_begin; n < p->n_end; n++) {
            const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)n * p->n_runs * p->run_k;
            int64_t acc = 0;

            for (int r = 0; r < p->n_runs; r++)
                for (int k = 0; k < p->run_k; k++)
                    acc += (int64_t)in[p->run_offset[r] + k] * w[(ptrdiff_t)r * p->run_k + k];
            if (p->out_f32)
                p->out_f32[(ptrdiff_t)m * p->n + n] = exact_fma((float)acc, p->requant->mult[n], p->requant->offset[n]);
            else
                p->out[pixel_offset(p, &p->out_steps, p->first + m) + n] =
                    requant(p->requant, acc, n,
                            p->residual ? p->residual + pixel_offset(p, &p->residual_steps, p->first + m) + n : NULL);
        }
    }
}

/* The input's byte at (y, x, c). */
static const uint8_t *at(const uint8_t *in, const struct qd_steps *steps, int y, int x, int c)
{
    return in + y * steps->y + x * steps->x + c;
}

static uint8_t depthwise_one(const struct qd_depthwise_params *p, int y, int x, int c)
{
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)c * p->kernel_h * p->kernel_w;
    int64_t acc = 0;

    for (int ky = 0; ky < p->kernel_h; ky++) {
        for (int kx = 0; kx < p->kernel_w; kx++)
            acc += *at(p->in, &p->in_steps, y * p->stride_h + ky * p->dilation_h, x * p->stride_w + kx * p->dilation_w,
                       c) *
                   w[ky * p->kernel_w + kx];
    }
    return requant(p->requant, acc, c, p->residual ? at(p->residual, &p->residual_steps, y, x, c) : NULL);
}

static void depthwise(const struct qd_depthwise_params *p)
{
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            for (int c = 0; c < p->c; c++)
                p->out[y * p->out_steps.y + x * p->out_steps.x + c] = depthwise_one(p, y, x, c);
        }
    }
}

static void pool_one(const struct qd_pool_params *p, int y, int x, int c, int *ret_max, int64_t *ret_sum, int *ret_n)
{
    *ret_max = 0;
    *ret_sum = 0;
    *ret_n = 0;
    for (int ky = 0; ky < p->kernel_h; ky++) {
        for (int kx = 0; kx < p->kernel_w; kx++) {
            int in_y = y * p->stride_h + ky * p->dilation_h - p->pad_top;
            int in_x = x * p->stride_w + kx * p->dilation_w - p->pad_left;
            const uint8_t *tap = at(p->in, &p->in_steps, in_y, in_x, c);

            if (in_y < 0 || in_y >= p->h || in_x < 0 || in_x >= p->w)
                continue;
            *ret_max = *tap > *ret_max ? *tap : *ret_max;
            *ret_sum += *tap;
            ++*ret_n;
        }
    }
}

static void pool(const struct qd_pool_params *p, bool average)
{
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            for (int c = 0; c < p->c; c++) {
                uint8_t *out = p->out + y * p->out_steps.y + x * p->out_steps.x + c;
                int max, n, divisor;
                int64_t sum;

                pool_one(p, y, x, c, &max, &sum, &n);
                divisor = p->divisor_all ? p->divisor_all : n > 0 ? n : 1;
                *out = (uint8_t)max;
                if (average)
                    *out = to_byte(
                        exact_fma((float)(sum - (int64_t)n * p->in_zero), p->mult / (float)divisor, p->out_zero),
                        p->clamp_min, p->clamp_max);
            }
        }
    }
}

static void max_pool(const struct qd_pool_params *p)
{
    pool(p, false);
}

static void average_pool(const struct qd_pool_params *p)
{
    pool(p, true);
}

static void add(const struct qd_add_params *p)
{
    for (size_t i = 0; i < p->n; i++)
        p->out[i] = to_byte(exact_fma(p->a[i], p->a_mult, exact_fma(p->b[i], p->b_mult, p->offset)), p->clamp_min,
                            p->clamp_max);
}

static void mul(const struct qd_mul_params *p)
{
    for (size_t i = 0; i < p->n; i++)
        p->out[i] = to_byte(exact_fma((float)((p->a[i] - p->a_zero) * (p->b[i] - p->b_zero)), p->mult, p->zero),
                            p->clamp_min, p->clamp_max);
}

static void affine(const struct qd_affine_params *p)
{
    for (size_t i = 0; i < p->m * (size_t)p->c; i++) {
        size_t c = i % (size_t)p->c;

        p->out[i] = to_byte(exact_fma(p->in[i], p->mult[c], p->offset[c]), p->clamp_min, p->clamp_max);
    }
}

static void sum_rows(const uint8_t *in, ptrdiff_t stride, size_t m, int c, int32_t *sums)
{
    for (size_t i = 0; i < m * (size_t)c; i++)
        sums[i % (size_t)c] += in[(ptrdiff_t)(i / (size_t)c) * stride + (ptrdiff_t)(i % (size_t)c)];
}

static void shuffle(const uint8_t *in, uint8_t *out, size_t m, int c, int groups)
{
    for (size_t i = 0; i < m * (size_t)c; i++) {
        size_t row = i / (size_t)c, at = i % (size_t)c, to = at % (size_t)groups, channel = at / (size_t)groups;

        out[i] = in[row * (size_t)c + to * (size_t)(c / groups) + channel];
    }
}

static void lookup(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256])
{
    for (size_t i = 0; i < n; i++)
        out[i] = table[in[i]];
}

static void quantize(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero)
{
    for (size_t i = 0; i < n; i++)
        out[i] = to_byte(exact_fma(in[i], inverse_scale, zero), 0, 255);
}

static void dequantize(const uint8_t *in, float *out, size_t n, float scale, int zero)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)(in[i] - zero) * scale);
}

/* The input under one tap of output (y, x). */
static float tap_f32(const struct qd_conv_f32_params *p, int c, int y, int x, int ky, int kx)
{
    const struct qd_window_f32 *w = &p->window;
    int in_y = y * w->stride_h + ky * w->dilation_h - w->pad_top;
    int in_x = x * w->stride_w + kx * w->dilation_w - w->pad_left;
    bool outside = in_y < 0 || in_x < 0 || in_y >= p->h || in_x >= p->w;

    return !outside ? p->in[(c * p->h + in_y) * p->w + in_x] : p->pad ? p->pad[c] : 0;
}

/* Channels [begin, end) under output (y, x), on from sum. */
static float sum_f32(const struct qd_conv_f32_params *p, const float *weights, int begin, int end, int y, int x,
                     float sum)
{
    int kernel_w = p->window.kernel_w, taps = p->window.kernel_h * kernel_w;

    for (int i = 0; i < (end - begin) * taps; i++)
        sum = exact_fma(weights[i], tap_f32(p, begin + i / taps, y, x, i % taps / kernel_w, i % kernel_w), sum);
    return sum;
}

/* Formulas are written once: their distance from the real functions is a unit test's. Here the sums before them count.
 */
static void activate_f32(const struct qd_activation *act, const float *residual, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = residual ? x[i] + residual[i] : x[i];
        qd_kernels_of(QD_ISA_SCALAR)->f32->activate(act, NULL, &x[i], 1);
    }
}

static void conv_f32(const struct qd_conv_f32_params *p)
{
    int k = p->c * p->window.kernel_h * p->window.kernel_w, pixels = p->out_h * p->out_w;

    for (int i = 0; i < p->n * pixels; i++)
        p->out[i] = sum_f32(p, p->weights + i / pixels * k, 0, p->c, i % pixels / p->out_w, i % p->out_w,
                            p->bias ? p->bias[i / pixels] : 0);
    if (p->act)
        activate_f32(p->act, p->residual, p->out, (size_t)(p->n * pixels));
}

static void depthwise_f32(const struct qd_conv_f32_params *p)
{
    int taps = p->window.kernel_h * p->window.kernel_w, pixels = p->out_h * p->out_w;

    for (int i = 0; i < p->c * pixels; i++) {
        int c = i / pixels;

        p->out[i] =
            sum_f32(p, p->weights + c * taps, c, c + 1, i % pixels / p->out_w, i % p->out_w, p->bias ? p->bias[c] : 0);
    }
    if (p->act)
        activate_f32(p->act, p->residual, p->out, (size_t)(p->c * pixels));
}

static void max_pool_f32(const struct qd_conv_f32_params *p)
{
    int taps = p->window.kernel_h * p->window.kernel_w, pixels = p->out_h * p->out_w;
    struct qd_conv_f32_params padded = *p;
    float *pad = malloc((size_t)p->c * sizeof(float));

    for (int c = 0; c < p->c; c++)
        pad[c] = -INFINITY;
    padded.pad = pad;
    for (int i = 0; i < p->c * pixels; i++) {
        p->out[i] = -INFINITY;
        for (int t = 0; t < taps; t++) {
            float x = tap_f32(&padded, i / pixels, i % pixels / p->out_w, i % p->out_w, t / p->window.kernel_w,
                              t % p->window.kernel_w);

            p->out[i] = p->out[i] > x ? p->out[i] : x;
        }
    }
    free(pad);
}

static void matvec_f32(const struct qd_matvec_f32_params *p)
{
    for (int o = 0; o < p->n; o++) {
        float s[16] = {0};

        for (int i = 0; i < (p->k + 15) / 16 * 16; i++)
            s[i % 16] = i < p->k ? exact_fma(p->weights[o * p->k + i], p->in[i], s[i % 16]) : s[i % 16] + 0;
        for (int j = 0; j < 8; j++)
            s[j] += s[j + 8];
        p->out[o] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])) + (p->bias ? p->bias[o] : 0);
    }
}

/* Those on blocks are held against these, not against some of their own (check_blocks_f32.c). */
static const struct qd_kernels_f32 reference_f32 = {.conv = conv_f32,
                                                    .depthwise = depthwise_f32,
                                                    .max_pool = max_pool_f32,
                                                    .matvec = matvec_f32,
                                                    .activate = activate_f32};

const struct qd_kernels check_reference = {
    .isa = QD_ISA_SCALAR,
    .name = "reference",
    .conv_pack_size = conv_pack_size,
    .conv_pack = conv_pack,
    .conv = conv,
    .depthwise_pack_size = pack_size,
    .depthwise_pack = pack,
    .depthwise = depthwise,
    .add = add,
    .mul = mul,
    .affine = affine,
    .max_pool = max_pool,
    .average_pool = average_pool,
    .sum_rows = sum_rows,
    .shuffle = shuffle,
    .lookup = lookup,
    .quantize = quantize,
    .dequantize = dequantize,
    .f32 = &reference_f32,
};
