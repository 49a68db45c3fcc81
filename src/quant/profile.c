#include "quant/profile.h"

#include <string.h>

#include "util/mem.h"

#define BITS .activation_bits = 8, .weight_bits = 8

static const struct qd_profile profiles[] = {
    {"default", {BITS, .multiplier_bits = 24}},
    /* One multiplier per layer and output channel, none per input channel. */
    {"strict_layerwise", {BITS, .multiplier_bits = 24, .layerwise = true}},
    /* Integer multipliers and plain u8 or s8 activations. */
    {"accelerator", {BITS, .multiplier_bits = 15, .plain_zero = true}},
    {"strict_pot", {BITS, .multiplier_bits = 1, .power_of_two = true}},
};

const struct qd_profile *qd_profile_find(const char *name)
{
    for (size_t i = 0; i < QD_ARRAY_SIZE(profiles); i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    return NULL;
}

const struct qd_profile *qd_profile_at(int i)
{
    return i >= 0 && (size_t)i < QD_ARRAY_SIZE(profiles) ? &profiles[i] : NULL;
}
