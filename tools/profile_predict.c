/* profile --predict and --learn: prices of kernels from a prior over machines. */
#include "common/base/json.h"
#include "common/run/backend_sizes.h"
#include "tools/profile.h"

#include <stdio.h>

int profile_learn(struct profile *p, struct error *e)
{
    struct predict_prior prior;
    char text[128];
    if (tool_stdout_is_data(p->t) && tool_claim_stdout(p->t, 1, e) < 0)
        return -1;
    cJSON *j = json_new_object(e);
    snprintf(text, sizeof text, "a prior over machines from %d profiles\n", p->o->learn.count);
    int status = j && predict_learn(p->o->learn.item, p->o->learn.count, &prior, e) == 0 ? 0 : -1;
    if (status == 0)
        status = prior_write(&prior, p->t->output, e) < 0 ||
                         json_add_int(j, "profiles", p->o->learn.count, e) < 0 ||
                         tool_report(p->t, text, j, tool_stdout_is_data(p->t), e) < 0
                     ? -1
                     : 0;
    cJSON_Delete(j);
    return status;
}

/* The plan of one call, made without a tensor, priced kernel by kernel. */
static int price(struct profile *p, const struct predictor *predictor, const struct plan *plan,
                 struct error *e)
{
    struct buf text = {0};
    double total = 0;
    cJSON *j = json_new_object(e), *kernels = j ? json_add_array(j, "kernels", e) : NULL;
    int status = kernels ? 0 : -1;
    for (int i = 0; status == 0 && i < plan->calls; i++) {
        struct kernel_sample k = kernel_sample(&plan->call[i], 0);
        const char *name = p->g->node[plan->call[i].node].name;
        k.ms = predict_kernel(predictor, &k);
        total += k.ms;
        cJSON *one = json_push_object(kernels, e);
        status = !one || json_add_string(one, "node", name, e) < 0 || json_add_double(one, "ms", k.ms, e) < 0
                     ? -1
                     : 0;
        if (p->t->verbose)
            buf_printf(&text, e, "%-52s %-11s %9.3f\n", name, kernel_kind_name(plan->call[i].kind), k.ms);
    }
    buf_printf(&text, e,
               "one call of %lld images: %.3f ms predicted, in %d kernels; %d samples of this machine\n",
               (long long)p->o->batch, total, plan->calls, p->samples);
    if (status == 0)
        status = json_add_double(j, "predicted_ms", total, e) < 0 ||
                         json_add_int(j, "batch", p->o->batch, e) < 0 || text.failed ||
                         tool_report(p->t, text.data, j, 0, e) < 0
                     ? -1
                     : 0;
    buf_free(&text);
    cJSON_Delete(j);
    return status;
}

int profile_predict(struct profile *p, const char *path, struct error *e)
{
    struct backend_count count = {0};
    struct backend sizes = backend_sizes(&p->t->backend, &count);
    struct predict_prior prior;
    struct predictor predictor;
    struct predict_machine machine = {.threads = team_size(p->t->team),
                                      .panel = predict_panel(cpu_level_name(p->t->kernels->level))};
    struct weights *w = NULL;
    struct engine *x = NULL;
    struct engine_options options = {.images = (int)p->o->batch, .calls = 1};
    int status = -1;
    if (!p->t->backend.ops->direct)
        return error_set(e, HASTEN_EUSAGE, "--predict prices calls on the CPU; with --backend %s, measure",
                         p->t->backend.ops->name);
    if (prior_read(&prior, p->o->predict, e) < 0 || model_open_structure(&p->m, path, e) < 0 ||
        !(p->g = model_main(&p->m, e)) || profile_read_size(p, &p->m, e) < 0 ||
        (p->samples = reference_samples(p->sample, &p->t->backend, e)) < 0 ||
        roofline_measure(&machine.roof, p->t->kernels, p->t->team, e) < 0 ||
        predict_open(&predictor, &prior, &machine, p->sample, p->samples, e) < 0)
        return -1;
    w = weights_open(p->g, &sizes, NULL, e);
    x = w ? engine_open(p->g, w, &options, e) : NULL;
    const struct plan *plan = x && engine_ready(x, e) == 0 ? engine_plan(x, 0, 0, (int)p->o->batch, e) : NULL;
    if (plan)
        status = price(p, &predictor, plan, e);
    engine_close(x);
    weights_close(w);
    return status;
}
