/* The families against diffusers: testdata/tiny holds small random pipelines in several layouts, and what
 * PyTorch makes of one input (scripts/parity/make_tiny.py). Then configs that must be refused, by name. */
#include "common/base/json.h"
#include "common/base/tests/run_suite.h"
#include "common/families/family.h"
#include "common/file/diffusers.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TINY "testdata/tiny/"

static void import(struct model *m, const char *folder, struct import_report *r)
{
    struct error e = {0};
    char path[256];
    snprintf(path, sizeof path, TINY "%s", folder);
    *r = (struct import_report){0};
    ck_assert_int_eq(model_new(m, &e), 0);
    int status = diffusers_import(m, path, IMPORT_KEEP, r, &e);
    ck_assert_msg(status == 0, "%s: %s", folder, e.text);
    ck_assert_int_eq(r->unused, 0);
}

static void discard(struct model *m, struct import_report *r)
{
    buf_free(&r->unused_names);
    buf_free(&r->defects);
    model_close(m);
}

/* ---- forwards ---- */

/* [images][channels][pixels] to and from [images][pixels][channels]. */
static void swap_channels(const float *in, float *out, int images, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < images; i++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                out[(i * columns + c) * rows + r] = in[(i * rows + r) * columns + c];
}

static void check_forward(const char *folder)
{
    struct error e = {0};
    struct model m;
    struct import_report r;
    char path[256];
    float *input[4] = {0};
    import(&m, folder, &r);
    struct graph *g = model_main(&m, &e);
    snprintf(path, sizeof path, TINY "%s/golden.safetensors", folder);
    struct container *golden = container_open(path, NULL, &e);
    ck_assert_msg(golden && container_load(golden, NULL, &e) == 0, "%s", e.text);
    const struct tensor *expected = container_find(golden, "expected");
    int images = (int)expected->shape[0], inputs = 0;
    for (int i = 0; i < g->count; i++) {
        if (!node_is(&g->node[i], "input"))
            continue;
        const struct tensor *t = container_find(golden, g->node[i].name);
        ck_assert_msg(t != NULL, "golden has no %s", g->node[i].name);
        input[inputs] = mem_array(t->count, sizeof(float), &e);
        if (t->rank == 4) {
            ck_assert_int_eq(graph_infer(g, (int)t->shape[2], (int)t->shape[3], model_find, &m, &e), 0);
            swap_channels(t->data, input[inputs], images, t->shape[1], t->shape[2] * t->shape[3]);
        } else {
            memcpy(input[inputs], t->data, t->size);
        }
        inputs++;
    }
    float *rows = mem_array(expected->count, sizeof *rows, &e), *got = mem_array(expected->count, 4, &e);
    struct shape s = g->node[g->output[0].node].shape;
    ck_assert_int_eq(shape_size(s) * images, (int64_t)expected->count);
    int status = graph_reference(g, images, (const float *const *)input, &rows, NULL, NULL, &e);
    ck_assert_msg(status == 0, "%s: %s", folder, e.text);
    swap_channels(rows, got, images, shape_rows(s), s.channels);
    double off = 0, size = 0;
    for (size_t i = 0; i < expected->count; i++) {
        double want = ((const float *)expected->data)[i];
        off += (got[i] - want) * (got[i] - want);
        size += want * want;
    }
    /* float32 of PyTorch against sums in double: a few units in the last place for each of some 30 layers. */
    ck_assert_msg(sqrt(off / size) <= 1e-5, "%s: relative error %g", folder, sqrt(off / size));
    for (int i = 0; i < inputs; i++)
        mem_free(input[i]);
    mem_free(rows);
    mem_free(got);
    container_close(golden);
    discard(&m, &r);
}

START_TEST(forward_unet) { check_forward("unet"); }
END_TEST
START_TEST(forward_resample) { check_forward("resample"); }
END_TEST
START_TEST(forward_dit) { check_forward("dit"); }
END_TEST
START_TEST(forward_conditioned) { check_forward("conditioned"); }
END_TEST
START_TEST(forward_vae) { check_forward("vae"); }
END_TEST

/* ---- what import makes of the layouts ---- */

