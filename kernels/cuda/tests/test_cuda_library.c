/* Products by cuBLASLt without a device: which fit and as what; the kernel behind bare sums against the
 * reference; and, where the real library is, its descriptors of every product of DiT-XL/2 and of the tiny
 * models, which it makes and checks without a driver. The stand-in of tests/driver does the rest: see
 * cuda_library in tools/tests. */
#include "kernels/cpu/tests/matmul_test.h"
#include "kernels/cuda/plugin/blas.h"
#include "kernels/cuda/plugin/cupti.h"
#include "kernels/cuda/tests/cuda_test.h"

#include <dlfcn.h>
#include <glob.h>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
_Static_assert(sizeof(struct lt_algorithm) == sizeof(cublasLtMatmulAlgo_t), "algorithm");
_Static_assert(sizeof(struct lt_choice) == sizeof(cublasLtMatmulHeuristicResult_t), "choice");
_Static_assert((int)LT_F32 == (int)CUDA_R_32F && (int)LT_BF16 == (int)CUDA_R_16BF, "types");
_Static_assert((int)LT_COMPUTE_F32 == (int)CUBLAS_COMPUTE_32F && (int)LT_TRANSPOSED == (int)CUBLAS_OP_T, "a");
_Static_assert((int)LT_TRANSA == (int)CUBLASLT_MATMUL_DESC_TRANSA, "transposition");
_Static_assert((int)LT_EPILOGUE == (int)CUBLASLT_MATMUL_DESC_EPILOGUE, "epilogue");
_Static_assert((int)LT_BIAS_POINTER == (int)CUBLASLT_MATMUL_DESC_BIAS_POINTER, "bias");
_Static_assert((int)LT_BIAS_TYPE == (int)CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, "bias type");
_Static_assert((int)LT_COLUMNS == (int)CUBLASLT_MATRIX_LAYOUT_COLS, "columns");
_Static_assert((int)LT_WORKSPACE == (int)CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, "workspace");
_Static_assert((int)LT_REDUCTIONS == (int)CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, "reductions");
_Static_assert((int)LT_ALIGNED_A == (int)CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, "alignment of A");
_Static_assert((int)LT_ALIGNED_D == (int)CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, "alignment of D");
_Static_assert((int)LT_PLAIN == (int)CUBLASLT_EPILOGUE_DEFAULT &&
                   (int)LT_BIAS == (int)CUBLASLT_EPILOGUE_BIAS &&
                   (int)LT_GELU == (int)CUBLASLT_EPILOGUE_GELU &&
                   (int)(LT_GELU | LT_BIAS) == (int)CUBLASLT_EPILOGUE_GELU_BIAS,
               "epilogues");
_Static_assert((int)LT_ALLOC_FAILED == (int)CUBLAS_STATUS_ALLOC_FAILED &&
                   (int)LT_NOT_SUPPORTED == (int)CUBLAS_STATUS_NOT_SUPPORTED,
               "states");
#endif

