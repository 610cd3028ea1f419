/* DiT (Peebles and Xie 2023) as diffusers has it: DiTTransformer2DModel, and Transformer2DModel with
 * ada_norm_zero, which diffusers loads as the former. The trunk stays an image of patches, so nothing is
 * moved but at the end. The timestep and label embedders are stored once for every block; where all copies
 * are equal, one is used and import stores one. */
#include "common/families/family.h"

#include <string.h>

struct dit {
    int width, heads, layers, patch, classes;
    int attention_bias, affine, tanh;
    double eps;
};

static const char *const embedder_parts[] = {
    "timestep_embedder.linear_1.weight", "timestep_embedder.linear_1.bias",
    "timestep_embedder.linear_2.weight", "timestep_embedder.linear_2.bias",
    "class_embedder.embedding_table.weight"};
enum { EMBEDDER_PARTS = sizeof embedder_parts / sizeof *embedder_parts };

static const char *part_name(struct builder *b, int block, int part)
{
    return b_name(b, "transformer_blocks.%d.norm1.emb.%s", block, embedder_parts[part]);
}

/* All of them must be there; 1: those of all blocks hold the same numbers. */
static int embedders_are_equal(struct builder *b, const struct dit *d)
{
    int equal = 1;
    for (int p = 0; p < EMBEDDER_PARTS; p++) {
        const struct tensor *first = b_find(b, part_name(b, 0, p)), *t;
        const int shapes[EMBEDDER_PARTS][5] = {
            {d->width, 256}, {d->width}, {d->width, d->width}, {d->width}, {d->classes + 1, d->width}};
        for (int n = 1; n < d->layers && !b->failed; n++) {
            b_expect(b, part_name(b, n, p), shapes[p]);
            t = b_find(b, part_name(b, n, p));
            equal &= first && t && first->dtype == t->dtype && first->size == t->size &&
                     (first->data == t->data || !memcmp(first->data, t->data, t->size));
        }
    }
    return equal;
}

/* SiLU(timestep embedding + label embedding) of one block's embedder. */
static int condition(struct builder *b, const struct dit *d, int block, int time, int label)
{
    const char *p = b_name(b, "transformer_blocks.%d.norm1.emb", block);
    const struct time_embedding sinusoid = {.dim = 256, .flip = 1, .shift = 1, .width = d->width};
    int t = b_time_embedding(b, b_name(b, "%s.time_proj", p), b_name(b, "%s.timestep_embedder", p), time,
                             &sinusoid);
    int c = b_embedding(b, b_name(b, "%s.class_embedder", p),
                        b_name(b, "%s.class_embedder.embedding_table.weight", p), label, d->classes + 1,
                        d->width);
    int sum = b_node(b, "add", b_name(b, "%s.sum", p), t, c, -1);
    return b_node(b, "silu", b_name(b, "transformer_blocks.%d.norm1.silu", block), sum, -1, -1);
}

static int attend(struct builder *b, const struct dit *d, const char *p, int h)
{
    int (*project)(struct builder *, const char *, int, int) = d->attention_bias ? b_linear : b_matrix;
    int q = project(b, b_name(b, "%s.attn1.to_q", p), h, d->width);
    int k = project(b, b_name(b, "%s.attn1.to_k", p), h, d->width);
    int v = project(b, b_name(b, "%s.attn1.to_v", p), h, d->width);
    h = b_node(b, "attention", b_name(b, "%s.attn1.attention", p), q, k, v);
    b_attr(b, h, "heads", d->heads);
    return b_linear(b, b_name(b, "%s.attn1.to_out.0", p), h, d->width);
}

static int build_block(struct builder *b, const struct dit *d, int block, int x, int cond)
{
    static const char *const names[] = {"shift_msa", "scale_msa", "gate_msa",
                                        "shift_mlp", "scale_mlp", "gate_mlp"};
    const char *p = b_name(b, "transformer_blocks.%d", block);
    int m = b_linear(b, b_name(b, "%s.norm1.linear", p), cond, 6 * d->width), part[6];
    for (int i = 0; i < 6; i++)
        part[i] = b_slice(b, b_name(b, "%s.norm1.%s", p, names[i]), m, i * d->width, d->width);
    int h = b_layer_norm(b, b_name(b, "%s.norm1.norm", p), x, 1e-6, 0);
    h = b_node(b, "modulate", b_name(b, "%s.norm1.modulate", p), h, part[0], part[1]);
    h = attend(b, d, p, h);
    h = b_node(b, "mul", b_name(b, "%s.attn1.gate", p), h, part[2], -1);
    x = b_node(b, "add", b_name(b, "%s.attn1.residual", p), x, h, -1);
    h = b_layer_norm(b, b_name(b, "%s.norm3", p), x, d->eps, d->affine);
    h = b_node(b, "modulate", b_name(b, "%s.norm3.modulate", p), h, part[3], part[4]);
    h = b_linear(b, b_name(b, "%s.ff.net.0.proj", p), h, 4 * d->width);
    h = b_node(b, "gelu", b_name(b, "%s.ff.net.0.gelu", p), h, -1, -1);
    if (d->tanh)
        b_choice(b, h, "approximate", "tanh");
    h = b_linear(b, b_name(b, "%s.ff.net.2", p), h, d->width);
    h = b_node(b, "mul", b_name(b, "%s.ff.gate", p), h, part[5], -1);
    return b_node(b, "add", b_name(b, "%s.ff.residual", p), x, h, -1);
}

