/* Models: there and back through a file, editing tensors, provenance, and blocks that make no sense. */
#include "common/base/json.h"
#include "common/base/tests/run_suite.h"
#include "common/file/model.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/hasten-model-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char whole[] =
    "{\"components\":{\"denoiser\":{"
    "\"inputs\":[{\"name\":\"sample\",\"kind\":\"image\",\"channels\":2,\"height\":4,\"width\":6}],"
    "\"nodes\":[{\"name\":\"conv\",\"op\":\"conv2d\",\"in\":[\"sample\"],"
    "\"weights\":{\"weight\":\"denoiser.conv.weight\",\"bias\":\"denoiser.conv.bias\"}}],"
    "\"outputs\":{\"sample\":\"conv\"}}},"
    "\"sampler\":{\"config\":{\"_class_name\":\"DDIMScheduler\"},\"steps\":20,\"guidance\":3,\"classes\":10,"
    "\"null_class\":10,\"guidance_interval\":[0.25,0.75]},"
    "\"image\":{\"channels\":2,\"height\":4,\"width\":6,\"low\":0,\"latent_scale\":0.5}}";

static float weight[4] = {1, 2, 3, 4}, bias[2] = {-1, 1};

static void add(struct model *m, const char *name, int rank, int64_t rows, int64_t columns, float *data)
{
    struct error e = {0};
    struct tensor t = {.name = name, .dtype = DTYPE_F32, .rank = rank, .shape = {rows, columns, 1, 1}};
    ck_assert_int_eq(tensor_measure(&t, &e), 0);
    t.data = data;
    ck_assert_int_eq(model_add_tensor(m, &t, 0, &e), 0);
}

/* A file of these metadata with the two tensors. */
static void write_file(const char *name, const cJSON *meta)
{
    struct error e = {0};
    struct model m = {0};
    add(&m, "denoiser.conv.weight", 4, 2, 2, weight);
    add(&m, "denoiser.conv.bias", 1, 2, 0, bias);
    int status =
        container_write(path_of(name), "model", meta, m.tensor, m.tensors, NULL, NULL, NULL, NULL, &e);
    ck_assert_msg(status == 0, "%s", e.text);
    model_close(&m);
}

static cJSON *parse(const char *text)
{
    struct error e = {0};
    cJSON *j = json_parse(text, strlen(text), &e);
    ck_assert_msg(j != NULL, "%s", e.text);
    return j;
}

static void open_whole(struct model *m)
{
    struct error e = {0};
    cJSON *meta = parse(whole);
    write_file("whole.zst", meta);
    cJSON_Delete(meta);
    int status = model_open(m, path_of("whole.zst"), 0, NULL, &e);
    ck_assert_msg(status == 0, "%s", e.text);
}

START_TEST(blocks_and_tensors_are_read)
{
    struct error e = {0};
    struct model m;
    open_whole(&m);
    ck_assert_int_eq(m.components, 1);
    ck_assert_ptr_eq(model_main(&m, &e), model_component(&m, "denoiser"));
    ck_assert_ptr_null(model_component(&m, "decoder"));
    ck_assert(m.sampler.present && m.sampler.steps == 20 && m.sampler.guidance == 3);
    ck_assert(m.sampler.classes == 10 && m.sampler.null_class == 10 && !m.sampler.one_minus_sigma);
    ck_assert(m.sampler.interval[0] == 0.25 && m.sampler.interval[1] == 0.75);
    ck_assert(m.image.channels == 2 && m.image.height == 4 && m.image.width == 6);
    ck_assert(m.image.low == 0 && m.image.high == 1 && m.image.latent_scale == 0.5);
    const struct tensor *t = model_find(&m, "denoiser.conv.weight");
    ck_assert_int_eq(memcmp(t->data, weight, sizeof weight), 0);
    ck_assert_ptr_eq(node_weight(&m.graph[0]->node[1], "weight"), t);
    ck_assert_ptr_null(model_find(&m, "denoiser.conv"));
    model_close(&m);
}
END_TEST

START_TEST(edited_models_come_back)
{
    struct error e = {0};
    struct model m, back;
    char id[HASH_HEX], parent[HASH_HEX];
    open_whole(&m);
    snprintf(parent, sizeof parent, "%s", model_id(&m));
    float *fresh = mem_array(2, sizeof *fresh, &e), other[3] = {7, 8, 9};
    fresh[1] = 0.5f;
    struct tensor t = *model_find(&m, "denoiser.conv.bias");
    t.data = fresh;
    ck_assert_int_eq(model_replace_tensor(&m, "denoiser.conv.bias", &t, 1, &e), 0);
    add(&m, "denoiser.nothing", 1, 3, 0, other); /* after a look-up: the order is made again */
    ck_assert(model_find(&m, "denoiser.nothing"));
    model_drop_unused(&m);
    ck_assert(!model_find(&m, "denoiser.nothing"));
    ck_assert_int_eq(model_provenance(&m, "prune", "1.2", parse("{\"x\":1}"), &e), 0);
    ck_assert_int_eq(model_write(&m, path_of("edited.safetensors"), NULL, id, &e), 0);
    int status = model_open(&back, path_of("edited.safetensors"), 0, NULL, &e);
    ck_assert_msg(status == 0, "%s", e.text);
    ck_assert_str_eq(model_id(&back), id);
    ck_assert_str_ne(parent, id);
    ck_assert(((float *)model_find(&back, "denoiser.conv.bias")->data)[1] == 0.5f);
    const cJSON *record = cJSON_GetArrayItem(json_get(back.meta, "provenance"), 0);
    ck_assert_str_eq(json_get(record, "parent")->valuestring, parent);
    ck_assert_str_eq(json_get(record, "tool")->valuestring, "prune");
    ck_assert_int_eq(json_get(json_get(record, "options"), "x")->valueint, 1);
    model_close(&back);
    model_close(&m);
}
END_TEST

