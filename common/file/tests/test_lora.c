/* LoRA: every spelling gives W + scale alpha / rank B A, counted here in double; what does not match or fit
 * is refused by name, and a merged model has another id. */
#include "common/base/json.h"
#include "common/base/tests/run_suite.h"
#include "common/file/lora.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char network[] = "{\"components\":{\"denoiser\":{\"inputs\":[{\"name\":\"sample\",\"kind\":"
                              "\"image\",\"channels\":3,\"height\":4,"
                              "\"width\":4}],\"nodes\":["
                              "{\"name\":\"a\",\"op\":\"linear\",\"in\":[\"sample\"],\"weights\":{\"weight\":"
                              "\"denoiser.down.0.attn1.to_out.0."
                              "weight\"}},"
                              "{\"name\":\"b\",\"op\":\"conv2d\",\"in\":[\"a\"],\"attr\":{\"pad\":1},"
                              "\"weights\":{\"weight\":\"denoiser.conv_2."
                              "weight\"}}],"
                              "\"outputs\":{\"sample\":\"b\"}}}}";

enum { RANK = 2 };
static char folder[] = "/tmp/hasten-lora-XXXXXX", model_path[64], lora_path[64];
static float linear[15], conv[135], down[3 * 9 * 5], up[15];

static struct tensor tensor(const char *name, float *data, int rank, int64_t n, int64_t k, int64_t side)
{
    struct error e = {0};
    struct tensor t = {.name = name, .dtype = DTYPE_F32, .rank = rank, .shape = {n, k, side, side}};
    ck_assert_int_eq(tensor_measure(&t, &e), 0);
    t.data = data;
    return t;
}

static void setup(void)
{
    struct error e = {0};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(model_path, sizeof model_path, "%s/m", folder);
    snprintf(lora_path, sizeof lora_path, "%s/l", folder);
    for (int i = 0; i < 135; i++) {
        conv[i] = 0.25f * (float)(i * 7 % 11) - 1;
        down[i] = 0.5f * (float)(i * 5 % 7) - 1.5f;
    }
    for (int i = 0; i < 15; i++) {
        linear[i] = (float)(i * 3 % 8) - 2;
        up[i] = 0.125f * (float)(i * 3 % 5) - 0.25f;
    }
    struct tensor t[2] = {tensor("denoiser.down.0.attn1.to_out.0.weight", linear, 2, 5, 3, 1),
                          tensor("denoiser.conv_2.weight", conv, 4, 3, 5, 3)};
    cJSON *meta = json_parse(network, strlen(network), &e);
    ck_assert_msg(container_write(model_path, "model", meta, t, 2, NULL, NULL, NULL, NULL, &e) == 0, "%s",
                  e.text);
    cJSON_Delete(meta);
}

static void teardown(void)
{
    unlink(model_path);
    unlink(lora_path);
    rmdir(folder);
}

static void write_lora(const struct tensor *t, int count)
{
    struct error e = {0};
    ck_assert_msg(container_write(lora_path, "lora", NULL, t, count, NULL, NULL, NULL, NULL, &e) == 0, "%s",
                  e.text);
}

static void check_sum(const struct model *m, const char *name, const float *before, int rows, int columns,
                      double scale)
{
    const float *got = ((const struct tensor *)model_find(m, name))->data;
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < columns; k++) {
            double want = (double)before[i * columns + k];
            for (int r = 0; r < RANK; r++)
                want += scale * (double)up[i * RANK + r] * (double)down[r * columns + k];
            ck_assert_double_eq_tol((double)got[i * columns + k], want, 1e-6);
        }
}

