#include "tests/kernel/emulate_avx512.h"

#include "src/kernel/gemm_vnni.c"
