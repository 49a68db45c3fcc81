#include "kernel/requant.h"
#include "kernel/tiers.h"

void qd_max_pool_scalar(const struct qd_pool_params *p)
{
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            for (int c = 0; c < p->c; c++) {
                uint8_t largest = 0;

                for (int ky = 0; ky < p->kernel_h; ky++) {
                    int iy = y * p->stride_h - p->pad_top + ky * p->dilation_h;

                    for (int kx = 0; kx < p->kernel_w; kx++) {
                        int ix = x * p->stride_w - p->pad_left + kx * p->dilation_w;
                        uint8_t byte;

                        if (iy < 0 || iy >= p->h || ix < 0 || ix >= p->w)
                            continue;
                        byte = p->in[((size_t)iy * (size_t)p->w + (size_t)ix) * (size_t)p->c + (size_t)c];
                        largest = byte > largest ? byte : largest;
                    }
                }
                p->out[((size_t)y * (size_t)p->out_w + (size_t)x) * (size_t)p->c + (size_t)c] = largest;
            }
        }
    }
}

void qd_average_pool_scalar(const struct qd_pool_params *p)
{
    for (int y = p->y_begin; y < p->y_end; y++) {
        for (int x = 0; x < p->out_w; x++) {
            for (int c = 0; c < p->c; c++) {
                int32_t sum = 0, n_taps = 0;
                float factor;

                for (int ky = 0; ky < p->kernel_h; ky++) {
                    int iy = y * p->stride_h - p->pad_top + ky * p->dilation_h;

                    for (int kx = 0; kx < p->kernel_w; kx++) {
                        int ix = x * p->stride_w - p->pad_left + kx * p->dilation_w;

                        if (iy < 0 || iy >= p->h || ix < 0 || ix >= p->w)
                            continue;
                        sum += p->in[((size_t)iy * (size_t)p->w + (size_t)ix) * (size_t)p->c + (size_t)c];
                        n_taps++;
                    }
                }
                factor = p->mult / (float)(p->divisor_all ? p->divisor_all : n_taps);
                p->out[((size_t)y * (size_t)p->out_w + (size_t)x) * (size_t)p->c + (size_t)c] =
                    qd_requant_round(fmaf((float)(sum - n_taps * p->in_zero), factor, p->out_zero), p->clamp_min,
                                     p->clamp_max);
            }
        }
    }
}

void qd_sum_rows_scalar(const uint8_t *in, size_t m, int c, int32_t *sums)
{
    for (size_t i = 0; i < m; i++)
        for (int j = 0; j < c; j++)
            sums[j] += in[i * (size_t)c + (size_t)j];
}
