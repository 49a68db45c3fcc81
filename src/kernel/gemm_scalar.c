#include <string.h>

#include "kernel/requant.h"
#include "kernel/tiers.h"

/* Packed: the weights as they are. */
size_t qd_gemm_pack_size_scalar(int n, int k)
{
    return (size_t)n * (size_t)k + QD_KERNEL_SLACK;
}

void qd_gemm_pack_scalar(void *packed, const int8_t *w, int n, int k)
{
    memcpy(packed, w, (size_t)n * (size_t)k);
}

void qd_gemm_scalar(const struct qd_gemm_params *params)
{
    const int8_t *b = params->b;

    for (int i = 0; i < params->m; i++) {
        const uint8_t *a = params->a + i * params->a_stride;

        for (int j = 0; j < params->n; j++) {
            const int8_t *w = b + (size_t)j * (size_t)params->k;
            int32_t acc = 0;

            for (int x = 0; x < params->k; x++)
                acc += a[x] * w[x];
            if (params->out_f32)
                *(float *)(void *)((uint8_t *)params->out_f32 + i * params->out_stride + j * 4) =
                    fmaf((float)acc, params->requant->mult[j], params->requant->offset[j]);
            else
                params->out[i * params->out_stride + j] =
                    qd_requant_one(params->requant, j, acc,
                                   params->residual ? params->residual + i * params->residual_stride + j : NULL);
        }
    }
}
