/* The VNNI kernels compiled over simde: conv_emulated.c, depthwise_emulated.c, elementwise_emulated.c. */
#ifndef QD_TESTS_KERNEL_EMULATED_H
#define QD_TESTS_KERNEL_EMULATED_H

#include "kernel/tiers.h"

QD_CONV_TIER(emulated);
QD_DEPTHWISE_TIER(emulated);
void qd_affine_emulated(const struct qd_affine_params *params);

#endif
