#include "tests/kernel/emulate_avx512.h"

#include "src/kernel/conv_vnni.c"
