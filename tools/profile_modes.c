/* profile --plan, --sweep and --compare, and the size of the latent. */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/num.h"
#include "common/method/paired.h"
#include "common/run/backend_sizes.h"
#include "tools/profile.h"

#include <string.h>

static const double mib = 1048576;

/* Text for people and JSON of one report, both freed. */
static int finish(const struct profile *p, struct buf *text, cJSON *j, int status, struct error *e)
{
    if (status == 0)
        status = text->failed || e->code ? -1 : tool_report(p->t, text->data, j, 0, e);
    buf_free(text);
    cJSON_Delete(j);
    return status;
}

int profile_read_size(struct profile *p, const struct model *m, struct error *e)
{
    p->height = m->image.height;
    p->width = m->image.width;
    if (!p->o->size)
        return 0;
    if (num_pair("--size", p->o->size, 16384, &p->width, &p->height, e) < 0)
        return -1;
    return model_resize(m, p->g, "--size", p->height, p->width, e);
}

/* ---- --plan ---- */

/* Of the tensors that the graph names, each once. */
static double file_bytes(const struct model *m, const struct graph *g, struct error *e)
{
    unsigned char *seen = mem_array((size_t)m->tensors + 1, 1, e);
    double sum = 0;
    for (int i = 0; seen && i < g->count; i++)
        for (int w = 0; w < GRAPH_MAX_WEIGHTS; w++) {
            const struct tensor *t = g->node[i].weight[w] ? model_find(m, g->node[i].weight[w]) : NULL;
            if (t && !seen[t - m->tensor]++)
                sum += (double)t->size;
        }
    mem_free(seen);
    return sum;
}

static int add_stage(const char *name, double file, double held, const struct engine *x, double other,
                     struct buf *text, cJSON *stages, double *most, struct error *e)
{
    static const struct {
        const char *key;
        enum space space;
    } spaces[] = {{"hoisted", SPACE_HOISTED}, {"caches", SPACE_CACHE}, {"arena", SPACE_ARENA}};
    double run = (double)engine_bytes(x) + other;
    cJSON *j = json_push_object(stages, e);
    buf_printf(text, e, "%-12s %10.1f %10.1f", name, file / mib, held / mib);
    if (!j || json_add_string(j, "stage", name, e) < 0 || json_add_double(j, "file_bytes", file, e) < 0 ||
        json_add_double(j, "weight_bytes", held, e) < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        double bytes = (double)engine_space_bytes(x, spaces[i].space);
        buf_printf(text, e, " %10.1f", bytes / mib);
        if (json_add_double(j, spaces[i].key, bytes, e) < 0)
            return -1;
    }
    buf_printf(text, e, " %10.1f\n", (held + run) / mib);
    *most += held + run;
    return json_add_double(j, "total_bytes", held + run, e);
}

static int plan_denoiser(struct profile *p, struct backend *sizes, const struct backend_count *count,
                         const struct cache_schedule *schedule, struct buf *text, cJSON *stages,
                         double *total, struct error *e)
{
    const struct model_sampler *s = &p->m.sampler;
    struct sampler_config config = {0};
    size_t before = count->bytes;
    struct weights *w = NULL;
    struct trajectory *t = NULL;
    int status = -1;
    if (profile_read_size(p, &p->m, e) < 0 || sampler_config_read(&config, s->config, NULL, e) < 0 ||
        !(w = weights_open(p->g, sizes, NULL, e)))
        goto out;
    double held = (double)(count->bytes - before);
    struct trajectory_options o = {.graph = p->g,
                                   .weights = w,
                                   .sampler = &config,
                                   .model = s,
                                   .run = {.steps = p->o->steps ? (int)p->o->steps
                                                    : schedule  ? schedule->steps
                                                                : s->steps,
                                           .seq_len = p->height * p->width},
                                   .batch = (int)p->o->batch,
                                   .guidance = tool_given(p->t, "guidance") ? p->o->guidance
                                               : schedule                   ? schedule->guidance
                                               : s->null_class >= 0         ? s->guidance
                                                                            : 1,
                                   .schedule = schedule};
    t = trajectory_open(&o, e);
    if (t) {
        const struct engine *x = trajectory_engine(t);
        status = add_stage(p->g->component, file_bytes(&p->m, p->g, e), held, x,
                           (double)trajectory_bytes(t) - (double)engine_bytes(x), text, stages, total, e);
    }
out:
    trajectory_close(t);
    weights_close(w);
    sampler_config_free(&config);
    return status;
}

