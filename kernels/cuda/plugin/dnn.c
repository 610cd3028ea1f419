/* Plans of cuDNN: see dnn.h.
 *
 * A plan is for one number of images. Which engine it takes, and with which settings, is decided once for all
 * numbers: the library's heuristics are asked at IMAGES of them, and what they say is asked for again at
 * every number, so that a row's sums are taken in the same order. Engines that may sum in another order from
 * run to run, in shares that depend on the number of rows (stream-K), or in less than float32, are passed
 * over. */
#include "kernels/cuda/plugin/dnn.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* IMAGES: one with guidance. */
enum { IMAGES = 2, FAMILIES = 256, PLANS = 768, CHOICES = 8, KNOBS = 24, NOTES = 16 };
enum { WORKSPACE_MOST = 64 << 20 };

/* Plans of one shape at all numbers of images. */
struct family {
    struct cuda_shape shape; /* images: 0 */
    int usable, knobs;
    int64_t engine;
    struct {
        int32_t type;
        int64_t value;
    } knob[KNOBS];
};

struct plan {
    struct cuda_shape shape;
    const struct family *family;
    struct dnn_made made;
    void *plan;
    int64_t workspace;
};

static struct {
    void *library, *handle;
    int tried, families, plans;
    struct family family[FAMILIES];
    struct plan plan[PLANS];
} d;

/* ---- opening ---- */

