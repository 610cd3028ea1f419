/* The unconditional output as the conditional one plus a predicted difference: against the outputs of a run
 * that computes both, through a sampler step, which is affine in the guided output. */
#include "common/base/tests/run_suite.h"
#include "common/run/calibrate.h"
#include "common/run/search.h"
#include "common/run/tests/made_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 5, IMAGES = 3, PIXELS = 90, IN = 2, INNER = 5, CLASSES = 4, SIZE = IN * PIXELS };

static const char network[] =
    "{\"components\":{\"denoiser\":{\"inputs\":[{\"name\":\"sample\",\"kind\":\"image\",\"channels\":2,"
    "\"height\":10,\"width\":9},{\"name\":\"class_labels\",\"kind\":\"vector\",\"channels\":1}],\"nodes\":["
    "{\"name\":\"a\",\"op\":\"conv2d\",\"in\":[\"sample\"],\"weights\":{\"weight\":\"w.a\"}},"
    "{\"name\":\"e\",\"op\":\"embedding\",\"in\":[\"class_labels\"],\"weights\":{\"weight\":\"w.e\"}},"
    "{\"name\":\"t\",\"op\":\"add\",\"in\":[\"a\",\"e\"]},"
    "{\"name\":\"s\",\"op\":\"silu\",\"in\":[\"t\"]},"
    "{\"name\":\"b\",\"op\":\"conv2d\",\"in\":[\"s\"],\"weights\":{\"weight\":\"w.b\"}}],"
    "\"outputs\":{\"sample\":\"b\"}}},"
    "\"sampler\":{\"config\":{\"_class_name\":\"DDIMScheduler\",\"clip_sample\":false},\"steps\":5,"
    "\"classes\":3,\"null_class\":3,\"guidance\":3}}";

static struct model m;
static struct team *team;
static struct measure measure;
static struct backend backend;
static struct sampler_config config;
static float a[INNER * IN], b[IN * INNER], embedding[CLASSES * INNER];

static void setup(void)
{
    struct error e = {0};
    for (int i = 0; i < INNER * IN; i++) {
        a[i] = (float)(i * 7 % 5) - 1.7f;
        b[i] = 0.1f * (float)(i * 3 % 7) - 0.2f;
    }
    for (int i = 0; i < CLASSES * INNER; i++)
        embedding[i] = 0.3f * (float)(i * 5 % 11) - 1.2f;
    made_tensor(&m, "w.a", a, 4, INNER, IN);
    made_tensor(&m, "w.b", b, 4, IN, INNER);
    made_tensor(&m, "w.e", embedding, 2, CLASSES, INNER);
    made_model(&m, network);
    team = team_open(2, &e);
    backend = backend_cpu(cpu_kernels(cpu_best_level()), team);
    ck_assert_int_eq(sampler_config_read(&config, m.sampler.config, NULL, &e), 0);
    measure = (struct measure){.model = &m,
                               .graph = m.graph[0],
                               .backend = &backend,
                               .sampler = &config,
                               .steps = CALLS,
                               .guidance = 3,
                               .count = IMAGES,
                               .seed = CALIBRATION_SEED};
}

static void teardown(void)
{
    sampler_config_free(&config);
    model_close(&m);
    team_close(team);
}

struct seen {
    float x[CALLS][IMAGES * SIZE];           /* after each call */
    double difference[CALLS][IMAGES * SIZE]; /* channels first, as latents are */
    double conditional[CALLS][IMAGES * SIZE];
};

static int keep_latents(void *context, int call, const float *x, int count, struct error *e)
{
    struct seen *s = context;
    (void)e;
    memcpy(s->x[call], x, (size_t)count * SIZE * sizeof *x);
    return 0;
}

static int keep_outputs(void *context, const struct engine *g, int call, int first, int rows, struct error *e)
{
    struct seen *s = context;
    const float *out = engine_value(g, graph_find_output(m.graph[0], "sample"));
    (void)e;
    for (int r = first; r < first + rows; r++)
        for (int i = 0; i < SIZE; i++) {
            size_t at = (size_t)(r % IMAGES) * SIZE + (size_t)(i % IN * PIXELS + i / IN);
            double v = out[(r - first) * SIZE + i];
            if (r < IMAGES)
                s->conditional[call][at] = v;
            else
                s->difference[call][at] = v - s->conditional[call][at];
        }
    return 0;
}

