/* A libcublasLt.so.13 on the recording driver, for tests of the host side: descriptors as the library has
 * them, products by a scalar loop with sums in double when the driver gets to them.
 *
 * It knows what the plugin asks for: A transposed, bfloat16 or e4m3 factors, float32 or bfloat16 results,
 * bias and GELU, scales of rows and columns on a device of compute capability 9.0. What the real one would
 * refuse, or read outside of what it was given, ends the process with status 99: a matrix that is not inside
 * one block of the device, rows that are not at multiples of 16 bytes, a workspace that is too small or not
 * aligned, an algorithm of another shape. A first use in a capture has to be a relaxed one. HASTEN_BLAS,
 * words: refuse-whole: no products with an epilogue; refuse-scales: none with scales, and late-scales: which
 * it says when it is to compute one; refuse-fp8: none of e4m3; absent: cannot be opened. */
#include "kernels/cuda/plugin/blas.h"
#include "kernels/cuda/tests/driver/driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

LT_FUNCTIONS(DECLARE)

enum { ALIGNED = 16, MAGIC = 0x17ab };

struct product {
    int compute, scale, transposed, bias_type;
    unsigned epilogue;
    int scale_mode[2];
    const void *bias, *scales[2]; /* of A and of B */
};

struct layout {
    int type;
    uint64_t rows, columns;
    int64_t ld;
};

struct preference {
    size_t workspace;
    unsigned reductions, aligned[4];
};

static int live;

static int has(const char *word)
{
    const char *set = getenv("HASTEN_BLAS");
    return set && strstr(set, word);
}

static int status_of(int failure)
{
    return failure == 0 ? 0 : failure == CU_OUT_OF_MEMORY ? LT_ALLOC_FAILED : 13;
}

static void *make(size_t bytes)
{
    live++;
    return need(calloc(1, bytes));
}

static int unmake(void *p)
{
    live--;
    free(p);
    return 0;
}

__attribute__((destructor)) static void finish(void)
{
    if (live)
        broken("%d descriptors of cuBLASLt left behind", live);
}

int cublasLtCreate(void **handle)
{
    int failure = driver_enter();
    if (failure || has("absent"))
        return failure ? status_of(failure) : 1;
    driver_first_use("cublasLtCreate");
    *handle = make(1);
    return 0;
}

int cublasLtDestroy(void *handle) { return unmake(handle); }

/* ---- descriptors ---- */

int cublasLtMatmulDescCreate(void **product, int compute, int scale)
{
    struct product *p = make(sizeof *p);
    *p = (struct product){.compute = compute, .scale = scale, .epilogue = LT_PLAIN, .bias_type = -1};
    *product = p;
    return 0;
}

int cublasLtMatmulDescDestroy(void *product) { return unmake(product); }

int cublasLtMatmulDescSetAttribute(void *product, int which, const void *value, size_t bytes)
{
    struct product *p = product;
    void *to = which == LT_TRANSA         ? (void *)&p->transposed
               : which == LT_EPILOGUE     ? (void *)&p->epilogue
               : which == LT_BIAS_TYPE    ? (void *)&p->bias_type
               : which == LT_BIAS_POINTER ? (void *)&p->bias
               : which == LT_A_SCALE      ? (void *)&p->scales[0]
               : which == LT_B_SCALE      ? (void *)&p->scales[1]
               : which == LT_A_SCALE_MODE ? (void *)&p->scale_mode[0]
               : which == LT_B_SCALE_MODE ? (void *)&p->scale_mode[1]
                                          : NULL;
    int pointer = which == LT_BIAS_POINTER || which == LT_A_SCALE || which == LT_B_SCALE;
    if (!to || bytes != (pointer ? sizeof(void *) : 4))
        return LT_INVALID_VALUE;
    memcpy(to, value, bytes);
    return 0;
}

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld)
{
    struct layout *l = make(sizeof *l);
    *l = (struct layout){type, rows, columns, ld};
    *layout = l;
    return 0;
}

int cublasLtMatrixLayoutDestroy(void *layout) { return unmake(layout); }

int cublasLtMatrixLayoutSetAttribute(void *layout, int which, const void *value, size_t bytes)
{
    struct layout *l = layout;
    if (which != LT_COLUMNS || bytes != sizeof l->columns)
        return LT_INVALID_VALUE;
    memcpy(&l->columns, value, bytes);
    return 0;
}

int cublasLtMatmulPreferenceCreate(void **preference)
{
    struct preference *p = make(sizeof *p);
    *p = (struct preference){.reductions = ~0u, .aligned = {256, 256, 256, 256}};
    *preference = p;
    return 0;
}

int cublasLtMatmulPreferenceDestroy(void *preference) { return unmake(preference); }

