#include "kernel/tiers.h"

#include <math.h>
#include <string.h>

#include "kernel/requant.h"

/* Packed: w as it is, [n][k]. */
size_t qd_gemm_pack_size_scalar(int n, int k)
{
    return (size_t)n * (size_t)k + QD_KERNEL_SLACK;
}

void qd_gemm_pack_scalar(void *packed, const int8_t *w, int n, int k)
{
    memcpy(packed, w, (size_t)n * (size_t)k);
    memset((int8_t *)packed + (size_t)n * (size_t)k, 0, QD_KERNEL_SLACK);
}

static int32_t dot(const uint8_t *a, const int8_t *b, int k)
{
    int32_t sum = 0;

    for (int i = 0; i < k; i++)
        sum += a[i] * b[i];
    return sum;
}

static void row(const struct qd_gemm_params *p, int m)
{
    const uint8_t *a = p->a + m * p->a_stride;
    const uint8_t *residual = p->residual ? p->residual + m * p->residual_stride : NULL;
    const int8_t *b = p->b;

    for (int n = 0; n < p->n; n++, b += p->k) {
        int32_t acc = dot(a, b, p->k);

        if (p->out_f32) {
            float *out = (float *)((char *)p->out_f32 + m * p->out_stride);
            out[n] = fmaf((float)acc, p->requant->mult[n], p->requant->offset[n]);
        } else {
            p->out[m * p->out_stride + n] = qd_requant_byte(p->requant, acc, n, residual ? residual + n : NULL);
        }
    }
}

void qd_gemm_scalar(const struct qd_gemm_params *params)
{
    for (int m = 0; m < params->m; m++)
        row(params, m);
}