/* A run with the unconditional stream's actions as given (1: the difference, by this table or reused). */
static void run(struct seen *s, const int *second, const float *table, int batch, float *latents)
{
    struct error e = {0};
    struct cache_schedule c = {0};
    struct trajectory_watch watch = {.context = s, .latents = keep_latents, .network = keep_outputs};
    struct measure one = measure;
    const char *output = "b";
    float *got;
    ck_assert(cache_schedule_new(&c, CALLS, &e) == 0 &&
              cache_schedule_add(&c, "difference", &output, 1, &e) == 1);
    c.steps = CALLS;
    c.action[1].difference = 1;
    if (table) {
        c.action[1].correct[0] = mem_array(CALLS * 3 * IN, sizeof *table, &e);
        memcpy(c.action[1].correct[0], table, CALLS * 3 * IN * sizeof *table);
        c.action[1].channels[0] = IN;
        c.action[1].anchors[0] = 2;
    }
    memcpy(c.choice[1], second, CALLS * sizeof *second);
    ck_assert_msg(cache_schedule_bind(&c, m.graph[0], &e) == 0, "%s", e.text);
    one.schedule = &c;
    one.batch = batch;
    one.watch = s ? &watch : NULL;
    ck_assert_msg(measure_latents(&one, &got, NULL, NULL, &e) == 0, "%s", e.text);
    memcpy(latents, got, IMAGES * SIZE * sizeof *got);
    mem_free(got);
    cache_schedule_free(&c);
}

static void fill_table(float *table, const float *newest, const float *older, const float *bias)
{
    for (int t = 0; t < CALLS; t++)
        for (int c = 0; c < IN; c++) {
            table[(t * 3 + 0) * IN + c] = newest[c];
            table[(t * 3 + 1) * IN + c] = older[c];
            table[(t * 3 + 2) * IN + c] = bias[c];
        }
}

/* The step of call 3 with a predicted difference, without one, and with the true one: x' = p + k (guided), so
 * changes against the run without are to each other as the differences are. */
static void check_prediction(void)
{
    static struct seen full, none, got;
    static const int all[CALLS] = {0}, last[CALLS] = {0, 0, 0, 1, 0};
    static const float zero[IN] = {0}, newest[IN] = {0.7f, 1.2f}, older[IN] = {0.4f, -0.3f},
                       bias[IN] = {0.01f, -0.02f};
    static float latents[IMAGES * SIZE], table[CALLS * 3 * IN];
    double k = 0, power = 0, largest = 0;
    run(&full, all, NULL, 0, latents);
    fill_table(table, zero, zero, zero);
    run(&none, last, table, 0, latents);
    fill_table(table, newest, older, bias);
    run(&got, last, table, 0, latents);
    ck_assert(!memcmp(full.x[2], got.x[2], sizeof full.x[2]));
    for (int i = 0; i < IMAGES * SIZE; i++) {
        double d = full.difference[3][i];
        k += d * ((double)full.x[3][i] - (double)none.x[3][i]);
        power += d * d;
    }
    k /= power;
    ck_assert_double_gt(fabs(k), 1e-3);
    for (int i = 0; i < IMAGES * SIZE; i++) {
        int c = i / PIXELS % IN;
        double want = k * ((double)newest[c] * full.difference[2][i] +
                           (double)older[c] * full.difference[1][i] + (double)bias[c]);
        double have = (double)got.x[3][i] - (double)none.x[3][i];
        largest = fmax(largest, fabs(have));
        /* Differences of floats of size 10: 1e-6 each way. */
        ck_assert_double_eq_tol(have, want, 1e-5);
    }
    ck_assert_double_gt(largest, 1e-2);
}

START_TEST(a_prediction_is_of_the_outputs_of_both) { check_prediction(); }
END_TEST

/* Guidance in the middle of the trajectory alone: calls 1 .. 3, at 601, 401 and 201 of 1000. */
START_TEST(predictions_inside_an_interval)
{
    static struct seen s;
    static const int all[CALLS] = {0}, third[CALLS] = {0, 0, 0, 1, 0}, more[CALLS] = {1, 0, 0, 1, 1};
    static float plain[IMAGES * SIZE], inside[IMAGES * SIZE], outside[IMAGES * SIZE];
    m.sampler.interval[0] = 150;
    m.sampler.interval[1] = 700;
    check_prediction();
    run(&s, all, NULL, 0, plain);
    for (int t = 0; t < CALLS; t++) {
        double power = 0;
        for (int i = 0; i < IMAGES * SIZE; i++)
            power += fabs(s.difference[t][i]);
        ck_assert_msg((power > 0) == (t > 0 && t < 4), "call %d: %g", t, power);
    }
    run(NULL, third, NULL, 0, inside);
    run(NULL, more, NULL, 0, outside); /* there is no second stream to predict */
    ck_assert(!memcmp(inside, outside, sizeof inside) && memcmp(inside, plain, sizeof inside));
}
END_TEST

