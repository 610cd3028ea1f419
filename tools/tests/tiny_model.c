/* bin/tests/tiny-model dit|unet DIR: a diffusers pipeline of a few kilobytes with fixed pseudo-random
 * weights, for tests that run a program thousands of times. The same bytes on every machine. DIR must not
 * exist. */
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DIT_WIDTH = 16, DIT_BLOCKS = 2, DIT_CLASSES = 3, UNET_NARROW = 8, UNET_WIDE = 16, UNET_TIME = 32 };

struct writer {
    struct buf header, data; /* the tensors of one safetensors file */
    unsigned state;
    struct error e;
};

static float noise(struct writer *w)
{
    w->state = w->state * 1664525u + 1013904223u;
    return (float)(int)(w->state >> 8) / 8388608.0f - 1; /* 24 bits: exact in float32 */
}

/* A tensor of rank 1 to 4 (sizes end with 0): uniform with variance 1 / inputs; `offset` is added. */
static void tensor(struct writer *w, const char *name, float offset, const int *shape)
{
    size_t begin = w->data.size, count = 1;
    int rank = 0, inputs = 1;
    buf_printf(&w->header, &w->e, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", w->header.size ? "," : "{",
               name);
    for (; rank < 4 && shape[rank]; rank++) {
        buf_printf(&w->header, &w->e, rank ? ",%d" : "%d", shape[rank]);
        count *= (size_t)shape[rank];
        inputs *= rank ? shape[rank] : 1;
    }
    float scale = rank > 1 ? sqrtf(3.0f / (float)inputs) : 0.1f;
    float *x = buf_more(&w->data, count * sizeof *x, &w->e);
    for (size_t i = 0; x && i < count; i++)
        x[i] = offset + scale * noise(w);
    buf_printf(&w->header, &w->e, "],\"data_offsets\":[%zu,%zu]}", begin, w->data.size);
}

/* NAME.weight of the shape and NAME.bias of its first size. */
static void layer(struct writer *w, const char *name, const int *shape, float offset)
{
    char text[160];
    snprintf(text, sizeof text, "%s.weight", name);
    tensor(w, text, offset, shape);
    snprintf(text, sizeof text, "%s.bias", name);
    tensor(w, text, 0, (int[]){shape[0], 0});
}

HASTEN_PRINTF(4, 5)
static void linear(struct writer *w, int out, int in, const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    layer(w, name, (int[]){out, in, 0}, 0);
}

static void conv(struct writer *w, const char *block, const char *name, int out, int in, int kernel)
{
    char text[128];
    snprintf(text, sizeof text, "%s%s", block, name);
    layer(w, text, (int[]){out, in, kernel, kernel}, 0);
}

static void norm(struct writer *w, const char *block, const char *name, int channels)
{
    char text[128];
    snprintf(text, sizeof text, "%s%s", block, name);
    layer(w, text, (int[]){channels, 0}, 1);
}

static void dit(struct writer *w)
{
    enum { W = DIT_WIDTH };
    conv(w, "", "pos_embed.proj", W, 1, 2);
    for (int i = 0; i < DIT_BLOCKS; i++) {
        char block[32], name[128];
        snprintf(block, sizeof block, "transformer_blocks.%d", i);
        w->state = 7; /* embedders are equal in all blocks, as diffusers stores them */
        linear(w, W, 256, "%s.norm1.emb.timestep_embedder.linear_1", block);
        linear(w, W, W, "%s.norm1.emb.timestep_embedder.linear_2", block);
        snprintf(name, sizeof name, "%s.norm1.emb.class_embedder.embedding_table.weight", block);
        tensor(w, name, 0, (int[]){DIT_CLASSES + 1, W, 0});
        w->state = 100 + (unsigned)i;
        linear(w, 6 * W, W, "%s.norm1.linear", block);
        linear(w, W, W, "%s.attn1.to_q", block);
        linear(w, W, W, "%s.attn1.to_k", block);
        linear(w, W, W, "%s.attn1.to_v", block);
        linear(w, W, W, "%s.attn1.to_out.0", block);
        linear(w, 4 * W, W, "%s.ff.net.0.proj", block);
        linear(w, W, 4 * W, "%s.ff.net.2", block);
    }
    linear(w, 2 * W, W, "proj_out_1");
    linear(w, 4, W, "proj_out_2");
}

static void resnet(struct writer *w, const char *block, int in, int out)
{
    norm(w, block, "norm1", in);
    conv(w, block, "conv1", out, in, 3);
    linear(w, out, UNET_TIME, "%stime_emb_proj", block);
    norm(w, block, "norm2", out);
    conv(w, block, "conv2", out, out, 3);
    if (in != out)
        conv(w, block, "conv_shortcut", out, in, 1);
}

static void attention(struct writer *w, const char *block, int channels)
{
    static const char *const parts[] = {"to_q", "to_k", "to_v", "to_out.0"};
    norm(w, block, "group_norm", channels);
    for (int i = 0; i < 4; i++)
        linear(w, channels, channels, "%s%s", block, parts[i]);
}

static void unet(struct writer *w)
{
    enum { A = UNET_NARROW, B = UNET_WIDE };
    conv(w, "", "conv_in", A, 1, 3);
    linear(w, UNET_TIME, A, "time_embedding.linear_1");
    linear(w, UNET_TIME, UNET_TIME, "time_embedding.linear_2");
    resnet(w, "down_blocks.0.resnets.0.", A, A);
    conv(w, "down_blocks.0.", "downsamplers.0.conv", A, A, 3);
    resnet(w, "down_blocks.1.resnets.0.", A, B);
    attention(w, "down_blocks.1.attentions.0.", B);
    resnet(w, "mid_block.resnets.0.", B, B);
    attention(w, "mid_block.attentions.0.", B);
    resnet(w, "mid_block.resnets.1.", B, B);
    resnet(w, "up_blocks.0.resnets.0.", B + B, B);
    resnet(w, "up_blocks.0.resnets.1.", B + A, B);
    attention(w, "up_blocks.0.attentions.0.", B);
    attention(w, "up_blocks.0.attentions.1.", B);
    conv(w, "up_blocks.0.", "upsamplers.0.conv", B, B, 3);
    resnet(w, "up_blocks.1.resnets.0.", B + A, A);
    resnet(w, "up_blocks.1.resnets.1.", A + A, A);
    norm(w, "", "conv_norm_out", A);
    conv(w, "", "conv_out", 1, A, 3);
}

#define VERSION "\"_diffusers_version\":\"0.42.0\""

static const struct {
    const char *name, *folder, *config, *index;
    void (*make)(struct writer *w);
} kinds[] = {
    {"dit", "transformer",
     "{\"_class_name\":\"DiTTransformer2DModel\"," VERSION
     ",\"num_attention_heads\":2,\"attention_head_dim\":8,"
     "\"in_channels\":1,\"out_channels\":1,\"num_layers\":2,\"sample_size\":8,\"patch_size\":2,"
     "\"num_embeds_ada_norm\":3,\"norm_type\":\"ada_norm_zero\",\"norm_elementwise_affine\":false,"
     "\"activation_fn\":\"gelu-approximate\",\"attention_bias\":true}",
     "{\"_class_name\":\"DiTPipeline\"," VERSION ",\"scheduler\":[\"diffusers\",\"DDIMScheduler\"],"
     "\"transformer\":[\"diffusers\",\"DiTTransformer2DModel\"],\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":"
     "\"c\"}}",
     dit},
    {"unet", "unet",
     "{\"_class_name\":\"UNet2DModel\"," VERSION ",\"sample_size\":8,\"in_channels\":1,\"out_channels\":1,"
     "\"layers_per_block\":1,\"block_out_channels\":[8,16],\"down_block_types\":[\"DownBlock2D\","
     "\"AttnDownBlock2D\"],"
     "\"up_block_types\":[\"AttnUpBlock2D\",\"UpBlock2D\"],\"norm_num_groups\":4,\"attention_head_dim\":8,"
     "\"norm_eps\":1e-05,\"act_fn\":\"silu\",\"downsample_padding\":1,\"flip_sin_to_cos\":true,\"freq_"
     "shift\":0}",
     "{\"_class_name\":\"DDPMPipeline\"," VERSION ",\"scheduler\":[\"diffusers\",\"DDIMScheduler\"],"
     "\"unet\":[\"diffusers\",\"UNet2DModel\"]}",
     unet},
};

static const char scheduler[] =
    "{\"_class_name\":\"DDIMScheduler\"," VERSION ",\"num_train_timesteps\":1000,\"beta_start\":0.0001,"
    "\"beta_end\":0.02,\"beta_schedule\":\"linear\",\"clip_sample\":true,\"prediction_type\":\"epsilon\","
    "\"set_alpha_to_one\":true,\"steps_offset\":0}";

/* FOLDER/SUB/FILE with that content; SUB "" is the folder itself. */
static int put(const char *folder, const char *sub, const char *file, const void *data, size_t size,
               struct error *e)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, sub);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", folder, sub, file);
    FILE *f = fopen(path, "wb");
    int whole = f && fwrite(data, 1, size, f) == size;
    if (f && fclose(f) != 0)
        whole = 0;
    return whole ? 0 : error_errno(e, HASTEN_EFAIL, "%s", path);
}