int cublasLtMatmulPreferenceSetAttribute(void *preference, int which, const void *value, size_t bytes)
{
    struct preference *p = preference;
    void *to = which == LT_WORKSPACE                            ? (void *)&p->workspace
               : which == LT_REDUCTIONS                         ? (void *)&p->reductions
               : which >= LT_ALIGNED_A && which <= LT_ALIGNED_D ? (void *)&p->aligned[which - LT_ALIGNED_A]
                                                                : NULL;
    if (!to || bytes != (which == LT_WORKSPACE ? sizeof p->workspace : 4))
        return LT_INVALID_VALUE;
    memcpy(to, value, bytes);
    return 0;
}

/* ---- algorithms ---- */

static int size_of(int type) { return type == LT_F32 ? 4 : type == LT_BF16 ? 2 : type == LT_E4M3 ? 1 : 0; }

/* Scales of rows and columns: all or none. */
static int has_scales(const struct product *p) { return p->scale_mode[0] == LT_SCALE_OUTER_VECTOR; }

/* What is peculiar to e4m3. */
static int is_supported_fp8(const struct product *p, const struct layout *a, const struct layout *b,
                            const struct layout *r)
{
    int code = driver_capability();
    if (a->type == LT_BF16)
        return b->type == LT_BF16 && !has_scales(p) && !p->scales[0] && !p->scales[1];
    if (has("refuse-fp8") || code < 89 || a->type != LT_E4M3 || b->type != LT_E4M3 || a->rows % 16 ||
        r->rows % 16 || (p->epilogue & LT_BIAS && p->bias_type != LT_BF16))
        return 0;
    if (!has_scales(p))
        return p->scale_mode[1] == 0 && !p->scales[0] && !p->scales[1];
    return p->scale_mode[1] == LT_SCALE_OUTER_VECTOR && p->scales[0] && p->scales[1] && code == 90 &&
           r->type == LT_BF16 && !has("refuse-scales");
}

/* What the library documents for these types. */
static int is_supported(const struct product *p, const struct layout *a, const struct layout *b,
                        const struct layout *c, const struct layout *r)
{
    unsigned known = LT_PLAIN | LT_BIAS | LT_GELU;
    if (p->compute != LT_COMPUTE_F32 || p->scale != LT_F32 || p->transposed != 1 || p->epilogue & ~known)
        return 0;
    if (has("refuse-whole") && p->epilogue != LT_PLAIN)
        return 0;
    return is_supported_fp8(p, a, b, r) && (r->type == LT_BF16 || r->type == LT_F32) && c->type == r->type &&
           c->ld == r->ld && a->rows == b->rows && a->columns == r->rows && b->columns == r->columns &&
           c->rows == r->rows && c->columns == r->columns && a->ld >= (int64_t)a->rows &&
           b->ld >= (int64_t)b->rows && r->ld >= (int64_t)r->rows &&
           (!(p->epilogue & LT_BIAS) || p->bias_type == r->type) &&
           (r->type == LT_BF16 || !(p->epilogue & LT_GELU)) && a->ld * size_of(a->type) % ALIGNED == 0 &&
           b->ld * size_of(b->type) % ALIGNED == 0 && r->ld * size_of(r->type) % ALIGNED == 0;
}

static struct lt_algorithm algorithm_of(const struct product *p, const struct layout *a,
                                        const struct layout *r)
{
    return (struct lt_algorithm){{MAGIC, p->epilogue, a->rows, r->rows, (uint64_t)r->type, (uint64_t)a->type,
                                  (uint64_t)has_scales(p)}};
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b, void *c, void *r,
                                   void *preference, int most, struct lt_choice *choices, int *found)
{
    const struct preference *f = preference;
    int failure = driver_enter();
    (void)handle;
    *found = 0;
    if (failure)
        return status_of(failure);
    driver_first_use("a heuristic");
    if (f->reductions != LT_NO_REDUCTION)
        broken("split sums depend on the number of rows");
    for (int i = 0; i < 4; i++)
        if (f->aligned[i] != ALIGNED)
            broken("rows are promised at multiples of %u bytes", f->aligned[i]);
    if (most < 1 || !is_supported(product, a, b, c, r))
        return LT_NOT_SUPPORTED;
    choices[0] = (struct lt_choice){.algorithm = algorithm_of(product, a, r), .workspace = f->workspace / 2};
    *found = 1;
    return 0;
}

int cublasLtMatmulAlgoCheck(void *handle, void *product, void *a, void *b, void *c, void *r,
                            const struct lt_algorithm *algorithm, struct lt_choice *choice)
{
    struct lt_algorithm own = algorithm_of(product, a, r);
    (void)handle;
    if (!is_supported(product, a, b, c, r) || memcmp(&own, algorithm, sizeof own) != 0)
        return LT_NOT_SUPPORTED;
    *choice = (struct lt_choice){.algorithm = own, .workspace = 1 << 20};
    return 0;
}

/* ---- the product ---- */