/* ---- the search ---- */

enum { LONG = 12, COUNT = 3, VALIDATED = 4 };

static double differences[LONG][COUNT * SIZE];
static unsigned char is_guided[LONG];

static int keep_differences(void *context, const struct engine *g, int call, int first, int rows,
                            struct error *e)
{
    const float *out = engine_value(g, graph_find_output(m.graph[0], "sample"));
    (void)context;
    (void)e;
    for (int r = first; r < first + rows; r++, out += SIZE) {
        is_guided[call] |= r >= COUNT;
        for (int i = 0; i < SIZE; i++) {
            double *to = &differences[call][r % COUNT * SIZE + i];
            *to = r < COUNT ? out[i] : out[i] - *to;
        }
    }
    return 0;
}

static void see_differences(struct measure run)
{
    struct trajectory_watch watch = {.network = keep_differences};
    struct error e = {0};
    float *latents;
    memset(is_guided, 0, sizeof is_guided);
    run.batch = COUNT;
    run.watch = &watch;
    ck_assert_msg(measure_latents(&run, &latents, NULL, NULL, &e) == 0, "%s", e.text);
    mem_free(latents);
}

/* Squares of channel c of d_t - (newest d_s + older d_r + bias). */
static double rest(int c, int t, int s, int r, double newest, double older, double bias)
{
    double sum = 0;
    for (int i = c; i < COUNT * SIZE; i += IN) {
        double d =
            differences[t][i] - (newest * differences[s][i] + (r < 0 ? 0 : older * differences[r][i]) + bias);
        sum += d * d;
    }
    return sum;
}

/* The second stream of a trial: predicted where there are two streams and it is alone, out of the last calls
 * that computed both, by coefficients that no small change makes better. Gives how many calls are predicted.
 */
static int check_trial(const struct trial *t)
{
    int last = is_guided[0] ? 0 : -1, before = -1, predicted = 0;
    ck_assert(!t->alone[0] || !is_guided[0]);
    for (int i = 1; i < LONG; i++) {
        int choice = t->s.choice[1][i], is_difference = t->s.action[choice].difference;
        ck_assert_msg(is_difference == (is_guided[i] && t->alone[i]), "call %d", i);
        ck_assert(is_difference || choice == t->s.choice[0][i]);
        if (is_difference) {
            const float *table = t->s.action[choice].correct[0] + (size_t)i * 3 * IN;
            ck_assert_int_ge(last, 0);
            for (int c = 0; c < IN; c++) {
                double newest = table[c], older = table[IN + c], bias = table[2 * IN + c];
                double least = rest(c, i, last, before, newest, older, bias);
                for (int k = 0; k < 6; k++) {
                    double by[3] = {0};
                    by[k / 2] = k % 2 ? 0.01 : -0.01;
                    ck_assert_double_le(least, 1.0001 * rest(c, i, last, before, newest + by[0],
                                                             older + by[1], bias + by[2]) +
                                                   1e-9);
                }
            }
            predicted++;
        } else if (is_guided[i] && t->action[i] == 0) {
            before = last;
            last = i;
        }
    }
    return predicted;
}

/* With guidance in the middle alone a search predicts nothing elsewhere, and there a call costs what it costs
 * without streams. What it runs is within a factor of two of the estimate. */