START_TEST(every_spelling)
{
    static const char *const names[][2] = {
        {"base_model.model.down.0.attn1.to_out.0.lora_A.weight",
         "base_model.model.down.0.attn1.to_out.0.lora_B.weight"},
        {"unet.down.0.attn1.to_out.0.lora_A.default.weight",
         "unet.down.0.attn1.to_out.0.lora_B.default.weight"},
        {"transformer.down.0.attn1.to_out.0.lora.down.weight",
         "transformer.down.0.attn1.to_out.0.lora.up.weight"},
        {"unet.down.0.attn1.processor.to_out_lora.down.weight",
         "unet.down.0.attn1.processor.to_out_lora.up.weight"},
        {"lora_unet_down_0_attn1_to_out_0.lora_down.weight",
         "lora_unet_down_0_attn1_to_out_0.lora_up.weight"},
    };
    struct error e = {0};
    struct model m;
    struct buf unmatched = {0};
    char id[HASH_HEX], before[HASH_HEX];
    struct tensor t[2] = {tensor(names[_i][0], down, 2, RANK, 3, 1), tensor(names[_i][1], up, 2, 5, RANK, 1)};
    write_lora(t, 2);
    ck_assert_msg(model_open(&m, model_path, 0, NULL, &e) == 0, "%s", e.text);
    snprintf(before, sizeof before, "%s", model_id(&m));
    ck_assert_msg(lora_merge(&m, lora_path, 0.75, &unmatched, id, &e) == 1, "%s", e.text);
    check_sum(&m, "denoiser.down.0.attn1.to_out.0.weight", linear, 5, 3, 0.75);
    check_sum(&m, "denoiser.conv_2.weight", conv, 3, 45, 0);
    ck_assert_str_ne(before, model_id(&m));
    model_close(&m);
}
END_TEST

START_TEST(convolutions_and_alpha)
{
    struct error e = {0};
    struct model m;
    struct buf unmatched = {0};
    char id[HASH_HEX];
    float alpha = 4;
    struct tensor t[3] = {tensor("lora_unet_conv_2.lora_down.weight", down, 4, RANK, 5, 3),
                          tensor("lora_unet_conv_2.lora_up.weight", up, 4, 3, RANK, 1),
                          tensor("lora_unet_conv_2.alpha", &alpha, 0, 0, 0, 0)};
    write_lora(t, 3);
    ck_assert_int_eq(model_open(&m, model_path, 0, NULL, &e), 0);
    ck_assert_msg(lora_merge(&m, lora_path, -1, &unmatched, id, &e) == 1, "%s", e.text);
    check_sum(&m, "denoiser.conv_2.weight", conv, 3, 45, -4.0 / RANK);
    model_close(&m);
}
END_TEST

/* Nothing left over, nothing that does not fit, no second factor missing, no number that is none. */
START_TEST(refusals)
{
    static const struct {
        const char *down, *up, *text;
        int64_t columns;
        float alpha;
    } cases[] = {
        {"unet.nowhere.lora_A.weight", "unet.nowhere.lora_B.weight", "match no layer", 3, 2},
        {"unet.down.0.attn1.to_out.0.lora_A.weight", "unet.down.0.attn1.to_out.0.other", "match no layer", 3,
         2},
        {"unet.down.0.attn1.to_out.0.lora_A.weight", "unet.down.0.attn1.to_out.0.lora_B.weight",
         "does not fit", 4, 2},
        {"unet.down.0.attn1.to_out.0.lora_A.weight", "unet.down.0.attn1.to_out.0.lora_B.weight", "alpha", 3,
         __builtin_inff()},
    };
    struct error e = {0};
    struct model m;
    struct buf unmatched = {0};
    char id[HASH_HEX];
    float alpha = cases[_i].alpha;
    struct tensor t[3] = {tensor(cases[_i].down, down, 2, RANK, cases[_i].columns, 1),
                          tensor(cases[_i].up, up, 2, 5, RANK, 1),
                          tensor("unet.down.0.attn1.to_out.0.alpha", &alpha, 0, 0, 0, 0)};
    write_lora(t, 3);
    ck_assert_int_eq(model_open(&m, model_path, 0, NULL, &e), 0);
    ck_assert_int_eq(lora_merge(&m, lora_path, 1, &unmatched, id, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_msg(strstr(e.text, cases[_i].text) != NULL, "%s", e.text);
    ck_assert_int_eq(unmatched.size > 0, _i < 2);
    if (_i < 2)
        ck_assert_ptr_nonnull(strstr(unmatched.data, cases[_i].down));
    buf_free(&unmatched);
    model_close(&m);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lora");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, every_spelling, 0, 5);
    tcase_add_test(t, convolutions_and_alpha);
    tcase_add_loop_test(t, refusals, 0, 4);
    suite_add_tcase(s, t);
    return run_suite(s);
}
