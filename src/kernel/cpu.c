#include "config.h"

#include "kernel/kernel.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/tiers.h"

#ifdef QD_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

static const struct qd_kernels_f32 f32_scalar = {
    .conv = qd_conv_f32_scalar,
    .depthwise = qd_depthwise_f32_scalar,
    .max_pool = qd_max_pool_f32_scalar,
    .matvec = qd_matvec_f32_scalar,
    .activate = qd_activate_f32_scalar,
    .conv_blocks = qd_conv_blocks_f32_scalar,
    .depthwise_blocks = qd_depthwise_blocks_f32_scalar,
    .max_pool_blocks = qd_max_pool_blocks_f32_scalar,
    .to_blocks = qd_to_blocks_f32_scalar,
    .from_blocks = qd_from_blocks_f32_scalar,
};

static const struct qd_kernels kernels_scalar = {
    .isa = QD_ISA_SCALAR,
    .name = "scalar",
    .conv_pack_size = qd_conv_pack_size_scalar,
    .conv_pack = qd_conv_pack_scalar,
    .conv = qd_conv_scalar,
    .depthwise_pack_size = qd_depthwise_pack_size_scalar,
    .depthwise_pack = qd_depthwise_pack_scalar,
    .depthwise = qd_depthwise_scalar,
    .add = qd_add_scalar,
    .mul = qd_mul_scalar,
    .affine = qd_affine_scalar,
    .max_pool = qd_max_pool_scalar,
    .average_pool = qd_average_pool_scalar,
    .sum_rows = qd_sum_rows_scalar,
    .shuffle = qd_shuffle_scalar,
    .lookup = qd_lookup_scalar,
    .quantize = qd_quantize_scalar,
    .dequantize = qd_dequantize_scalar,
    .peak = qd_peak_scalar,
    .f32 = &f32_scalar,
};

#ifdef QD_X86
static const struct qd_kernels_f32 f32_avx2 = {
    .conv = qd_conv_f32_avx2,
    .depthwise = qd_depthwise_f32_avx2,
    .max_pool = qd_max_pool_f32_avx2,
    .matvec = qd_matvec_f32_avx2,
    .activate = qd_activate_f32_avx2,
    .conv_blocks = qd_conv_blocks_f32_avx2,
    .depthwise_blocks = qd_depthwise_blocks_f32_avx2,
    .max_pool_blocks = qd_max_pool_blocks_f32_avx2,
    .to_blocks = qd_to_blocks_f32_avx2,
    .from_blocks = qd_from_blocks_f32_avx2,
};

static const struct qd_kernels_f32 f32_avx512 = {
    .conv = qd_conv_f32_avx512,
    .depthwise = qd_depthwise_f32_avx512,
    .max_pool = qd_max_pool_f32_avx512,
    .matvec = qd_matvec_f32_avx512,
    .activate = qd_activate_f32_avx512,
    .conv_blocks = qd_conv_blocks_f32_avx512,
    .depthwise_blocks = qd_depthwise_blocks_f32_avx512,
    .max_pool_blocks = qd_max_pool_blocks_f32_avx512,
    .to_blocks = qd_to_blocks_f32_avx512,
    .from_blocks = qd_from_blocks_f32_avx512,
};

static const struct qd_kernels kernels_avx2 = {
    .isa = QD_ISA_AVX2,
    .name = "avx2",
    .conv_pack_size = qd_conv_pack_size_avx2,
    .conv_pack = qd_conv_pack_avx2,
    .conv = qd_conv_avx2,
    .depthwise_pack_size = qd_depthwise_pack_size_avx2,
    .depthwise_pack = qd_depthwise_pack_avx2,
    .depthwise = qd_depthwise_avx2,
    .add = qd_add_avx2,
    .mul = qd_mul_avx2,
    .affine = qd_affine_avx2,
    .max_pool = qd_max_pool_avx2,
    .average_pool = qd_average_pool_avx2,
    .sum_rows = qd_sum_rows_avx2,
    .shuffle = qd_shuffle_avx2,
    .lookup = qd_lookup_avx2,
    .quantize = qd_quantize_avx2,
    .dequantize = qd_dequantize_avx2,
    .peak = qd_peak_avx2,
    .f32 = &f32_avx2,
};

