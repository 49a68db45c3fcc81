#include "tests/kernel/emulate_avx512.h"

#include "src/kernel/depthwise_vnni.c"