int dnn_open(void *stream, char *why, size_t size)
{
    int status = 0;
    if (d.handle)
        return 1;
    if (d.tried++)
        return 0;
    d.library = dlopen("libcudnn.so.9", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (!d.library)
        snprintf(why, size, "absent");
    else if (dnn_find_functions(d.library) < 0)
        snprintf(why, size, "too old");
    else if ((status = dnn.cudnnCreate(&d.handle)) != 0 ||
             (status = dnn.cudnnSetStream(d.handle, stream)) != 0)
        snprintf(why, size, "not usable (status %d)", status);
    else
        return 1;
    dnn_close();
    d.tried = 1;
    return 0;
}

void dnn_close(void)
{
    for (int i = 0; i < d.plans; i++)
        dnn_drop(&d.plan[i].made);
    if (d.handle)
        dnn.cudnnDestroy(d.handle);
    if (d.library)
        dlclose(d.library);
    memset(&d, 0, sizeof d);
    memset(&dnn, 0, sizeof dnn);
}

/* ---- engines ---- */

/* Numbers of a finalized descriptor; how many there are, -1 when it does not say. */
static int64_t get(void *descriptor, int name, int type, int64_t most, void *values)
{
    int64_t count = 0;
    int status = dnn.cudnnBackendGetAttribute(descriptor, name, type, most, &count, values);
    return status == 0 ? count < most ? count : most : -1;
}

/* Are the engine's sums in float32, and in the same order every time? */
static int is_exact(void *engine)
{
    int32_t note[NOTES];
    int64_t notes = get(engine, DNN_ENGINE_NOTES, DNN_IS_NOTE, NOTES, note);
    for (int64_t i = 0; i < notes; i++)
        if (note[i] != DNN_NOTE_TENSOR_CORE && note[i] != DNN_NOTE_NAN)
            return 0;
    return notes >= 0;
}

/* What a configuration says, so that it can be asked for again. 0 when it is not wanted. */
static int read_config(struct family *f, void *config)
{
    struct dnn_made m = {0};
    void *engine = dnn_new(&m, DNN_ENGINE), *knob[KNOBS];
    int usable = 0;
    for (int i = 0; i < KNOBS; i++)
        knob[i] = dnn_new(&m, DNN_KNOB);
    if (m.status == 0 && get(config, DNN_CONFIG_ENGINE, DNN_IS_DESCRIPTOR, 1, &engine) == 1 &&
        is_exact(engine) && get(engine, DNN_ENGINE_INDEX, DNN_IS_INT64, 1, &f->engine) == 1) {
        f->knobs = (int)get(config, DNN_CONFIG_KNOBS, DNN_IS_DESCRIPTOR, KNOBS, knob);
        usable = f->knobs >= 0 && f->knobs < KNOBS;
    }
    for (int i = 0; usable && i < f->knobs; i++)
        usable = get(knob[i], DNN_KNOB_TYPE, DNN_IS_KNOB, 1, &f->knob[i].type) == 1 &&
                 get(knob[i], DNN_KNOB_VALUE, DNN_IS_INT64, 1, &f->knob[i].value) == 1 &&
                 (f->knob[i].type != DNN_KNOB_STREAM_K || f->knob[i].value == 0);
    dnn_drop(&m);
    return usable;
}

/* The plan of a shape by a family's engine. */
static int make_plan(const struct family *f, const struct cuda_shape *s, struct plan *p)
{
    struct dnn_made *m = &p->made;
    void *knob[KNOBS];
    *p = (struct plan){.shape = *s, .family = f};
    void *graph = dnn_graph(m, s, d.handle), *engine = dnn_new(m, DNN_ENGINE);
    dnn_set_one(m, engine, DNN_ENGINE_GRAPH, graph);
    dnn_set(m, engine, DNN_ENGINE_INDEX, DNN_IS_INT64, 1, &f->engine);
    dnn_finalize(m, engine);
    for (int i = 0; i < f->knobs; i++) {
        knob[i] = dnn_new(m, DNN_KNOB);
        dnn_set(m, knob[i], DNN_KNOB_TYPE, DNN_IS_KNOB, 1, &f->knob[i].type);
        dnn_set(m, knob[i], DNN_KNOB_VALUE, DNN_IS_INT64, 1, &f->knob[i].value);
        dnn_finalize(m, knob[i]);
    }
    void *config = dnn_new(m, DNN_CONFIG);
    dnn_set_one(m, config, DNN_CONFIG_ENGINE, engine);
    if (f->knobs > 0)
        dnn_set(m, config, DNN_CONFIG_KNOBS, DNN_IS_DESCRIPTOR, f->knobs, knob);
    dnn_finalize(m, config);
    p->plan = dnn_new(m, DNN_PLAN);
    dnn_set(m, p->plan, DNN_PLAN_HANDLE, DNN_IS_HANDLE, 1, &d.handle);
    dnn_set_one(m, p->plan, DNN_PLAN_CONFIG, config);
    dnn_finalize(m, p->plan);
    if (m->status == 0 && get(p->plan, DNN_PLAN_WORKSPACE, DNN_IS_INT64, 1, &p->workspace) == 1 &&
        p->workspace <= WORKSPACE_MOST)
        return 0;
    dnn_drop(m);
    return -1;
}

/* The first engine of this mode's heuristics that can be used. */
static int choose(struct family *f, const struct cuda_shape *s, int32_t mode, struct plan *p)
{
    struct dnn_made m = {0};
    void *graph = dnn_graph(&m, s, d.handle), *heuristic = dnn_new(&m, DNN_HEURISTIC), *config[CHOICES];
    int status = -1;
    dnn_set_one(&m, heuristic, DNN_HEURISTIC_GRAPH, graph);
    dnn_set(&m, heuristic, DNN_HEURISTIC_MODE, DNN_IS_HEURISTIC_MODE, 1, &mode);
    dnn_finalize(&m, heuristic);
    for (int i = 0; i < CHOICES; i++)
        config[i] = dnn_new(&m, DNN_CONFIG);
    int64_t found = m.status ? 0 : get(heuristic, DNN_HEURISTIC_RESULTS, DNN_IS_DESCRIPTOR, CHOICES, config);
    for (int64_t i = 0; i < found && status < 0; i++)
        if (read_config(f, config[i]))
            status = make_plan(f, s, p);
    dnn_drop(&m);
    return status;
}

/* ---- plans ---- */

static struct plan *find_plan(const struct cuda_shape *s)
{
    for (int i = 0; i < d.plans; i++)
        if (!memcmp(&d.plan[i].shape, s, sizeof *s))
            return &d.plan[i];
    return NULL;
}

/* The family of a shape; a new one comes with its plan at IMAGES. NULL: there is no room. */
static struct family *find_family(const struct cuda_shape *s)
{
    struct cuda_shape own = *s, at = *s;
    own.images = 0;
    at.images = IMAGES;
    for (int i = 0; i < d.families; i++)
        if (!memcmp(&d.family[i].shape, &own, sizeof own))
            return &d.family[i];
    if (d.families == FAMILIES || d.plans == PLANS)
        return NULL;
    struct family *f = &d.family[d.families++];
    struct plan *p = &d.plan[d.plans];
    *f = (struct family){.shape = own};
    f->usable = choose(f, &at, DNN_HEURISTIC_A, p) == 0 || choose(f, &at, DNN_HEURISTIC_FALLBACK, p) == 0;
    d.plans += f->usable;
    return f;
}

int dnn_prepare(const struct cuda_operation *o, size_t *workspace)
{
    struct family *f = d.handle ? find_family(&o->shape) : NULL;
    struct plan *p = f && f->usable ? find_plan(&o->shape) : NULL;
    if (f && f->usable && !p) {
        if (d.plans == PLANS)
            return 1;
        p = &d.plan[d.plans];
        f->usable = make_plan(f, &o->shape, p) == 0;
        d.plans += f->usable;
    }
    if (!f || !f->usable)
        return 1;
    *workspace = (size_t)p->workspace;
    return 0;
}

static int fail(int status, const struct cuda_operation *o, struct cuda_failure *f)
{
    const struct cuda_convolution *c = &o->shape.convolution;
    const struct cuda_heads *a = &o->shape.attention;
    char what[160];
    if (o->shape.kind == CUDA_ATTENTION)
        snprintf(what, sizeof what, "attention of %lld heads of %lld, %lld queries, %lld keys",
                 (long long)a->heads, (long long)a->head_dim, (long long)a->queries, (long long)a->keys);
    else
        snprintf(what, sizeof what, "a convolution of %lldx%lldx%lld to %lld", (long long)c->in_height,
                 (long long)c->in_width, (long long)c->channels, (long long)c->n);
    f->kind = status == DNN_NO_HOST_MEMORY || status == DNN_NO_DEVICE_MEMORY ? 5 : 1;
    snprintf(f->text, sizeof f->text,
             "CUDA: cuDNN: %s, %lld images: status %d; run it again with HASTEN_CUDA_LIBRARIES=cublaslt, or "
             "with --backend cpu",
             what, (long long)o->shape.images, status);
    return -1;
}

static int run(const struct plan *p, const struct cuda_operation *o)
{
    struct dnn_made m = {0};
    void *pack = dnn_new(&m, DNN_PACK), *pointer[CUDA_OPERANDS], *workspace = o->workspace;
    int64_t id[CUDA_OPERANDS], count = 0;
    for (int i = 0; i < CUDA_OPERANDS; i++)
        if (o->shape.operands >> i & 1) {
            int is_value = o->shape.kind == CUDA_ATTENTION && i == CUDA_SCALE;
            const void *at = is_value ? &o->scale : o->at[i];
            memcpy(&pointer[count], &at, sizeof at);
            id[count++] = is_value ? DNN_VALUE : i + 1;
        }
    dnn_set(&m, pack, DNN_PACK_IDS, DNN_IS_INT64, count, id);
    dnn_set(&m, pack, DNN_PACK_POINTERS, DNN_IS_POINTER, count, pointer);
    dnn_set(&m, pack, DNN_PACK_WORKSPACE, DNN_IS_POINTER, 1, &workspace);
    dnn_finalize(&m, pack);
    int status = m.status ? m.status : dnn.cudnnBackendExecute(d.handle, p->plan, pack);
    dnn_drop(&m);
    return status;
}

/* A CUDA_ERROR as the library would say it. */
static int status_of(int result)
{
    return result == 2 ? DNN_NO_DEVICE_MEMORY : result ? DNN_EXECUTION_FAILED : 0;
}

int dnn_operate(const struct cuda_operation *o, int (*relax)(int on), struct cuda_failure *f)
{
    const struct plan *p = find_plan(&o->shape);
    if (!p || !p->family->usable || (size_t)p->workspace > o->workspace_size)
        return 1;
    int status = status_of(relax(1));
    if (status != 0)
        return fail(status, o, f);
    status = run(p, o);
    int end = status_of(relax(0));
    status = status ? status : end;
    return status ? fail(status, o, f) : 0;
}