/* A component that is run once an image. */
static int plan_other(struct profile *p, struct graph *g, struct backend *sizes,
                      const struct backend_count *count, int images, struct buf *text, cJSON *stages,
                      double *total, struct error *e)
{
    size_t before = count->bytes;
    struct engine_options o = {.images = images, .calls = 1};
    struct weights *w = weights_open(g, sizes, NULL, e);
    double held = (double)(count->bytes - before);
    struct engine *x = w ? engine_open(g, w, &o, e) : NULL;
    int status = x && engine_ready(x, e) == 0
                     ? add_stage(g->component, file_bytes(&p->m, g, e), held, x, 0, text, stages, total, e)
                     : -1;
    engine_close(x);
    weights_close(w);
    return status;
}

int profile_plan(struct profile *p, const char *path, struct error *e)
{
    struct backend_count count = {0};
    struct backend sizes = backend_sizes(&p->t->backend, &count);
    struct cache_schedule schedule = {0};
    struct buf text = {0};
    double total = 0;
    cJSON *j = json_new_object(e), *stages = j ? json_add_array(j, "stages", e) : NULL;
    int status =
        stages && model_open_structure(&p->m, path, e) == 0 && (p->g = model_main(&p->m, e)) ? 0 : -1;
    if (status == 0 && p->o->schedule)
        status = cache_schedule_read(&schedule, p->o->schedule, e) < 0
                     ? -1
                     : cache_schedule_bind(&schedule, p->g, e);
    buf_printf(&text, e, "%-12s %10s %10s %10s %10s %10s %10s\n", "MiB", "in file", "held", "hoisted",
               "caches", "arena", "total");
    for (int i = 0; status == 0 && i < p->m.components; i++) {
        struct graph *g = p->m.graph[i];
        int trajectory = g == p->g && p->m.sampler.present && graph_find(g, "sample") >= 0;
        if (g != p->g && p->o->size && !strcmp(g->component, "decoder"))
            status = graph_infer(g, p->height, p->width, model_find, &p->m, e);
        if (status == 0)
            status = trajectory ? plan_denoiser(p, &sizes, &count, p->o->schedule ? &schedule : NULL, &text,
                                                stages, &total, e)
                                : plan_other(p, g, &sizes, &count, g == p->g ? (int)p->o->batch : 1, &text,
                                             stages, &total, e);
    }
    buf_printf(&text, e, "%.1f MiB in all, beside the pictures\n", total / mib);
    if (status == 0)
        status = json_add_double(j, "total_bytes", total, e);
    if (p->o->schedule)
        cache_schedule_free(&schedule);
    return finish(p, &text, j, status, e);
}

/* ---- --sweep ---- */

static int open_model(struct profile *p, const char *path, struct error *e)
{
    return model_open(&p->m, path, p->t->memory, p->t->team, e) < 0 || !(p->g = model_main(&p->m, e)) ||
                   profile_read_size(p, &p->m, e) < 0 ||
                   !(p->weights = weights_open(p->g, &p->t->backend, NULL, e))
               ? -1
               : 0;
}

/* Milliseconds of a call of so many images, and how long its kernels waited. */
static int time_call(struct profile *p, int batch, double *ms, double *spread, struct error *e)
{
    struct timing t = {.graph = p->g, .weights = p->weights, .batch = batch, .repeats = (int)p->o->repeat};
    double *times = mem_array((size_t)p->o->repeat, sizeof *times, e);
    struct timed *x = times ? timed_open(&t, NULL, 0, e) : NULL;
    int status = x ? timed_run(x, 0, ms, times, NULL, NULL, NULL, e) : -1, n = (int)p->o->repeat;
    if (status == 0)
        *spread = spread_of(times, n);
    timed_close(x);
    mem_free(times);
    return status;
}

enum { MOST_POINTS = 16 };

struct sweep {
    double x[MOST_POINTS], ms[MOST_POINTS], spread[MOST_POINTS], per[MOST_POINTS];
    int n;
};

static int sweep_point(struct profile *p, struct sweep *s, double x, int batch, double share, struct error *e)
{
    s->x[s->n] = x;
    if (time_call(p, batch, &s->ms[s->n], &s->spread[s->n], e) < 0)
        return -1;
    s->per[s->n] = s->ms[s->n] * share;
    s->n++;
    return 0;
}

