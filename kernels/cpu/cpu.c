/* The levels: what this machine can run, and the table of each. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/levels.h"

#include <string.h>

static const char *const names[CPU_LEVELS] = {"ref", "avx2", "avx512", "avx512-vnni", "avx512-bf16"};

enum cpu_level cpu_best_level(void)
{
#if defined __x86_64__
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return CPU_REF;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return CPU_AVX2;
    if (!__builtin_cpu_supports("avx512vnni"))
        return CPU_AVX512;
    return __builtin_cpu_supports("avx512bf16") ? CPU_AVX512_BF16 : CPU_AVX512_VNNI;
#else
    return CPU_REF;
#endif
}

const char *cpu_level_name(enum cpu_level level) { return names[level]; }

int cpu_level_from_name(const char *name)
{
    for (int i = 0; i < CPU_LEVELS; i++)
        if (!strcmp(names[i], name))
            return i;
    return -1;
}

#define TABLE(level_, panel_, products_, rows_)                                                             \
    {                                                                                                       \
        .level = level_, .mm_panel = panel_, .matmul_packed_size = matmul_packed_size_##products_,          \
        .matmul_pack = matmul_pack_##products_, .matmul_pack_int8 = matmul_pack_int8_##products_,           \
        .matmul_bf16_size = matmul_bf16_size_##products_, .matmul_pack_bf16 = matmul_pack_bf16_##products_, \
        .matmul_int4_size = matmul_int4_size_##products_, .matmul_pack_int4 = matmul_pack_int4_##products_, \
        .winograd_size = winograd_size_##products_, .winograd_pack = winograd_pack_##products_,             \
        .matmul_scratch = matmul_scratch_##products_, .matmul = matmul_##products_,                         \
        .row_norm = row_norm_##rows_, .group_norm = group_norm_##rows_,                                     \
        .image_quantize = image_quantize_##rows_, .attention = attention_##rows_,                           \
        .elementwise = elementwise_##rows_, .cache_read = cache_read_##rows_                                \
    }

static const struct cpu_kernels tables[] = {
    TABLE(CPU_REF, 1, ref, ref),
#if defined __x86_64__
    TABLE(CPU_AVX2, 16, avx2, avx2),
    TABLE(CPU_AVX512, 32, avx512, avx512),
    TABLE(CPU_AVX512_VNNI, 32, vnni, avx512),
    TABLE(CPU_AVX512_BF16, 32, bf16, bf16),
#endif
};

const struct cpu_kernels *cpu_kernels(enum cpu_level level)
{
    return &tables[(size_t)level < sizeof tables / sizeof *tables ? level : CPU_REF];
}
