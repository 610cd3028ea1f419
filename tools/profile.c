/* profile: measured milliseconds, kernel by kernel and action by action. */
#include "common/base/json.h"
#include "common/run/measure.h"
#include "common/run/actions.h"
#include "tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT_TABLE, FORMAT_AS_JSON, FORMAT_CSV, FORMAT_MD };

static struct {
    int64_t batch, repeat;
    int format;
    const char *schedule;
} o = {.batch = 1, .repeat = 9};

static const struct tool_option options[] = {
    {"batch", 0, "B", OPTION_INT, &o.batch, .min = 1, .max = 4096, .help = "images in a call (default 1)"},
    {"repeat", 0, "N", OPTION_INT, &o.repeat, .min = 3, .max = 10000,
     .help = "timed repeats, after one to warm up (default 9)"},
    {"format", 0, "NAME", OPTION_CHOICE, &o.format, .choices = "table json csv md",
     .help = "table, json, csv or md"},
    {"schedule", 0, "FILE", OPTION_TEXT, &o.schedule, .help = "price the actions of this schedule instead"},
    {0}};

static const struct tool tool = {"profile",
                                 "MODEL",
                                 "Measure where the time of a network call goes.",
                                 options,
                                 TOOL_OUTPUT | TOOL_COMPUTES,
                                 "profile model.zst -o model.profile.zst"};

struct peak {
    double gflops[2]; /* float, int8 */
};

struct work {
    struct tool_run *t;
    struct model m;
    struct graph *g;
    struct weights *weights;
    struct candidate list[CANDIDATES];
    int candidates;
    struct timed *timed;
    struct plan *plan;
    double full, spread, *kernel, sum;
    double ms[CANDIDATES], action_spread[CANDIDATES];
    struct peak peak;
};

/* ---- the machine's peak: a product that fits into cache, all threads, in this very run ---- */

struct peak_job {
    struct matmul m;
    const struct cpu_kernels *k;
};

static void peak_part(void *context, int part, int parts)
{
    struct peak_job *j = context;
    j->k->matmul(&j->m, part, parts);
}

static double measure_peak(struct work *w, int int8, struct error *e)
{
    enum { ROWS = 448, DEPTH = 768, COLUMNS = 1536 };
    struct mm_shape s = {COLUMNS, 1, 1, {DEPTH, 0}};
    const struct cpu_kernels *k = w->t->kernels;
    void *weight = mem_array((size_t)COLUMNS * DEPTH, sizeof(float), e),
         *packed = mem_array(k->matmul_packed_size(&s, int8), 1, e);
    void *in = mem_array((size_t)ROWS * DEPTH, sizeof(float), e);
    float *out = mem_array((size_t)ROWS * COLUMNS, sizeof(float), e),
          *scale = mem_array(ROWS + COLUMNS, sizeof(float), e);
    double best = 0;
    if (weight && packed && in && out && scale) {
        if (int8)
            k->matmul_pack_int8(packed, weight, &s, 0, COLUMNS);
        else
            k->matmul_pack(packed, weight, &s, 0, COLUMNS);
        struct peak_job j = {.k = k,
                             .m = {.images = 1,
                                   .out_height = 1,
                                   .out_width = ROWS,
                                   .n = COLUMNS,
                                   .kernel_h = 1,
                                   .kernel_w = 1,
                                   .stride = 1,
                                   .sources = 1,
                                   .source = {{in, DEPTH, DEPTH, ROWS * DEPTH, 1, ROWS, 1, scale}},
                                   .weights = packed,
                                   .column_scale = scale,
                                   .int8 = int8,
                                   .scale_per_row = 1,
                                   .out = out,
                                   .out_ld = COLUMNS}};
        double begin = clock_ms();
        for (int i = 0; i < 12 || clock_ms() - begin < 80; i++) {
            double start = clock_ms();
            team_run(w->t->team, peak_part, &j);
            double rate = 2.0 * ROWS * DEPTH * COLUMNS / (clock_ms() - start) * 1e-6;
            best = rate > best ? rate : best;
        }
    }
    mem_free(weight), mem_free(packed), mem_free(in), mem_free(out), mem_free(scale);
    return best;
}

/* ---- measuring ---- */

/* Half the distance between the quartiles, relative to the median, of sorted times. */
static double spread_of(const double *times, int n)
{
    return (times[3 * n / 4] - times[n / 4]) / (2 * times[n / 2]);
}

static int add_schedule_actions(struct work *w, struct error *e)
{
    struct cache_schedule s;
    if (cache_schedule_read(&s, o.schedule, e) < 0)
        return -1;
    int status = cache_schedule_bind(&s, w->g, e);
    for (int a = 1; status == 0 && a < s.actions && a <= CANDIDATES; a++) {
        struct candidate *c = &w->list[w->candidates];
        *c = (struct candidate){.served = mem_array((size_t)w->g->count + 1, 1, e),
                                .serves = s.action[a].serves,
                                .base = -1,
                                .probe = -1};
        if (!c->served) {
            status = -1;
            break;
        }
        w->candidates++;
        memcpy(c->served, s.action[a].served, (size_t)w->g->count);
        c->base = cache_action_base(&s.action[a], w->g);

        snprintf(c->name, sizeof c->name, "%s", s.action[a].name);
    }
    cache_schedule_free(&s);
    return status;
}