static int sweep_batch(struct profile *p, struct sweep *s, struct error *e)
{
    int most = tool_given(p->t, "batch") ? (int)p->o->batch : 16;
    for (int b = 1; b <= most && s->n < MOST_POINTS; b *= 2)
        if (sweep_point(p, s, b, b, 1.0 / b, e) < 0)
            return -1;
    return 0;
}

static int sweep_threads(struct profile *p, struct sweep *s, struct error *e)
{
    struct team *own = p->t->backend.team;
    int most = team_size(own), status = 0;
    for (int n = 1;
         status == 0 && n <= most && s->n<MOST_POINTS; n = n * 2> most && n < most ? most : n * 2) {
        struct team *team = team_open(n, e);
        p->t->backend.team = team;
        status = team ? sweep_point(p, s, n, (int)p->o->batch, n, e) : -1;
        p->t->backend.team = own;
        team_close(team);
    }
    return status;
}

static int sweep_size(struct profile *p, struct sweep *s, struct error *e)
{
    int height = p->height, width = p->width;
    for (int quarter = 2; quarter <= 8; quarter += quarter < 4 ? 2 : 4) { /* half, the same, twice */
        struct error no = {0};
        p->height = height * quarter / 4;
        p->width = width * quarter / 4;
        double pixels = (double)p->height * p->width;
        if (model_resize(&p->m, p->g, "--sweep size", p->height, p->width, &no) < 0)
            tool_warn(p->t, "%dx%d is left out: %s", p->width, p->height, no.text);
        else if (sweep_point(p, s, pixels, (int)p->o->batch, 1e3 / pixels, e) < 0)
            return -1;
    }
    return 0;
}

int profile_sweep(struct profile *p, const char *path, struct error *e)
{
    static const struct {
        const char *name, *per;
    } what[] = {
        {"", ""}, {"batch", "ms an image"}, {"threads", "ms x threads"}, {"size", "ms a 1000 pixels"}};
    struct sweep s = {.n = 0};
    struct buf text = {0};
    int kind = p->o->sweep, at = -1;
    cJSON *j = json_new_object(e), *points = j ? json_add_array(j, "points", e) : NULL;
    int status = points && open_model(p, path, e) == 0 ? 0 : -1;
    if (status == 0)
        status = kind == SWEEP_BATCH     ? sweep_batch(p, &s, e)
                 : kind == SWEEP_THREADS ? sweep_threads(p, &s, e)
                                         : sweep_size(p, &s, e);
    if (status == 0)
        at = knee(s.x, s.per, s.n);
    buf_printf(&text, e, "%10s %10s %8s %18s\n", what[kind].name, "ms", "spread", what[kind].per);
    for (int i = 0; status == 0 && i < s.n; i++) {
        cJSON *k = json_push_object(points, e);
        buf_printf(&text, e, "%10g %10.3f %7.1f%% %18.3f%s\n", s.x[i], s.ms[i], 100 * s.spread[i], s.per[i],
                   i == at ? "   <- knee" : "");
        status = !k || json_add_double(k, what[kind].name, s.x[i], e) < 0 ||
                         json_add_double(k, "ms", s.ms[i], e) < 0 ||
                         json_add_double(k, "spread", s.spread[i], e) < 0
                     ? -1
                     : 0;
    }
    if (status == 0 && at >= 0)
        status = json_add_double(j, "knee", s.x[at], e);
    return finish(p, &text, j, status, e);
}

/* ---- --compare ---- */

struct contender {
    struct timed *call;      /* of a model */
    struct trajectory *path; /* of a schedule: the whole trajectory */
    float *latents;
    struct trajectory_image image;
};

static int run_contender(struct contender *c, double *ms, struct error *e)
{
    double start = clock_ms();
    if (c->path) {
        int status = trajectory_run(c->path, &c->image, 1, c->latents, e);
        *ms = clock_ms() - start;
        return status;
    }
    return timed_run(c->call, 0, ms, NULL, NULL, NULL, NULL, e);
}

static int open_path(struct profile *p, const struct sampler_config *config, const struct cache_schedule *s,
                     int with, struct contender *c, struct error *e)
{
    struct trajectory_options o = {.graph = p->g,
                                   .weights = p->weights,
                                   .sampler = config,
                                   .model = &p->m.sampler,
                                   .run = {.steps = s->steps, .seq_len = p->height * p->width},
                                   .batch = 1,
                                   .guidance = s->guidance,
                                   .schedule = with ? s : NULL};
    c->path = trajectory_open(&o, e);
    c->latents = c->path ? mem_array((size_t)trajectory_size(c->path), sizeof(float), e) : NULL;
    c->image.seed = VALIDATION_SEED;
    return c->latents ? 0 : -1;
}