START_TEST(equal_embedders_are_stored_once)
{
    struct model m;
    struct import_report r;
    import(&m, "dit", &r);
    ck_assert_int_eq(r.shared, 10); /* five tensors in two of three blocks */
    ck_assert_int_eq(r.ignored, 1); /* the stored position table */
    ck_assert(model_find(&m, "denoiser.transformer_blocks.0.norm1.emb.timestep_embedder.linear_1.bias"));
    ck_assert(!model_find(&m, "denoiser.transformer_blocks.2.norm1.emb.timestep_embedder.linear_1.bias"));
    ck_assert_int_eq(m.sampler.classes, 3);
    ck_assert_int_eq(m.sampler.null_class, 3);
    ck_assert_int_eq(m.sampler.steps, 50);
    ck_assert(m.sampler.guidance == 4);
    const cJSON *labels = json_get(m.meta, "labels");
    ck_assert_int_eq(cJSON_GetArraySize(labels), 3);
    ck_assert_str_eq(cJSON_GetArrayItem(labels, 1)->valuestring, "hen");
    discard(&m, &r);
}
END_TEST

START_TEST(old_attention_names_are_new_ones)
{
    struct model m;
    struct import_report r;
    import(&m, "unet", &r);
    ck_assert(model_find(&m, "denoiser.down_blocks.0.attentions.0.to_out.0.weight"));
    ck_assert(model_find(&m, "denoiser.mid_block.attentions.0.to_q.bias"));
    ck_assert_int_eq(m.sampler.null_class, -1);
    ck_assert(m.sampler.guidance == 1);
    ck_assert_int_eq(m.image.width, 8);
    discard(&m, &r);
}
END_TEST

START_TEST(decoder_has_its_scale)
{
    struct model m;
    struct import_report r;
    import(&m, "vae", &r);
    ck_assert_int_gt(r.ignored, 40); /* the encoder */
    ck_assert(m.image.latent_scale == 0.5);
    ck_assert_int_eq(m.image.channels, 2);
    ck_assert_int_eq(m.image.height, 8); /* 16 pixels, one halving */
    discard(&m, &r);
}
END_TEST

START_TEST(units_have_their_names)
{
    static const char *const nodes[] = {
        "transformer_blocks.1.attn1.to_out.0", "transformer_blocks.1.ff.net.2", "proj_out_2",
        "transformer_blocks.1.attn1.gate",     "transformer_blocks.2.norm1.linear"};
    struct model m;
    struct import_report r;
    import(&m, "dit", &r);
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        ck_assert_msg(graph_find(model_component(&m, "denoiser"), nodes[i]) >= 0, "%s", nodes[i]);
    discard(&m, &r);
}
END_TEST

/* ---- configs with one key changed ---- */

static cJSON *config_of(struct model *m)
{
    return json_get(cJSON_GetArrayItem(json_get(json_get(m->meta, "source"), "components"), 0), "config");
}

/* Import stored one of equal embedders: the others are its aliases. */
static const struct tensor *find_alias(const void *context, const char *name)
{
    const struct model *m = context;
    const cJSON *entry = cJSON_GetArrayItem(json_get(json_get(m->meta, "source"), "components"), 0);
    const cJSON *alias = cJSON_GetObjectItemCaseSensitive(json_get(entry, "aliases"), name);
    return model_find(m, alias ? alias->valuestring : name);
}

/* Build from the config with `key` set to the JSON text (NULL: without the key). */
static int build_with(struct model *m, const char *key, const char *value, struct graph **g, struct error *e)
{
    struct error own = {0};
    cJSON *config = json_copy(config_of(m), &own);
    if (value)
        json_add(config, key, json_parse(value, strlen(value), &own), &own);
    else
        json_remove(config, key);
    ck_assert_msg(own.code == 0, "%s", own.text);
    const struct family *f = family_find(json_get(config, "_class_name")->valuestring);
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s.", f->component);
    *g = graph_open(f->component, &own);
    struct builder b = {.g = *g, .prefix = prefix, .find = find_alias, .context = m, .e = e};
    int status = family_build(f, &b, config);
    builder_free(&b);
    cJSON_Delete(config);
    return status;
}

