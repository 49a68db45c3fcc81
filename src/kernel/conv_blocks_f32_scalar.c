#include "kernel/vector_scalar.h"

#include "kernel/conv_blocks_f32.h"

void qd_conv_blocks_f32_scalar(const struct qd_conv_f32_params *params)
{
    run_conv_blocks(params);
}