static int measure(struct work *w, struct error *e)
{
    unsigned char *served[CANDIDATES];
    int base[CANDIDATES], n = (int)o.repeat;
    double *times = mem_array((size_t)n, sizeof *times, e);
    if (!times)
        return -1;
    for (int i = 0; i < w->candidates; i++)
        served[i] = w->list[i].served, base[i] = w->list[i].base;
    struct timing t = {w->g, w->weights, (int)o.batch, n};
    w->timed = timed_open(&t, w->candidates, served, base, e);
    w->plan = w->timed ? engine_plan(timed_engine(w->timed), 0, 0, (int)o.batch, e) : NULL;
    w->kernel = w->plan ? mem_array((size_t)w->plan->calls + 1, sizeof *w->kernel, e) : NULL;
    int status = w->kernel ? timed_run(w->timed, 0, &w->full, times, w->kernel, NULL, e) : -1;
    if (status == 0)
        w->spread = spread_of(times, n);
    for (int i = 0; status == 0 && i < w->plan->calls; i++)
        w->sum += w->kernel[i];
    for (int a = 0; status == 0 && a < w->candidates; a++) {
        status = timed_run(w->timed, a + 1, &w->ms[a], times, NULL, NULL, e);
        w->action_spread[a] = spread_of(times, n);
        tool_progress(w->t, "profile", a + 1, w->candidates);
    }
    tool_progress_end(w->t);
    mem_free(times);
    for (int p = 0; status == 0 && p < 2; p++)
        w->peak.gflops[p] = measure_peak(w, p, e);
    return status == 0 && !e->code ? 0 : -1;
}

/* ---- output ---- */

static double percent_of_peak(const struct work *w, const struct kernel_call *c, double ms)
{
    double peak = w->peak.gflops[c->precision == PRECISION_INT8];
    return peak > 0 && ms > 0 ? 100 * c->flops / (ms * 1e6) / peak : 0;
}

static cJSON *as_json(const struct work *w, struct error *e)
{
    cJSON *j = json_new_object(e), *kernels = j ? json_add_array(j, "kernels", e) : NULL,
          *actions = j ? json_add_array(j, "actions", e) : NULL;
    if (!kernels || !actions)
        goto fail;
    for (int i = 0; i < w->plan->calls; i++) {
        const struct kernel_call *c = &w->plan->call[i];
        cJSON *k = json_push_object(kernels, e), *nodes = k ? json_add_array(k, "nodes", e) : NULL;
        if (!nodes || json_add_string(k, "node", w->g->node[c->node].name, e) < 0 ||
            json_add_string(k, "kind", kernel_kind_name(c->kind), e) < 0 ||
            json_add_double(k, "ms", w->kernel[i], e) < 0 ||
            json_add_double(k, "share", w->kernel[i] / w->sum, e) < 0 ||
            json_add_double(k, "flops", c->flops, e) < 0 || json_add_double(k, "bytes", c->bytes, e) < 0 ||
            json_add_double(k, "peak_percent", percent_of_peak(w, c, w->kernel[i]), e) < 0 ||
            json_add_string(k, "type", c->precision == PRECISION_INT8 ? "int8" : "f32", e) < 0)
            goto fail;
        for (int n = 0; n < c->covered; n++)
            if (json_push_string(nodes, w->g->node[w->plan->cover[c->covers + n]].name, e) < 0)
                goto fail;
    }
    for (int a = -1; a < w->candidates; a++) {
        cJSON *k = json_push_object(actions, e);
        if (!k || json_add_string(k, "name", a < 0 ? "full" : w->list[a].name, e) < 0 ||
            json_add_double(k, "ms", a < 0 ? w->full : w->ms[a], e) < 0 ||
            json_add_double(k, "spread", a < 0 ? w->spread : w->action_spread[a], e) < 0)
            goto fail;
    }
    if (json_add_string(j, "model", model_id(&w->m), e) < 0 || json_add_int(j, "batch", o.batch, e) < 0 ||
        json_add_int(j, "repeat", o.repeat, e) < 0 ||
        json_add_int(j, "threads", team_size(w->t->team), e) < 0 ||
        json_add_string(j, "cpu_level", cpu_level_name(w->t->kernels->level), e) < 0 ||
        json_add_double(j, "full_ms", w->full, e) < 0 || json_add_double(j, "kernel_sum_ms", w->sum, e) < 0 ||
        json_add_double(j, "peak_f32_gflops", w->peak.gflops[0], e) < 0 ||
        json_add_double(j, "peak_int8_gops", w->peak.gflops[1], e) < 0 ||
        json_add_int(j, "height", w->m.image.height, e) < 0 ||
        json_add_int(j, "width", w->m.image.width, e) < 0)
        goto fail;
    return j;
fail:
    cJSON_Delete(j);
    return NULL;
}