static const struct {
    const char *folder, *key, *value, *says;
} refused[] = {
    {"unet", "act_fn", "\"mish\"", "act_fn 'mish'"},
    {"unet", "time_embedding_type", "\"fourier\"", "'time_embedding_type' is fourier"},
    {"unet", "time_embedding_type", "\"learned\"", "'time_embedding_type' is learned"},
    {"unet", "down_block_types", "[\"SkipDownBlock2D\",\"DownBlock2D\"]", "'SkipDownBlock2D'"},
    {"unet", "up_block_types", "[\"UpBlock2D\",\"CrossAttnUpBlock2D\"]", "'CrossAttnUpBlock2D'"},
    {"unet", "up_block_types", "[\"UpBlock2D\"]", "1 up_block_types do not fit 2"},
    {"unet", "up_block_types", "[]", "'up_block_types' must list"},
    {"unet", "down_block_types", "[\"DownBlock2D\",3]", "'down_block_types' must list"},
    {"unet", "mid_block_type", "\"UNetMidBlock2DCrossAttn\"", "'mid_block_type' is UNetMidBlock2DCrossAttn"},
    {"unet", "downsample_type", "\"fir\"", "'downsample_type' is fir"},
    {"unet", "upsample_type", "\"fir\"", "'upsample_type' is fir"},
    {"unet", "class_embed_type", "\"projection\"", "class_embed_type 'projection'"},
    {"unet", "resnet_time_scale_shift", "\"spatial\"", "resnet_time_scale_shift 'spatial'"},
    {"unet", "block_out_channels", "[8,-12]", "'block_out_channels' must list"},
    {"unet", "block_out_channels", "[8,12.5]", "'block_out_channels' must list"},
    {"unet", "block_out_channels", "[8,1e300]", "'block_out_channels' must list"},
    {"unet", "sample_size", "[8]", "'sample_size' must be"},
    {"unet", "sample_size", "\"8\"", "'sample_size' must be"},
    {"unet", "sample_size", "0", "'sample_size' must be"},
    {"unet", "attention_head_dim", "9", "attention_head_dim 9 is more than the 8 channels"},
    {"unet", "norm_num_groups", "0", "'norm_num_groups' is 0"},
    {"unet", "layers_per_block", "65", "'layers_per_block' is 65"},
    {"unet", "mid_block_scale_factor", "0", "mid_block_scale_factor 0"},
    {"unet", "out_channels", "2", "conv_out.weight has shape [1, 8, 3, 3], [2, 8, 3, 3] is expected"},
    {"unet", "in_channels", "3", "conv_in.weight has shape [8, 1, 3, 3], [8, 3, 3, 3] is expected"},
    {"unet", "num_class_embeds", "4", "denoiser.class_embedding.weight has shape [3, 32], [4, 32]"},
    {"unet", "layers_per_block", "2", "denoiser.down_blocks.0.resnets.1.norm1.weight is missing"},
    {"unet", "block_out_channels", "[8,16]", "more tensors are missing or have another shape"},
    {"unet", "block_out_channels", NULL, "2 up_block_types do not fit 4 block_out_channels"},
    {"dit", "activation_fn", "\"geglu\"", "activation_fn 'geglu'"},
    {"dit", "norm_type", "\"ada_norm_single\"", "'norm_type' is ada_norm_single"},
    {"dit", "norm_type", NULL, "'norm_type' is missing"}, /* Transformer2DModel has another default */
    {"dit", "caption_channels", "8", "'caption_channels' is 8"},
    {"dit", "num_layers", "4", "denoiser.transformer_blocks.3.norm1.emb.timestep_embedder.linear_1.weight is "
                               "missing, [8, 256] is expected"},
    {"dit", "patch_size", "9", "patch_size 9 is more than sample_size 8"},
    {"dit", "patch_size", "4", "denoiser.pos_embed.proj.weight has shape [8, 2, 2, 2], [8, 2, 4, 4]"},
    {"dit", "num_embeds_ada_norm", "5", "embedding_table.weight has shape [4, 8], [6, 8] is expected"},
    {"dit", "attention_head_dim", "6", "denoiser.pos_embed.proj.weight has shape"},
    {"vae", "up_block_types", "[\"UpDecoderBlock2D\",\"AttnUpDecoderBlock2D\"]", "'AttnUpDecoderBlock2D'"},
    {"vae", "latents_mean", "[0,0]", "'latents_mean' is a list"},
    {"vae", "latent_channels", "3", "decoder.post_quant_conv.weight has shape [2, 2, 1, 1], [3, 3, 1, 1]"},
    {"vae", "act_fn", "\"elu\"", "act_fn 'elu'"},
};

