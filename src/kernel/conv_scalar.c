#include "kernel/tiers.h"

#include <math.h>
#include <string.h>

#include "kernel/pixels.h"
#include "kernel/requant.h"

/* Packed: w as it is, [n][n_runs][run_k]. */
size_t qd_conv_pack_size_scalar(int n, int n_runs, int run_k)
{
    return (size_t)n * (size_t)n_runs * (size_t)run_k + QD_KERNEL_SLACK;
}

void qd_conv_pack_scalar(void *packed, const int8_t *w, int n, int n_runs, int run_k)
{
    size_t size = (size_t)n * (size_t)n_runs * (size_t)run_k;

    memcpy(packed, w, size);
    memset((int8_t *)packed + size, 0, QD_KERNEL_SLACK);
}

static int32_t dot(const uint8_t *a, const int8_t *b, int k)
{
    int32_t sum = 0;

    for (int i = 0; i < k; i++)
        sum += a[i] * b[i];
    return sum;
}

static int32_t sum_of(const struct qd_conv_params *p, const uint8_t *in, int n)
{
    const int8_t *w = (const int8_t *)p->weights + (ptrdiff_t)n * p->n_runs * p->run_k;
    int32_t sum = 0;

    for (int r = 0; r < p->n_runs; r++)
        sum += dot(in + p->run_offset[r], w + (ptrdiff_t)r * p->run_k, p->run_k);
    return sum;
}

void qd_conv_scalar(const struct qd_conv_params *params)
{
    const struct qd_conv_params *p = params;
    struct qd_pixel pixel = qd_pixel_at(p, p->first);

    for (int m = 0; m < p->m; m++) {
        const uint8_t *in, *residual = NULL;
        uint8_t *out = NULL;

        qd_pixels_take(p, &pixel, 1, &in, &out, &residual);
        for (int n = p->n_begin; n < p->n_end; n++) {
            int32_t acc = sum_of(p, in, n);

            if (out)
                out[n] = qd_requant_byte(p->requant, acc, n, residual ? residual + n : NULL);
            else
                p->out_f32[(ptrdiff_t)m * p->n + n] =
                    fmaf((float)acc, p->requant->mult[n], p->requant->offset[n]);
        }
    }
}