static int by_time(const void *x, const void *y, void *times)
{
    const double *t = times;
    double a = t[*(const int *)x], b = t[*(const int *)y];
    return a < b ? 1 : a > b ? -1 : 0;
}

static void rows(const struct work *w, struct buf *b, const int *order, struct error *e)
{
    for (int i = 0; i < w->plan->calls; i++) {
        const struct kernel_call *c = &w->plan->call[order[i]];
        double ms = w->kernel[order[i]];
        switch (o.format) { /* three literal formats, for the compiler's checks */
        case FORMAT_TABLE:
            buf_printf(b, e, "%-52s %-11s %9.3f %5.1f%% %9.3f %9.2f %6.1f%%\n", w->g->node[c->node].name,
                       kernel_kind_name(c->kind), ms, 100 * ms / w->sum, c->flops * 1e-9, c->bytes / 1048576,
                       percent_of_peak(w, c, ms));
            break;
        case FORMAT_CSV:
            buf_printf(b, e, "%s,%s,%.4f,%.2f,%.4f,%.3f,%.2f\n", w->g->node[c->node].name,
                       kernel_kind_name(c->kind), ms, 100 * ms / w->sum, c->flops * 1e-9, c->bytes / 1048576,
                       percent_of_peak(w, c, ms));
            break;
        default:
            buf_printf(b, e, "| %s | %s | %.3f | %.1f %% | %.3f | %.2f | %.1f %% |\n",
                       w->g->node[c->node].name, kernel_kind_name(c->kind), ms, 100 * ms / w->sum,
                       c->flops * 1e-9, c->bytes / 1048576, percent_of_peak(w, c, ms));
        }
    }
}

static int as_text(const struct work *w, struct buf *b, struct error *e)
{
    int *order = mem_array((size_t)w->plan->calls + 1, sizeof *order, e);
    if (!order)
        return -1;
    for (int i = 0; i < w->plan->calls; i++)
        order[i] = i;
    qsort_r(order, (size_t)w->plan->calls, sizeof *order, by_time, w->kernel);
    if (o.format == FORMAT_TABLE)
        buf_printf(b, e, "%-52s %-11s %9s %6s %9s %9s %7s\n", "node", "kernel", "ms", "share", "GFLOP", "MiB",
                   "of peak");
    else
        buf_text(
            b,
            o.format == FORMAT_CSV
                ? "node,kernel,ms,share,gflop,mib,peak_percent\n"
                : "| node | kernel | ms | share | GFLOP | MiB | of peak |\n|---|---|---|---|---|---|---|\n",
            e);
    rows(w, b, order, e);
    mem_free(order);
    if (o.format == FORMAT_CSV)
        return b->failed ? -1 : 0;
    buf_printf(b, e,
               "\none call of %lld images: %.3f ms (spread %.1f %%), sum of kernels %.3f ms; %d threads, %s; "
               "peak measured in this run: "
               "%.0f GF/s float, %.0f GOP/s int8\n\n",
               (long long)o.batch, w->full, 100 * w->spread, w->sum, team_size(w->t->team),
               cpu_level_name(w->t->kernels->level), w->peak.gflops[0], w->peak.gflops[1]);
    for (int a = 0; a < w->candidates; a++)
        buf_printf(b, e, "%-60s %9.3f ms  %5.2fx\n", w->list[a].name, w->ms[a], w->full / w->ms[a]);
    return b->failed ? -1 : 0;
}

static int run(struct work *w, struct error *e)
{
    const char *path = tool_input(w->t, e);
    struct buf text = {0};
    int data = w->t->output && tool_stdout_is_data(w->t); /* without -o the table goes there */
    if (data && tool_claim_stdout(w->t, 1, e) < 0)
        return -1;
    if (!path || model_open(&w->m, path, w->t->memory, w->t->team, e) < 0 || !(w->g = model_main(&w->m, e)))
        return -1;
    w->weights = weights_open(w->g, &w->t->backend, NULL, e);
    if (!w->weights)
        return -1;
    if (o.schedule ? add_schedule_actions(w, e) < 0
                   : (w->candidates = candidate_actions(w->g, w->list, e)) < 0)
        return -1;
    if (measure(w, e) < 0)
        return -1;
    cJSON *j = as_json(w, e);
    int status = j ? 0 : -1, json = w->t->json || o.format == FORMAT_AS_JSON;
    if (status == 0 && w->t->output)
        status = container_write(w->t->output, "profile", j, NULL, 0, NULL, NULL, NULL, NULL, e);
    if (status == 0 && !json)
        status = as_text(w, &text, e);
    if (status == 0) {
        w->t->json = json;
        status = tool_report(w->t, text.data, j, data, e);
    }
    buf_free(&text);
    cJSON_Delete(j);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    static struct work w;
    w.t = &t;
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&w, &e);
        mem_free(w.kernel);
        timed_close(w.timed);
        candidates_free(w.list, w.candidates > 0 ? w.candidates : 0);
        weights_close(w.weights);
        model_close(&w.m);
    }
    return tool_finish(&t, &e);
}
