/* Products by cuBLASLt. out = act(in x weights' + bias), row-major, is asked for as the column-major
 * D[n][rows] = A' B with A = weights as [k][n] and B = in as [k][rows], the form that all of its kernels
 * have.
 *
 * Products of e4m3 have the same form; scales of rows and columns are those of B and A.
 *
 * A shape is looked up once: the library's heuristic is asked at ROWS rows, without split sums, and what it
 * says serves every number of rows, so that a row's sums are always taken in the same order. */
#include "kernels/cuda/plugin/blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 2048, SHAPES = 512, CHOICES = 8 };

#define DECLARE(name, arguments) int(*name) arguments;
static struct {
    LT_FUNCTIONS(DECLARE)
} lt;
#undef DECLARE

/* What tells shapes apart. */
struct key {
    int64_t in_ld, weights_ld, out_ld;
    int n, k, e4m3, scaled, out_bf16, gelu, bias;
};

struct shape {
    struct key key;
    int usable;
    void *product, *a, *b, *d;
    struct lt_algorithm algorithm;
};

static struct {
    void *library, *handle, *preference;
    struct shape shape[SHAPES];
    int shapes, tried;
} blas;

/* ---- opening ---- */

static int find_functions(void)
{
    struct {
        const char *name;
        void *to;
    } all[] = {
#define ENTRY(name, arguments) {#name, &lt.name},
        LT_FUNCTIONS(ENTRY)
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(blas.library, all[i].name);
        if (!symbol)
            return -1;
        memcpy(all[i].to, &symbol, sizeof symbol);
    }
    return 0;
}

static int make_preference(void)
{
    size_t workspace = CUDA_LIBRARY_WORKSPACE;
    uint32_t reductions = LT_NO_REDUCTION, aligned = 16;
    if (lt.cublasLtMatmulPreferenceCreate(&blas.preference) != 0 ||
        lt.cublasLtMatmulPreferenceSetAttribute(blas.preference, LT_WORKSPACE, &workspace,
                                                sizeof workspace) != 0 ||
        lt.cublasLtMatmulPreferenceSetAttribute(blas.preference, LT_REDUCTIONS, &reductions,
                                                sizeof reductions) != 0)
        return -1;
    for (int which = LT_ALIGNED_A; which <= LT_ALIGNED_D; which++)
        if (lt.cublasLtMatmulPreferenceSetAttribute(blas.preference, which, &aligned, sizeof aligned) != 0)
            return -1;
    return 0;
}

int blas_open(char *why, size_t size)
{
    int status = 0;
    if (blas.handle)
        return 1;
    if (blas.tried++)
        return 0;
    int how =
        RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE; /* half a gigabyte, with threads and handlers of its own */
    blas.library = dlopen("libcublasLt.so.13", how);
    if (!blas.library)
        blas.library = dlopen("libcublasLt.so.12", how);
    if (!blas.library)
        snprintf(why, size, "absent");
    else if (find_functions() < 0)
        snprintf(why, size, "too old");
    else if ((status = lt.cublasLtCreate(&blas.handle)) != 0)
        snprintf(why, size, "not usable (status %d)", status);
    else if (make_preference() < 0)
        snprintf(why, size, "not usable (preferences)");
    else
        return 1;
    blas_close();
    blas.tried = 1;
    return 0;
}

static void forget(struct shape *s)
{
    if (s->product)
        lt.cublasLtMatmulDescDestroy(s->product);
    void *layouts[] = {s->a, s->b, s->d};
    for (int i = 0; i < 3; i++)
        if (layouts[i])
            lt.cublasLtMatrixLayoutDestroy(layouts[i]);
    memset(s, 0, sizeof *s);
}

void blas_close(void)
{
    for (int i = 0; i < blas.shapes; i++)
        forget(&blas.shape[i]);
    if (blas.preference)
        lt.cublasLtMatmulPreferenceDestroy(blas.preference);
    if (blas.handle)
        lt.cublasLtDestroy(blas.handle);
    if (blas.library)
        dlclose(blas.library);
    memset(&blas, 0, sizeof blas);
    memset(&lt, 0, sizeof lt);
}

/* ---- shapes ---- */

static int set(struct shape *s, int which, const void *value, size_t bytes)
{
    return lt.cublasLtMatmulDescSetAttribute(s->product, which, value, bytes);
}

static int describe(struct shape *s)
{
    const struct key *k = &s->key;
    int32_t transposed = LT_TRANSPOSED, type = k->out_bf16 ? LT_BF16 : LT_F32, mode = LT_SCALE_OUTER_VECTOR;
    int factor = k->e4m3 ? LT_E4M3 : LT_BF16;
    uint32_t epilogue = (k->bias ? LT_BIAS : 0) | (k->gelu ? LT_GELU : 0);
    epilogue = epilogue ? epilogue : LT_PLAIN;
    int status = lt.cublasLtMatmulDescCreate(&s->product, LT_COMPUTE_F32, LT_F32);
    if (status == 0)
        status = set(s, LT_TRANSA, &transposed, sizeof transposed);
    if (status == 0)
        status = set(s, LT_EPILOGUE, &epilogue, sizeof epilogue);
    if (status == 0 && k->bias)
        status = set(s, LT_BIAS_TYPE, &type, sizeof type);
    for (int which = LT_A_SCALE_MODE; k->scaled && status == 0 && which <= LT_B_SCALE_MODE; which++)
        status = set(s, which, &mode, sizeof mode);
    if (status == 0)
        status = lt.cublasLtMatrixLayoutCreate(&s->a, factor, (uint64_t)k->k, (uint64_t)k->n, k->weights_ld);
    if (status == 0)
        status = lt.cublasLtMatrixLayoutCreate(&s->b, factor, (uint64_t)k->k, ROWS, k->in_ld);
    if (status == 0)
        status = lt.cublasLtMatrixLayoutCreate(&s->d, type, (uint64_t)k->n, ROWS, k->out_ld);
    return status;
}

