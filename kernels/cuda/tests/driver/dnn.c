/* A libcudnn.so.9 on the recording driver, for tests of the host side: descriptors and their attributes as
 * the backend API has them; dnn_run.c computes.
 *
 * It knows what the plugin asks for: chains of a convolution and pointwise operations, and attention. What
 * the real one would refuse, or read outside of what it was given, ends the process with status 99:
 * attributes of another type or number, descriptors that are not finalized, dimensions that do not fit, two
 * tensors of one id, an id without a pointer, a tensor that is not inside one block of the device, a plan
 * made in a capture, a first use in one that is not relaxed. Its heuristics offer an engine that sums in any
 * order first, then one that cannot be had, then a good one. HASTEN_DNN, words: refuse-whole: no graphs of
 * several operations; absent: cannot be opened. */
#include "kernels/cuda/tests/driver/dnn_inside.h"

#include <stdlib.h>

static int live;

int dnn_has(const char *word)
{
    const char *set = getenv("HASTEN_DNN");
    return set && strstr(set, word);
}

static int status_of(int failure)
{
    return failure == 0 ? 0 : failure == CU_OUT_OF_MEMORY ? DNN_NO_DEVICE_MEMORY : DNN_EXECUTION_FAILED;
}

__attribute__((destructor)) static void finish(void)
{
    dnn_forget_programs();
    if (live)
        broken("%d descriptors of cuDNN left behind", live);
}

int cudnnCreate(void **handle)
{
    int failure = driver_enter();
    if (failure || dnn_has("absent"))
        return failure ? status_of(failure) : DNN_NOT_INITIALIZED;
    no_capture("cudnnCreate");
    live++;
    *handle = need(calloc(1, 1));
    return 0;
}

int cudnnDestroy(void *handle)
{
    live--;
    free(handle);
    return 0;
}

int cudnnSetStream(void *handle, void *stream)
{
    (void)handle;
    if (!stream)
        broken("cuDNN on the default stream");
    return 0;
}

/* ---- descriptors ---- */

int cudnnBackendCreateDescriptor(int type, void **descriptor)
{
    struct descriptor *x = need(calloc(1, sizeof *x));
    live++;
    x->type = type;
    *descriptor = x;
    return 0;
}

int cudnnBackendDestroyDescriptor(void *descriptor)
{
    struct descriptor *x = descriptor;
    for (int i = 0; i < x->count; i++)
        free(x->attribute[i].values);
    free(x);
    live--;
    return 0;
}

/* Which type an attribute of a descriptor has, and bytes of one. */
static int type_of(int name)
{
    switch (name) {
    case DNN_POINTWISE_MODE:
        return DNN_IS_POINTWISE_MODE;
    case DNN_POINTWISE_MATH:
    case DNN_CONVOLUTION_MATH:
    case DNN_TENSOR_TYPE:
        return DNN_IS_DATA_TYPE;
    case DNN_CONVOLUTION_MODE:
        return DNN_IS_CONVOLUTION_MODE;
    case DNN_HEURISTIC_MODE:
        return DNN_IS_HEURISTIC_MODE;
    case DNN_PLAN_HANDLE:
    case DNN_GRAPH_HANDLE:
        return DNN_IS_HANDLE;
    case DNN_KNOB_TYPE:
        return DNN_IS_KNOB;
    case DNN_OP_CONVOLUTION_ALPHA:
    case DNN_OP_CONVOLUTION_BETA:
        return DNN_IS_FLOAT;
    case DNN_TENSOR_IS_VIRTUAL:
    case DNN_TENSOR_IS_VALUE:
        return DNN_IS_BOOLEAN;
    case DNN_PACK_POINTERS:
    case DNN_PACK_WORKSPACE:
        return DNN_IS_POINTER;
    case DNN_ENGINE_NOTES:
        return DNN_IS_NOTE;
    case DNN_CONVOLUTION_DILATIONS:
    case DNN_CONVOLUTION_STRIDES:
    case DNN_CONVOLUTION_POST:
    case DNN_CONVOLUTION_PRE:
    case DNN_CONVOLUTION_DIMS:
    case DNN_KNOB_VALUE:
    case DNN_TENSOR_ALIGNMENT:
    case DNN_TENSOR_DIMS:
    case DNN_TENSOR_STRIDES:
    case DNN_TENSOR_ID:
    case DNN_PACK_IDS:
    case DNN_PLAN_WORKSPACE:
    case DNN_ENGINE_INDEX:
        return DNN_IS_INT64;
    default:
        return DNN_IS_DESCRIPTOR;
    }
}

static size_t size_of(int type)
{
    switch (type) {
    case DNN_IS_BOOLEAN:
        return 1;
    case DNN_IS_DATA_TYPE:
    case DNN_IS_FLOAT:
    case DNN_IS_CONVOLUTION_MODE:
    case DNN_IS_HEURISTIC_MODE:
    case DNN_IS_KNOB:
    case DNN_IS_NOTE:
    case DNN_IS_POINTWISE_MODE:
        return 4;
    default:
        return 8;
    }
}

