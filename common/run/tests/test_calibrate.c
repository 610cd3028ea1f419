/* Calibration: recorded states against the trajectory's; the Gram matrices of a closed loop against features
 * computed here, in double, at the latents that a schedule was seen to go through; a loop of a schedule that
 * serves nothing gives the full run's, bit for bit; gains against runs that serve one call. */
#include "common/base/tests/run_suite.h"
#include "common/run/calibrate.h"
#include "common/run/states.h"
#include "common/run/tests/made_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 6, IMAGES = 3, PIXELS = 90, IN = 2, INNER = 5, SIZE = IN * PIXELS };

static const char network[] =
    "{\"components\":{\"denoiser\":{\"inputs\":[{\"name\":\"sample\",\"kind\":\"image\",\"channels\":2,"
    "\"height\":10,"
    "\"width\":9}],\"nodes\":[{\"name\":\"a\",\"op\":\"conv2d\",\"in\":[\"sample\"],\"weights\":{\"weight\":"
    "\"w.a\"}},"
    "{\"name\":\"s\",\"op\":\"silu\",\"in\":[\"a\"]},"
    "{\"name\":\"b\",\"op\":\"conv2d\",\"in\":[\"s\"],\"weights\":{\"weight\":\"w.b\"}}],"
    "\"outputs\":{\"sample\":\"b\"}}},"
    "\"sampler\":{\"config\":{\"_class_name\":\"DDIMScheduler\"},\"steps\":6}}";

static struct model m;
static struct team *team;
static struct measure measure;
static struct backend backend;
static struct sampler_config config;
static struct candidate list[CANDIDATES];
static int candidates;
static float a[INNER * IN], b[IN * INNER];

static void setup(void)
{
    struct error e = {0};
    for (int i = 0; i < INNER * IN; i++) {
        a[i] = (float)(i * 7 % 5) - 1.7f;
        b[i] = 0.1f * (float)(i * 3 % 7) - 0.2f;
    }
    made_tensor(&m, "w.a", a, 4, INNER, IN);
    made_tensor(&m, "w.b", b, 4, IN, INNER);
    made_model(&m, network);
    team = team_open(2, &e);
    backend = backend_cpu(cpu_kernels(cpu_best_level()), team);
    ck_assert_int_eq(sampler_config_read(&config, m.sampler.config, NULL, &e), 0);
    measure = (struct measure){.model = &m,
                               .graph = m.graph[0],
                               .backend = &backend,
                               .sampler = &config,
                               .steps = CALLS,
                               .guidance = 1,
                               .count = IMAGES,
                               .seed = CALIBRATION_SEED};
    candidates = candidate_actions(m.graph[0], list, &e);
    ck_assert_int_eq(candidates, 1); /* the output */
}

static void teardown(void)
{
    candidates_free(list, candidates);
    sampler_config_free(&config);
    model_close(&m);
    team_close(team);
}

static void calibrated(struct calibration *c, const struct cache_schedule *s)
{
    struct error e = {0};
    struct measure run = measure;
    run.schedule = s;
    ck_assert_msg(calibration_open(c, &measure, list, candidates, 1 << 20, &e) == 0, "%s", e.text);
    ck_assert_int_eq(c->calls, CALLS);
    ck_assert_msg(calibration_run(c, &run, IMAGES, NULL, NULL, &e) == 0, "%s", e.text);
    ck_assert_msg(calibration_finish(c, &e) == 0, "%s", e.text);
    ck_assert_int_eq(c->nodes, 1);
}

static void serving(struct cache_schedule *s, const int *action)
{
    struct error e = {0};
    ck_assert_int_eq(schedule_of_actions(s, m.graph[0], list, CALLS, action, &e), 0);
    s->steps = CALLS;
}

static int keep_state(void *context, int call, float *x, int count, struct error *e)
{
    (void)e;
    ck_assert_int_eq(count, IMAGES);
    memcpy((float *)context + call * IMAGES * SIZE, x, (size_t)count * SIZE * sizeof *x);
    return 0;
}

/* The network's output at one pixel, in double. */
static void output_at(const float *x, int pixel, double *out)
{
    out[0] = out[1] = 0;
    for (int i = 0; i < INNER; i++) {
        double h = (double)a[i * IN] * (double)x[pixel] + (double)a[i * IN + 1] * (double)x[PIXELS + pixel];
        h /= 1 + exp(-h);
        for (int o = 0; o < IN; o++)
            out[o] += (double)b[o * INNER + i] * h;
    }
}