/* What differs between products of a shape. */
static int point(struct shape *s, const struct cuda_product *p)
{
    int status = p->bias ? set(s, LT_BIAS_POINTER, &p->bias, sizeof p->bias) : 0;
    if (status == 0 && p->row_scale)
        status = set(s, LT_B_SCALE, &p->row_scale, sizeof p->row_scale);
    if (status == 0 && p->row_scale)
        status = set(s, LT_A_SCALE, &p->column_scale, sizeof p->column_scale);
    return status;
}

/* The shape of p, looked up or made; one that the library refuses is kept as not usable. */
static struct shape *find_shape(const struct cuda_product *p, int *status)
{
    struct key key;
    memset(&key, 0, sizeof key); /* padding is compared too */
    key.in_ld = p->in_ld;
    key.weights_ld = p->weights_ld;
    key.out_ld = p->out_ld;
    key.n = p->n;
    key.k = p->k;
    key.e4m3 = p->e4m3;
    key.scaled = p->row_scale != NULL;
    key.out_bf16 = p->out_bf16;
    key.gelu = p->gelu;
    key.bias = p->bias != NULL;
    *status = 0;
    for (int i = 0; i < blas.shapes; i++)
        if (!memcmp(&blas.shape[i].key, &key, sizeof key))
            return &blas.shape[i];
    if (blas.shapes == SHAPES)
        return NULL;
    struct shape *s = &blas.shape[blas.shapes];
    struct lt_choice choice[CHOICES];
    int found = 0;
    s->key = key;
    *status = describe(s);
    if (*status == 0) /* their alignment counts */
        *status = point(s, p);
    if (*status == 0)
        *status = lt.cublasLtMatmulAlgoGetHeuristic(blas.handle, s->product, s->a, s->b, s->d, s->d,
                                                    blas.preference, CHOICES, choice, &found);
    if (*status == LT_ALLOC_FAILED) {
        forget(s);
        return NULL;
    }
    for (int i = 0; *status == 0 && i < found && !s->usable; i++)
        if (choice[i].state == 0) {
            s->algorithm = choice[i].algorithm;
            s->usable = 1;
        }
    *status = 0;
    blas.shapes++;
    return s;
}

/* ---- products ---- */

static int fail(int status, const struct cuda_product *p, struct cuda_failure *f)
{
    f->kind = status == LT_ALLOC_FAILED ? 5 : 1;
    snprintf(f->text, sizeof f->text,
             "CUDA: cuBLASLt: a product of %lld rows, %d by %d: status %d; run it again with "
             "HASTEN_CUDA_LIBRARIES=none, or with --backend cpu",
             (long long)p->rows, p->k, p->n, status);
    return -1;
}

static int run(struct shape *s, const struct cuda_product *p, void *stream)
{
    static const float one = 1, zero = 0;
    uint64_t rows = (uint64_t)p->rows;
    struct lt_choice check;
    int status = lt.cublasLtMatrixLayoutSetAttribute(s->b, LT_COLUMNS, &rows, sizeof rows);
    if (status == 0)
        status = lt.cublasLtMatrixLayoutSetAttribute(s->d, LT_COLUMNS, &rows, sizeof rows);
    if (status == 0)
        status = point(s, p);
    if (status == 0 && (lt.cublasLtMatmulAlgoCheck(blas.handle, s->product, s->a, s->b, s->d, s->d,
                                                   &s->algorithm, &check) != 0 ||
                        check.workspace > CUDA_LIBRARY_WORKSPACE))
        status = LT_NOT_SUPPORTED;
    if (status == 0)
        status = lt.cublasLtMatmul(blas.handle, s->product, &one, p->weights, s->a, p->in, s->b, &zero,
                                   p->out, s->d, p->out, s->d, &s->algorithm, p->workspace,
                                   CUDA_LIBRARY_WORKSPACE, stream);
    return status;
}

int blas_offers(const struct cuda_product *p)
{
    int status = 0;
    const struct shape *s = blas.handle ? find_shape(p, &status) : NULL;
    return s && s->usable;
}

/* A CUDA_ERROR as the library would say it. */
static int status_of(int result) { return result == 2 ? LT_ALLOC_FAILED : result ? LT_NOT_INITIALIZED : 0; }

int blas_product(const struct cuda_product *p, void *stream, int (*relax)(int on), struct cuda_failure *f)
{
    if (!blas.handle)
        return 1;
    int status = status_of(relax(1)), usable = 0;
    if (status != 0)
        return fail(status, p, f);
    struct shape *s = find_shape(p, &status);
    if ((usable = s && s->usable))
        status = run(s, p, stream);
    int end = status_of(relax(0));
    /* What it has against scales of rows it says here alone. */
    if (usable && (status == LT_NOT_SUPPORTED || (status == LT_INVALID_VALUE && p->row_scale))) {
        s->usable = usable = 0;
        status = 0;
    }
    status = status ? status : end;
    return status ? fail(status, p, f) : !usable;
}
