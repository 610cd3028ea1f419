/* The real cuDNN without a driver: the operation graphs of every convolution of SD1.5's U-Net and of the
 * embedded ones, and of attention of DiT-XL/2 and these, which it checks and finalizes. */
#include "kernels/cuda/plugin/dnn_graph.c"
#include "kernels/cuda/tests/operation_test.h"

#include <glob.h>
#include <stdio.h>

#if __has_include(<cudnn.h>)
#include <cudnn.h>
#define SAME(a, b) _Static_assert((int)(a) == (int)(b), #a)
SAME(DNN_BF16, CUDNN_DATA_BFLOAT16);
SAME(DNN_F32, CUDNN_DATA_FLOAT);
SAME(DNN_ADD, CUDNN_POINTWISE_ADD);
SAME(DNN_SWISH, CUDNN_POINTWISE_SWISH_FWD);
SAME(DNN_CROSS_CORRELATION, CUDNN_CROSS_CORRELATION);
SAME(DNN_HEURISTIC_A, CUDNN_HEUR_MODE_A);
SAME(DNN_HEURISTIC_FALLBACK, CUDNN_HEUR_MODE_FALLBACK);
SAME(DNN_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
SAME(DNN_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
SAME(DNN_NOTE_NAN, CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP);
SAME(DNN_KNOB_STREAM_K, CUDNN_KNOB_TYPE_STREAM_K);
SAME(DNN_NOT_INITIALIZED, CUDNN_STATUS_NOT_INITIALIZED);
SAME(DNN_NOT_SUPPORTED, CUDNN_STATUS_NOT_SUPPORTED);
SAME(DNN_NO_HOST_MEMORY, CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
SAME(DNN_NO_DEVICE_MEMORY, CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED);
SAME(DNN_EXECUTION_FAILED, CUDNN_STATUS_EXECUTION_FAILED);
SAME(DNN_POINTWISE, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
SAME(DNN_CONVOLUTION, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
SAME(DNN_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
SAME(DNN_CONFIG, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
SAME(DNN_HEURISTIC, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
SAME(DNN_PLAN, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
SAME(DNN_KNOB, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
SAME(DNN_OP_CONVOLUTION, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
SAME(DNN_OP_POINTWISE, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
#if CUDNN_VERSION >= 91400
SAME(DNN_OP_ATTENTION, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);
SAME(DNN_OP_ATTENTION_Q, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC);
SAME(DNN_OP_ATTENTION_K, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC);
SAME(DNN_OP_ATTENTION_V, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC);
SAME(DNN_OP_ATTENTION_O, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC);
SAME(DNN_OP_ATTENTION_SCALE, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC);
#endif
SAME(DNN_GRAPH, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
SAME(DNN_PACK, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
SAME(DNN_TENSOR, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
SAME(DNN_IS_HANDLE, CUDNN_TYPE_HANDLE);
SAME(DNN_IS_DATA_TYPE, CUDNN_TYPE_DATA_TYPE);
SAME(DNN_IS_BOOLEAN, CUDNN_TYPE_BOOLEAN);
SAME(DNN_IS_INT64, CUDNN_TYPE_INT64);
SAME(DNN_IS_FLOAT, CUDNN_TYPE_FLOAT);
SAME(DNN_IS_POINTER, CUDNN_TYPE_VOID_PTR);
SAME(DNN_IS_CONVOLUTION_MODE, CUDNN_TYPE_CONVOLUTION_MODE);
SAME(DNN_IS_HEURISTIC_MODE, CUDNN_TYPE_HEUR_MODE);
SAME(DNN_IS_KNOB, CUDNN_TYPE_KNOB_TYPE);
SAME(DNN_IS_NOTE, CUDNN_TYPE_NUMERICAL_NOTE);
SAME(DNN_IS_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE);
SAME(DNN_IS_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR);
SAME(DNN_CONFIG_ENGINE, CUDNN_ATTR_ENGINECFG_ENGINE);
SAME(DNN_CONFIG_KNOBS, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
SAME(DNN_HEURISTIC_MODE, CUDNN_ATTR_ENGINEHEUR_MODE);
SAME(DNN_HEURISTIC_GRAPH, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
SAME(DNN_HEURISTIC_RESULTS, CUDNN_ATTR_ENGINEHEUR_RESULTS);
SAME(DNN_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
SAME(DNN_PLAN_CONFIG, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
SAME(DNN_PLAN_WORKSPACE, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
SAME(DNN_KNOB_TYPE, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE);
SAME(DNN_KNOB_VALUE, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
SAME(DNN_GRAPH_HANDLE, CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
SAME(DNN_PACK_IDS, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
SAME(DNN_PACK_POINTERS, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
SAME(DNN_PACK_WORKSPACE, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
SAME(DNN_ENGINE_GRAPH, CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
SAME(DNN_ENGINE_INDEX, CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
SAME(DNN_ENGINE_NOTES, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
#endif

#ifdef __SANITIZE_ADDRESS__ /* the library's C++ runtime leaves a pool behind */
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static void *library;

static void *find_library(void)
{
    static const char *const patterns[] = {"build/*/lib/python*/site-packages/nvidia/cudnn/lib/libcudnn.so.9",
                                           "/usr/local/cuda/lib64/libcudnn.so.9",
                                           "/usr/local/cuda/lib/libcudnn.so.9"};
    glob_t found;
    void *at = NULL;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && !at; i++)
        if (glob(patterns[i], 0, NULL, &found) == 0) {
            at = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_LOCAL);
            globfree(&found);
        }
    return at;
}

static int graphs;

static void take(const struct matmul *m)
{
    for (int way = 0; way < CUDA_WAYS; way++) {
        struct cuda_operation o = asked(m, (enum cuda_way)way, m->source[0].upsample > 1, way == CUDA_BARE);
        struct dnn_made made = {0};
        dnn_graph(&made, &o.shape, NULL);
        ck_assert_msg(made.status == 0, "status %d: %d x %d x %d to %d, way %d", made.status, m->out_height,
                      m->out_width, (int)m->source[0].channels, m->n, way);
        graphs++;
        dnn_drop(&made);
    }
}

/* Both of a resnet's: the first adds the time, the second what the block has read. */
static void take_resnet(int images, int side, int from, int to)
{
    struct matmul m = resnet(images, side, from, to);
    m.epilogue.image_bias = (void *)0x6000;
    m.epilogue.image_bias_ld = images > 2 ? 0 : to;
    take(&m);
    m = resnet(images, side, to, to);
    m.epilogue.residual = (void *)0x7000;
    m.epilogue.residual_ld = to;
    take(&m);
    m.epilogue.act = ACT_SILU;
    m.out = NULL, m.out_bf16 = (void *)0x4000, m.out_bf16_ld = to;
    take(&m);
}

/* diffusers' UNet2DModel and UNet2DConditionModel of two resnets a level, three on the way up. */
static void take_unet(const int *width, int levels, int side, int behind, int images)
{
    int skip[32] = {width[0]}, skips = 1, now = width[0];
    for (int i = 0; i < levels; i++) {
        for (int j = 0; j < 2; j++, now = skip[skips++] = width[i])
            take_resnet(images, side >> i, now, width[i]);
        if (i + 1 < levels) {
            struct matmul m = smaller(images, side >> i, width[i], behind);
            take(&m);
            skip[skips++] = width[i];
        }
    }
    take_resnet(images, side >> (levels - 1), now, now);
    for (int i = levels - 1; i >= 0; i--) {
        for (int j = 0; j < 3; j++, now = width[i])
            take_resnet(images, side >> i, now + skip[--skips], width[i]);
        if (i > 0) {
            struct matmul m = larger(images, side >> i, width[i]);
            take(&m);
        }
    }
    ck_assert_int_eq(skips, 0);
}

static void take_attention(int images, int heads, int dim, int queries, int keys)
{
    struct attention a = heads_of(heads, dim, queries);
    struct cuda_operation o;
    struct dnn_made made = {0};
    a.images = images;
    a.keys = keys;
    a.k_image_ld = a.v_image_ld = a.k_ld * keys;
    ck_assert(cuda_attention_operation(&a, &o));
    dnn_graph(&made, &o.shape, NULL);
    ck_assert_msg(made.status == 0, "status %d: %d heads of %d, %d queries, %d keys", made.status, heads, dim,
                  queries, keys);
    dnn_drop(&made);
    o.shape.attention.keys = -1; /* without a device it looks at the tensors alone */
    dnn_graph(&made, &o.shape, NULL);
    ck_assert_int_ne(made.status, 0);
    dnn_drop(&made);
}

START_TEST(the_real_library_takes_all_attention)
{
    ck_assert_int_eq(dnn_find_functions(library), 0);
    for (int images = 1; images <= 16; images *= 2) {
        take_attention(images, 16, 72, 256, 256); /* DiT-XL/2 */
        take_attention(images, 16, 72, 1024, 1024);
        for (int i = 0; i < 4; i++) { /* SD1.5, with itself and with the text */
            int side = 64 >> i, dim = i < 2 ? 40 << i : 160;
            take_attention(images, 8, dim, side * side, side * side);
            take_attention(images, 8, dim, side * side, 77);
        }
        take_attention(images, 8, 64, 4096, 4096);
        take_attention(images, 4, 48, 49, 49);    /* fashion-dit */
        take_attention(images, 12, 8, 49, 49);    /* fashion-unet */
        take_attention(images, 1, 256, 256, 256); /* anime-faces-64; its heads of 512 do not fit */
    }
}
END_TEST

START_TEST(the_real_library_takes_every_graph)
{
    static const int sd15[] = {320, 640, 1280, 1280}, fashion[] = {32, 64, 96}, anime[] = {64, 128, 256, 512};
    ck_assert_int_eq(dnn_find_functions(library), 0);
    take_unet(sd15, 4, 64, 0, 2);
    take_unet(fashion, 3, 28, 0, 16);
    take_unet(anime, 4, 64, 1, 1);
    ck_assert_int_gt(graphs, 300);
    /* And not everything. */
    struct matmul m = resnet(2, 16, 64, 64);
    struct cuda_operation o = asked(&m, CUDA_WHOLE, 0, 0);
    struct dnn_made made = {0};
    o.shape.convolution.out_height++;
    dnn_graph(&made, &o.shape, NULL);
    ck_assert_int_ne(made.status, 0);
    dnn_drop(&made);
}
END_TEST

/* Later versions load nothing without the driver. */
static int wants_driver(void)
{
    enum { SUBLIBRARY_LOADING_FAILED = 1008 };
    struct matmul m = resnet(2, 16, 64, 64);
    struct dnn_made made = {0};
    struct cuda_operation o;
    struct cuda_launches before, after;
    if (dnn_find_functions(library) < 0 || !cuda_convolution(&m, CUDA_WHOLE, &o, &before, &after))
        return 0;
    dnn_graph(&made, &o.shape, NULL);
    int status = made.status;
    dnn_drop(&made);
    return status == SUBLIBRARY_LOADING_FAILED;
}

int main(void)
{
    library = SANITIZED ? NULL : find_library();
    if (!library || wants_driver()) {
        puts(library ? "this libcudnn.so.9 wants a driver (scripts/setup --cuda installs one that does not)"
                     : "no libcudnn.so.9 here, or a sanitizer");
        return 77;
    }
    TCase *t = tcase_create("dnn");
    tcase_add_test(t, the_real_library_takes_every_graph);
    tcase_add_test(t, the_real_library_takes_all_attention);
    return run_suite(t, "cuda dnn");
}
