#include <math.h>

#include "kernel/planes_f32.h"
#include "kernel/tiers.h"

/* The input under tap (ky, kx) of output (y, x), or the channel's padding. */
static float tap_of(const struct qd_conv_f32_params *p, int c, int y, int x, int ky, int kx)
{
    const struct qd_window_f32 *w = &p->window;
    int in_y = y * w->stride_h - w->pad_top + ky * w->dilation_h;
    int in_x = x * w->stride_w - w->pad_left + kx * w->dilation_w;

    if (in_y >= 0 && in_y < p->h && in_x >= 0 && in_x < p->w)
        return p->in[((ptrdiff_t)c * p->h + in_y) * p->w + in_x];
    return p->pad ? p->pad[c] : 0;
}

/* The chain of one output goes on through channel c. weights: that channel's. */
static float add_channel(const struct qd_conv_f32_params *p, int c, int y, int x, const float *weights, float sum)
{
    for (int ky = 0; ky < p->window.kernel_h; ky++)
        for (int kx = 0; kx < p->window.kernel_w; kx++)
            sum = fmaf(*weights++, tap_of(p, c, y, x, ky, kx), sum);
    return sum;
}

void qd_conv_f32_scalar(const struct qd_conv_f32_params *p)
{
    int taps = p->window.kernel_h * p->window.kernel_w;
    float *out = p->out;

    for (int o = 0; o < p->n; o++) {
        for (int i = 0; i < p->out_h * p->out_w; i++) {
            float sum = p->bias ? p->bias[o] : 0;

            for (int c = 0; c < p->c; c++)
                sum = add_channel(p, c, i / p->out_w, i % p->out_w, p->weights + ((ptrdiff_t)o * p->c + c) * taps, sum);
            *out++ = sum;
        }
    }
    if (p->act)
        qd_activate_f32_scalar(p->act, p->residual, p->out, (size_t)(out - p->out));
}

void qd_depthwise_f32_scalar(const struct qd_conv_f32_params *p)
{
    int taps = p->window.kernel_h * p->window.kernel_w;
    float *out = p->out;

    for (int c = 0; c < p->c; c++)
        for (int i = 0; i < p->out_h * p->out_w; i++)
            *out++ = add_channel(p, c, i / p->out_w, i % p->out_w, p->weights + (ptrdiff_t)c * taps,
                                 p->bias ? p->bias[c] : 0);
    if (p->act)
        qd_activate_f32_scalar(p->act, p->residual, p->out, (size_t)(out - p->out));
}

void qd_matvec_f32_scalar(const struct qd_matvec_f32_params *p)
{
    for (int o = 0; o < p->n; o++) {
        const float *weights = p->weights + (ptrdiff_t)o * p->k;
        float chains[QD_MATVEC_F32_CHAINS] = {0};

        for (int k = 0; k < p->k; k += QD_MATVEC_F32_CHAINS)
            for (int j = 0; j < QD_MATVEC_F32_CHAINS; j++)
                chains[j] = k + j < p->k ? fmaf(weights[k + j], p->in[k + j], chains[j]) : fmaf(0, 0, chains[j]);
        for (int half = QD_MATVEC_F32_CHAINS / 2; half > 0; half /= 2)
            for (int j = 0; j < half; j++)
                chains[j] += chains[j + half];
        p->out[o] = chains[0] + (p->bias ? p->bias[o] : 0);
    }
}

size_t qd_conv_f32_scratch(const struct qd_conv_f32_params *p)
{
    struct qd_planes_f32 planes = qd_planes_f32_of(p);
    size_t floats = qd_planes_f32_panels(p);

    if (!qd_planes_f32_pointwise(p))
        floats += (size_t)qd_planes_f32_block(p) * (size_t)planes.channel + QD_F32_MAX_LANES;
    return floats * sizeof(float);
}

size_t qd_depthwise_f32_scratch(const struct qd_conv_f32_params *p)
{
    struct qd_planes_f32 planes = qd_planes_f32_of(p);

    return (size_t)(p->window.kernel_h * p->window.kernel_w) * sizeof(ptrdiff_t) +
           ((size_t)planes.channel + 2 * QD_F32_MAX_LANES) * sizeof(float);
}
