/* Quantized convolutions and fully connected layers (a convolution of one pixel). */
#ifndef QD_OP_CONV_Q8_H
#define QD_OP_CONV_Q8_H

#include "op/op.h"

/*
 * prepare_q8 of Conv, Gemm and MatMul, from the operator's layer. Input 0 is the activation; the node's residual,
 * activation and layer_weights are taken up, and the channel steps of input 0 and output 0.
 */
enum qd_status qd_conv_q8_prepare(struct qd_q8_prepare *prepare, struct qd_error *err);
void qd_conv_q8_run(const struct qd_q8_run *run, int thread, int n_threads);

/*
 * Per output channel: scale = largest |w| / max, q = round(w / scale) in [-max, max], max = 2^(bits - 1) - 1. w and q
 * are [n][k].
 */
void qd_weights_quantize(const float *w, int n, int k, int bits, int8_t *q, float *scale);

#endif