START_TEST(a_closed_loop_has_the_features_where_it_led)
{
    static const int action[CALLS] = {0, 1, 1, 0, 1, 1};
    static float state[CALLS * IMAGES * SIZE];
    struct cache_schedule s = {0};
    struct calibration plain, loop;
    struct error e = {0};
    struct trajectory_watch watch = {.context = state, .state = keep_state};
    struct measure run = measure;
    float *latents;
    double furthest = 0;
    serving(&s, action);
    run.schedule = &s;
    run.watch = &watch;
    ck_assert_int_eq(measure_latents(&run, &latents, NULL, NULL, &e), 0);
    calibrated(&plain, NULL);
    calibrated(&loop, &s);
    for (int group = 0; group < loop.gram[0].groups; group++)
        for (int t = 0; t < CALLS; t++)
            for (int r = 0; r <= t; r++) {
                struct correct_sums got = gram_sums(&loop.gram[0], group, t, r);
                double xy = 0, xx = 0, y = 0, here[IN], before[IN];
                for (int i = 0; i < IMAGES * PIXELS; i++) {
                    output_at(state + (t * IMAGES + i / PIXELS) * SIZE, i % PIXELS, here);
                    output_at(state + (r * IMAGES + i / PIXELS) * SIZE, i % PIXELS, before);
                    xy += before[group] * here[group];
                    xx += before[group] * before[group];
                    y += here[group];
                }
                /* Features are floats: relative 1e-6, and sums of them lose less than ten times that. */
                ck_assert_double_eq(got.n, IMAGES * PIXELS);
                ck_assert_double_eq_tol(got.xy, xy, 1e-5 * fabs(xy));
                ck_assert_double_eq_tol(got.xx, xx, 1e-5 * fabs(xx));
                ck_assert_double_eq_tol(got.y, y, 1e-5 * (fabs(y) + sqrt(xx)));
                double other = gram_sums(&plain.gram[0], group, t, r).xy;
                furthest = fmax(furthest, fabs(got.xy - other) / fabs(other));
            }
    ck_assert(furthest > 1e-3); /* it led elsewhere */
    calibration_free(&plain);
    calibration_free(&loop);
    cache_schedule_free(&s);
    mem_free(latents);
}
END_TEST

START_TEST(no_sampler_is_the_models)
{
    struct calibration given, own;
    const struct measure kept = measure;
    calibrated(&given, NULL);
    measure.sampler = NULL;
    calibrated(&own, NULL);
    measure = kept;
    for (int t = 0; t < CALLS; t++)
        ck_assert_double_eq(gram_sums(&given.gram[0], 0, t, 0).xy, gram_sums(&own.gram[0], 0, t, 0).xy);
    ck_assert_mem_eq(given.reference, own.reference, IMAGES * SIZE * sizeof *own.reference);
    calibration_free(&given);
    calibration_free(&own);
}
END_TEST

START_TEST(a_loop_that_serves_nothing_is_the_full_run)
{
    static const int action[CALLS];
    struct cache_schedule s = {0};
    struct calibration plain, loop;
    serving(&s, action);
    calibrated(&plain, NULL);
    calibrated(&loop, &s);
    for (int group = 0; group < plain.gram[0].groups; group++)
        for (int t = 0; t < CALLS; t++)
            for (int r = 0; r <= t; r++) {
                struct correct_sums p = gram_sums(&plain.gram[0], group, t, r),
                                    q = gram_sums(&loop.gram[0], group, t, r);
                ck_assert(!memcmp(&p, &q, sizeof p));
            }
    ck_assert(!memcmp(plain.reference, loop.reference, (size_t)IMAGES * SIZE * sizeof(float)));
    calibration_free(&plain);
    calibration_free(&loop);
    cache_schedule_free(&s);
}
END_TEST

/* Predictions of a graph at all recorded states, [call][image][SIZE], channels last. */
static void ask(const struct states *s, const struct graph *g, float *out)
{
    struct error e = {0};
    struct weights *w = weights_open(g, &backend, NULL, &e);
    struct state_engine *x = w ? states_open(s, g, w, NULL, &e) : NULL;
    ck_assert_msg(x && states_ready(x, &e) == 0, "%s", e.text);
    for (int call = 0; call < s->calls; call++)
        for (int first = 0; first < s->images; first += s->batch) {
            ck_assert_int_eq(states_run(x, call, first, 0, &e), 0);
            states_prediction(x, out + (call * s->images + first) * SIZE);
        }
    states_close(x);
    weights_close(w);
}

/* States are the trajectory's own latents; whatever is asked in between, a smaller network too, the original
 * answers the same at them, as does a part of them. */
