/* Statistics of edges: the sums against a plain count over tapped values, going on from a file bit for bit,
 * and files that make no sense. */
#include "common/base/json.h"
#include "common/base/tests/run_suite.h"
#include "common/run/statistics.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char network[] =
    "{\"components\":{\"denoiser\":{\"inputs\":[{\"name\":\"sample\",\"kind\":\"image\",\"channels\":2,"
    "\"height\":10,"
    "\"width\":9}],\"nodes\":[{\"name\":\"a\",\"op\":\"conv2d\",\"in\":[\"sample\"],\"weights\":{\"weight\":"
    "\"w.a\"}},"
    "{\"name\":\"s\",\"op\":\"silu\",\"in\":[\"a\"]},"
    "{\"name\":\"b\",\"op\":\"conv2d\",\"in\":[\"s\"],\"weights\":{\"weight\":\"w.b\"}}],"
    "\"outputs\":{\"sample\":\"b\"}}},"
    "\"sampler\":{\"config\":{\"_class_name\":\"DDIMScheduler\"},\"steps\":3}}";

static struct model m;
static struct team *team;
static struct measure measure;
static struct backend backend;
static float a[10], b[10];

static void tensor(const char *name, float *data, int rows, int columns)
{
    struct error e = {0};
    struct tensor t = {.name = name, .dtype = DTYPE_F32, .rank = 4, .shape = {rows, columns, 1, 1}};
    ck_assert_int_eq(tensor_measure(&t, &e), 0);
    t.data = data;
    ck_assert_int_eq(model_add_tensor(&m, &t, 0, &e), 0);
}

static char path[] = "/tmp/hasten-statistics-XXXXXX";

static void setup(void)
{
    struct error e = {0};
    for (int i = 0; i < 10; i++) {
        a[i] = (float)(i * 7 % 5) - 1.7f;
        b[i] = 0.1f * (float)(i * 3 % 7) - 0.2f;
    }
    char file[200];
    close(mkstemp(path));
    snprintf(file, sizeof file, "%s.model", path);
    tensor("w.a", a, 5, 2);
    tensor("w.b", b, 2, 5);
    cJSON *meta = json_parse(network, strlen(network), &e);
    ck_assert_int_eq(container_write(file, "model", meta, m.tensor, m.tensors, NULL, NULL, NULL, NULL, &e),
                     0);
    cJSON_Delete(meta);
    model_close(&m);
    ck_assert_msg(model_open(&m, file, 0, NULL, &e) == 0, "%s", e.text);
    unlink(file);
    team = team_open(2, &e);
    backend = backend_cpu(cpu_kernels(cpu_best_level()), team);
    measure = (struct measure){.model = &m, .graph = m.graph[0], .backend = &backend};
}

static void teardown(void)
{
    model_close(&m);
    team_close(team);
    unlink(path);
}

static void opened(struct statistics *s, int images)
{
    struct error e = {0};
    unsigned char edges[8];
    ck_assert_int_eq(statistics_edges(m.graph[0], edges, &e), 0);
    ck_assert_int_eq(statistics_open(s, &measure, edges, images, &e), 0);
    ck_assert_int_eq(s->edges, 1); /* the other convolution reads the input */
    ck_assert_str_eq(s->edge[0].edge, "s");
}

/* Rows that enter, by the stated rule, counted in double. */
struct plain {
    double range, sum[5], moment[25], most[5], lags[3]; /* lags: (0, 0), (1, -2), (2, 1) */
    int64_t rows;
};

static int count(void *context, const struct engine *g, int call, int first, int images, struct error *e)
{
    struct plain *p = context;
    const float *x = engine_value(g, graph_find(m.graph[0], "s"));
    (void)call, (void)first, (void)e;
    ck_assert_int_eq(images, 1);
    for (int r = 0; r < 90; r++)
        for (int i = 0; i < 5; i++)
            p->most[i] = fmax(p->most[i], fabs((double)x[r * 5 + i]));
    for (int lag = 0; lag < 3; lag++) {
        static const int dy[] = {0, 1, 2}, dx[] = {0, -2, 1};
        double sum = 0;
        for (int y = 0; y + dy[lag] < 10; y++)
            for (int at = 0; at < 9; at++)
                for (int i = 0; i < 5 && at + dx[lag] >= 0 && at + dx[lag] < 9; i++)
                    sum += (double)x[(y * 9 + at) * 5 + i] *
                           (double)x[((y + dy[lag]) * 9 + at + dx[lag]) * 5 + i];
        p->lags[lag] += sum / 90;
    }
    for (int r = 0; r < 64; r++, p->rows++) {
        const float *row = x + r * 90 / 64 * 5;
        double top = 0, low = 0;
        for (int i = 0; i < 5; i++) {
            p->sum[i] += (double)row[i];
            top = fmax(top, (double)row[i]);
            low = fmin(low, (double)row[i]);
            for (int j = 0; j < 5; j++)
                p->moment[5 * i + j] += (double)row[i] * (double)row[j];
        }
        p->range += (top - low) * (top - low);
    }
    return 0;
}

