/*
 * The float kernels: what calibration measures scales with, and fp32 inference runs on.
 *
 * As the int8 kernels (kernel.h) they get raw pointers, know no tensors and no threads, allocate nothing and cannot
 * fail. Tensors lie NCHW without gaps. No buffer is read or written outside its bounds.
 *
 * The same floats on every CPU, by construction: each element of an output is one chain of fma in an order that this
 * file fixes, whatever the vectors' width and the order in which elements are made. So the scales that are chosen from
 * these floats depend on the model and the pictures alone, not on the machine (docs/adr/0002-own-fp32-kernels.md).
 */
#ifndef QD_KERNEL_KERNEL_F32_H
#define QD_KERNEL_KERNEL_F32_H

#include <stdbool.h>
#include <stddef.h>

#include "kernel/activation.h"

/*
 * The kernels whose names end in blocks take pictures of another order: blocks of QD_F32_BLOCK channels, each
 * [h][w][QD_F32_BLOCK]; what the last block has past c is any numbers, read and written as the others are. Weights and
 * biases for them are packed (qd_f32_pack_blocks). The same chains, so the same floats.
 */
#define QD_F32_BLOCK 16

/* A window over rows and columns. */
struct qd_window_f32 {
    int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
};

/*
 * A convolution of one image, one group:
 *   out[o][y][x] = fma(w[o][k-1], b[k-1], ... fma(w[o][0], b[0], bias[o]))
 * where b[i], i counting channel, then window row, then window column, is the input under the tap, or the channel's pad
 * where the tap lies outside. A product of matrices out[n][out_w] = weights[n][c] * in[c][w] is a window of 1 by 1 over
 * h = 1.
 */
struct qd_conv_f32_params {
    const float *in; /* [c][h][w] */
    int c, h, w;
    struct qd_window_f32 window;
    const float *pad;     /* [c]; NULL: 0 */
    const float *weights; /* [n][c * kernel_h * kernel_w]; depthwise: [c][kernel_h * kernel_w] */
    const float *bias;    /* [n]; NULL: 0 */
    float *out;           /* [n][out_h][out_w] */
    /* Applied to each output, as activate does; NULL: nothing is. */
    const struct qd_activation *act;
    const float *residual; /* as out; NULL: none; else act is not NULL */
    int n, out_h, out_w;
    bool in_planes; /* conv_blocks: in lies [c][h][w] all the same, for few channels */
    void *scratch;  /* the kernel's qd_..._scratch bytes, 64-byte aligned */
};

/*
 * A fully connected layer: out[o] = bias[o] + the sum of weights[o][i] * in[i], as sixteen chains. Chain j takes the i
 * that are j modulo 16, k being filled up to a multiple of 16 with products of zeros, and begins with 0; then chain j
 * takes j + 8, then j + 4, j + 2 and j + 1.
 */
#define QD_MATVEC_F32_CHAINS 16
struct qd_matvec_f32_params {
    const float *weights; /* [n][k] */
    const float *in;      /* [k] */
    const float *bias;    /* [n]; NULL: 0 */
    float *out;           /* [n] */
    int n, k;
};

/* The kernels of one tier. */
struct qd_kernels_f32 {
    void (*conv)(const struct qd_conv_f32_params *params);
    /* groups = channels: out[c] is weights[c] over in[c] alone, n = c; the chain as conv's. */
    void (*depthwise)(const struct qd_conv_f32_params *params);
    /*
     * out[c] is the largest of in[c] under the window, -INFINITY where that holds no input; of a window's taps the
     * later counts where one is NaN or both are zeros. Of params sizes, window and pointers count; scratch as
     * depthwise.
     */
    void (*max_pool)(const struct qd_conv_f32_params *params);
    void (*matvec)(const struct qd_matvec_f32_params *params);
    /* x[i] = act(x[i] + residual[i]), or act(x[i]) where residual is NULL; activate_f32.h has the formulas. */
    void (*activate)(const struct qd_activation *act, const float *residual, float *x, size_t n);
    /* conv, depthwise and max_pool on blocks: in (but see in_planes), out and residual; pad is [c]. */
    void (*conv_blocks)(const struct qd_conv_f32_params *params);
    void (*depthwise_blocks)(const struct qd_conv_f32_params *params);
    void (*max_pool_blocks)(const struct qd_conv_f32_params *params);
    /* [c][pixels] to blocks of c, zeros past it, and back. */
    void (*to_blocks)(const float *in, float *out, int c, size_t pixels);
    void (*from_blocks)(const float *in, float *out, int c, size_t pixels);
};

/* The bytes of scratch that conv and depthwise need in any tier; only sizes and window are read. */
size_t qd_conv_f32_scratch(const struct qd_conv_f32_params *params);
size_t qd_depthwise_f32_scratch(const struct qd_conv_f32_params *params);
/* The same of conv_blocks, and of depthwise_blocks and max_pool_blocks; in_planes is read too. */
size_t qd_conv_blocks_f32_scratch(const struct qd_conv_f32_params *params);
size_t qd_window_blocks_f32_scratch(const struct qd_conv_f32_params *params);

static inline size_t qd_f32_blocks(size_t c)
{
    return (c + QD_F32_BLOCK - 1) / QD_F32_BLOCK;
}

/* rows[n][k] to [blocks of n][k][QD_F32_BLOCK], zeros past n: weights, and with k 1 a bias. */
void qd_f32_pack_blocks(const float *rows, int n, size_t k, float *packed);

#endif
