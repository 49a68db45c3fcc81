#include "kernel/vector_avx512.h"

#include "kernel/activate_f32.h"

void qd_activate_f32_avx512(const struct qd_activation *act, const float *residual, float *x, size_t n)
{
    run_activate(act, residual, x, n);
}
