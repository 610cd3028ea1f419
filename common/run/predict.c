/* See predict.h. */
#include "common/run/predict.h"
#include "common/base/json.h"
#include "common/file/container.h"

#include <math.h>
#include <string.h>

enum { INTEGER_PRODUCT = KERNEL_REFERENCE + 1, HALF_PRODUCT, LAST_KIND = HALF_PRODUCT };

static const char *kind_name(int kind)
{
    return kind == INTEGER_PRODUCT ? "integer product"
           : kind == HALF_PRODUCT  ? "bf16 product"
                                   : kernel_kind_name((enum kernel_kind)kind);
}

static int kind_of(int kind, int precision)
{
    if (kind != KERNEL_MATMUL)
        return kind;
    return precision == PRECISION_INT8 ? INTEGER_PRODUCT : precision == PRECISION_BF16 ? HALF_PRODUCT : kind;
}

struct kernel_sample kernel_sample(const struct kernel_call *c, double ms)
{
    return (struct kernel_sample){kind_of((int)c->kind, c->precision), c->flops, c->bytes, ms};
}

static void features(const struct kernel_sample *k, double x[PREDICT_DIM])
{
    memset(x, 0, PREDICT_DIM * sizeof *x);
    x[3 * k->kind] = 1;
    x[3 * k->kind + 1] = k->flops > 0 ? log10(k->flops) - 7 : 0;
    x[3 * k->kind + 2] = k->bytes > 0 ? log10(k->bytes) - 6 : 0;
}

/* The mean logarithm of a machine's samples: how fast it is at all. */
static double level_of(const struct kernel_sample *s, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += log(s[i].ms) / n;
    return sum;
}

int predict_open(struct predictor *p, const struct predict_prior *prior, const struct kernel_sample *s, int n,
                 struct error *e)
{
    double a[PREDICT_SAMPLES * PREDICT_DIM], y[PREDICT_SAMPLES];
    p->level = level_of(s, n);
    for (int i = 0; i < n; i++) {
        features(&s[i], a + i * PREDICT_DIM);
        y[i] = log(s[i].ms) - p->level;
    }
    return predictor_update(prior->mean, prior->cov, PREDICT_DIM, a, y, n, p->w) < 0
               ? error_set(e, HASTEN_EFILE, "the prior and this machine's samples do not fit together")
               : 0;
}

double predict_kernel(const struct predictor *p, const struct kernel_sample *k)
{
    double x[PREDICT_DIM];
    features(k, x);
    return exp(p->level + predictor_value(p->w, x, PREDICT_DIM));
}

/* ---- profiles ---- */

int samples_to_json(const struct kernel_sample *s, int n, cJSON *list, struct error *e)
{
    for (int i = 0; i < n; i++) {
        cJSON *j = json_push_object(list, e);
        if (!j || json_add_string(j, "kind", kind_name(s[i].kind), e) < 0 ||
            json_add_double(j, "flops", s[i].flops, e) < 0 ||
            json_add_double(j, "bytes", s[i].bytes, e) < 0 || json_add_double(j, "ms", s[i].ms, e) < 0)
            return -1;
    }
    return 0;
}

/* Kernels of a profile: "kind", and "type" where a product may be of either. */
static int read_sample(const cJSON *j, struct kernel_sample *s, struct error *e)
{
    const char *kind, *type;
    if (json_string(j, "kind", &kind, e) < 0 || json_string_or(j, "type", "f32", &type, e) < 0 ||
        json_double(j, "flops", 0, 1e18, &s->flops, e) < 0 ||
        json_double(j, "bytes", 0, 1e18, &s->bytes, e) < 0 || json_double(j, "ms", 0, 1e9, &s->ms, e) < 0)
        return -1;
    for (s->kind = 0; s->kind <= LAST_KIND; s->kind++)
        if (!strcmp(kind_name(s->kind), kind))
            break;
    if (s->kind > LAST_KIND)
        return error_set(e, HASTEN_EFILE, "no kernel is called '%s'", kind);
    s->kind = kind_of(s->kind, !strcmp(type, "int8")   ? PRECISION_INT8
                               : !strcmp(type, "bf16") ? PRECISION_BF16
                                                       : PRECISION_F32);
    return 0;
}

/* The samples in a list that took measurable time, and how many. */
static int read_samples(const cJSON *list, struct kernel_sample *s, int most, struct error *e)
{
    const cJSON *j;
    int n = 0;
    cJSON_ArrayForEach(j, list)
    {
        struct kernel_sample one;
        if (read_sample(j, &one, e) < 0)
            return -1;
        if (n < most && one.ms > 0)
            s[n++] = one;
    }
    return n;
}

static int fit_profile(const cJSON *meta, double *w, struct error *e)
{
    struct kernel_sample reference[PREDICT_SAMPLES];
    const cJSON *own = json_array(meta, "samples", e), *kernels = own ? json_array(meta, "kernels", e) : NULL;
    int most = kernels ? cJSON_GetArraySize(kernels) + 1 : 0, n = 0;
    struct kernel_sample *s = kernels ? mem_array((size_t)most, sizeof *s, e) : NULL;
    double *x = s ? mem_array((size_t)most, PREDICT_DIM * sizeof *x, e) : NULL;
    double *y = x ? mem_array((size_t)most, sizeof *y, e) : NULL;
    int references = y ? read_samples(own, reference, PREDICT_SAMPLES, e) : -1, status = -1;
    if (references > 0 && (n = read_samples(kernels, s, most, e)) > 0) {
        double level = level_of(reference, references);
        for (int i = 0; i < n; i++) {
            features(&s[i], x + i * PREDICT_DIM);
            y[i] = log(s[i].ms) - level;
        }
        status = predictor_fit(x, y, n, PREDICT_DIM, w);
    }
    if (status < 0)
        error_set(e, HASTEN_EFILE, "it holds no samples or kernels to learn from; make it again");
    mem_free(s), mem_free(x), mem_free(y);
    return status;
}

int predict_learn(const char *const *profiles, int count, struct predict_prior *prior, struct error *e)
{
    struct container_options want = {.kind = "profile"};
    double *w = mem_array((size_t)count + 1, PREDICT_DIM * sizeof *w, e);
    int status = w ? 0 : -1;
    for (int i = 0; status == 0 && i < count; i++) {
        struct container *c = container_open(profiles[i], &want, e);
        status = c ? fit_profile(c->meta, w + i * PREDICT_DIM, e) : -1;
        if (c && status < 0)
            error_under(e, "%s", profiles[i]);
        container_close(c);
    }
    if (status == 0)
        predictor_prior(w, count, PREDICT_DIM, prior->mean, prior->cov);
    mem_free(w);
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
        status = error_under(e, "%s", path);
    container_close(c);
    return status;
}
