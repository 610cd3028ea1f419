/* Inside the plugin: the entry points of cuBLASLt that it uses, and their numbers, declared here so that no
 * CUDA header is needed. They are the same in versions 12 and 13 (cublasLt.h, library_types.h). Handles are
 * pointers, results 0 or a cublasStatus_t. */
#ifndef HASTEN_KERNELS_CUDA_BLAS_H
#define HASTEN_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/library.h"
#include "kernels/cuda/plugin/plugin.h"

#include <stddef.h>
#include <stdint.h>

/* cublasLtMatmulAlgo_t, cublasLtMatmulHeuristicResult_t. */
struct lt_algorithm {
    uint64_t data[8];
};

struct lt_choice {
    struct lt_algorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

#define LT_FUNCTIONS(X)                                                                                    \
    X(cublasLtCreate, (void **handle))                                                                     \
    X(cublasLtDestroy, (void *handle))                                                                     \
    X(cublasLtMatmulDescCreate, (void **product, int compute, int scale))                                  \
    X(cublasLtMatmulDescDestroy, (void *product))                                                          \
    X(cublasLtMatmulDescSetAttribute, (void *product, int which, const void *value, size_t bytes))         \
    X(cublasLtMatrixLayoutCreate, (void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld))  \
    X(cublasLtMatrixLayoutDestroy, (void *layout))                                                         \
    X(cublasLtMatrixLayoutSetAttribute, (void *layout, int which, const void *value, size_t bytes))        \
    X(cublasLtMatmulPreferenceCreate, (void **preference))                                                 \
    X(cublasLtMatmulPreferenceDestroy, (void *preference))                                                 \
    X(cublasLtMatmulPreferenceSetAttribute, (void *preference, int which, const void *v, size_t bytes))    \
    X(cublasLtMatmulAlgoGetHeuristic, (void *handle, void *product, void *a, void *b, void *c, void *d,    \
                                       void *preference, int most, struct lt_choice *choices, int *found)) \
    X(cublasLtMatmulAlgoCheck, (void *handle, void *product, void *a, void *b, void *c, void *d,           \
                                const struct lt_algorithm *algorithm, struct lt_choice *choice))           \
    X(cublasLtMatmul,                                                                                      \
      (void *handle, void *product, const void *alpha, const void *a, void *la, const void *b, void *lb,   \
       const void *beta, const void *c, void *lc, void *d, void *ld, const struct lt_algorithm *algorithm, \
       void *workspace, size_t bytes, void *stream))

enum lt_status { LT_NOT_INITIALIZED = 1, LT_ALLOC_FAILED = 3, LT_INVALID_VALUE = 7, LT_NOT_SUPPORTED = 15 };
enum lt_type { LT_F32 = 0, LT_BF16 = 14, LT_E4M3 = 28 };
enum { LT_COMPUTE_F32 = 68, LT_TRANSPOSED = 1, LT_NO_REDUCTION = 0 };
enum lt_product {
    LT_TRANSA = 3,
    LT_EPILOGUE = 7,
    LT_BIAS_POINTER = 8,
    LT_A_SCALE = 17,
    LT_B_SCALE = 18,
    LT_BIAS_TYPE = 26,
    LT_A_SCALE_MODE = 31, /* since 12.8 */
    LT_B_SCALE_MODE = 32,
};
enum { LT_SCALE_OUTER_VECTOR = 3 }; /* since 12.9 */
enum lt_layout { LT_ROWS = 2, LT_COLUMNS = 3, LT_LD = 4 };
enum lt_preference { LT_WORKSPACE = 1, LT_REDUCTIONS = 3, LT_ALIGNED_A = 5, LT_ALIGNED_D = 8 };
enum lt_epilogue { LT_PLAIN = 1, LT_BIAS = 4, LT_GELU = 32 };

/* Opens the library; 0 when there is none that works. `why` then gets a reason. */
int blas_open(char *why, size_t size);
void blas_close(void);

/* Has the library such a product? Its heuristic is asked once for a shape. */
int blas_offers(const struct cuda_product *p);
/* On the stream. 0; 1: the library has no such product; -1 and *f. A first use may load what a capture does
 * not allow, but between relax(1) and relax(0), which give a CUDA_ERROR or 0. */
int blas_product(const struct cuda_product *p, void *stream, int (*relax)(int on), struct cuda_failure *f);

#endif
