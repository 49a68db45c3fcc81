#include "kernel/tiers.h"

#include "kernel/requant.h"

void qd_add_scalar(const struct qd_add_params *params)
{
    const struct qd_add_params *p = params;

    for (size_t i = 0; i < p->n; i++)
        p->out[i] =
            qd_clamp_round(fmaf(p->a[i], p->a_mult, fmaf(p->b[i], p->b_mult, p->offset)), p->clamp_min, p->clamp_max);
}

void qd_mul_scalar(const struct qd_mul_params *params)
{
    const struct qd_mul_params *p = params;

    for (size_t i = 0; i < p->n; i++) {
        int acc = (p->a[i] - p->a_zero) * (p->b[i] - p->b_zero);

        p->out[i] = qd_clamp_round(fmaf((float)acc, p->mult, p->zero), p->clamp_min, p->clamp_max);
    }
}

void qd_affine_scalar(const struct qd_affine_params *params)
{
    const struct qd_affine_params *p = params;
    const uint8_t *in = p->in;
    uint8_t *out = p->out;

    for (size_t m = 0; m < p->m; m++) {
        for (int c = 0; c < p->c; c++)
            *out++ = qd_clamp_round(fmaf(*in++, p->mult[c], p->offset[c]), p->clamp_min, p->clamp_max);
    }
}

void qd_shuffle_scalar(const uint8_t *in, uint8_t *out, size_t m, int c, int groups)
{
    int size = c / groups;

    for (; m > 0; m--, in += c, out += c) {
        for (int j = 0; j < groups; j++) {
            for (int i = 0; i < size; i++)
                out[i * groups + j] = in[j * size + i];
        }
    }
}

void qd_lookup_scalar(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256])
{
    for (size_t i = 0; i < n; i++)
        out[i] = table[in[i]];
}

void qd_quantize_scalar(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero)
{
    for (size_t i = 0; i < n; i++)
        out[i] = qd_clamp_round(fmaf(in[i], inverse_scale, zero), 0, 255);
}

void qd_dequantize_scalar(const uint8_t *in, float *out, size_t n, float scale, int zero)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(in[i] - zero) * scale;
}