START_TEST(sums_are_those_of_the_rows)
{
    struct error e = {0};
    struct statistics s;
    struct plain p = {0};
    unsigned char want[8] = {0};
    struct trajectory_watch watch = {.context = &p, .network = count};
    opened(&s, 3);
    ck_assert_msg(statistics_collect(&s, &measure, 3, NULL, NULL, &e) == 0, "%s", e.text);
    ck_assert_int_eq(statistics_finish(&s, &e), 0);
    struct measure plain = measure;
    want[graph_find(m.graph[0], "s")] = 1;
    plain.want = want;
    plain.watch = &watch;
    plain.count = 3;
    plain.batch = 1;
    plain.seed = CALIBRATION_SEED;
    float *latents;
    ck_assert_int_eq(measure_latents(&plain, &latents, NULL, NULL, &e), 0);
    mem_free(latents);
    ck_assert_int_eq(s.edge[0].rows, p.rows);
    ck_assert_int_eq(p.rows, 3 * 3 * 64);
    double covariance[25];
    edge_moment(&s.edge[0], 1, 0, covariance);
    for (int i = 0; i < 25; i++) {
        double n = (double)p.rows, size = sqrt(p.moment[i / 5 * 6] * p.moment[i % 5 * 6]);
        /* float32 sums of 512 rows: 512 * 2^-24 at the very worst. */
        ck_assert_double_eq_tol(s.edge[0].moment[i], p.moment[i], 3e-5 * size);
        ck_assert_double_eq_tol(covariance[i], p.moment[i] / n - p.sum[i / 5] / n * (p.sum[i % 5] / n),
                                3e-5 * size / n);
    }
    for (int i = 0; i < 5; i++) {
        ck_assert_double_eq(s.edge[0].sum[i], p.sum[i]);
        ck_assert_double_eq((double)s.edge[0].largest[i], p.most[i]);
    }
    for (int i = 0; i < 2; i++) /* five channels cannot be rotated */
        ck_assert_double_eq(s.edge[0].ranges[i], p.range);
    static const int lag[] = {0, 3, 11};
    for (int i = 0; i < 3; i++) /* products of a pixel are summed in float32 */
        ck_assert_double_eq_tol(s.edge[0].lags[lag[i]], p.lags[i], 1e-6 * p.lags[0]);
    statistics_free(&s);
}
END_TEST

static void same(const struct edge_statistics *x, const struct edge_statistics *y)
{
    ck_assert_int_eq(x->rows, y->rows);
    ck_assert_mem_eq(x->sum, y->sum, 5 * sizeof(double));
    ck_assert_mem_eq(x->moment, y->moment, 25 * sizeof(float));
    ck_assert_mem_eq(x->largest, y->largest, 5 * sizeof(float));
    ck_assert_mem_eq(x->ranges, y->ranges, 2 * sizeof(double));
    ck_assert_mem_eq(x->lags, y->lags, NEIGHBOUR_LAGS * sizeof(double));
}

/* Stopped after any number of images: within a unit, between units, in the folded beginning. */
START_TEST(going_on_from_a_file_is_one_go)
{
    enum { IMAGES = 2 * STATISTICS_UNIT + 2 };
    const struct sum_range all = {0, IMAGES};
    struct error e = {0};
    struct statistics one, two;
    opened(&one, IMAGES);
    ck_assert_int_eq(statistics_collect(&one, &measure, IMAGES, NULL, NULL, &e), 0);
    ck_assert_int_eq(statistics_finish(&one, &e), 0);
    for (int stop = 1; stop < IMAGES; stop += 2) {
        opened(&two, IMAGES);
        ck_assert_int_eq(statistics_collect(&two, &measure, stop, NULL, NULL, &e), 0);
        ck_assert_int_eq(statistics_write(&two, path, NULL, &e), 0);
        statistics_free(&two);
        opened(&two, IMAGES);
        ck_assert_msg(statistics_resume(&two, path, all, 1, 0, NULL, &e) == 0, "%s", e.text);
        ck_assert_int_eq(two.images, stop);
        ck_assert_int_eq(statistics_collect(&two, &measure, IMAGES, NULL, NULL, &e), 0);
        ck_assert_int_eq(statistics_finish(&two, &e), 0);
        same(&one.edge[0], &two.edge[0]);
        statistics_free(&two);
    }
    measure.steps = 2; /* of other steps */
    opened(&two, IMAGES);
    ck_assert_int_eq(statistics_resume(&two, path, all, 1, 0, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_ptr_nonnull(strstr(e.text, "'steps' is 3, in this run 2"));
    measure.steps = 0;
    statistics_free(&one);
    statistics_free(&two);
}
END_TEST

START_TEST(bad_files_are_refused)
{
    const struct sum_range all = {0, 2};
    for (int wrong = 0; wrong < 4; wrong++) {
        struct error e = {0};
        struct statistics s;
        opened(&s, 2);
        ck_assert_int_eq(statistics_collect(&s, &measure, 2, NULL, NULL, &e), 0);
        if (wrong == 0)
            s.edge[0].moment[7] = NAN;
        if (wrong == 1)
            s.edge[0].moment[6] = -1;
        if (wrong == 2)
            s.edge[0].largest[2] = -1;
        if (wrong == 3)
            *(int64_t *)s.sums.record[0].data[0] = -1;
        ck_assert_int_eq(statistics_write(&s, path, NULL, &e), 0);
        statistics_free(&s);
        opened(&s, 2);
        ck_assert_int_eq(statistics_resume(&s, path, all, 1, 0, NULL, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_EFILE);
        statistics_free(&s);
    }
}
END_TEST

START_TEST(no_rows_give_the_identity)
{
    float moment[4] = {0}, largest[2] = {0};
    double sum[2] = {0}, out[4];
    struct edge_statistics x = {"x", 2, 0, sum, largest, moment, NULL, NULL};
    edge_moment(&x, 1, 0.01, out);
    ck_assert_double_eq_tol(out[0], 1.01, 1e-15);
    ck_assert_double_eq(out[1], 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("statistics");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, sums_are_those_of_the_rows);
    tcase_add_test(t, going_on_from_a_file_is_one_go);
    tcase_add_test(t, bad_files_are_refused);
    tcase_add_test(t, no_rows_give_the_identity);
    suite_add_tcase(s, t);
    return run_suite(s);
}