static int alternate(const struct profile *p, struct contender c[2], struct paired *r, double median[2],
                     struct error *e)
{
    int n = (int)p->o->repeat, status = 0;
    double *a = mem_array((size_t)n, 3 * sizeof *a, e), warm;
    if (!a)
        return -1;
    for (int side = 0; status == 0 && side < 2; side++)
        status = run_contender(&c[side], &warm, e);
    for (int i = 0; status == 0 && i < n; i++)
        for (int side = 0; status == 0 && side < 2; side++)
            status = run_contender(&c[(i + side) % 2], &a[(i + side) % 2 * n + i], e);
    if (status == 0) {
        paired_ratio(a, a + n, n, a + 2 * n, r);
        median[0] = median_of(a, n);
        median[1] = median_of(a + n, n);
    }
    mem_free(a);
    return status;
}

static int say_comparison(struct profile *p, struct contender c[2], const char *what, struct error *e)
{
    struct paired r;
    struct buf text = {0};
    double median[2];
    cJSON *j = json_new_object(e);
    int status = j && alternate(p, c, &r, median, e) == 0 ? 0 : -1;
    if (status == 0) {
        buf_printf(&text, e, "%s: %.3f ms against %.3f ms, %.3fx (95 %%: %.3f to %.3f, %d pairs)\n", what,
                   median[0], median[1], r.median, r.low, r.high, (int)p->o->repeat);
        status =
            json_add_double(j, "ms", median[0], e) < 0 || json_add_double(j, "other_ms", median[1], e) < 0 ||
                    json_add_double(j, "ratio", r.median, e) < 0 ||
                    json_add_double(j, "ratio_low", r.low, e) < 0 ||
                    json_add_double(j, "ratio_high", r.high, e) < 0 ||
                    json_add_int(j, "pairs", p->o->repeat, e) < 0 || json_add_string(j, "what", what, e) < 0
                ? -1
                : 0;
    }
    return finish(p, &text, j, status, e);
}

static int compare_schedule(struct profile *p, struct error *e)
{
    struct cache_schedule s = {0};
    struct sampler_config config = {0};
    struct contender c[2] = {{0}};
    int status = cache_schedule_read(&s, p->o->compare, e);
    if (status == 0 && strcmp(s.model, model_id(&p->m)))
        status = error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s", p->o->compare, s.model,
                           model_id(&p->m));
    if (status == 0)
        status = cache_schedule_bind(&s, p->g, e) < 0 ||
                         sampler_config_read(&config, p->m.sampler.config, s.sampler, e) < 0 ||
                         open_path(p, &config, &s, 0, &c[0], e) < 0 ||
                         open_path(p, &config, &s, 1, &c[1], e) < 0
                     ? -1
                     : say_comparison(p, c, "all calls against the schedule, one image", e);
    for (int i = 0; i < 2; i++) {
        trajectory_close(c[i].path);
        mem_free(c[i].latents);
    }
    sampler_config_free(&config);
    cache_schedule_free(&s);
    return status;
}

static int compare_model(struct profile *p, struct error *e)
{
    struct model other = {0};
    struct weights *w = NULL;
    struct graph *g = NULL;
    struct contender c[2] = {{0}};
    struct timing t = {.graph = p->g, .weights = p->weights, .batch = (int)p->o->batch, .repeats = 1};
    int status = -1;
    if (model_open(&other, p->o->compare, p->t->memory, p->t->team, e) == 0 && (g = model_main(&other, e)) &&
        (!p->o->size || graph_infer(g, p->height, p->width, model_find, &other, e) == 0) &&
        (w = weights_open(g, &p->t->backend, NULL, e)) && (c[0].call = timed_open(&t, NULL, 0, e))) {
        t.graph = g;
        t.weights = w;
        if ((c[1].call = timed_open(&t, NULL, 0, e)))
            status = say_comparison(p, c, "one network call", e);
    }
    timed_close(c[0].call);
    timed_close(c[1].call);
    weights_close(w);
    model_close(&other);
    return status;
}

int profile_compare(struct profile *p, const char *path, struct error *e)
{
    struct container_options any = {.foreign = 1};
    struct container *c = open_model(p, path, e) == 0 ? container_open(p->o->compare, &any, e) : NULL;
    if (!c)
        return -1;
    int schedule = !strcmp(c->kind, "schedule");
    container_close(c);
    return schedule ? compare_schedule(p, e) : compare_model(p, e);
}
