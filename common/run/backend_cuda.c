/* See backend_cuda.h. */
#include "common/run/backend_cuda.h"
#include "common/base/mem.h"
#include "common/run/plan.h"
#include "common/run/weights.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/plugin/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

struct cuda {
    void *library;
    const struct cuda_plugin *plugin;
    int opened, blocks; /* of memory that are out */
    int prefer_sdpa;    /* attention by cuDNN wherever it has it */
    int wants_fp8, fp8; /* rows before weights in e4m3 are rounded to e4m3 as well: to be, and are */
    struct cuda_info info;
    float *host; /* for operations that the host computes */
    size_t host_count;
};

static struct cuda *cuda_of(const struct backend *b) { return b->context; }

static int hand_over(int status, const struct cuda_failure *f, struct error *e)
{
    if (status < 0)
        return error_set(e, f->kind == 5 ? HASTEN_ENOMEM : HASTEN_EFAIL, "%s", f->text);
    return status;
}

/* ---- opening ---- */

static int load_plugin(struct cuda *c, const char *path, struct error *e)
{
    c->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!c->library) {
        const char *why = dlerror();
        return error_set(e, HASTEN_EFAIL,
                         "no CUDA plugin: %s; set HASTEN_PLUGIN_PATH to its file, or use --backend cpu",
                         why ? why : path);
    }
    hasten_cuda_plugin_fn *entry = NULL;
    void *symbol = dlsym(c->library, HASTEN_CUDA_PLUGIN_ENTRY);
    memcpy(&entry, &symbol, sizeof entry);
    c->plugin = entry ? entry() : NULL;
    if (!c->plugin)
        return error_set(e, HASTEN_EFAIL, "%s is no CUDA plugin of hasten", path);
    if (c->plugin->abi != HASTEN_CUDA_PLUGIN_ABI || c->plugin->size != sizeof *c->plugin)
        return error_set(e, HASTEN_EFAIL,
                         "%s is of another version of hasten (interface %u, expected %u); install both anew",
                         path, (unsigned)c->plugin->abi, HASTEN_CUDA_PLUGIN_ABI);
    return 0;
}

static void cuda_close(struct backend *b)
{
    struct cuda *c = cuda_of(b);
    if (!c)
        return;
    if (c->opened)
        c->plugin->close();
    if (c->library)
        dlclose(c->library);
    mem_free(c->host);
    mem_free(c);
    b->context = NULL;
}

/* ---- memory ---- */

static void *cuda_allocate(struct backend *b, size_t bytes, struct error *e)
{
    struct cuda_failure f;
    void *block = NULL;
    if (hand_over(cuda_of(b)->plugin->allocate(&block, bytes, &f), &f, e) < 0)
        return NULL;
    cuda_of(b)->blocks++;
    return block;
}

static void cuda_release(struct backend *b, void *block)
{
    cuda_of(b)->blocks -= block != NULL;
    cuda_of(b)->plugin->release(block);
}

static int cuda_put(struct backend *b, void *to, const void *from, size_t bytes, struct error *e)
{
    struct cuda_failure f;
    return hand_over(cuda_of(b)->plugin->put(to, from, bytes, &f), &f, e);
}

static int cuda_get(struct backend *b, void *to, const void *from, size_t bytes, struct error *e)
{
    struct cuda_failure f;
    return hand_over(cuda_of(b)->plugin->get(to, from, bytes, &f), &f, e);
}

static int cuda_wait(struct backend *b, struct error *e)
{
    struct cuda_failure f;
    return hand_over(cuda_of(b)->plugin->wait(&f), &f, e);
}

static int has(struct backend *b, enum cuda_feature library)
{
    return cuda_of(b)->plugin->features(library, NULL, 0) != 0;
}

/* Libraries add a bias of the results' type: weights of bfloat16 or for e4m3 products have one in bfloat16
 * behind them, zeros for none. */
static int append_bias(struct packed *p, void **packed, const struct node *n, struct error *e)
{
    const struct tensor *t = n->tensor[1];
    size_t weights = p->product_size, count = (size_t)p->shape.n;
    uint16_t *both = mem_resize(*packed, weights / sizeof *both + count, sizeof *both, e);
    float *bias = both ? mem_array(count, sizeof *bias, e) : NULL;
    *packed = both ? both : *packed;
    if (!bias)
        return -1;
    if (t)
        tensor_to_f32(t->dtype, t->data, bias, count);
    tensor_from_f32(DTYPE_BF16, bias, both + weights / sizeof *both, count);
    mem_free(bias);
    p->product_size += count * sizeof *both;
    return 0;
}