START_TEST(refusals_name_key_and_value)
{
    struct error e = {0};
    struct model m;
    struct import_report r;
    struct graph *g;
    import(&m, refused[_i].folder, &r);
    ck_assert_int_eq(build_with(&m, refused[_i].key, refused[_i].value, &g, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, refused[_i].says) != NULL, "%s = %s: %s", refused[_i].key,
                  refused[_i].value ? refused[_i].value : "(absent)", e.text);
    graph_close(g);
    discard(&m, &r);
}
END_TEST

/* Keys whose value here is diffusers' default: without them, and null where that means the same. */
static const struct {
    const char *folder, *key, *value;
} defaults[] = {
    {"unet", "act_fn", NULL},           {"unet", "center_input_sample", NULL},
    {"unet", "dropout", "0.5"},         {"unet", "mid_block_type", NULL},
    {"unet", "norm_eps", NULL},         {"unet", "add_attention", NULL},
    {"unet", "class_embed_type", NULL}, {"unet", "class_embed_type", "null"},
    {"unet", "sample_size", "null"},    {"unet", "act_fn", "\"SiLU\""},
    {"unet", "act_fn", "\"swish\""},    {"unet", "anything_else", "[1]"},
    {"unet", "down_block_types", "[\"UNetResAttnDownBlock2D\",\"DownBlock2D\"]"},
    {"dit", "norm_eps", NULL},          {"dit", "attention_bias", NULL},
    {"dit", "activation_fn", NULL},     {"dit", "patch_size", NULL},
    {"vae", "act_fn", NULL},            {"vae", "use_post_quant_conv", NULL},
    {"vae", "layers_per_block", NULL},  {"vae", "shift_factor", "null"},
};

START_TEST(what_is_missing_means_the_default)
{
    struct error e = {0};
    struct model m;
    struct import_report r;
    struct graph *g;
    import(&m, defaults[_i].folder, &r);
    int status = build_with(&m, defaults[_i].key, defaults[_i].value, &g, &e);
    ck_assert_msg(status == 0 && graph_infer(g, 0, 0, model_find, &m, &e) == 0, "%s: %s", defaults[_i].key,
                  e.text);
    const struct graph *own = model_main(&m, &e);
    ck_assert_int_eq(g->count, own->count);
    for (int i = 0; i < own->count; i++) {
        int at = graph_find(own, g->node[i].name);
        ck_assert_msg(at >= 0 && own->node[at].op == g->node[i].op, "%s", g->node[i].name);
        for (int a = 0; a < GRAPH_MAX_ATTRS; a++)
            ck_assert(own->node[at].attr[a] == g->node[i].attr[a]);
    }
    graph_close(g);
    discard(&m, &r);
}
END_TEST

/* 7 x 9 halves to 3 x 4, so going up must ask the skip for its size. */
START_TEST(odd_sizes_meet_their_skips)
{
    struct error e = {0};
    struct model m;
    struct import_report r;
    struct graph *g;
    import(&m, "unet", &r);
    ck_assert_int_eq(build_with(&m, "sample_size", "[7,9]", &g, &e), 0);
    int status = graph_infer(g, 0, 0, model_find, &m, &e);
    ck_assert_msg(status == 0, "%s", e.text);
    struct shape s = g->node[g->output[0].node].shape;
    ck_assert_int_eq(s.height, 7);
    ck_assert_int_eq(s.width, 9);
    ck_assert_int_eq(g->node[graph_find(g, "up_blocks.0.upsamplers.0")].inputs, 2);
    graph_close(g);
    discard(&m, &r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("families");
    TCase *forward = tcase_create("forward"), *import_case = tcase_create("import"),
          *config = tcase_create("config");
    tcase_add_test(forward, forward_unet);
    tcase_add_test(forward, forward_resample);
    tcase_add_test(forward, forward_dit);
    tcase_add_test(forward, forward_vae);
    tcase_add_test(forward, forward_conditioned);
    tcase_add_test(import_case, equal_embedders_are_stored_once);
    tcase_add_test(import_case, old_attention_names_are_new_ones);
    tcase_add_test(import_case, decoder_has_its_scale);
    tcase_add_test(import_case, units_have_their_names);
    tcase_add_loop_test(config, refusals_name_key_and_value, 0, sizeof refused / sizeof *refused);
    tcase_add_loop_test(config, what_is_missing_means_the_default, 0, sizeof defaults / sizeof *defaults);
    tcase_add_test(config, odd_sizes_meet_their_skips);
    suite_add_tcase(s, forward);
    suite_add_tcase(s, import_case);
    suite_add_tcase(s, config);
    return run_suite(s);
}
