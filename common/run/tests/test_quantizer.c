/* Quantizing many layers out of a file: memory does not grow with their number, what is written is what a
 * layer alone gives, and what fails leaves nothing behind. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/run/quantizer.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/hasten-quantizer-XXXXXX";
static struct team *team;

static const char *path_of(const char *name)
{
    static char path[2][200];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* container_fill: other numbers in each tensor. */
static int fill(void *context, int index, const struct tensor *t, void *data, struct error *e)
{
    (void)context, (void)e;
    unsigned state = (unsigned)index * 7919u + 1;
    for (size_t i = 0; i < t->count; i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)data)[i] = (float)(int)(state >> 8) / 8388608.0f - 1;
    }
    return 0;
}

/* A row of linear layers of width * width float32, with biases. */
static void write_stack(const char *name, int layers, int width)
{
    struct error e = {0};
    struct buf text = {0};
    struct tensor *t = mem_array(2 * (size_t)layers, sizeof *t, &e);
    buf_printf(&text, &e,
               "{\"components\":{\"denoiser\":{\"inputs\":[{\"name\":\"sample\",\"kind\":\"image\","
               "\"channels\":%d,\"height\":2,\"width\":2}],\"nodes\":[",
               width);
    for (int i = 0; i < layers; i++) {
        char in[32] = "sample";
        if (i)
            snprintf(in, sizeof in, "l%d", i - 1);
        buf_printf(
            &text, &e,
            "%s{\"name\":\"l%d\",\"op\":\"linear\",\"in\":[\"%s\"],\"weights\":{\"weight\":\"l%d.weight\","
            "\"bias\":\"l%d.bias\"}}",
            i ? "," : "", i, in, i, i);
        t[2 * i] = (struct tensor){.dtype = DTYPE_F32, .rank = 2, .shape = {width, width}};
        t[2 * i + 1] = (struct tensor){.dtype = DTYPE_F32, .rank = 1, .shape = {width}};
        for (int k = 0; k < 2; k++) {
            t[2 * i + k].name = mem_printf(&e, "l%d.%s", i, k ? "bias" : "weight");
            ck_assert_int_eq(tensor_measure(&t[2 * i + k], &e), 0);
        }
    }
    buf_printf(&text, &e, "],\"outputs\":{\"sample\":\"l%d\"}}}}", layers - 1);
    cJSON *meta = json_parse(text.data, text.size, &e);
    ck_assert_msg(meta != NULL, "%s", e.text);
    ck_assert_msg(container_write(path_of(name), "model", meta, t, 2 * layers, fill, NULL, team, NULL, &e) ==
                      0,
                  "%s", e.text);
    for (int i = 0; i < 2 * layers; i++)
        mem_free((void *)(uintptr_t)t[i].name);
    mem_free(t);
    buf_free(&text);
    cJSON_Delete(meta);
}

/* What quantize does without data, from a file to a file. */
static int quantize_file(const char *from, const char *to, int format, struct error *e)
{
    struct model m;
    if (model_open_lazy(&m, path_of(from), 0, team, e) < 0)
        return -1;
    struct graph *g = m.graph[0];
    struct quantizer q = {.graph = g, .team = team, .rotate = ROTATE_AUTO, .gptq = 1};
    struct spill *spill = spill_open(path_of(to), NULL, team, e);
    struct stored_layer *made = mem_array((size_t)g->count, sizeof *made, e);
    struct quantizer_item *item = mem_array((size_t)g->count, sizeof *item, e);
    int count = g->count - 1, status = spill && made && item ? 0 : -1;
    for (int i = 0; status == 0 && i < count; i++)
        item[i] = (struct quantizer_item){i + 1, format, &made[i]};
    if (status == 0)
        status = quantizer_layers(&q, item, count, spill, NULL, NULL, e);
    for (int i = 0; status == 0 && i < count; i++)
        status = stored_install(&made[i], &m, g, i + 1, e);
    if (status == 0)
        status = model_write(&m, path_of(to), team, NULL, e);
    for (int i = 0; made && i < count; i++)
        stored_free(&made[i]);
    mem_free(made);
    mem_free(item);
    model_close(&m);
    spill_close(spill);
    return status;
}

static const int formats[] = {FORMAT_W8A8, FORMAT_W4A8, FORMAT_FP8};

/* Six times the largest layer, the window of weights that are read ahead, and pieces on their way. */
START_TEST(memory_does_not_grow_with_the_layers)
{
    enum { WIDTH = 768, FEW = 12, MANY = 40 };
    struct error e = {0};
    size_t layer = WIDTH * WIDTH * sizeof(float), before, few;
    write_stack("few.zst", FEW, WIDTH);
    write_stack("many.zst", MANY, WIDTH);
    before = mem_live();
    size_t peak = mem_peak(); /* of writing the models, less than what follows */
    ck_assert_msg(quantize_file("few.zst", "out.zst", formats[_i], &e) == 0, "%s", e.text);
    few = mem_peak() - before;
    ck_assert_uint_gt(mem_peak(), peak);
    ck_assert_uint_lt(few, 6 * layer + QUANTIZER_AHEAD + 6 * (size_t)CONTAINER_PIECE);
    ck_assert_msg(quantize_file("many.zst", "out.zst", formats[_i], &e) == 0, "%s", e.text);
    /* What grows: names, scales, biases. */
    ck_assert_uint_lt(mem_peak() - before, few + (MANY - FEW) * layer / 100);
    ck_assert_uint_eq(mem_live(), before);
}
END_TEST

