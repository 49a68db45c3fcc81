/* The VNNI kernels compiled over simde: gemm_emulated.c, depthwise_emulated.c. */
#ifndef QD_TESTS_KERNEL_EMULATED_H
#define QD_TESTS_KERNEL_EMULATED_H

#include "kernel/tiers.h"

QD_GEMM_TIER(emulated);
QD_DEPTHWISE_TIER(emulated);

#endif