static const uint16_t *half_bias(const struct matmul *m)
{
    struct mm_shape s = {m->n, m->kernel_h, m->kernel_w, {(int)m->source[0].channels, 0}};
    const struct cpu_kernels *k = cuda_packing(CUDA_BF16);
    size_t size = m->form == MM_E4M3 ? k->matmul_packed_size(&s, 1) : k->matmul_bf16_size(&s);
    return (const uint16_t *)((const char *)m->weights + size);
}

/* As cuBLASLt computes it; 0: not in this way. */
static int find_product(struct backend *b, const struct matmul *m, enum cuda_way way, struct cuda_product *p,
                        struct cuda_launches *before, struct cuda_launches *after)
{
    before->count = 0;
    if (m->form == MM_E4M3)
        return cuda_of(b)->fp8 && cuda_fp8_product(m, half_bias(m), way, p, before, after);
    return cuda_library_product(m, half_bias(m), way, p, after);
}

/* Packed on the host, with the device's layouts. float16 fits into a TF32 number, so it is float32 here. */
static int cuda_pack(struct backend *b, struct packed *p, const struct node *n, struct error *e)
{
    p->format = p->form == MM_BF16 ? CUDA_BF16 : CUDA_F32;
    p->narrow = p->form == MM_E4M3 && cuda_of(b)->fp8 && cuda_fp8_fits(&p->shape);
    struct backend host = {b->ops, cuda_packing((enum cuda_precision)p->format), b->team, NULL, NULL};
    int status = weights_pack_cpu(&host, p, n, e);
    void *packed = p->product;
    p->product = NULL;
    if (status == 0 && (p->form == MM_BF16 || p->narrow))
        status = append_bias(p, &packed, n, e);
    if (status == 0)
        p->product = cuda_allocate(b, p->product_size, e);
    status = p->product ? cuda_put(b, p->product, packed, p->product_size, e) : -1;
    mem_free(packed);
    return status;
}

static size_t cuda_packed_size(struct backend *b, const struct mm_shape *s, int int8)
{
    (void)b;
    return cuda_packing(CUDA_F32)->matmul_packed_size(s, int8); /* the larger one of floats */
}

/* Bytes for products by cuBLASLt, which is asked what it has while it may still load things; 0: none. */
static size_t library_scratch(struct backend *b, const struct matmul *m)
{
    struct cuda_launches before, after;
    struct cuda_product p;
    size_t bytes = m->form == MM_E4M3 ? cuda_fp8_scratch(m) : cuda_library_scratch(m);
    if (!bytes || !(m->form == MM_E4M3 ? cuda_of(b)->fp8 : has(b, CUDA_HAS_CUBLASLT)))
        return 0;
    for (int way = 0; way < CUDA_WAYS; way++)
        if (find_product(b, m, (enum cuda_way)way, &p, &before, &after))
            (void)cuda_of(b)->plugin->offers(&p);
    return bytes;
}

/* Bytes for the first way that cuDNN has of a convolution; 0: it has none. */
static size_t convolution_scratch(struct backend *b, const struct matmul *m)
{
    struct cuda_operation o;
    struct cuda_launches before, after;
    struct matmul seen = *m;
    size_t workspace = 0;
    seen.scratch = &workspace; /* somewhere */
    for (int way = 0; way < CUDA_WAYS; way++)
        if (cuda_convolution(&seen, (enum cuda_way)way, &o, &before, &after) && has(b, CUDA_HAS_CUDNN) &&
            cuda_of(b)->plugin->prepare(&o, &workspace) == 0)
            return cuda_convolution_scratch(m, (enum cuda_way)way) + workspace;
    return 0;
}

/* Bytes for attention by cuDNN; 0: by the own kernel. */
static size_t attention_scratch_of(struct backend *b, const struct attention *a)
{
    struct cuda_operation o;
    size_t workspace = 0;
    if (!cuda_attention_operation(a, &o) || (!cuda_of(b)->prefer_sdpa && !cuda_attention_is_quicker(a)) ||
        !has(b, CUDA_HAS_CUDNN) || cuda_of(b)->plugin->prepare(&o, &workspace) != 0)
        return 0;
    return CUDA_LIBRARY_ALIGNED + (workspace + 15) / 16 * 16;
}