#if __has_include(<cupti.h>)
#include <cupti.h>
#define SAME(ours, theirs, field, name) \
    _Static_assert(offsetof(struct ours, field) == offsetof(theirs, name), #name)
SAME(cupti_kernel, CUpti_ActivityKernel10, start, start);
SAME(cupti_kernel, CUpti_ActivityKernel10, end, end);
SAME(cupti_kernel, CUpti_ActivityKernel10, correlation, correlationId);
SAME(cupti_kernel, CUpti_ActivityKernel10, name, name);
SAME(cupti_kernel, CUpti_ActivityKernel9, correlation, correlationId); /* of version 12 */
SAME(cupti_kernel, CUpti_ActivityKernel9, name, name);
SAME(cupti_call, CUpti_ActivityAPI, start, start);
SAME(cupti_call, CUpti_ActivityAPI, correlation, correlationId);
_Static_assert((int)CUPTI_KERNEL == (int)CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL &&
                   (int)CUPTI_DRIVER == (int)CUPTI_ACTIVITY_KIND_DRIVER &&
                   (int)CUPTI_RUNTIME == (int)CUPTI_ACTIVITY_KIND_RUNTIME,
               "kinds");
#endif

/* fc1 of a block: 2 images of 16 rows, 64 -> 256 columns. Addresses are numbers that nobody follows. */
static struct matmul layer(void)
{
    return (struct matmul){.images = 2,
                           .out_height = 1,
                           .out_width = 16,
                           .n = 256,
                           .kernel_h = 1,
                           .kernel_w = 1,
                           .stride = 1,
                           .sources = 1,
                           .source = {{(void *)0x1000, 64, 64, 16 * 64, 1, 16, 1, NULL}},
                           .weights = (void *)0x2000,
                           .bf16 = 1,
                           .scratch = (void *)0x3010,
                           .out_bf16 = (void *)0x4000,
                           .out_bf16_ld = 256,
                           .epilogue = {.bias = (void *)0x5000, .act = ACT_GELU_TANH}};
}

START_TEST(a_layer_fits_whole)
{
    struct matmul m = layer();
    struct cuda_product p;
    struct cuda_launches after;
    ck_assert(cuda_library_product(&m, (void *)0x6000, CUDA_WHOLE, &p, &after));
    ck_assert(p.rows == 32 && p.n == 256 && p.k == 64 && p.in_ld == 64 && p.weights_ld == 64);
    ck_assert(p.out == (void *)0x4000 && p.out_bf16 && p.gelu && p.bias == (void *)0x6000);
    ck_assert(p.workspace == (void *)0x3100 && after.count == 0);
    ck_assert_uint_ge(cuda_library_scratch(&m), CUDA_LIBRARY_WORKSPACE + 32 * 256 * 4 + 255);
    /* Floats take the float bias. */
    m.out = (void *)0x7000, m.out_ld = 256, m.out_bf16 = NULL, m.epilogue.act = ACT_NONE;
    ck_assert(cuda_library_product(&m, (void *)0x6000, CUDA_WHOLE, &p, &after));
    ck_assert(p.out == (void *)0x7000 && !p.out_bf16 && !p.gelu && p.bias == (void *)0x5000);
    /* What comes behind is a kernel's. */
    m.epilogue.gate = (void *)0x8000;
    ck_assert(!cuda_library_product(&m, NULL, CUDA_WHOLE, &p, &after));
    ck_assert(cuda_library_product(&m, NULL, CUDA_BARE, &p, &after));
    ck_assert(p.out == (void *)(uintptr_t)(0x3100 + CUDA_LIBRARY_WORKSPACE) && !p.out_bf16 && !p.bias &&
              !p.gelu);
    ck_assert_int_eq(after.count, 1);
    ck_assert_str_eq(after.launch[0].kernel, "product_finish");
}
END_TEST

/* Each of these alone is enough for an own kernel. */
START_TEST(what_does_not_fit_is_left_alone)
{
    struct matmul m[16];
    struct cuda_product p;
    struct cuda_launches after;
    int n = 0;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        m[i] = layer();
    m[n++].bf16 = 0;
    m[n++].form = MM_INT8;
    m[n++].sources = 2;
    m[n++].kernel_w = 3;
    m[n++].stride = 2;
    m[n++].pad_left = 1;
    m[n++].n = 250;
    m[n++].source[0].upsample = 2;
    m[n++].source[0].ld = 68;
    m[n++].source[0].channels = 60;
    m[n++].source[0].image_ld = 0;
    m[n++].source[0].image_ld = 17 * 64;
    m[n++].source[0].width = 32;
    m[n++].source[0].data = (void *)0x1008;
    m[n++].weights = (void *)0x2008;
    for (int i = 0; i < n; i++)
        for (int way = 0; way < CUDA_WAYS; way++)
            ck_assert_msg(!cuda_library_product(&m[i], NULL, (enum cuda_way)way, &p, &after), "change %d", i);
}
END_TEST

/* Sums of the reference, then everything behind them. */
START_TEST(what_comes_behind_equals_the_reference)
{
    struct shape c = shapes[_i];
    c.n = (c.n + 3) / 4 * 4;
    struct data want, bare;
    make(&want, &c, 0, _i % 3 ? ALL_PIECES : BIAS | TAP, (enum activation)(_i % 7));
    make(&bare, &c, 0, 0, ACT_NONE);
    pack(&want, cpu_kernels(CPU_REF));
    pack(&bare, cpu_kernels(CPU_REF));
    float *sums = floats(bare.rows * c.n, 3, 1, 0), *out = want.out, *tap = want.tap;
    bare.m.out = sums;
    bare.m.out_ld = c.n;
    cpu_kernels(CPU_REF)->matmul(&want.m, 0, 1);
    cpu_kernels(CPU_REF)->matmul(&bare.m, 0, 1);
    struct finish_args a = {.m = want.m, .sums = sums};
    a.m.out = bare.out;
    a.m.epilogue.tap = a.m.epilogue.tap ? bare.tap : NULL;
    struct cuda_launches l = {0};
    add_launch(&l, "product_finish", divide_up(bare.rows * (c.n / 4), 256), 256, 0, &a, sizeof a);
    run_launches(&l, (unsigned)_i);
    near(bare.out, out, want.out_size, 2e-6, "out");
    near(bare.tap, tap, want.out_size, 2e-6, "tap");
    release(&want), release(&bare), free(sums);
}
END_TEST

/* ---- the real library ---- */

static void *find_library(void)
{
    static const char *const patterns[] = {"/usr/local/cuda/lib64/libcublasLt.so.1[23]",
                                           "/usr/local/cuda/lib/libcublasLt.so.1[23]",
                                           "build/cuda/nvidia/*/lib/libcublasLt.so.1[23]"};
    glob_t found;
    void *library = NULL;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && !library; i++)
        if (glob(patterns[i], 0, NULL, &found) == 0) {
            library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
            globfree(&found);
        }
    return library;
}

