#include "kernel/vector_avx512.h"

#include "kernel/depthwise_f32.h"

void qd_depthwise_f32_avx512(const struct qd_conv_f32_params *params)
{
    run_depthwise(params);
}