static size_t cuda_scratch(struct backend *b, const struct kernel_call *c)
{
    const struct matmul *m = &c->matmul;
    if (c->kind == KERNEL_ATTENTION)
        return attention_scratch_of(b, &c->attention);
    size_t own = cuda_matmul_scratch(m, (enum cuda_precision)c->format), library = library_scratch(b, m);
    if (!library)
        library = convolution_scratch(b, m);
    return own > library ? own : library;
}

/* ---- running ---- */

static int launch_all(struct backend *b, const struct cuda_launches *l, struct error *e)
{
    struct cuda_failure f;
    for (int i = 0; i < l->count; i++)
        if (hand_over(cuda_of(b)->plugin->launch(&l->launch[i], &f), &f, e) < 0)
            return -1;
    return 0;
}

/* An empty list is a kernel that the device does not have. */
static int launch_some(struct backend *b, const struct cuda_launches *l, const char *what, struct error *e)
{
    if (l->count == 0)
        return error_set(e, HASTEN_EFAIL,
                         "CUDA: there is no kernel for a %s of this size; take a smaller --batch, or "
                         "--backend cpu",
                         what);
    return launch_all(b, l, e);
}

static int64_t weight_count(const struct op_call *r, int slot)
{
    int64_t count = r->weight[slot] ? 1 : 0;
    for (int d = 0; d < 4; d++)
        count *= r->weight_shape[slot][d];
    return count;
}

/* An operation without a kernel: its inputs and weights come to the host, its result goes back. */
static int run_on_host(struct backend *b, const struct op_call *call, struct error *e)
{
    struct cuda *c = cuda_of(b);
    struct op_call r = *call;
    const float **from[GRAPH_MAX_INPUTS + GRAPH_MAX_WEIGHTS];
    int64_t count[GRAPH_MAX_INPUTS + GRAPH_MAX_WEIGHTS], out = r.images * shape_size(r.out_shape),
                                                         total = out;
    int n = 0;
    for (int i = 0; i < r.node->inputs; i++)
        if (r.in[i]) {
            from[n] = &r.in[i];
            total += count[n++] = r.images * shape_size(r.in_shape[i]);
        }
    for (int i = 0; i < GRAPH_MAX_WEIGHTS; i++)
        if (r.weight[i]) {
            from[n] = &r.weight[i];
            total += count[n++] = weight_count(&r, i);
        }
    if ((size_t)total > c->host_count) {
        float *bigger = mem_resize(c->host, (size_t)total, sizeof *bigger, e);
        if (!bigger)
            return -1;
        c->host = bigger;
        c->host_count = (size_t)total;
    }
    float *at = c->host + out;
    for (int i = 0; i < n; at += count[i++]) {
        if (cuda_get(b, at, *from[i], (size_t)count[i] * sizeof *at, e) < 0)
            return -1;
        *from[i] = at;
    }
    r.out = c->host;
    r.node->op->reference(&r);
    return cuda_put(b, call->out, c->host, (size_t)out * sizeof *at, e);
}

/* By cuDNN: 1 when it has none of this. */
static int run_convolution(struct backend *b, const struct matmul *m, struct error *e)
{
    struct cuda_operation o;
    struct cuda_launches before, after;
    struct cuda_failure f;
    int status = 1;
    for (int way = 0; m->scratch && status == 1 && way < CUDA_WAYS; way++) {
        if (m->scratch_ld < cuda_convolution_scratch(m, (enum cuda_way)way) ||
            !cuda_convolution(m, (enum cuda_way)way, &o, &before, &after))
            continue;
        if (launch_all(b, &before, e) < 0)
            return -1;
        status = cuda_of(b)->plugin->operate(&o, &f);
        if (status < 0)
            return hand_over(-1, &f, e);
        if (status == 0 && launch_all(b, &after, e) < 0)
            return -1;
    }
    return status;
}

