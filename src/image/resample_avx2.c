#include "image/resample.h"

QD_RESAMPLE_TIER(avx2);
