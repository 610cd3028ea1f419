/* DiT (Peebles and Xie 2023) as diffusers has it: DiTTransformer2DModel, and Transformer2DModel with
 * ada_norm_zero. The trunk stays an image of patches, so nothing is moved but at the end. The timestep and
 * label embedders are stored once for every block; where all copies are equal, one is used and import stores
 * one. */
#include "common/families/family.h"
#include "common/base/json.h"

#include <stdio.h>
#include <string.h>

struct dit {
    int width, heads, layers, patch, classes;
    double eps;
};

static int same_tensor(struct builder *b, const char *x, const char *y)
{
    const struct tensor *s = b->find(b->context, b_name(b, "%s%s", b->prefix, x));
    const struct tensor *t = b->find(b->context, b_name(b, "%s%s", b->prefix, y));
    return s && t &&
           (s == t || (s->dtype == t->dtype && s->size == t->size && s->data && t->data &&
                       !memcmp(s->data, t->data, s->size)));
}

static int embedders_are_equal(struct builder *b, const struct dit *d)
{
    static const char *const parts[] = {
        "timestep_embedder.linear_1.weight", "timestep_embedder.linear_1.bias",
        "timestep_embedder.linear_2.weight", "timestep_embedder.linear_2.bias",
        "class_embedder.embedding_table.weight"};
    for (int n = 1; n < d->layers; n++)
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
            if (b_has(b, b_name(b, "transformer_blocks.%d.norm1.emb.%s", n, parts[p])) &&
                !same_tensor(b, b_name(b, "transformer_blocks.0.norm1.emb.%s", parts[p]),
                             b_name(b, "transformer_blocks.%d.norm1.emb.%s", n, parts[p])))
                return 0;
    return 1;
}

/* SiLU(timestep embedding + label embedding) of one block's embedder. */
static int condition(struct builder *b, int block, int time, int label)
{
    const char *p = b_name(b, "transformer_blocks.%d.norm1.emb", block);
    int t = b_time_embedding(b, b_name(b, "%s.time_proj", p), b_name(b, "%s.timestep_embedder", p), time, 256,
                             1, 1, "silu");
    int c = b_node(b, "embedding", b_name(b, "%s.class_embedder", p), label, -1, -1);
    b_weight(b, c, "weight", b_name(b, "%s.class_embedder.embedding_table.weight", p));
    int sum = b_node(b, "add", b_name(b, "%s.sum", p), t, c, -1);
    return b_node(b, "silu", b_name(b, "transformer_blocks.%d.norm1.silu", block), sum, -1, -1);
}

static int build_block(struct builder *b, const struct dit *d, int block, int x, int cond, const char *act)
{
    static const char *const names[] = {"shift_msa", "scale_msa", "gate_msa",
                                        "shift_mlp", "scale_mlp", "gate_mlp"};
    const char *p = b_name(b, "transformer_blocks.%d", block);
    int m = b_linear(b, b_name(b, "%s.norm1.linear", p), cond), part[6];
    for (int i = 0; i < 6; i++)
        part[i] = b_slice(b, b_name(b, "%s.norm1.%s", p, names[i]), m, i * d->width, d->width);
    int h = b_layer_norm(b, b_name(b, "%s.norm1.norm", p), x, 1e-6);
    h = b_node(b, "modulate", b_name(b, "%s.norm1.modulate", p), h, part[0], part[1]);
    int q = b_linear(b, b_name(b, "%s.attn1.to_q", p), h), k = b_linear(b, b_name(b, "%s.attn1.to_k", p), h);
    int v = b_linear(b, b_name(b, "%s.attn1.to_v", p), h),
        a = b_node(b, "attention", b_name(b, "%s.attn1.attention", p), q, k, v);
    b_attr(b, a, "heads", d->heads);
    a = b_linear(b, b_name(b, "%s.attn1.to_out.0", p), a);
    a = b_node(b, "mul", b_name(b, "%s.attn1.gate", p), a, part[2], -1);
    x = b_node(b, "add", b_name(b, "%s.attn1.residual", p), x, a, -1);
    h = b_layer_norm(b, b_name(b, "%s.norm3", p), x, d->eps);
    h = b_node(b, "modulate", b_name(b, "%s.norm3.modulate", p), h, part[3], part[4]);
    h = b_linear(b, b_name(b, "%s.ff.net.0.proj", p), h);
    h = b_node(b, "gelu", b_name(b, "%s.ff.net.0.gelu", p), h, -1, -1);
    if (!strcmp(act, "gelu-approximate"))
        b_choice(b, h, "approximate", "tanh");
    h = b_linear(b, b_name(b, "%s.ff.net.2", p), h);
    h = b_node(b, "mul", b_name(b, "%s.ff.gate", p), h, part[5], -1);
    return b_node(b, "add", b_name(b, "%s.ff.residual", p), x, h, -1);
}

