/* The tiers that checkkernel checks: this CPU's own, and sources compiled another way for CPUs like this one. */
#include "config.h"

#include "tests/kernel/check.h"

#include "tests/kernel/emulated.h"

#include "util/mem.h"

#define ONLY_CONV 2 /* check_conv and check_conv_f32 come first */
#define N_PRODUCTS 4

#ifdef CHECK_EMULATED
static const struct qd_kernels vnni = {
    .isa = QD_ISA_VNNI,
    .name = "vnni (emulated by simde)",
    .conv_pack_size = qd_conv_pack_size_emulated,
    .conv_pack = qd_conv_pack_emulated,
    .conv = qd_conv_emulated,
    .depthwise_pack_size = qd_depthwise_pack_size_emulated,
    .depthwise_pack = qd_depthwise_pack_emulated,
    .depthwise = qd_depthwise_emulated,
    .affine = qd_affine_emulated,
};
static const struct qd_kernels avxvnni = {
    .isa = QD_ISA_AVXVNNI,
    .name = "avxvnni (emulated in C)",
    .conv_pack_size = qd_conv_pack_size_avxvnni_emulated,
    .conv_pack = qd_conv_pack_avxvnni_emulated,
    .conv = qd_conv_avxvnni_emulated,
};
static const struct qd_kernels amx = {
    .isa = QD_ISA_AMX,
    .name = "amx (emulated in C and by simde)",
    .conv_pack_size = qd_conv_pack_size_amx_emulated,
    .conv_pack = qd_conv_pack_amx_emulated,
    .conv = qd_conv_amx_emulated,
};

size_t check_tiers(const struct check_tier **ret)
{
    static struct check_tier tiers[] = {
        {.kernels = &vnni, .n_checks = N_PRODUCTS},
        {.kernels = &avxvnni, .n_checks = ONLY_CONV},
        {.kernels = &amx, .n_checks = ONLY_CONV},
    };

    for (size_t i = 0; i < QD_ARRAY_SIZE(tiers); i++) {
        tiers[i].name = tiers[i].kernels->name;
        tiers[i].base = qd_kernels_of(QD_ISA_SCALAR);
        if (!qd_kernels_of(QD_ISA_AVX2)) {
            tiers[i].kernels = NULL;
            tiers[i].missing = "this CPU lacks avx2, which the emulation is built for";
        }
    }
    *ret = tiers;
    return QD_ARRAY_SIZE(tiers);
}
#else
#ifdef QD_X86
/* A tier that runs wherever VNNI does: with the convolution conv, all else of the tier rest. */
static void add_sibling(struct check_tier *tier, struct qd_kernels *kernels, enum qd_isa rest,
                        const struct qd_kernels *conv)
{
    *tier = (struct check_tier){
        .name = conv->name, .missing = "this CPU lacks vnni, which it takes", .n_checks = ONLY_CONV};
    tier->base = qd_kernels_of(QD_ISA_SCALAR);
    if (!qd_kernels_of(QD_ISA_VNNI))
        return;
    *kernels = *qd_kernels_of(rest);
    kernels->isa = conv->isa;
    kernels->name = conv->name;
    kernels->conv_pack_size = conv->conv_pack_size;
    kernels->conv_pack = conv->conv_pack;
    kernels->conv = conv->conv;
    tier->kernels = kernels;
}

static size_t add_siblings(struct check_tier tiers[2])
{
    static const struct qd_kernels avxvnni = {.isa = QD_ISA_AVXVNNI,
                                              .name = "avxvnni (encoded for AVX-512)",
                                              .conv_pack_size = qd_conv_pack_size_avxvnni_evex,
                                              .conv_pack = qd_conv_pack_avxvnni_evex,
                                              .conv = qd_conv_avxvnni_evex};
    static const struct qd_kernels amx = {.isa = QD_ISA_AMX,
                                          .name = "amx (tiles emulated in C)",
                                          .conv_pack_size = qd_conv_pack_size_amx_tiles,
                                          .conv_pack = qd_conv_pack_amx_tiles,
                                          .conv = qd_conv_amx_tiles};
    static struct qd_kernels kernels[2];

    add_sibling(&tiers[0], &kernels[0], QD_ISA_AVX2, &avxvnni);
    tiers[0].benched = true;
    add_sibling(&tiers[1], &kernels[1], QD_ISA_VNNI, &amx);
    return 2;
}
#else
static size_t add_siblings(struct check_tier tiers[2])
{
    (void)tiers;
    return 0;
}
#endif

size_t check_tiers(const struct check_tier **ret)
{
    static struct check_tier tiers[QD_N_ISA + 2];
    size_t n = 0;

    for (; n < QD_N_ISA; n++) {
        tiers[n].kernels = qd_kernels_of((enum qd_isa)n);
        tiers[n].name = qd_isa_name((enum qd_isa)n);
        tiers[n].base = n == QD_ISA_SCALAR ? &check_reference : qd_kernels_of(QD_ISA_SCALAR);
        tiers[n].missing = "this CPU lacks it";
        tiers[n].n_checks = SIZE_MAX;
        tiers[n].benched = true;
    }
    n += add_siblings(tiers + n);
    *ret = tiers;
    return n;
}
#endif