/* Many tensors in an order that is not theirs: every one is found. */
START_TEST(every_tensor_is_found)
{
    struct model m = {0};
    char name[32];
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "t.%d", i * 7919 % 1500);
        add(&m, name, 1, 2, 0, bias);
    }
    for (int i = 0; i < 1500; i++) {
        snprintf(name, sizeof name, "t.%d", i);
        const struct tensor *t = model_find(&m, name);
        ck_assert_msg(t && !strcmp(t->name, name), "%s", name);
    }
    ck_assert_ptr_null(model_find(&m, "t.1500"));
    model_close(&m);
}
END_TEST

static const struct {
    const char *block, *key, *value, *says;
} wrong[] = {
    {NULL, "components", "{}", "no component"},
    {NULL, "components", "[]", "'components'"},
    {NULL, "components", "{\"a\":{\"inputs\":[],\"nodes\":[],\"outputs\":{\"x\":\"y\"}}}",
     "output 'x' names no node"},
    {NULL, "sampler", "3", "sampler"},
    {"sampler", "config", "null", "'config'"},
    {"sampler", "config", "{\"_class_name\":\"NoScheduler\"}", "'NoScheduler' is not supported"},
    {"sampler", "steps", "0", "'steps' is 0"},
    {"sampler", "classes", "-1", "'classes' is -1"},
    {"sampler", "guidance", "\"4\"", "'guidance'"},
    {"sampler", "guidance_interval", "[1]", "guidance_interval needs two numbers"},
    {"sampler", "guidance_interval", "[0.7,0.3]", "guidance_interval needs two numbers"},
    {"sampler", "time_input", "\"sigma\"", "time_input 'sigma' is neither"},
    {"image", "channels", "0", "'channels' is 0"},
    {"image", "low", "1", "the value range 1 to 1"},
    {"image", "latent_scale", "0", "the latent scale 0"},
    {"image", "height", "1e6", "'height' is 1000000"},
};

START_TEST(nonsense_is_refused)
{
    struct error e = {0};
    struct model m;
    cJSON *meta = parse(whole);
    cJSON *block = wrong[_i].block ? json_get(meta, wrong[_i].block) : meta;
    ck_assert_int_eq(json_add(block, wrong[_i].key, parse(wrong[_i].value), &e), 0);
    write_file("wrong.zst", meta);
    cJSON_Delete(meta);
    ck_assert_int_eq(model_open(&m, path_of("wrong.zst"), 0, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, wrong[_i].says) && strstr(e.text, "wrong.zst"), "%s", e.text);
    ck_assert_int_eq(m.tensors, 0);
}
END_TEST

START_TEST(wrong_tensors_name_their_node)
{
    static const char *const bias_names[] = {"denoiser.conv.bixs", "denoiser.conv.weight"};
    for (int i = 0; i < 2; i++) {
        struct error e = {0};
        struct model m;
        cJSON *meta = parse(whole);
        cJSON *nodes = json_get(json_get(json_get(meta, "components"), "denoiser"), "nodes");
        json_add_string(json_get(cJSON_GetArrayItem(nodes, 0), "weights"), "bias", bias_names[i], &e);
        write_file("wrong.zst", meta);
        cJSON_Delete(meta);
        ck_assert_int_eq(model_open(&m, path_of("wrong.zst"), 0, NULL, &e), -1);
        ck_assert_msg(strstr(e.text, "node 'conv'") && strstr(e.text, bias_names[i]), "%s", e.text);
    }
}
END_TEST

/* ---- tensors that stay in the file until they are wanted ---- */

enum { SIDE = 256 };
static float first[SIDE * SIDE], second[SIDE * SIDE];

