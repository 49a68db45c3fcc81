#include "kernel/vector_avx512.h"

#include "kernel/conv_blocks_f32.h"

void qd_conv_blocks_f32_avx512(const struct qd_conv_f32_params *params)
{
    run_conv_blocks(params);
}
