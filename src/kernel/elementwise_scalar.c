#include "kernel/requant.h"
#include "kernel/tiers.h"

void qd_add_scalar(const struct qd_add_params *p)
{
    for (size_t i = 0; i < p->n; i++)
        p->out[i] = qd_requant_round(fmaf((float)p->a[i], p->a_mult, fmaf((float)p->b[i], p->b_mult, p->offset)),
                                     p->clamp_min, p->clamp_max);
}

void qd_mul_scalar(const struct qd_mul_params *p)
{
    for (size_t i = 0; i < p->m; i++) {
        const uint8_t *a = p->a + i * (size_t)p->c, *b = p->b + (ptrdiff_t)i * p->b_stride;
        uint8_t *out = p->out + i * (size_t)p->c;

        for (int c = 0; c < p->c; c++)
            out[c] = qd_requant_round(fmaf((float)((a[c] - p->a_zero) * (b[c] - p->b_zero)), p->mult, p->zero),
                                      p->clamp_min, p->clamp_max);
    }
}

void qd_lookup_scalar(const uint8_t *in, uint8_t *out, size_t n, const uint8_t table[256])
{
    for (size_t i = 0; i < n; i++)
        out[i] = table[in[i]];
}

void qd_quantize_scalar(const float *in, uint8_t *out, size_t n, float inverse_scale, float zero)
{
    for (size_t i = 0; i < n; i++) {
        float u = fmaf(in[i], inverse_scale, zero);

        /* Written so that NaN fails the first comparison and becomes 0. */
        u = u > 0 ? u : 0;
        u = u < 255 ? u : 255;
        out[i] = (uint8_t)lrintf(u);
    }
}

void qd_dequantize_scalar(const uint8_t *in, float *out, size_t n, float scale, int zero)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(in[i] - zero) * scale;
}