int cudnnBackendSetAttribute(void *descriptor, int name, int type, int64_t count, const void *values)
{
    struct descriptor *x = descriptor;
    if (x->final || type != type_of(name) || count < 1 || x->count == ATTRIBUTES)
        broken("attribute %d of descriptor %d: type %d, %lld values", name, x->type, type, (long long)count);
    struct attribute *a = &x->attribute[x->count++];
    *a = (struct attribute){name, count, need(malloc((size_t)count * size_of(type)))};
    memcpy(a->values, values, (size_t)count * size_of(type));
    return 0;
}

const struct attribute *dnn_find(const struct descriptor *x, int name)
{
    for (int i = 0; i < x->count; i++)
        if (x->attribute[i].name == name)
            return &x->attribute[i];
    return NULL;
}

/* One that has to be there, of so many values. */
const void *dnn_get(const struct descriptor *x, int name, int64_t count)
{
    const struct attribute *a = dnn_find(x, name);
    if (!a || a->count != count)
        broken("descriptor %d has no attribute %d of %lld values", x->type, name, (long long)count);
    return a->values;
}

int dnn_number(const struct descriptor *x, int name)
{
    const void *values = dnn_get(x, name, 1);
    return size_of(type_of(name)) == 4 ? *(const int32_t *)values : (int)*(const int64_t *)values;
}

const struct descriptor *dnn_one(const struct descriptor *x, int name, int type)
{
    const struct descriptor *other = *(struct descriptor *const *)dnn_get(x, name, 1);
    if (other->type != type || !other->final)
        broken("attribute %d: a descriptor %d, expected a finalized %d", name, other->type, type);
    return other;
}

/* ---- what is decided when a descriptor is finalized ---- */

static void finalize_tensor(const struct descriptor *t)
{
    const int64_t *dims = dnn_get(t, DNN_TENSOR_DIMS, 4), *strides = dnn_get(t, DNN_TENSOR_STRIDES, 4);
    int type = dnn_number(t, DNN_TENSOR_TYPE), bytes = type == DNN_BF16 ? 2 : 4;
    dnn_get(t, DNN_TENSOR_ID, 1);
    dnn_get(t, DNN_TENSOR_IS_VIRTUAL, 1);
    if (dnn_number(t, DNN_TENSOR_ALIGNMENT) != DNN_ALIGNED || (type != DNN_F32 && type != DNN_BF16))
        broken("a tensor of type %d", type);
    for (int i = 0; i < 4; i++)
        if (dims[i] < 1 || strides[i] < 1)
            broken("a tensor's dimension %d: %lld at %lld", i, (long long)dims[i], (long long)strides[i]);
    int last = dims[1] > 1 && strides[1] == 1 ? 1 : 3; /* channels, or the numbers of a head */
    if (strides[last] != 1 && dims[last] > 1)
        broken("a tensor whose channels are not last");
    for (int i = 0; i < 4; i++)
        if (i != last && dims[i] > 1 && strides[i] * bytes % DNN_ALIGNED)
            broken("a tensor whose rows are not at multiples of %d bytes", DNN_ALIGNED);
}

static void finalize_convolution(const struct descriptor *x)
{
    const int64_t *dilation = dnn_get(x, DNN_CONVOLUTION_DILATIONS, 2);
    dnn_get(x, DNN_CONVOLUTION_PRE, 2), dnn_get(x, DNN_CONVOLUTION_POST, 2);
    dnn_get(x, DNN_CONVOLUTION_STRIDES, 2);
    if (dnn_number(x, DNN_CONVOLUTION_MATH) != DNN_F32 || dnn_number(x, DNN_CONVOLUTION_DIMS) != 2 ||
        dnn_number(x, DNN_CONVOLUTION_MODE) != DNN_CROSS_CORRELATION || dilation[0] != 1 || dilation[1] != 1)
        broken("a convolution of another kind");
}

/* Graphs are checked and become programs. An engine: its number stands for how it sums. */
enum { ENGINE_ANY_ORDER = 7, ENGINE_ABSENT = 3, ENGINE_GOOD = 11, KNOB_PARTS = 12 };

static int finalize_plan(const struct descriptor *plan)
{
    const struct descriptor *config = dnn_one(plan, DNN_PLAN_CONFIG, DNN_CONFIG),
                            *engine = dnn_one(config, DNN_CONFIG_ENGINE, DNN_ENGINE),
                            *graph = dnn_one(engine, DNN_ENGINE_GRAPH, DNN_GRAPH);
    dnn_get(plan, DNN_PLAN_HANDLE, 1);
    if (dnn_number(engine, DNN_ENGINE_INDEX) == ENGINE_ABSENT)
        return DNN_NOT_SUPPORTED;
    if (dnn_number(engine, DNN_ENGINE_INDEX) != ENGINE_GOOD)
        broken("a plan by engine %d, which sums in any order", dnn_number(engine, DNN_ENGINE_INDEX));
    const struct descriptor *knob = dnn_one(config, DNN_CONFIG_KNOBS, DNN_KNOB);
    if (dnn_number(knob, DNN_KNOB_TYPE) != KNOB_PARTS)
        broken("a knob of type %d", dnn_number(knob, DNN_KNOB_TYPE));
    dnn_program(graph)->parts = dnn_number(knob, DNN_KNOB_VALUE);
    return 0;
}

