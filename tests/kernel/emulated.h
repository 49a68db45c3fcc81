/*
 * Kernels that tests compile another way. emulated: VNNI over simde. avxvnni_evex: AVX-VNNI in AVX-512's encoding;
 * avxvnni_emulated: in C.
 */
#ifndef QD_TESTS_KERNEL_EMULATED_H
#define QD_TESTS_KERNEL_EMULATED_H

#include "kernel/tiers.h"

QD_CONV_TIER(emulated);
QD_DEPTHWISE_TIER(emulated);
void qd_affine_emulated(const struct qd_affine_params *params);

QD_CONV_TIER(avxvnni_evex);
QD_CONV_TIER(avxvnni_emulated);

#endif
