/*
 * Kernels that tests compile another way. emulated: VNNI over simde. avxvnni_evex: AVX-VNNI in AVX-512's encoding;
 * amx_tiles: AMX over tiles in C and the CPU's AVX-512; avxvnni_emulated and amx_emulated: all in C.
 */
#ifndef QD_TESTS_KERNEL_EMULATED_H
#define QD_TESTS_KERNEL_EMULATED_H

#include "kernel/tiers.h"

QD_CONV_TIER(emulated);
QD_DEPTHWISE_TIER(emulated);
void qd_affine_emulated(const struct qd_affine_params *params);

QD_CONV_TIER(avxvnni_evex);
QD_CONV_TIER(avxvnni_emulated);
QD_CONV_TIER(amx_tiles);
QD_CONV_TIER(amx_emulated);

#endif
