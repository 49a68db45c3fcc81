#include "tests/kernel/emulate_avxvnni.h"

#include "src/kernel/conv_avxvnni.c"