START_TEST(states_stay_what_the_trajectory_saw)
{
    static float seen[CALLS * IMAGES * SIZE], first[CALLS * IMAGES * SIZE], other[CALLS * IMAGES * SIZE],
        again[CALLS * IMAGES * SIZE], part[CALLS * 2 * SIZE];
    struct trajectory_watch watch = {.context = seen, .state = keep_state};
    struct error e = {0};
    struct measure run = measure;
    struct states s;
    float *latents;
    run.watch = &watch;
    ck_assert_int_eq(measure_latents(&run, &latents, NULL, NULL, &e), 0);
    ck_assert_msg(states_record(&s, &measure, &e) == 0, "%s", e.text);
    ck_assert_int_eq(s.calls, CALLS);
    ask(&s, measure.graph, first);
    struct graph *smaller = graph_copy(measure.graph, &e);
    ck_assert_int_eq(graph_redirect(smaller, graph_find(smaller, "s"), graph_find(smaller, "a"), &e), 0);
    ck_assert(graph_sweep(smaller, &e) == 0 && graph_infer(smaller, 0, 0, model_find, &m, &e) == 0);
    ask(&s, smaller, other);
    ask(&s, measure.graph, again);
    ck_assert(!memcmp(first, again, sizeof first));
    ck_assert(memcmp(first, other, sizeof first));
    struct states two = states_part(&s, 1, 2);
    ask(&two, measure.graph, part);
    for (int i = 0; i < CALLS * IMAGES; i++) {
        const float *x = seen + i * SIZE;
        for (int p = 0; p < PIXELS; p++) {
            double want[IN];
            output_at(x, p, want);
            for (int c = 0; c < IN; c++) {
                ck_assert_float_eq(s.sample[i * SIZE + p * IN + c], x[c * PIXELS + p]);
                /* A sum of INNER float products: relative 1e-6 of the largest, which is below 10. */
                ck_assert_double_eq_tol((double)first[i * SIZE + p * IN + c], want[c], 1e-5);
            }
        }
        if (i % IMAGES)
            ck_assert(!memcmp(part + (i / IMAGES * 2 + i % IMAGES - 1) * SIZE, first + i * SIZE,
                              SIZE * sizeof *first));
    }
    graph_close(smaller);
    states_free(&s);
    mem_free(latents);
}
END_TEST

/* Latents of a run that serves this call alone, less those of the full run: the root of the mean square. */
static double effect_of(const struct calibration *c, enum predictor p, int call, const float *full)
{
    struct cache_schedule s = {0};
    struct measure run = measure;
    struct error e = {0};
    int action[CALLS] = {0};
    float *latents;
    double sum = 0;
    action[call] = 1;
    serving(&s, action);
    ck_assert_msg(calibration_predict(c, p, &s, &e) == 0, "%s", e.text);
    run.schedule = &s;
    ck_assert_msg(measure_latents(&run, &latents, NULL, NULL, &e) == 0, "%s", e.text);
    for (int i = 0; i < IMAGES * SIZE; i++)
        sum += ((double)latents[i] - full[i]) * ((double)latents[i] - full[i]);
    mem_free(latents);
    cache_schedule_free(&s);
    return sqrt(sum / (IMAGES * SIZE));
}

/* With gains the price of a call is what serving it alone does to the latents: to the digits of floats where
 * the gain was measured, and in geometric steps between two such calls. */
START_TEST(a_gain_is_what_one_served_call_does)
{
    static const enum predictor kinds[] = {PREDICT_REUSE, PREDICT_TWO};
    struct calibration c;
    struct error e = {0};
    float *full;
    double seen[2][CALLS];
    calibrated(&c, NULL);
    ck_assert_int_eq(measure_latents(&measure, &full, NULL, NULL, &e), 0);
    for (int k = 0; k < 2; k++) {
        enum predictor p = kinds[k];
        enum gain_kind kind = calibration_gain_kind(p);
        double table[CALLS * CALLS * CALLS], least = INFINITY, most = 0;
        ck_assert_int_eq(calibration_gain(&c, &measure, 0, kind, CALLS, IMAGES, &e), 0);
        ck_assert_int_eq(calibration_errors(&c, 0, p, 1, table, &e), 0);
        memcpy(seen[k], c.gain[0][kind], sizeof seen[k]);
        for (int t = 1; t < CALLS; t++) {
            double want = effect_of(&c, p, t, full);
            double price =
                k ? table[schedule_pair_index(t, t - 1, t > 1 ? t - 2 : 0)] : table[t * CALLS + t - 1];
            ck_assert_msg(fabs(price - want) <= 1e-3 * want, "%s, call %d: %g, expected %g", predict_name(p),
                          t, price, want);
            least = fmin(least, want);
            most = fmax(most, want);
        }
        ck_assert_double_gt(most, 1.2 * least);
        ck_assert_int_eq(calibration_gain(&c, &measure, 0, kind, 2, IMAGES, &e), 0);
        for (int t = 1; t < CALLS; t++) {
            double far = (t - 1.0) / (CALLS - 2),
                   want = pow(seen[k][1], 1 - far) * pow(seen[k][CALLS - 1], far);
            ck_assert_double_eq_tol(c.gain[0][kind][t], want, 1e-9 * want);
        }
    }
    mem_free(full);
    calibration_free(&c);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("calibrate");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_gain_is_what_one_served_call_does);
    tcase_add_test(t, a_closed_loop_has_the_features_where_it_led);
    tcase_add_test(t, a_loop_that_serves_nothing_is_the_full_run);
    tcase_add_test(t, states_stay_what_the_trajectory_saw);
    tcase_add_test(t, no_sampler_is_the_models);
    suite_add_tcase(s, t);
    return run_suite(s);
}
