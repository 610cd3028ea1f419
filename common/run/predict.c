/* See predict.h. */
#include "common/run/predict.h"
#include "common/base/json.h"
#include "common/file/container.h"

#include <math.h>
#include <string.h>

static const double start_ms = 1e-4; /* of any kernel: about what the fastest take */

/* ---- features ---- */

enum group { GROUP_PRODUCTS, GROUP_ATTENTION, GROUP_ROWS };

static enum group group_of(enum kernel_form f)
{
    if (f <= FORM_DECODED)
        return GROUP_PRODUCTS;
    return f == FORM_ATTENTION || f == FORM_ATTENTION_BF16 ? GROUP_ATTENTION : GROUP_ROWS;
}

static int roof_of(enum kernel_form f)
{
    if (f == FORM_PRODUCT_INT8 || f == FORM_CONV_INT8 || f == FORM_CONV_WINOGRAD_INT8)
        return ROOF_INT8;
    return f == FORM_PRODUCT_BF16 || f == FORM_CONV_BF16 || f == FORM_ATTENTION_BF16 ? ROOF_BF16 : ROOF_F32;
}

int predict_panel(const char *cpu_level)
{
    return cpu_level_from_name(cpu_level) >= CPU_AVX512 ? 32 : 16; /* two vectors: kernels/cpu/micro.inc */
}

static double padded(double n, int panel) { return ceil(n / panel) * panel; }

/* Milliseconds that it takes at least, with its start. */
static double least_ms(const struct predict_machine *m, const struct kernel_sample *k)
{
    double flops = k->flops;
    if (group_of(k->form) == GROUP_PRODUCTS)
        flops = 2 * k->rows * padded(k->columns, m->panel) * k->depth;
    else if (group_of(k->form) == GROUP_ATTENTION)
        flops =
            2 * k->rows * (padded(k->depth, m->panel) * k->columns + k->depth * padded(k->columns, m->panel));
    double compute = flops / m->roof.gflops[roof_of(k->form)] * 1e-6;
    double copy = k->bytes / m->roof.copy_gbs * 1e-6;
    return start_ms + (compute > copy ? compute : copy);
}

static double small(double limit, double n) { return log1p(limit / (n > 1 ? n : 1)); }

static void terms_of(const struct kernel_sample *k, double us, double t[PREDICT_TERMS])
{
    t[0] = 1;
    t[1] = log1p(1 / us);
    t[5] = log1p(k->bytes * 1e-6);
    switch (group_of(k->form)) {
    case GROUP_PRODUCTS:
        t[2] = small(32, k->depth);
        t[3] = k->activation ? t[2] : 0;
        t[4] = small(8, k->rows);
        t[5] = small(16, k->depth / k->taps);
        break;
    case GROUP_ATTENTION:
        t[2] = small(16, k->depth);
        t[3] = small(16, k->columns);
        t[4] = 0;
        break;
    case GROUP_ROWS:
        t[2] = small(32, k->columns);
        t[3] = k->activation;
        t[4] = small(8, k->rows);
        break;
    }
}

static void features(const struct predict_machine *m, const struct kernel_sample *k, double x[PREDICT_DIM])
{
    double t[PREDICT_TERMS], us = 1e3 * least_ms(m, k);
    terms_of(k, us, t);
    memset(x, 0, PREDICT_DIM * sizeof *x);
    x[0] = 1;
    x[1] = log1p((m->threads - 1) / us); /* the team meets at the end */
    memcpy(x + 2 + (int)group_of(k->form) * PREDICT_TERMS, t, sizeof t);
    memcpy(x + 2 + (PREDICT_GROUPS + (int)k->form) * PREDICT_TERMS, t, sizeof t);
}