/* By a library in the first way that it has, else by an own kernel. */
static int run_product(struct backend *b, const struct kernel_call *c, struct error *e)
{
    struct cuda_launches before, l;
    struct cuda_product p;
    struct cuda_failure f;
    const struct matmul *m = &c->matmul;
    for (int way = 0; m->scratch && way < CUDA_WAYS; way++)
        if (find_product(b, m, (enum cuda_way)way, &p, &before, &l) && cuda_of(b)->plugin->offers(&p)) {
            if (launch_all(b, &before, e) < 0)
                return -1;
            int status = cuda_of(b)->plugin->product(&p, &f);
            if (status <= 0)
                return status < 0 ? hand_over(-1, &f, e) : launch_all(b, &l, e);
        }
    int status = run_convolution(b, m, e);
    if (status <= 0)
        return status;
    cuda_matmul(m, (enum cuda_precision)c->format, &l);
    return launch_all(b, &l, e);
}

static int run_attention(struct backend *b, const struct kernel_call *c, struct error *e)
{
    struct cuda_operation o;
    struct cuda_failure f;
    struct cuda_launches l;
    int status = 1;
    if (c->attention.scratch && cuda_attention_operation(&c->attention, &o))
        status = cuda_of(b)->plugin->operate(&o, &f);
    if (status <= 0)
        return hand_over(status, &f, e);
    cuda_attention(&c->attention, (enum cuda_precision)c->format, &l);
    return launch_all(b, &l, e);
}

static int run_call(struct backend *b, const struct kernel_call *c, struct error *e)
{
    struct cuda_launches l = {0};
    switch (c->kind) {
    case KERNEL_MATMUL:
        return run_product(b, c, e);
    case KERNEL_ROW_NORM:
        cuda_row_norm(&c->row_norm, &l);
        break;
    case KERNEL_GROUP_NORM:
        cuda_group_norm(&c->group_norm, &l);
        break;
    case KERNEL_IMAGE_QUANTIZE:
        cuda_image_quantize(&c->image_quantize, &l);
        break;
    case KERNEL_ATTENTION:
        return run_attention(b, c, e);
    case KERNEL_ELEMENTWISE:
        cuda_elementwise(&c->elementwise, &l);
        break;
    case KERNEL_CACHE_READ:
        cuda_cache_read(&c->cache_read, &l);
        break;
    case KERNEL_MOVE:
        cuda_move(&c->move, &l);
        break;
    case KERNEL_REFERENCE:
        return run_on_host(b, &c->reference, e);
    }
    return launch_some(b, &l, kernel_kind_name(c->kind), e);
}

/* Times of calls [first, last) from the events at their ends. */
static int read_times(struct backend *b, int first, int last, double *milliseconds, struct error *e)
{
    struct cuda_failure f;
    float ms = 0;
    if (cuda_wait(b, e) < 0)
        return -1;
    for (int i = first; i < last; i++) {
        if (hand_over(cuda_of(b)->plugin->elapsed(i - first, i - first + 1, &ms, &f), &f, e) < 0)
            return -1;
        milliseconds[i] = ms;
    }
    return 0;
}

static int cuda_run(struct backend *b, struct plan *p, int first, int last, double *milliseconds,
                    struct error *e)
{
    struct cuda_failure f;
    if (milliseconds && last - first >= CUDA_EVENTS)
        return error_set(e, HASTEN_EFAIL, "%d kernels are too many to time, at most %d", last - first,
                         CUDA_EVENTS - 1);
    for (int i = first; i <= last; i++) {
        if (milliseconds && hand_over(cuda_of(b)->plugin->mark(i - first, &f), &f, e) < 0)
            return -1;
        if (i < last && run_call(b, &p->call[i], e) < 0)
            return error_under(e, "kernel %d of %d (%s)", i + 1, p->calls, kernel_kind_name(p->call[i].kind));
    }
    return milliseconds ? read_times(b, first, last, milliseconds, e) : 0;
}

/* ---- recordings, and what a trajectory does between network calls ---- */

static int cuda_record(struct backend *b, struct error *e)
{
    struct cuda_failure f;
    return hand_over(cuda_of(b)->plugin->record(&f), &f, e);
}

static void *cuda_recorded(struct backend *b, struct error *e)
{
    struct cuda_failure f;
    void *graph = NULL;
    return hand_over(cuda_of(b)->plugin->recorded(&graph, &f), &f, e) < 0 ? NULL : graph;
}

