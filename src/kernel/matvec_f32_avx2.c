#include "kernel/vector_avx2.h"

#include "kernel/matvec_f32.h"

void qd_matvec_f32_avx2(const struct qd_matvec_f32_params *params)
{
    run_matvec(params);
}