struct work_args {
    struct product p;
    struct layout a, b, d;
    const void *weights, *in;
    void *out, *workspace;
    size_t workspace_size;
};

static float from_half(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint16_t to_half(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return (uint16_t)(x != x ? 0x7fff : (u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static double from_e4m3(uint8_t code)
{
    int exponent = code >> 3 & 15, fraction = code & 7;
    double most = exponent ? ldexp(8 + fraction, exponent - 10) : ldexp(fraction, -9);
    return (code & 127) == 127 ? NAN : code & 128 ? -most : most;
}

static double number(const void *p, int type, int64_t at)
{
    return type == LT_BF16 ? (double)from_half(((const uint16_t *)p)[at])
                           : from_e4m3(((const uint8_t *)p)[at]);
}

static double gelu(double x) { return x / (1 + exp(-2 * 0.79788456080286536 * (x + 0.044715 * x * x * x))); }

static double bias_of(const struct product *p, uint64_t n)
{
    if (!(p->epilogue & LT_BIAS))
        return 0;
    return p->bias_type == LT_F32 ? ((const float *)p->bias)[n] : from_half(((const uint16_t *)p->bias)[n]);
}

static void multiply(const void *args)
{
    const struct work_args *w = args;
    memset(w->workspace, GUARD_BYTE, w->workspace_size); /* whatever is there */
    for (uint64_t row = 0; row < w->d.columns; row++)
        for (uint64_t n = 0; n < w->d.rows; n++) {
            int64_t a = (int64_t)n * w->a.ld, b = (int64_t)row * w->b.ld;
            double sum = 0;
            for (int64_t k = 0; k < (int64_t)w->a.rows; k++)
                sum += number(w->weights, w->a.type, a + k) * number(w->in, w->b.type, b + k);
            if (has_scales(&w->p))
                sum *=
                    (double)((const float *)w->p.scales[0])[n] * (double)((const float *)w->p.scales[1])[row];
            sum += bias_of(&w->p, n);
            if (w->p.epilogue & LT_GELU)
                sum = gelu(sum);
            int64_t at = (int64_t)row * w->d.ld + (int64_t)n;
            if (w->d.type == LT_F32)
                ((float *)w->out)[at] = (float)sum;
            else
                ((uint16_t *)w->out)[at] = to_half((float)sum);
        }
}

static void check_matrix(const void *p, const struct layout *l, const char *what)
{
    if ((uintptr_t)p % ALIGNED)
        broken("%s of a product is not at a multiple of %d bytes", what, ALIGNED);
    driver_range(p, (size_t)(((int64_t)l->columns - 1) * l->ld + (int64_t)l->rows) * (size_t)size_of(l->type),
                 what);
}

int cublasLtMatmul(void *handle, void *product, const void *alpha, const void *a, void *la, const void *b,
                   void *lb, const void *beta, const void *c, void *lc, void *r, void *lr,
                   const struct lt_algorithm *algorithm, void *workspace, size_t bytes, void *stream)
{
    struct work_args w = {.p = *(struct product *)product,
                          .a = *(struct layout *)la,
                          .b = *(struct layout *)lb,
                          .d = *(struct layout *)lr,
                          .weights = a,
                          .in = b,
                          .out = r,
                          .workspace = workspace,
                          .workspace_size = bytes};
    struct lt_algorithm own = algorithm_of(product, la, lr);
    int failure = driver_enter();
    (void)handle, (void)stream;
    if (failure)
        return status_of(failure);
    driver_first_use("a product"); /* any of them may be */
    if (!is_supported(product, la, lb, lc, lr) || memcmp(&own, algorithm, sizeof own) != 0)
        broken("a product that was not asked for: %llu x %llu x %llu", (unsigned long long)w.d.columns,
               (unsigned long long)w.a.rows, (unsigned long long)w.d.rows);
    if (has_scales(&w.p) && has("late-scales"))
        return LT_INVALID_VALUE;
    if (*(const float *)alpha != 1 || *(const float *)beta != 0 || c != r || w.d.columns == 0)
        broken("a product with factors or without rows");
    check_matrix(a, &w.a, "the weights");
    check_matrix(b, &w.b, "the rows");
    check_matrix(r, &w.d, "the results");
    for (int i = 0; has_scales(&w.p) && i < 2; i++)
        driver_range(w.p.scales[i], (i ? w.d.columns : w.d.rows) * sizeof(float), "the scales");
    if (w.p.epilogue & LT_BIAS)
        driver_range(w.p.bias, w.d.rows * (size_t)size_of(w.p.bias_type), "the bias");
    if ((uintptr_t)workspace % CUDA_LIBRARY_ALIGNED || bytes < 1 << 20)
        broken("a workspace of %zu bytes at %p", bytes, workspace);
    driver_range(workspace, bytes, "the workspace");
    driver_call(multiply, &w, sizeof w);
    return 0;
}