int predict_open(struct predictor *p, const struct predict_prior *prior, const struct predict_machine *m,
                 const struct kernel_sample *s, int n, struct error *e)
{
    double *x = mem_array((size_t)n + 1, PREDICT_DIM * sizeof *x, e), y[PREDICT_SAMPLES];
    p->machine = *m;
    for (int i = 0; x && i < n; i++) {
        features(m, &s[i], x + i * PREDICT_DIM);
        y[i] = log(s[i].ms / least_ms(m, &s[i]));
    }
    int status = x ? predictor_update(prior->mean, prior->cov, PREDICT_DIM, x, y, n, p->w, e) : -1;
    mem_free(x);
    return status;
}

double predict_kernel(const struct predictor *p, const struct kernel_sample *k)
{
    double x[PREDICT_DIM];
    features(&p->machine, k, x);
    return least_ms(&p->machine, k) * exp(predictor_value(p->w, x, PREDICT_DIM));
}

/* ---- profiles ---- */

/* Kernels of a list that took measurable time, those of one form and size as one with the mean logarithm. */
static int add_samples(const cJSON *list, struct kernel_sample *s, double *seen, int n, struct error *e)
{
    const cJSON *j;
    cJSON_ArrayForEach(j, list)
    {
        struct kernel_sample one;
        int at = 0;
        if (kernel_sample_read(j, &one, e) < 0)
            return -1;
        if (!(one.ms > 0))
            continue;
        while (at < n && !kernel_samples_alike(&s[at], &one))
            at++;
        if (at == n) {
            s[n++] = one;
            seen[at] = 1;
        } else {
            s[at].ms *= pow(one.ms / s[at].ms, 1 / ++seen[at]);
        }
    }
    return n;
}

static int read_machine(const cJSON *meta, struct predict_machine *m, struct error *e)
{
    const char *level;
    int64_t threads;
    if (json_string(meta, "cpu_level", &level, e) < 0 ||
        json_int(meta, "threads", 1, 1 << 16, &threads, e) < 0 ||
        json_double(meta, "peak_f32_gflops", 1e-3, 1e12, &m->roof.gflops[ROOF_F32], e) < 0 ||
        json_double(meta, "peak_int8_gops", 1e-3, 1e12, &m->roof.gflops[ROOF_INT8], e) < 0 ||
        json_double(meta, "peak_bf16_gflops", 1e-3, 1e12, &m->roof.gflops[ROOF_BF16], e) < 0 ||
        json_double(meta, "copy_gbs", 1e-3, 1e9, &m->roof.copy_gbs, e) < 0)
        return -1;
    m->threads = (int)threads;
    m->panel = predict_panel(level);
    return 0;
}

/* Sums of a profile: of its machine's samples and its model's kernels. a [DIM][DIM], b [DIM]. */
static int sums_of(const cJSON *meta, double *a, double *b, struct error *e)
{
    struct predict_machine m;
    const cJSON *own = json_array(meta, "samples", e), *kernels = own ? json_array(meta, "kernels", e) : NULL;
    int most = kernels ? cJSON_GetArraySize(kernels) + cJSON_GetArraySize(own) + 1 : 0, n = -1;
    struct kernel_sample *s = kernels ? mem_array((size_t)most, sizeof *s, e) : NULL;
    double *seen = s ? mem_array((size_t)most, sizeof *seen, e) : NULL, x[PREDICT_DIM];
    /* Without samples it is of a device, or of several machines. */
    if (seen && read_machine(meta, &m, e) == 0 && (n = add_samples(own, s, seen, 0, e)) > 0)
        n = add_samples(kernels, s, seen, n, e);
    for (int i = 0; i < n; i++) {
        double y = log(s[i].ms / least_ms(&m, &s[i]));
        features(&m, &s[i], x);
        predictor_sums(x, &y, 1, PREDICT_DIM, a, b);
    }
    if (n == 0 || (n < 0 && e->code == HASTEN_EFILE)) {
        *e = (struct error){0};
        n = error_set(e, HASTEN_EFILE, "it holds no samples of its machine to learn from; make it again");
    }
    mem_free(s);
    mem_free(seen);
    return n < 0 ? -1 : 0;
}

