#include "tests/kernel/emulate_avx512.h"

#include "src/kernel/elementwise_vnni.c"
