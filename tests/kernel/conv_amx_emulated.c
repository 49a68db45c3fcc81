#ifdef EMULATE_AVX512
#include "tests/kernel/emulate_avx512.h"
#endif
#include "tests/kernel/emulate_amx.h"

#include "src/kernel/conv_amx.c"