static void *real;

#define DECLARE(name, arguments) static int(*name##_) arguments;
LT_FUNCTIONS(DECLARE)

static void load(void)
{
    struct {
        const char *name;
        void *to;
    } all[] = {
#define ENTRY(name, arguments) {#name, &name##_},
        LT_FUNCTIONS(ENTRY)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(real, all[i].name);
        ck_assert_msg(symbol != NULL, "no %s", all[i].name);
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
}

START_TEST(the_real_library_takes_every_descriptor)
{
    static const int sizes[][3] = {{512, 1152, 3456},  {512, 1152, 1152}, {512, 1152, 4608},
                                   {4096, 4608, 1152}, {2, 256, 1152},    {100, 1152, 6912},
                                   {512, 1152, 32},    {32, 32, 128}};
    load();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int type = LT_F32; type <= LT_BF16; type += LT_BF16 - LT_F32) {
            void *product = NULL, *a = NULL, *d = NULL, *preference = NULL;
            const void *bias = (void *)0x1000;
            uint64_t rows = 7;
            uint32_t epilogue = type == LT_BF16 ? LT_BIAS | LT_GELU : LT_BIAS, none = LT_NO_REDUCTION;
            int32_t transposed = LT_TRANSPOSED;
            int n = sizes[i][2], k = sizes[i][1];
            ck_assert_int_eq(cublasLtMatmulDescCreate_(&product, LT_COMPUTE_F32, LT_F32), 0);
            ck_assert_int_eq(cublasLtMatmulDescSetAttribute_(product, LT_TRANSA, &transposed, 4), 0);
            ck_assert_int_eq(cublasLtMatmulDescSetAttribute_(product, LT_EPILOGUE, &epilogue, 4), 0);
            ck_assert_int_eq(cublasLtMatmulDescSetAttribute_(product, LT_BIAS_TYPE, &type, 4), 0);
            ck_assert_int_eq(cublasLtMatmulDescSetAttribute_(product, LT_BIAS_POINTER, &bias, 8), 0);
            ck_assert_int_eq(cublasLtMatrixLayoutCreate_(&a, LT_BF16, (uint64_t)k, (uint64_t)n, k), 0);
            ck_assert_int_eq(cublasLtMatrixLayoutCreate_(&d, type, (uint64_t)n, (uint64_t)sizes[i][0], n), 0);
            ck_assert_int_eq(cublasLtMatrixLayoutSetAttribute_(d, LT_COLUMNS, &rows, sizeof rows), 0);
            ck_assert_int_eq(cublasLtMatmulPreferenceCreate_(&preference), 0);
            ck_assert_int_eq(cublasLtMatmulPreferenceSetAttribute_(preference, LT_REDUCTIONS, &none, 4), 0);
            cublasLtMatmulPreferenceDestroy_(preference);
            cublasLtMatrixLayoutDestroy_(a);
            cublasLtMatrixLayoutDestroy_(d);
            cublasLtMatmulDescDestroy_(product);
        }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("library");
    tcase_add_test(t, a_layer_fits_whole);
    tcase_add_test(t, what_does_not_fit_is_left_alone);
    tcase_add_loop_test(t, what_comes_behind_equals_the_reference, 0, SHAPES);
#ifndef __SANITIZE_ADDRESS__ /* its C++ runtime leaves a pool behind */
    real = find_library();
#endif
    if (real)
        tcase_add_test(t, the_real_library_takes_every_descriptor);
    return run_suite(t, "cuda library");
}