static int build_dit(struct builder *b, const cJSON *config)
{
    struct dit d = {.heads = c_int(b, config, "num_attention_heads", 16),
                    .layers = c_int(b, config, "num_layers", 28),
                    .patch = c_int(b, config, "patch_size", 2),
                    .eps = c_double(b, config, "norm_eps", 1e-5)};
    int head = c_int(b, config, "attention_head_dim", 72), channels = c_int(b, config, "in_channels", 4);
    int size = c_int(b, config, "sample_size", 32);
    const char *act = c_text(b, config, "activation_fn", "gelu-approximate");
    c_only(b, config, "norm_type", "ada_norm_zero");
    c_only(b, config, "norm_elementwise_affine", "false");
    c_only(b, config, "double_self_attention", "false");
    c_only(b, config, "only_cross_attention", "false");
    c_only(b, config, "caption_channels", "null");
    c_only(b, config, "cross_attention_dim", "null");
    if (b->failed)
        return -1;
    if (!act || (strcmp(act, "gelu-approximate") && strcmp(act, "gelu")))
        return b_fail(b, "activation_fn '%s' of a DiT is not supported", act ? act : "null") - 1;
    if (d.heads < 1 || head < 1 || d.layers < 1 || d.layers > 1000 || d.patch < 1 || size < d.patch ||
        channels < 1)
        return b_fail(
                   b,
                   "the numbers of this DiT (%d heads of %d, %d layers, patch %d, sample %d) make no sense",
                   d.heads, head, d.layers, d.patch, size) -
               1;
    d.width = d.heads * head;
    int x = b_input(b, "sample", VALUE_IMAGE, channels, size, size);
    int time = b_input(b, "timestep", VALUE_VECTOR, 1, 0, 0),
        label = b_input(b, "class_labels", VALUE_VECTOR, 1, 0, 0);
    int h = b_conv(b, "pos_embed.proj", x, d.patch, 0, 0);
    int position = b_node(b, "position_embedding", "pos_embed.table", h, -1, -1);
    b_attr(b, position, "dim", d.width);
    b_attr(b, position, "base_size", size / d.patch);
    h = b_node(b, "add", "pos_embed", h, position, -1);
    int shared = embedders_are_equal(b, &d), first = 0, cond = 0;
    for (int n = 0; n < d.layers && !b->failed; n++) {
        cond = n == 0 || !shared ? condition(b, n, time, label) : first;
        first = n == 0 ? cond : first;
        h = build_block(b, &d, n, h, cond, act);
    }
    int m = b_linear(b, "proj_out_1", first);
    int shift = b_slice(b, "proj_out_1.shift", m, 0, d.width),
        scale = b_slice(b, "proj_out_1.scale", m, d.width, d.width);
    h = b_layer_norm(b, "norm_out", h, 1e-6);
    h = b_node(b, "modulate", "norm_out.modulate", h, shift, scale);
    h = b_linear(b, "proj_out_2", h);
    if (d.patch > 1) {
        h = b_node(b, "depth_to_space", "unpatchify", h, -1, -1);
        b_attr(b, h, "block", d.patch);
    }
    b_output(b, "sample", h);
    return b->failed ? -1 : 0;
}

/* The position table of old files; and the embedders of later blocks, which are copies when the first is used
 * for all. */
static int ignores_table(const char *name) { return !strcmp(name, "pos_embed.pos_embed"); }

static void dit_classes(const cJSON *config, int *classes, int *null_class)
{
    const cJSON *n = cJSON_GetObjectItemCaseSensitive(config, "num_embeds_ada_norm");
    *classes = *null_class = n && cJSON_IsNumber(n) ? n->valueint : 1000;
}

const struct family family_dit = {"DiTTransformer2DModel", "denoiser", build_dit, ignores_table, dit_classes};
const struct family family_transformer2d = {"Transformer2DModel", "denoiser", build_dit, ignores_table,
                                            dit_classes};
