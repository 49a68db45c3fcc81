#include "kernel/fma_f32.h"
#include "kernel/planes_f32.h"
#include "kernel/tiers.h"

/* One tap joins the chains of one row of outputs. in: the row of the input under it, NULL where that is all padding. */
static void add_tap(const struct qd_conv_f32_params *p, const float *in, float pad, int kx, float weight, float *out)
{
    const struct qd_window_f32 *w = &p->window;
    int in_x = kx * w->dilation_w - w->pad_left;

    for (int x = 0; x < p->out_w; x++, in_x += w->stride_w)
        out[x] = qd_fma_f32(weight, in && in_x >= 0 && in_x < p->w ? in[in_x] : pad, out[x]);
}

/* All taps of channel c join the chains of one channel of outputs. weights: those between the two. */
static void add_channel(const struct qd_conv_f32_params *p, int c, const float *weights, float *out)
{
    const struct qd_window_f32 *w = &p->window;
    const float *in = p->in + (ptrdiff_t)c * p->h * p->w;

    for (int y = 0; y < p->out_h; y++, out += p->out_w) {
        for (int ky = 0; ky < w->kernel_h; ky++) {
            int in_y = y * w->stride_h - w->pad_top + ky * w->dilation_h;
            const float *row = in_y >= 0 && in_y < p->h ? in + (ptrdiff_t)in_y * p->w : NULL;

            for (int kx = 0; kx < w->kernel_w; kx++)
                add_tap(p, row, p->pad ? p->pad[c] : 0, kx, weights[ky * w->kernel_w + kx], out);
        }
    }
}

/* Output channel o from input channels [begin, end). weights: those of the first. */
static void run_channel(const struct qd_conv_f32_params *p, int o, int begin, int end, const float *weights)
{
    int taps = p->window.kernel_h * p->window.kernel_w, pixels = p->out_h * p->out_w;
    float *out = p->out + (ptrdiff_t)o * pixels;

    for (int i = 0; i < pixels; i++)
        out[i] = p->bias ? p->bias[o] : 0;
    for (int c = begin; c < end; c++, weights += taps)
        add_channel(p, c, weights, out);
    if (p->act)
        qd_activate_f32_scalar(p->act, p->residual ? p->residual + (ptrdiff_t)o * pixels : NULL, out, (size_t)pixels);
}

void qd_conv_f32_scalar(const struct qd_conv_f32_params *p)
{
    ptrdiff_t k = (ptrdiff_t)p->c * p->window.kernel_h * p->window.kernel_w;

    for (int o = 0; o < p->n; o++)
        run_channel(p, o, 0, p->c, p->weights + o * k);
}

void qd_depthwise_f32_scalar(const struct qd_conv_f32_params *p)
{
    ptrdiff_t taps = (ptrdiff_t)p->window.kernel_h * p->window.kernel_w;

    for (int c = 0; c < p->c; c++)
        run_channel(p, c, c, c + 1, p->weights + c * taps);
}

void qd_matvec_f32_scalar(const struct qd_matvec_f32_params *p)
{
    for (int o = 0; o < p->n; o++) {
        const float *weights = p->weights + (ptrdiff_t)o * p->k;
        float chains[QD_MATVEC_F32_CHAINS] = {0};

        for (int k = 0; k < p->k; k += QD_MATVEC_F32_CHAINS)
            for (int j = 0; j < QD_MATVEC_F32_CHAINS; j++)
                chains[j] =
                    k + j < p->k ? qd_fma_f32(weights[k + j], p->in[k + j], chains[j]) : qd_fma_f32(0, 0, chains[j]);
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

    return (size_t)p->window.kernel_h * (size_t)p->window.kernel_w * sizeof(ptrdiff_t) +
           ((size_t)planes.channel + 2 * QD_F32_MAX_LANES) * sizeof(float);
}