static void read_config(struct builder *b, const cJSON *config, struct dit *d)
{
    const char *act = c_text(b, config, "activation_fn", "gelu-approximate"), *class_name;
    class_name = c_text(b, config, "_class_name", "");
    if (!strcmp(class_name, "Transformer2DModel") && !c_get(config, "norm_type"))
        b_fail(b, "config key 'norm_type' is missing, only ada_norm_zero is supported");
    c_only(b, config, "norm_type", "ada_norm_zero");
    c_only(b, config, "double_self_attention", "false");
    c_only(b, config, "only_cross_attention", "false");
    c_only(b, config, "caption_channels", "null");
    c_only(b, config, "cross_attention_dim", "null");
    if (strcmp(act, "gelu-approximate") && strcmp(act, "gelu"))
        b_fail(b, "activation_fn '%s' of a DiT is not supported", act);
    d->heads = c_int(b, config, "num_attention_heads", 16, 1, 4096);
    d->width = d->heads * c_int(b, config, "attention_head_dim", 72, 1, 4096);
    d->layers = c_int(b, config, "num_layers", 28, 1, 1000);
    d->patch = c_int(b, config, "patch_size", 2, 1, 64);
    d->classes = c_int(b, config, "num_embeds_ada_norm", 1000, 1, 1 << 24);
    d->attention_bias = c_bool(b, config, "attention_bias", 1);
    d->affine = c_bool(b, config, "norm_elementwise_affine", 0);
    d->eps = c_double(b, config, "norm_eps", 1e-5);
    d->tanh = !strcmp(act, "gelu-approximate");
}

static int build_trunk(struct builder *b, const struct dit *d, int h, int time, int label)
{
    int shared = embedders_are_equal(b, d), first = 0, cond = 0;
    for (int n = 0; n < d->layers && !b->failed; n++) {
        cond = n == 0 || !shared ? condition(b, d, n, time, label) : first;
        first = n == 0 ? cond : first;
        h = build_block(b, d, n, h, cond);
    }
    int m = b_linear(b, "proj_out_1", first, 2 * d->width);
    int shift = b_slice(b, "proj_out_1.shift", m, 0, d->width);
    int scale = b_slice(b, "proj_out_1.scale", m, d->width, d->width);
    h = b_layer_norm(b, "norm_out", h, 1e-6, 0);
    return b_node(b, "modulate", "norm_out.modulate", h, shift, scale);
}

static int build_dit(struct builder *b, const cJSON *config)
{
    struct dit d;
    int channels = c_int(b, config, "in_channels", 4, 1, 4096);
    int size = c_int(b, config, "sample_size", 32, 1, 16384);
    int out = c_int(b, config, "out_channels", channels, 1, 8192);
    read_config(b, config, &d);
    if (!b->failed && size < d.patch)
        b_fail(b, "patch_size %d is more than sample_size %d", d.patch, size);
    if (b->failed)
        return -1;
    int x = b_input(b, "sample", VALUE_IMAGE, channels, size, size);
    int time = b_input(b, "timestep", VALUE_VECTOR, 1, 0, 0);
    int label = b_input(b, "class_labels", VALUE_VECTOR, 1, 0, 0);
    int h = b_conv(b, "pos_embed.proj", x, d.width, d.patch, d.patch, 0, 0);
    int position = b_node(b, "position_embedding", "pos_embed.table", h, -1, -1);
    b_attr(b, position, "dim", d.width);
    b_attr(b, position, "base_size", size / d.patch);
    h = b_node(b, "add", "pos_embed", h, position, -1);
    h = build_trunk(b, &d, h, time, label);
    h = b_linear(b, "proj_out_2", h, d.patch * d.patch * out);
    if (d.patch > 1) {
        h = b_node(b, "depth_to_space", "unpatchify", h, -1, -1);
        b_attr(b, h, "block", d.patch);
    }
    b_output(b, "sample", h);
    return b->failed ? -1 : 0;
}

/* The position table of old files. */
static int ignores_table(const char *name) { return !strcmp(name, "pos_embed.pos_embed"); }

static void dit_classes(const cJSON *config, int *classes, int *null_class)
{
    const cJSON *n = c_get(config, "num_embeds_ada_norm");
    *classes = *null_class = cJSON_IsNumber(n) ? n->valueint : 1000;
}

const struct family family_dit = {"DiTTransformer2DModel", "denoiser",  build_dit, ignores_table, dit_classes,
                                  "transformer_blocks",    "num_layers"};
const struct family family_transformer2d = {"Transformer2DModel", "denoiser",  build_dit,
                                            ignores_table,        dit_classes, "transformer_blocks",
                                            "num_layers"};