/* Layers a, b and c, of which a and c share a weight. */
static void write_layers(const char *name)
{
    static const char text[] =
        "{\"components\":{\"denoiser\":{"
        "\"inputs\":[{\"name\":\"x\",\"kind\":\"vector\",\"channels\":256}],\"nodes\":["
        "{\"name\":\"a\",\"op\":\"linear\",\"in\":[\"x\"],\"weights\":{\"weight\":\"denoiser.first\"}},"
        "{\"name\":\"b\",\"op\":\"linear\",\"in\":[\"a\"],\"weights\":{\"weight\":\"denoiser.second\"}},"
        "{\"name\":\"c\",\"op\":\"linear\",\"in\":[\"b\"],\"weights\":{\"weight\":\"denoiser.first\"}}],"
        "\"outputs\":{\"y\":\"c\"}}}}";
    struct error e = {0};
    struct model m = {0};
    cJSON *meta = parse(text);
    for (int i = 0; i < SIDE * SIDE; i++)
        first[i] = (float)(i * 7919LL % 10007), second[i] = (float)(i * 104729LL % 20011);
    add(&m, "denoiser.first", 2, SIDE, SIDE, first);
    add(&m, "denoiser.second", 2, SIDE, SIDE, second);
    int status =
        container_write(path_of(name), "model", meta, m.tensor, m.tensors, NULL, NULL, NULL, NULL, &e);
    ck_assert_msg(status == 0, "%s", e.text);
    cJSON_Delete(meta);
    model_close(&m);
}

/* The weights of a and b. */
static void open_layers(struct model *m, const char *name, const struct tensor **a, const struct tensor **b)
{
    struct error e = {0};
    write_layers(name);
    ck_assert_msg(model_open_lazy(m, path_of(name), 0, NULL, &e) == 0, "%s", e.text);
    ck_assert(model_id(m) != NULL);
    const struct node *n = m->graph[0]->node;
    *a = node_weight(&n[1], "weight");
    *b = node_weight(&n[2], "weight");
    ck_assert(*a == node_weight(&n[3], "weight"));
}

static void begin_and_end(struct model *m, const struct tensor *t, const float *want)
{
    struct error e = {0};
    ck_assert_msg(model_tensor_begin(m, t, &e) == 0, "%s", e.text);
    ck_assert_mem_eq(t->data, want, sizeof first);
    model_tensor_end(m, t);
}

START_TEST(large_tensors_come_and_go)
{
    const struct tensor *a, *b;
    struct model m;
    open_layers(&m, "layers.zst", &a, &b);
    ck_assert(!a->data && !b->data);
    for (int turn = 0; turn < 2; turn++) { /* behind its last reader a tensor can be had again */
        begin_and_end(&m, a, first);
        ck_assert(turn == 1 || a->data);
        begin_and_end(&m, b, second);
        ck_assert_ptr_null(b->data);
        begin_and_end(&m, a, first);
        ck_assert_ptr_null(a->data);
    }
    model_close(&m);
}
END_TEST

START_TEST(damage_is_found_when_a_tensor_is_wanted)
{
    const struct tensor *a, *b;
    struct error e = {0};
    struct model m;
    open_layers(&m, "layers.zst", &a, &b);
    model_close(&m);
    FILE *f = fopen(path_of("layers.zst"), "r+b");
    fseek(f, 0, SEEK_END);
    long middle = ftell(f) / 2; /* of the data: the header and the trailer are short */
    fseek(f, middle, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, middle, SEEK_SET);
    fputc(byte ^ 64, f);
    fclose(f);
    ck_assert_msg(model_open_lazy(&m, path_of("layers.zst"), 0, NULL, &e) == 0, "%s", e.text);
    a = node_weight(&m.graph[0]->node[1], "weight");
    ck_assert_int_lt(model_tensor_begin(&m, a, &e), 0); /* the other tensor is read with it */
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert(strstr(e.text, "denoiser."));
    ck_assert_ptr_null(a->data);
    model_close(&m);
}
END_TEST

/* A plain file has no id before it was read: all of it is loaded, and stays. */
START_TEST(other_files_are_loaded_whole)
{
    const struct tensor *a, *b;
    struct model m;
    open_layers(&m, "layers.safetensors", &a, &b);
    for (int i = 0; i < 3; i++)
        begin_and_end(&m, a, first);
    begin_and_end(&m, b, second);
    model_close(&m);
}
END_TEST

START_TEST(memory_limit_holds)
{
    struct error e = {0};
    struct model m;
    cJSON *meta = parse(whole);
    write_file("whole.zst", meta);
    cJSON_Delete(meta);
    ck_assert_int_eq(model_open(&m, path_of("whole.zst"), 8, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_ENOMEM);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("model");
    TCase *c = tcase_create("model");
    if (!mkdtemp(folder))
        return 1;
    tcase_add_test(c, blocks_and_tensors_are_read);
    tcase_add_test(c, edited_models_come_back);
    tcase_add_test(c, every_tensor_is_found);
    tcase_add_loop_test(c, nonsense_is_refused, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(c, wrong_tensors_name_their_node);
    tcase_add_test(c, memory_limit_holds);
    tcase_add_test(c, large_tensors_come_and_go);
    tcase_add_test(c, damage_is_found_when_a_tensor_is_wanted);
    tcase_add_test(c, other_files_are_loaded_whole);
    suite_add_tcase(s, c);
    int failed = run_suite(s);
    static const char *const files[] = {"whole.zst", "wrong.zst", "edited.safetensors", "layers.zst",
                                        "layers.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(path_of(files[i]));
    rmdir(folder);
    return failed;
}