/* Codes and scales of each layer against the layer alone, in memory. */
START_TEST(what_is_written_is_what_a_layer_gives)
{
    static const char *const suffix[] = {"weight", "weight_scale", "weight_s_rel"};
    struct error e = {0};
    struct model m, out;
    int format = formats[_i], compared = 0;
    write_stack("in.zst", 5, 320);
    ck_assert_msg(quantize_file("in.zst", "out.zst", format, &e) == 0, "%s", e.text);
    ck_assert(model_open(&m, path_of("in.zst"), 0, NULL, &e) == 0);
    ck_assert_msg(model_open(&out, path_of("out.zst"), 0, NULL, &e) == 0, "%s", e.text);
    struct quantizer q = {.graph = m.graph[0], .team = team, .rotate = ROTATE_AUTO, .gptq = 1};
    for (int i = 1; i < q.graph->count; i++) {
        struct stored_layer one;
        ck_assert_int_eq(quantizer_layer(&q, i, format, &one, &e), 0);
        for (int part = 0; part < 3; part++) {
            int slot = op_weight_index(out.graph[0]->node[i].op, suffix[part]);
            const struct tensor *got = out.graph[0]->node[i].tensor[slot];
            ck_assert((got != NULL) == (one.part[part].data != NULL));
            if (!got)
                continue;
            ck_assert_uint_eq(got->size, one.part[part].size);
            ck_assert_mem_eq(got->data, one.part[part].data, got->size);
            compared++;
        }
        stored_free(&one);
    }
    ck_assert_int_ge(compared, 10);
    model_close(&m);
    model_close(&out);
}
END_TEST

/* Every place where a system call or an allocation can fail, on the way from a file to a file. */
START_TEST(failures_leave_nothing)
{
    static const char *const kinds[] = {"open", "read", "write", "alloc"};
    struct error e = {0};
    int places = 0, status = -1;
    write_stack("in.zst", 2, 320);
    size_t before = mem_live();
    for (int k = 1; status < 0; k += k < 40 ? 1 : 7) {
        char setting[32];
        snprintf(setting, sizeof setting, "%s:%d", kinds[_i], k);
        e = (struct error){0};
        unlink(path_of("out.zst"));
        fault_set(setting);
        status = quantize_file("in.zst", "out.zst", FORMAT_W8A8, &e);
        fault_set(NULL);
        places += status < 0;
        ck_assert_int_eq(e.code != 0, status < 0);
        ck_assert_int_eq(access(path_of("out.zst"), F_OK) == 0, status == 0);
        ck_assert_uint_eq(mem_live(), before);
    }
    ck_assert_int_ge(places, 2);
}
END_TEST

/* A damaged tensor that is only copied is found. */
START_TEST(damage_is_not_copied)
{
    struct error e = {0};
    struct model m;
    write_stack("in.zst", 2, 320);
    FILE *f = fopen(path_of("in.zst"), "r+b");
    fseek(f, 0, SEEK_END);
    long middle = ftell(f) / 2;
    fseek(f, middle, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, middle, SEEK_SET);
    fputc(byte ^ 64, f);
    fclose(f);
    ck_assert_msg(model_open_lazy(&m, path_of("in.zst"), 0, team, &e) == 0, "%s", e.text);
    ck_assert_int_lt(model_write(&m, path_of(_i ? "out.safetensors" : "out.zst"), team, NULL, &e), 0);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, ".weight") != NULL, "%s", e.text);
    model_close(&m);
}
END_TEST

static void setup(void)
{
    struct error e = {0};
    team = team_open(2, &e);
    ck_assert(team != NULL);
}

static void teardown(void) { team_close(team); }

int main(void)
{
    Suite *s = suite_create("quantizer");
    TCase *c = tcase_create("quantizer");
    if (!mkdtemp(folder))
        return 1;
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, memory_does_not_grow_with_the_layers, 0, 3);
    tcase_add_loop_test(c, what_is_written_is_what_a_layer_gives, 0, 3);
    tcase_add_loop_test(c, failures_leave_nothing, 0, 4);
    tcase_add_loop_test(c, damage_is_not_copied, 0, 2);
    suite_add_tcase(s, c);
    int status = run_suite(s);
    static const char *const left[] = {"few.zst", "many.zst", "in.zst", "out.zst"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        unlink(path_of(left[i]));
    rmdir(folder);
    return status;
}