static int write_pipeline(size_t kind, const char *folder, struct error *e)
{
    struct writer w = {.state = 1};
    kinds[kind].make(&w);
    buf_text(&w.header, "}", &w.e);
    while (w.header.size % 8)
        buf_text(&w.header, " ", &w.e);
    struct buf file = {0};
    uint64_t size = w.header.size; /* little-endian, as everything the toolkit runs on */
    buf_add(&file, &size, sizeof size, e);
    buf_add(&file, w.header.data, w.header.size, e);
    int status = buf_add(&file, w.data.data, w.data.size, e);
    const char *sub = kinds[kind].folder, *config = kinds[kind].config, *index = kinds[kind].index;
    if (status == 0 && w.e.code == 0)
        status =
            put(folder, "", "model_index.json", index, strlen(index), e) < 0 ||
                    put(folder, "scheduler", "scheduler_config.json", scheduler, strlen(scheduler), e) < 0 ||
                    put(folder, sub, "config.json", config, strlen(config), e) < 0 ||
                    put(folder, sub, "diffusion_pytorch_model.safetensors", file.data, file.size, e) < 0
                ? -1
                : 0;
    buf_free(&w.header);
    buf_free(&w.data);
    buf_free(&file);
    return status < 0 || w.e.code ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    for (size_t k = 0; argc == 3 && k < sizeof kinds / sizeof *kinds; k++)
        if (!strcmp(argv[1], kinds[k].name)) {
            if (mkdir(argv[2], 0777) < 0 || write_pipeline(k, argv[2], &e) < 0) {
                fprintf(stderr, "tiny-model: cannot write %s: %s\n", argv[2], e.text);
                return 1;
            }
            return 0;
        }
    fprintf(stderr, "usage: tiny-model dit|unet DIR\n");
    return 2;
}