/* Depthwise convolutions are AVX2's: no form with vpdpbusd in 256 bits has been measured. */
static const struct qd_kernels kernels_avxvnni = {
    .isa = QD_ISA_AVXVNNI,
    .name = "avxvnni",
    .conv_pack_size = qd_conv_pack_size_avxvnni,
    .conv_pack = qd_conv_pack_avxvnni,
    .conv = qd_conv_avxvnni,
    .depthwise_pack_size = qd_depthwise_pack_size_avx2,
    .depthwise_pack = qd_depthwise_pack_avx2,
    .depthwise = qd_depthwise_avx2,
    .add = qd_add_avx2,
    .mul = qd_mul_avx2,
    .affine = qd_affine_avx2,
    .max_pool = qd_max_pool_avx2,
    .average_pool = qd_average_pool_avx2,
    .sum_rows = qd_sum_rows_avx2,
    .shuffle = qd_shuffle_avx2,
    .lookup = qd_lookup_avx2,
    .quantize = qd_quantize_avx2,
    .dequantize = qd_dequantize_avx2,
    .peak = qd_peak_avxvnni,
    .f32 = &f32_avx2,
};

/*
 * What is bound by memory rather than by products is AVX2's: wider vectors have not been shown to gain there. Written
 * once, by find_tiers: lookup is another's where the CPU has VBMI.
 */
static struct qd_kernels kernels_vnni = {
    .isa = QD_ISA_VNNI,
    .name = "vnni",
    .conv_pack_size = qd_conv_pack_size_vnni,
    .conv_pack = qd_conv_pack_vnni,
    .conv = qd_conv_vnni,
    .depthwise_pack_size = qd_depthwise_pack_size_vnni,
    .depthwise_pack = qd_depthwise_pack_vnni,
    .depthwise = qd_depthwise_vnni,
    .add = qd_add_avx2,
    .mul = qd_mul_avx2,
    .affine = qd_affine_vnni,
    .max_pool = qd_max_pool_avx2,
    .average_pool = qd_average_pool_avx2,
    .sum_rows = qd_sum_rows_avx2,
    .shuffle = qd_shuffle_avx2,
    .lookup = qd_lookup_avx2,
    .quantize = qd_quantize_avx2,
    .dequantize = qd_dequantize_avx2,
    .peak = qd_peak_vnni,
    .f32 = &f32_avx512,
};

/* Written once, by find_tiers, as VNNI's are: all but the convolution and its peak are those. */
static struct qd_kernels kernels_amx;
#endif

static const char *const isa_names[QD_N_ISA] = {
    [QD_ISA_SCALAR] = "scalar", [QD_ISA_AVX2] = "avx2", [QD_ISA_AVXVNNI] = "avxvnni",
    [QD_ISA_VNNI] = "vnni",     [QD_ISA_AMX] = "amx",
};

/* Written once by find_tiers, read only after pthread_once. */
static const struct qd_kernels *tiers[QD_N_ISA];
static pthread_once_t tiers_once = PTHREAD_ONCE_INIT;

#ifdef QD_X86
#define XCR0_AVX 0x06u    /* SSE and AVX registers are saved by the operating system */
#define XCR0_AVX512 0xe6u /* and the mask and 512-bit registers */
#define XCR0_AMX 0x60000u /* the tiles and their configuration */

/* In cpuid's leaf 7; compilers before gcc 11 do not name them. */
#define CPUID_7_1_A_AVXVNNI (1u << 4)
#define CPUID_7_D_AMX (1u << 24 | 1u << 25) /* TILE and INT8 */

/* Linux saves tiles only for processes that have asked: Documentation/arch/x86/xstate.rst. */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_TILE_DATA 18

#define HAS(reg, bits) (((reg) & (bits)) == (bits))

static bool os_saves(unsigned state)
{
    unsigned low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return HAS(low, state);
}

static bool cpu_has_avx2(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !HAS(c, bit_FMA | bit_OSXSAVE | bit_AVX) || !os_saves(XCR0_AVX))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && HAS(b, bit_AVX2);
}

static bool cpu_has_avxvnni(void)
{
    unsigned a, b, c, d;

    return cpu_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && HAS(a, CPUID_7_1_A_AVXVNNI);
}

