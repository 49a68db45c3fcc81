/* Quantized convolutions and fully connected layers (a convolution of one pixel). */
#ifndef QD_OP_CONV_Q8_H
#define QD_OP_CONV_Q8_H

#include "op/op.h"

/*
 * prepare_q8 of Conv, Gemm, MatMul and quantd.Linear, from the operator's layer. Input 0 is the activation; the node's
 * residual, activation and layer_weights are taken up, and the channel steps of input 0 and output 0.
 */
enum qd_status qd_conv_q8_prepare(struct qd_q8_prepare *prepare, struct qd_error *err);
void qd_conv_q8_run(const struct qd_q8_run *run, int thread, int n_threads);

/* fuses of the same: all that there are. */
bool qd_conv_q8_fuses(const struct qd_node *node, const struct qd_activation *act);

/*
 * Per output channel: scale = largest |w| / max, q = round(w / scale) in [-max, max], max = 2^(bits - 1) - 1. w and q
 * are [n][k].
 */
void qd_weights_quantize(const float *w, int n, int k, int bits, int8_t *q, float *scale);

#endif
