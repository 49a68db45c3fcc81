/* What the kernels on blocks need beside themselves, of no tier. */
#include "kernel/strips_f32.h"

size_t qd_conv_blocks_f32_scratch(const struct qd_conv_f32_params *p)
{
    struct qd_strip_f32 s = qd_strip_f32_of(p);
    size_t blocks = ((size_t)p->c + (size_t)s.lanes - 1) / (size_t)s.lanes;

    return (qd_strip_f32_taps(p) + blocks * (size_t)s.block) * sizeof(float);
}

size_t qd_window_blocks_f32_scratch(const struct qd_conv_f32_params *p)
{
    const struct qd_window_f32 *w = &p->window;
    size_t columns =
        (size_t)(p->out_w - 1) * (size_t)w->stride_w + (size_t)(w->kernel_w - 1) * (size_t)w->dilation_w + 1;
    size_t rows = (size_t)(w->kernel_h - 1) * (size_t)w->dilation_h + 2;

    return (qd_window_blocks_f32_rows(p) + rows * columns * QD_F32_BLOCK) * sizeof(float);
}

void qd_f32_pack_blocks(const float *rows, int n, size_t k, float *packed)
{
    for (int first = 0; first < n; first += QD_F32_BLOCK)
        for (size_t i = 0; i < k; i++)
            for (int o = first; o < first + QD_F32_BLOCK; o++)
                *packed++ = o < n ? rows[(size_t)o * k + i] : 0;
}