static bool cpu_has_vnni(void)
{
    unsigned a, b, c, d;

    if (!cpu_has_avx2() || !os_saves(XCR0_AVX512) || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    return HAS(b, (unsigned)(bit_AVX512F | bit_AVX512BW | bit_AVX512DQ) | bit_AVX512VL) && HAS(c, bit_AVX512VNNI);
}

/* Asked of a CPU that has the vnni tier. */
static bool cpu_has_vbmi(void)
{
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && HAS(c, bit_AVX512VBMI);
}

/*
 * Asked of a CPU that has the vnni tier. The permission is the whole process's, threads that run already included;
 * where the kernel refuses it (too old, or a signal stack too small), there are no tiles.
 */
static bool may_use_amx(void)
{
    unsigned a, b, c, d;

    if (!os_saves(XCR0_AMX) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !HAS(d, CPUID_7_D_AMX))
        return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILE_DATA) == 0;
}
#endif

static void find_tiers(void)
{
    tiers[QD_ISA_SCALAR] = &kernels_scalar;
#ifdef QD_X86
    if (cpu_has_avx2())
        tiers[QD_ISA_AVX2] = &kernels_avx2;
    if (cpu_has_avxvnni())
        tiers[QD_ISA_AVXVNNI] = &kernels_avxvnni;
    if (cpu_has_vnni()) {
        if (cpu_has_vbmi())
            kernels_vnni.lookup = qd_lookup_vbmi;
        tiers[QD_ISA_VNNI] = &kernels_vnni;
    }
    if (tiers[QD_ISA_VNNI] && may_use_amx()) {
        kernels_amx = kernels_vnni;
        kernels_amx.isa = QD_ISA_AMX;
        kernels_amx.name = isa_names[QD_ISA_AMX];
        kernels_amx.conv_pack_size = qd_conv_pack_size_amx;
        kernels_amx.conv_pack = qd_conv_pack_amx;
        kernels_amx.conv = qd_conv_amx;
        kernels_amx.peak = qd_peak_amx;
        tiers[QD_ISA_AMX] = &kernels_amx;
    }
#endif
}

const struct qd_kernels *qd_kernels_of(enum qd_isa isa)
{
    pthread_once(&tiers_once, find_tiers);
    return (int)isa >= 0 && isa < QD_N_ISA ? tiers[isa] : NULL;
}

const char *qd_isa_name(enum qd_isa isa)
{
    return (int)isa >= 0 && isa < QD_N_ISA ? isa_names[isa] : "unknown";
}

const char *qd_isa_list(char *text, size_t text_size, bool only_present)
{
    size_t used = 0;

    text[0] = 0;
    for (int i = 0; i < QD_N_ISA && used < text_size; i++) {
        if (!only_present || qd_kernels_of((enum qd_isa)i))
            used += (size_t)snprintf(text + used, text_size - used, "%s%s", used ? ", " : "", isa_names[i]);
    }
    return text;
}

static const struct qd_kernels *best_tier(void)
{
    enum qd_isa best = QD_ISA_SCALAR;

    for (int i = 0; i < QD_N_ISA; i++) {
        if (qd_kernels_of((enum qd_isa)i))
            best = (enum qd_isa)i;
    }
    return qd_kernels_of(best);
}

enum qd_status qd_kernels_named(const char *name, const struct qd_kernels **ret, struct qd_error *err)
{
    char known[64];

    if (!name || !name[0]) {
        *ret = best_tier();
        return QD_OK;
    }
    for (int i = 0; i < QD_N_ISA; i++) {
        const struct qd_kernels *kernels = qd_kernels_of((enum qd_isa)i);

        if (strcmp(name, isa_names[i]) != 0)
            continue;
        if (!kernels)
            return qd_error_set(err, QD_UNSUPPORTED, "isa: expected one that this CPU has (%s), found '%s'",
                                qd_isa_list(known, sizeof(known), true), name);
        *ret = kernels;
        return QD_OK;
    }
    return qd_error_set(err, QD_INVALID, "isa: expected one of %s, found '%.40s'",
                        qd_isa_list(known, sizeof(known), false), name);
}

enum qd_status qd_kernels_init(const struct qd_kernels **ret, struct qd_error *err)
{
    enum qd_status status = qd_kernels_named(getenv("QUANTD_ISA"), ret, err);

    return status == QD_OK ? QD_OK : qd_error_context(err, status, "environment variable QUANTD_ISA");
}