int cudnnBackendFinalize(void *descriptor)
{
    struct descriptor *x = descriptor;
    int status = 0;
    if (x->final)
        broken("descriptor %d is finalized twice", x->type);
    switch (x->type) {
    case DNN_TENSOR:
        finalize_tensor(x);
        break;
    case DNN_CONVOLUTION:
        finalize_convolution(x);
        break;
    case DNN_GRAPH:
        dnn_check_graph(x);
        break;
    case DNN_HEURISTIC:
    case DNN_PLAN:
        no_capture("a plan of cuDNN");
        status = status_of(driver_enter());
        if (status == 0 && x->type == DNN_PLAN)
            status = finalize_plan(x);
        break;
    case DNN_PACK:
        if (dnn_find(x, DNN_PACK_IDS)->count != dnn_find(x, DNN_PACK_POINTERS)->count)
            broken("a variant pack of other numbers of ids and pointers");
        break;
    default:
        break;
    }
    x->final = status == 0;
    return status;
}

/* ---- what is asked ---- */

/* An attribute that the library has filled in. */
static void fill(struct descriptor *x, int name, int64_t count, const void *values)
{
    x->final = 0;
    cudnnBackendSetAttribute(x, name, type_of(name), count, values);
    x->final = 1;
}

/* The configuration of an engine that sums in as many parts as there are images. */
static void fill_config(struct descriptor *config, const struct descriptor *graph, int64_t engine)
{
    const int64_t parts = dnn_program(graph)->dims[0];
    fill(config, DNN_ENGINE_INDEX, 1, &engine);
    fill(config, DNN_KNOB_VALUE, 1, &parts);
}

int cudnnBackendGetAttribute(void *descriptor, int name, int type, int64_t most, int64_t *count, void *values)
{
    struct descriptor *x = descriptor;
    static const int64_t engines[] = {ENGINE_ANY_ORDER, ENGINE_ABSENT, ENGINE_GOOD};
    if (!x->final || type != type_of(name) || most < 1)
        broken("attribute %d of descriptor %d is asked for as type %d", name, x->type, type);
    *count = 1;
    if (name == DNN_HEURISTIC_RESULTS) {
        const struct descriptor *graph = dnn_one(x, DNN_HEURISTIC_GRAPH, DNN_GRAPH);
        int refuse = dnn_has("refuse-whole") && dnn_find(graph, DNN_GRAPH_OPS)->count > 1;
        *count = refuse || dnn_number(x, DNN_HEURISTIC_MODE) != DNN_HEURISTIC_A ? 0 : most < 3 ? most : 3;
        for (int64_t i = 0; i < *count; i++)
            fill_config(((struct descriptor **)values)[i], graph, engines[i]);
    } else if (name == DNN_CONFIG_ENGINE) {
        fill(*(struct descriptor **)values, DNN_ENGINE_INDEX, 1, dnn_get(x, DNN_ENGINE_INDEX, 1));
    } else if (name == DNN_CONFIG_KNOBS) {
        const int32_t parts = KNOB_PARTS;
        struct descriptor *to = *(struct descriptor **)values;
        fill(to, DNN_KNOB_TYPE, 1, &parts);
        fill(to, DNN_KNOB_VALUE, 1, dnn_get(x, DNN_KNOB_VALUE, 1));
    } else if (name == DNN_ENGINE_NOTES) {
        int32_t *note = values;
        note[0] = DNN_NOTE_TENSOR_CORE;
        note[1] = DNN_NOTE_NONDETERMINISTIC;
        *count = dnn_number(x, DNN_ENGINE_INDEX) == ENGINE_ANY_ORDER ? 2 : 1;
    } else if (name == DNN_PLAN_WORKSPACE) {
        *(int64_t *)values = DNN_WORKSPACE;
    } else {
        memcpy(values, dnn_get(x, name, 1), size_of(type));
    }
    return 0;
}

int cudnnBackendExecute(void *handle, void *plan, void *pack)
{
    const struct descriptor *config = dnn_one(plan, DNN_PLAN_CONFIG, DNN_CONFIG);
    int failure = driver_enter();
    (void)handle;
    if (failure)
        return status_of(failure);
    driver_first_use("a plan of cuDNN"); /* any of them may be */
    const struct descriptor *engine = dnn_one(config, DNN_CONFIG_ENGINE, DNN_ENGINE);
    dnn_execute(dnn_program(dnn_one(engine, DNN_ENGINE_GRAPH, DNN_GRAPH)), pack);
    return 0;
}