START_TEST(a_search_inside_an_interval)
{
    static const char *const solvers[] = {"dp", NULL};
    struct candidate list[CANDIDATES];
    struct error e = {0};
    int count = candidate_actions(m.graph[0], list, &e), splits = 0, predicted = 0, out = 0;
    double ms[1 + CANDIDATES], spent = 0;
    m.sampler.interval[0] = 150;
    m.sampler.interval[1] = 700;
    ck_assert_int_gt(count, 0);
    for (int i = 0; i <= count; i++)
        ms[i] = i ? 0.5 : 10;
    while (strcmp(list[out].name, "output"))
        ck_assert_int_lt(++out, count);
    struct search x = {.measure = measure, .list = list, .count = count, .ms = ms, .solver = solvers};
    x.measure.steps = LONG;
    x.measure.count = COUNT;
    x.predictors = 1u << PREDICT_TWO;
    x.only = out;
    x.gain = 1;
    x.validate = VALIDATED;
    x.one_ms = 6;
    see_differences(x.measure);
    ck_assert_int_eq(measure_calls(&x.measure, &x.calls, &e), 0);
    x.limit = 0.6 * ms[0] * x.calls;
    double estimate = search_estimate(&x, 0, 0);
    ck_assert_msg(search_open(&x, &e) == 0 && search_solve(&x, &e) == 0, "%s", e.text);
    struct trial *best = search_validate(&x, &e);
    ck_assert_msg(best && search_split(&x, best, &e) == 0 && search_validate(&x, &e), "%s", e.text);
    ck_assert_mem_eq(x.guided, is_guided, LONG);
    for (int k = 0; k < x.trials; k++) {
        const struct trial *t = &x.trial[k];
        double sum = 0;
        if (!t->alone)
            continue;
        for (int i = 0; i < LONG; i++)
            sum += ms[t->action[i]] * (is_guided[i] && t->alone[i] ? 0.6 : 1);
        ck_assert_double_eq_tol(t->ms, sum, 1e-9);
        ck_assert_double_le(t->ms, x.limit * 1.000001);
        spent += t->images * t->ms;
        predicted += check_trial(t);
        splits++;
    }
    ck_assert_int_gt(splits, 2);
    ck_assert_int_gt(predicted, splits);
    spent += COUNT * ms[0] * LONG; /* the differences */
    x.one_ms = 0;
    estimate -= search_estimate(&x, 0, 0);
    ck_assert_msg(estimate > 0.5 * spent && estimate < 2 * spent, "%g ms for %g", estimate, spent);
    search_close(&x);
    candidates_free(list, count);
}
END_TEST

/* Equal streams: the bytes of a run without a schedule; and what is predicted does not depend on the batch,
 * nor on what an earlier batch kept. */
START_TEST(equal_streams_and_batches)
{
    static const int all[CALLS] = {0}, some[CALLS] = {0, 1, 0, 1, 1}, at_once[CALLS] = {0, 1, 1, 1, 1};
    static float plain[IMAGES * SIZE], together[IMAGES * SIZE], alone[IMAGES * SIZE];
    struct error e = {0};
    float *got;
    ck_assert_int_eq(measure_latents(&measure, &got, NULL, NULL, &e), 0);
    run(NULL, all, NULL, 0, plain);
    ck_assert(!memcmp(plain, got, sizeof plain));
    mem_free(got);
    run(NULL, some, NULL, 0, together);
    run(NULL, some, NULL, 1, alone);
    ck_assert(!memcmp(together, alone, sizeof together));
    ck_assert(memcmp(together, plain, sizeof together));
    run(NULL, at_once, NULL, 2, alone);
    ck_assert(memcmp(together, alone, sizeof together));
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
    for (int round = 0; round < 4; round++) {
        struct error e = {0};
        struct cache_schedule c = {0};
        const char *serve[] = {"b", "s"};
        ck_assert_int_eq(cache_schedule_new(&c, CALLS, &e), 0);
        ck_assert_int_eq(cache_schedule_add(&c, "difference", serve + (round == 1), 1 + (round == 2), &e), 1);
        c.action[1].difference = 1;
        c.choice[round == 0 ? 0 : 1][2] = 1;
        if (round == 3) {
            ck_assert_int_eq(cache_schedule_bind(&c, m.graph[0], &e), 0);
        } else {
            ck_assert_int_lt(cache_schedule_bind(&c, m.graph[0], &e), 0);
            ck_assert_int_eq(e.code, HASTEN_EFILE);
            ck_assert_ptr_nonnull(strstr(e.text, round ? "must serve the model's output" : "stream 0"));
        }
        cache_schedule_free(&c);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("streams");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_prediction_is_of_the_outputs_of_both);
    tcase_add_test(t, predictions_inside_an_interval);
    tcase_add_test(t, a_search_inside_an_interval);
    tcase_add_test(t, equal_streams_and_batches);
    tcase_add_test(t, what_cannot_be_is_refused);
    suite_add_tcase(s, t);
    return run_suite(s);
}