/* All sums, [profiles] of [DIM][DIM] and of [DIM], and behind them their totals. */
static int read_sums(const char *const *profiles, int count, double *a, double *b, struct error *e)
{
    const size_t square = (size_t)PREDICT_DIM * PREDICT_DIM;
    struct container_options want = {.kind = "profile"};
    int status = 0;
    for (int i = 0; status == 0 && i < count; i++) {
        double *own_a = a + (size_t)i * square, *own_b = b + (size_t)i * PREDICT_DIM;
        struct container *c = container_open(profiles[i], &want, e);
        status = c ? sums_of(c->meta, own_a, own_b, e) : -1;
        if (c && status < 0)
            error_in(e, profiles[i]);
        container_close(c);
        for (size_t k = 0; k < square; k++)
            a[(size_t)count * square + k] += own_a[k];
        for (int k = 0; k < PREDICT_DIM; k++)
            b[count * PREDICT_DIM + k] += own_b[k];
    }
    return status;
}

int predict_learn(const char *const *profiles, int count, struct predict_prior *prior, struct error *e)
{
    const size_t square = (size_t)PREDICT_DIM * PREDICT_DIM, n = (size_t)count + 1;
    double *a = mem_array(n, square * sizeof *a, e), *b = a ? mem_array(n, PREDICT_DIM * sizeof *b, e) : NULL;
    double *d = b ? mem_array(n, PREDICT_DIM * sizeof *d, e) : NULL;
    int status = d ? read_sums(profiles, count, a, b, e) : -1;
    if (status == 0)
        status =
            predictor_mean(a + (size_t)count * square, b + count * PREDICT_DIM, PREDICT_DIM, prior->mean, e);
    for (int i = 0; status == 0 && i < count; i++)
        status = predictor_deviation(a + (size_t)i * square, b + i * PREDICT_DIM, PREDICT_DIM, prior->mean,
                                     d + i * PREDICT_DIM, e);
    if (status == 0)
        predictor_covariance(d, count, PREDICT_DIM, prior->cov);
    mem_free(a);
    mem_free(b);
    mem_free(d);
    return status;
}

int prior_write(const struct predict_prior *prior, const char *path, struct error *e)
{
    float mean[PREDICT_DIM], cov[PREDICT_DIM * PREDICT_DIM];
    struct tensor t[2] = {
        {.name = "mean", .dtype = DTYPE_F32, .rank = 1, .shape = {PREDICT_DIM}, .data = mean},
        {.name = "cov", .dtype = DTYPE_F32, .rank = 2, .shape = {PREDICT_DIM, PREDICT_DIM}, .data = cov}};
    for (int i = 0; i < PREDICT_DIM; i++)
        mean[i] = (float)prior->mean[i];
    for (int i = 0; i < PREDICT_DIM * PREDICT_DIM; i++)
        cov[i] = (float)prior->cov[i];
    return tensor_measure(&t[0], e) < 0 || tensor_measure(&t[1], e) < 0
               ? -1
               : container_write(path, "prior", NULL, t, 2, NULL, NULL, NULL, NULL, e);
}

static int copy_out(struct container *c, const char *name, double *out, size_t n, struct error *e)
{
    const struct tensor *t = container_find(c, name);
    if (!t || t->dtype != DTYPE_F32 || t->count != n || tensor_first_nonfinite(t->dtype, t->data, n) >= 0)
        return error_set(e, HASTEN_EFILE, "tensor '%s' must hold %zu finite float32 numbers; learn it again",
                         name, n);
    for (size_t i = 0; i < n; i++)
        out[i] = ((const float *)t->data)[i];
    return 0;
}

int prior_read(struct predict_prior *prior, const char *path, struct error *e)
{
    struct container_options want = {.kind = "prior"};
    struct container *c = container_open(path, &want, e);
    int status = c && container_load(c, NULL, e) == 0 ? 0 : -1;
    if (status == 0 && (copy_out(c, "mean", prior->mean, PREDICT_DIM, e) < 0 ||
                        copy_out(c, "cov", prior->cov, PREDICT_DIM * PREDICT_DIM, e) < 0))
        status = error_in(e, path);
    container_close(c);
    return status;
}