static int cuda_replay(struct backend *b, void *recording, struct error *e)
{
    struct cuda_failure f;
    return hand_over(cuda_of(b)->plugin->replay(recording, &f), &f, e);
}

static void cuda_drop(struct backend *b, void *recording) { cuda_of(b)->plugin->drop(recording); }

static int run_step(struct backend *b, const struct cuda_step *s, struct error *e)
{
    struct cuda_launches l = {0};
    cuda_step(s, &l);
    return launch_some(b, &l, "sampler's step", e);
}

static int run_layout(struct backend *b, const struct cuda_layout *s, struct error *e)
{
    struct cuda_launches l = {0};
    cuda_layout(s, &l);
    return launch_some(b, &l, "change of layout", e);
}

static int run_move(struct backend *b, const struct move *m, struct error *e)
{
    struct cuda_launches l = {0};
    cuda_move(m, &l);
    return launch_some(b, &l, "copy", e);
}

static int cuda_trace(struct backend *b, struct error *e)
{
    struct cuda_failure f;
    return has(b, CUDA_HAS_CUPTI) ? hand_over(cuda_of(b)->plugin->trace(&f), &f, e) : 1;
}

static int cuda_traced(struct backend *b, struct cuda_trace *kernels, struct error *e)
{
    struct cuda_failure f;
    return hand_over(cuda_of(b)->plugin->traced(kernels, CUDA_TRACE_MOST, &f), &f, e);
}

static const struct backend_ops cuda_ops = {
    .name = "cuda",
    .close = cuda_close,
    .half = 1,
    .parts = 1,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .put = cuda_put,
    .get = cuda_get,
    .wait = cuda_wait,
    .pack = cuda_pack,
    .packed_size = cuda_packed_size,
    .scratch = cuda_scratch,
    .run = cuda_run,
    .record = cuda_record,
    .recorded = cuda_recorded,
    .replay = cuda_replay,
    .drop = cuda_drop,
    .step = run_step,
    .layout = run_layout,
    .move = run_move,
    .trace = cuda_trace,
    .traced = cuda_traced,
};

int backend_cuda_open(struct backend *b, const char *plugin, const char *libraries, int local,
                      const struct cpu_kernels *kernels, struct team *team, struct error *e)
{
    struct cuda_failure f;
    struct cuda *c = mem_array(1, sizeof *c, e);
    *b = (struct backend){.ops = &cuda_ops, .kernels = kernels, .team = team, .context = c};
    if (c && load_plugin(c, plugin, e) == 0) {
        c->opened = 1;
        c->prefer_sdpa = libraries && strstr(libraries, "sdpa");
        c->wants_fp8 = libraries && strstr(libraries, "fp8");
        if (hand_over(c->plugin->open(cuda_kernel_names(), libraries, local, &c->info, &f), &f, e) == 0) {
            c->fp8 = c->wants_fp8 && has(b, CUDA_HAS_FP8);
            return 0;
        }
    }
    cuda_close(b);
    return -1;
}

int backend_cuda_give_way(struct backend *b)
{
    if (b->ops != &cuda_ops || cuda_of(b)->blocks > 0)
        return 0;
    struct backend cpu = backend_cpu(b->kernels, b->team);
    backend_close(b);
    *b = cpu;
    return 1;
}

void backend_cuda_describe(struct backend *b, char *text, size_t size)
{
    static const enum cuda_feature library[] = {CUDA_HAS_CUBLASLT, CUDA_HAS_CUDNN, CUDA_HAS_CUPTI,
                                                CUDA_HAS_FP8};
    const struct cuda *c = cuda_of(b);
    char note[4][64] = {""};
    for (int i = 0; i < 3 + c->wants_fp8; i++)
        if (c->plugin->features(library[i], note[i], sizeof note[i]))
            snprintf(note[i], sizeof note[i], "found");
    snprintf(text, size,
             "CUDA: %s, compute capability %d.%d, %d multiprocessors, %.1f GiB, driver %d.%d; cuBLASLt %s, "
             "cuDNN %s, CUPTI %s%s%s",
             c->info.name, c->info.major, c->info.minor, c->info.multiprocessors,
             (double)c->info.memory / 1073741824, c->info.driver / 1000, c->info.driver % 1000 / 10, note[0],
             note[1], note[2], c->wants_fp8 ? ", products of e4m3 " : "", note[3]);
}
