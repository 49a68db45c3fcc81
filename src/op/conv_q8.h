/* Quantized convolutions and fully connected layers (a convolution of one pixel). */
#ifndef QD_OP_CONV_Q8_H
#define QD_OP_CONV_Q8_H

#include "op/conv.h"
#include "op/op.h"

/* A layer as the graph has it. weights: [n][c / group][kernel_h][kernel_w]; n divides into the groups. */
struct qd_conv_q8_source {
    struct qd_window window;
    int group, c, h, w, out_h, out_w, n;
    const float *weights;
    const float *bias;       /* [n] or NULL */
    bool padded_with_values; /* real ones: the padding is not 0 */
};

/* prepare_q8 of Conv, Gemm and MatMul. Input 0 is the activation; the node's residual and activation are taken up. */
enum qd_status qd_conv_q8_prepare(struct qd_q8_prepare *prepare, const struct qd_conv_q8_source *source,
                                  struct qd_error *err);
void qd_conv_q8_run(const struct qd_q8_run *run, int thread, int n_threads);

/* Per output channel: scale = largest |w| / 127, q = round(w / scale) in [-127, 127]. w and q are [n][k]. */
void qd_weights_quantize(const float *w, int n, int k, int8_t *q, float *scale);

#endif
