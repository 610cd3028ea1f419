/* profile: the report as JSON, which is also the profile file. */
#include "common/base/json.h"
#include "common/run/machine.h"
#include "tools/profile.h"

double percent_of_peak(const struct profile *p, const struct kernel_call *c, double ms)
{
    double peak = p->roof.gflops[c->precision];
    return peak > 0 && ms > 0 ? 100 * c->flops / (ms * 1e6) / peak : 0;
}

static int add_samples(const struct profile *p, cJSON *j, struct error *e)
{
    cJSON *list = json_add_array(j, "samples", e);
    return list ? samples_to_json(p->sample, p->samples, list, e) : -1;
}

static int add_peaks(const struct profile *p, cJSON *j, struct error *e)
{
    return json_add_double(j, "peak_f32_gflops", p->roof.gflops[ROOF_F32], e) < 0 ||
                   json_add_double(j, "peak_int8_gops", p->roof.gflops[ROOF_INT8], e) < 0 ||
                   json_add_double(j, "peak_bf16_gflops", p->roof.gflops[ROOF_BF16], e) < 0 ||
                   json_add_double(j, "copy_gbs", p->roof.copy_gbs, e) < 0
               ? -1
               : 0;
}

static int add_account(const struct launch_account *a, const char *name, cJSON *j, struct error *e)
{
    cJSON *l = json_add_object(j, name, e);
    return !l || json_add_double(l, "total_ms", a->total, e) < 0 ||
                   json_add_double(l, "tklqt_ms", a->tklqt, e) < 0 ||
                   json_add_double(l, "mean_kernel_ms", a->kernel, e) < 0 ||
                   json_add_double(l, "waiting", a->waiting, e) < 0
               ? -1
               : 0;
}

static int add_launch(const struct profile *p, cJSON *j, struct error *e)
{
    if (p->log.calls)
        return add_account(&p->launch, "launch", j, e);
    return p->trace.count &&
                   (add_account(&p->trace.calls, "launch", j, e) < 0 ||
                    (p->trace.graph.total > 0 && add_account(&p->trace.graph, "graph_launch", j, e) < 0))
               ? -1
               : 0;
}

/* What was measured where, for whoever reads the file later. */
static int add_machine(cJSON *j, struct error *e)
{
    char cpu[128];
    machine_cpu(cpu, sizeof cpu);
    return json_add_string(j, "cpu", cpu, e) < 0 || json_add_int(j, "cores", team_cores(), e) < 0 ||
                   json_add_string(j, "version", HASTEN_VERSION, e) < 0 ||
                   json_add_string(j, "compiler", __VERSION__, e) < 0
               ? -1
               : 0;
}

static int add_activations(const struct profile *w, cJSON *j, struct error *e)
{
    const struct activations *a = &w->activations;
    cJSON *o = a->count ? json_add_object(j, "activations", e) : NULL;
    cJSON *list = o ? json_add_array(o, "branches", e) : NULL;
    if (!a->count)
        return 0;
    if (!list || json_add_int(o, "images", a->images, e) < 0 || json_add_int(o, "calls", a->calls, e) < 0)
        return -1;
    for (int i = 0; i < a->count; i++) {
        const struct branch_activity *b = &a->branch[i];
        cJSON *k = json_push_object(list, e), *change = k ? json_add_array(k, "changes", e) : NULL;
        if (!change || json_add_string(k, "name", w->g->node[b->node].name, e) < 0 ||
            json_add_double(k, "change", b->mean, e) < 0)
            return -1;
        for (int c = 0; c < a->calls; c++)
            if (json_push_double(change, b->change[c], e) < 0)
                return -1;
        if (b->overlap >= 0 && (json_add_double(k, "overlap", b->overlap, e) < 0 ||
                                json_add_bool(k, "foreground", b->foreground, e) < 0))
            return -1;
    }
    return 0;
}

static const char *const precisions[] = {
    [PRECISION_F32] = "f32", [PRECISION_INT8] = "int8", [PRECISION_BF16] = "bf16"};

cJSON *profile_json(const struct profile *w, struct error *e)
{
    cJSON *j = json_new_object(e), *kernels = j ? json_add_array(j, "kernels", e) : NULL,
          *actions = j ? json_add_array(j, "actions", e) : NULL;
    if (!kernels || !actions)
        goto fail;
    for (int i = 0; i < w->plan->calls; i++) {
        const struct kernel_call *c = &w->plan->call[i];
        const struct kernel_sample sample = kernel_sample(c, w->kernel[i]);
        cJSON *k = json_push_object(kernels, e), *nodes = k ? json_add_array(k, "nodes", e) : NULL;
        if (!nodes || json_add_string(k, "node", w->g->node[c->node].name, e) < 0 ||
            json_add_string(k, "kind", kernel_kind_name(c->kind), e) < 0 ||
            kernel_sample_to_json(&sample, k, e) < 0 ||
            json_add_double(k, "spread", w->kernel_spread[i], e) < 0 ||
            json_add_double(k, "share", w->kernel[i] / w->sum, e) < 0 ||
            json_add_double(k, "peak_percent", percent_of_peak(w, c, w->kernel[i]), e) < 0 ||
            json_add_string(k, "type", precisions[c->precision], e) < 0)
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
    if (json_add_string(j, "model", model_id(&w->m), e) < 0 || json_add_int(j, "batch", w->o->batch, e) < 0 ||
        json_add_int(j, "repeat", w->o->repeat, e) < 0 ||
        json_add_int(j, "threads", team_size(w->t->team), e) < 0 ||
        json_add_string(j, "cpu_level", cpu_level_name(w->t->kernels->level), e) < 0 ||
        json_add_double(j, "full_ms", w->full, e) < 0 || json_add_double(j, "kernel_sum_ms", w->sum, e) < 0 ||
        json_add_double(j, "spread", w->spread, e) < 0 ||
        json_add_string(j, "backend", w->t->backend.ops->name, e) < 0 || add_peaks(w, j, e) < 0 ||
        json_add_int(j, "height", w->height, e) < 0 || json_add_int(j, "width", w->width, e) < 0 ||
        add_launch(w, j, e) < 0 || add_samples(w, j, e) < 0 || add_activations(w, j, e) < 0 ||
        add_machine(j, e) < 0)
        goto fail;
    return j;
fail:
    cJSON_Delete(j);
    return NULL;
}
