#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef QD_X86
#include <cpuid.h>
#endif

#include "kernel/tiers.h"
#include "util/mem.h"

static const struct qd_kernels tiers[QD_N_ISA] = {
    [QD_ISA_SCALAR] = {
        .isa = QD_ISA_SCALAR,
        .name = "scalar",
        .gemm_pack_size = qd_gemm_pack_size_scalar,
        .gemm_pack = qd_gemm_pack_scalar,
        .gemm = qd_gemm_scalar,
        .depthwise_pack_size = qd_depthwise_pack_size_scalar,
        .depthwise_pack = qd_depthwise_pack_scalar,
        .depthwise = qd_depthwise_scalar,
        .add = qd_add_scalar,
        .mul = qd_mul_scalar,
        .max_pool = qd_max_pool_scalar,
        .average_pool = qd_average_pool_scalar,
        .sum_rows = qd_sum_rows_scalar,
        .lookup = qd_lookup_scalar,
        .quantize = qd_quantize_scalar,
        .dequantize = qd_dequantize_scalar,
    },
#ifdef QD_X86
    [QD_ISA_AVX2] = {
        .isa = QD_ISA_AVX2,
        .name = "avx2",
        .gemm_pack_size = qd_gemm_pack_size_avx2,
        .gemm_pack = qd_gemm_pack_avx2,
        .gemm = qd_gemm_avx2,
        .depthwise_pack_size = qd_depthwise_pack_size_avx2,
        .depthwise_pack = qd_depthwise_pack_avx2,
        .depthwise = qd_depthwise_avx2,
        .add = qd_add_avx2,
        .mul = qd_mul_avx2,
        .max_pool = qd_max_pool_avx2,
        .average_pool = qd_average_pool_avx2,
        .sum_rows = qd_sum_rows_avx2,
        .lookup = qd_lookup_scalar,
        .quantize = qd_quantize_avx2,
        .dequantize = qd_dequantize_avx2,
    },
    [QD_ISA_VNNI] = {
        .isa = QD_ISA_VNNI,
        .name = "vnni",
        .gemm_pack_size = qd_gemm_pack_size_vnni,
        .gemm_pack = qd_gemm_pack_vnni,
        .gemm = qd_gemm_vnni,
        .depthwise_pack_size = qd_depthwise_pack_size_avx2,
        .depthwise_pack = qd_depthwise_pack_avx2,
        .depthwise = qd_depthwise_avx2,
        .add = qd_add_avx2,
        .mul = qd_mul_avx2,
        .max_pool = qd_max_pool_avx2,
        .average_pool = qd_average_pool_avx2,
        .sum_rows = qd_sum_rows_avx2,
        .lookup = qd_lookup_scalar,
        .quantize = qd_quantize_avx2,
        .dequantize = qd_dequantize_avx2,
    },
#endif
};

static const char *const isa_names[QD_N_ISA] = {"scalar", "avx2", "vnni"};

#ifdef QD_X86
/* The register state that the operating system saves: bits of XCR0. */
static unsigned saved_state(void)
{
    unsigned low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static enum qd_isa best_isa(void)
{
    const unsigned avx_state = 0x6, avx512_state = 0xe6;
    const unsigned need_ebx = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA) ||
        (saved_state() & avx_state) != avx_state)
        return QD_ISA_SCALAR;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2))
        return QD_ISA_SCALAR;
    if ((b & need_ebx) == need_ebx && (c & bit_AVX512VNNI) && (saved_state() & avx512_state) == avx512_state)
        return QD_ISA_VNNI;
    return QD_ISA_AVX2;
}
#else
static enum qd_isa best_isa(void)
{
    return QD_ISA_SCALAR;
}
#endif

const char *qd_isa_name(enum qd_isa isa)
{
    return isa_names[isa];
}

const struct qd_kernels *qd_kernels_of(enum qd_isa isa)
{
    return isa <= best_isa() && tiers[isa].gemm ? &tiers[isa] : NULL;
}

enum qd_status qd_kernels_init(const struct qd_kernels **ret, struct qd_error *err)
{
    return qd_kernels_named(getenv("QUANTD_ISA"), ret, err);
}

enum qd_status qd_kernels_named(const char *name, const struct qd_kernels **ret, struct qd_error *err)
{
    if (!name || !name[0]) {
        *ret = &tiers[best_isa()];
        return QD_OK;
    }
    for (int i = 0; i < QD_N_ISA; i++) {
        if (strcmp(name, isa_names[i]) != 0)
            continue;
        *ret = qd_kernels_of((enum qd_isa)i);
        return *ret ? QD_OK : qd_error_set(err, QD_UNSUPPORTED, "isa: this CPU lacks %s", name);
    }
    return qd_error_set(err, QD_INVALID, "isa: expected scalar, avx2 or vnni, found '%.40s'", name);
}
