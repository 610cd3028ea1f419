/* profile: measured milliseconds, kernel by kernel and action by action. */
#include "tools/profile.h"
#include "common/base/json.h"
#include "common/file/output.h"
#include "common/run/profile_merge.h"
#include "common/run/profile_trace.h"

#include <stdio.h>
#include <string.h>

static struct profile_options o = {.batch = 1, .repeat = 9, .actions = 1};

static const struct tool_option options[] = {
    {"batch", 0, "B", OPTION_INT, &o.batch, .min = 1, .max = 4096, .help = "images in a call (default 1)"},
    {"repeat", 0, "N", OPTION_INT, &o.repeat, .min = 3, .max = 10000,
     .help = "timed repeats, after one to warm up (default 9)"},
    {"size", 0, "WxH", OPTION_TEXT, &o.size, .help = "size of the latent (default: the model's)"},
    {"format", 0, "NAME", OPTION_CHOICE, &o.format, .choices = "table json csv md",
     .help = "table, json, csv or md"},
    {"fold", 0, NULL, OPTION_FLAG, &o.by_block, .help = "one row a block instead of one a kernel"},
    {"actions", 0, "on|off", OPTION_CHOICE, &o.actions, .choices = "off on",
     .help = "time what a cache schedule may do as well (default on)"},
    {"schedule", 0, "FILE", OPTION_TEXT, &o.schedule, .help = "price the actions of this schedule instead"},
    {"activations", 0, "N", OPTION_INT, &o.activations, .min = 0, .max = 1000,
     .help = "also how branches change from call to call and where they look, over N images (default 0)"},
    {"trace", 0, "FILE", OPTION_OUTPUT, &o.trace, .help = "one call as Chrome trace events (JSON)"},
    {"svg", 0, "FILE", OPTION_OUTPUT, &o.svg, .help = "one call as a picture: blocks, layers, kernels"},
    {"plan", 0, NULL, OPTION_FLAG, &o.plan, .group = "Instead of that",
     .help = "the memory a trajectory needs, stage by stage, before loading anything"},
    {"steps", 0, "N", OPTION_INT, &o.steps, .min = 1, .max = 100000, .group = "Instead of that",
     .help = "sampling steps of --plan (default: the model's)"},
    {"guidance", 0, "W", OPTION_DOUBLE, &o.guidance, .min = -1000, .max = 1000, .group = "Instead of that",
     .help = "guidance of --plan (default: the model's; 1: none)"},
    {"sweep", 0, "WHAT", OPTION_CHOICE, &o.sweep, .choices = "none batch threads size",
     .group = "Instead of that",
     .help = "time calls over batch (up to --batch, 16), threads or size; the knee is marked"},
    {"compare", 0, "FILE", OPTION_TEXT, &o.compare, .group = "Instead of that",
     .help = "time another model, or a schedule of this one, in alternation: the ratio with its confidence"},
    {"predict", 0, "PRIOR", OPTION_TEXT, &o.predict, .group = "Instead of that",
     .help = "price a call without loading the model, from a prior and a few milliseconds of this machine"},
    {"learn", 0, "PROFILE", OPTION_LIST, &o.learn, .group = "Instead of that",
     .help = "make a prior of these profiles (repeatable; without MODEL)"},
    {"merge", 0, NULL, OPTION_FLAG, &o.merge, .group = "Instead of that",
     .help = "the operands are profiles: write the medians over them to -o"},
    {0}};

static const struct tool tool = {"profile",
                                 "MODEL ...",
                                 "Measure where the time of a network call goes.",
                                 options,
                                 TOOL_OUTPUT | TOOL_RUNS,
                                 "profile model.zst -o model.profile.zst"};

/* ---- measuring ---- */

static int add_schedule_actions(struct profile *p, struct error *e)
{
    struct cache_schedule s;
    if (cache_schedule_read(&s, o.schedule, e) < 0)
        return -1;
    int status = strcmp(s.model, model_id(&p->m))
                     ? error_set(e, HASTEN_EFILE, "%s was made for model %s, this is %s", o.schedule, s.model,
                                 model_id(&p->m))
                     : cache_schedule_bind(&s, p->g, e);
    for (int a = 1; status == 0 && a < s.actions && a <= CANDIDATES; a++) {
        struct candidate *c = &p->list[p->candidates];
        *c = (struct candidate){.served = mem_array((size_t)p->g->count + 1, 1, e),
                                .serves = s.action[a].serves,
                                .base = -1,
                                .probe = -1};
        if (!c->served) {
            status = -1;
            break;
        }
        p->candidates++;
        memcpy(c->served, s.action[a].served, (size_t)p->g->count);
        c->base = cache_action_base(&s.action[a], p->g);
        c->wide = s.action[a].wide;
        snprintf(c->name, sizeof c->name, "%s", s.action[a].name);
    }
    cache_schedule_free(&s);
    return status;
}

/* One more call with the clock on every thread, or on the device's kernels. */
static int log_one_call(struct profile *p, struct error *e)
{
    int parts = team_size(p->t->team);
    if (!p->t->backend.ops->direct)
        return launch_trace(&p->trace, timed_engine(p->timed), &p->t->backend, (int)o.batch, e);
    p->log = (struct cpu_log){.parts = parts,
                              .begin = mem_array((size_t)(p->plan->calls * parts) + 1, sizeof(double), e),
                              .end = mem_array((size_t)(p->plan->calls * parts) + 1, sizeof(double), e)};
    if (!p->log.begin || !p->log.end)
        return -1;
    p->log.calls = p->plan->calls;
    p->t->backend.context = &p->log;
    int status = engine_run(timed_engine(p->timed), 0, 0, 0, (int)o.batch, NULL, e);
    p->t->backend.context = NULL;
    launch_account(&p->launch, &p->log, p->plan->calls);
    return status;
}

/* A peak is the best that was seen: on a busy machine a short kernel of the model may find the cores free
 * when the products of roofline.h did not. Winograd's kernels do less than they are counted for. */
static void raise_roof(struct profile *p)
{
    for (int i = 0; i < p->plan->calls; i++) {
        const struct kernel_call *c = &p->plan->call[i];
        enum kernel_form form = kernel_sample(c, 0).form;
        double rate = p->kernel[i] > 0 ? c->flops / (p->kernel[i] * 1e6) : 0;
        if (form != FORM_CONV_WINOGRAD && form != FORM_CONV_WINOGRAD_INT8 &&
            rate > p->roof.gflops[c->precision])
            p->roof.gflops[c->precision] = rate;
    }
}

static int measure(struct profile *p, struct error *e)
{
    int n = (int)o.repeat;
    double *times = mem_array((size_t)n, sizeof *times, e);
    if (!times)
        return -1;
    struct timing t = {.graph = p->g, .weights = p->weights, .batch = (int)o.batch, .repeats = n};
    tool_progress(p->t, "profile", 0, p->candidates + 1);
    p->timed = timed_open(&t, p->list, p->candidates, e);
    p->plan = p->timed ? engine_plan(timed_engine(p->timed), 0, 0, (int)o.batch, e) : NULL;
    p->kernel = p->plan ? mem_array(2 * (size_t)p->plan->calls + 1, sizeof *p->kernel, e) : NULL;
    p->kernel_spread = p->kernel ? p->kernel + p->plan->calls : NULL;
    int status =
        p->kernel ? timed_run(p->timed, 0, &p->full, times, p->kernel, p->kernel_spread, NULL, e) : -1;
    if (status == 0)
        p->spread = spread_of(times, n);
    for (int i = 0; status == 0 && i < p->plan->calls; i++)
        p->sum += p->kernel[i];
    if (status == 0)
        status = log_one_call(p, e);
    for (int a = 0; status == 0 && a < p->candidates; a++) {
        tool_progress(p->t, "profile", a + 1, p->candidates + 1);
        status = timed_run(p->timed, a + 1, &p->ms[a], times, NULL, NULL, NULL, e);
        p->action_spread[a] = spread_of(times, n);
    }
    tool_progress_end(p->t);
    mem_free(times);
    if (status == 0 && p->t->backend.ops->direct && /* --learn and --predict are about the CPU */
        (p->samples = reference_samples(p->sample, &p->t->backend, e)) < 0)
        status = -1;
    if (status < 0)
        return status;
    status = p->t->backend.ops->direct ? roofline_measure(&p->roof, p->t->kernels, p->t->team, e)
                                       : roofline_measure_device(&p->roof, &p->t->backend, e);
    if (status == 0)
        raise_roof(p);
    return status;
}

static int collect_activations(struct profile *p, struct error *e)
{
    if (!p->m.sampler.present || graph_find_output(p->g, "sample") < 0)
        return error_set(e, HASTEN_EUSAGE, "--activations needs a denoiser with a sampler");
    if (o.size)
        return error_set(e, HASTEN_EUSAGE, "--activations does not go with --size");
    struct measure m = {.model = &p->m,
                        .graph = p->g,
                        .weights = p->weights,
                        .backend = &p->t->backend,
                        .count = (int)o.activations};
    return activations_collect(&p->activations, &m, e);
}

/* ---- output ---- */

static int write_pictures(const struct profile *p, struct error *e)
{
    struct buf trace = {0}, svg = {0};
    int status = 0;
    if (o.trace && !p->log.calls && !p->trace.count)
        status = error_set(e, HASTEN_EUSAGE,
                           "--trace: the backend '%s' has no log of its kernels (is there a CUPTI?)",
                           p->t->backend.ops->name);
    if (status == 0 && o.trace)
        status = p->log.calls ? profile_chrome_trace(&trace, p->g, p->plan, &p->log, e)
                              : profile_device_trace(&trace, p->trace.kernel, p->trace.count, e);
    if (status == 0 && o.trace)
        status = output_whole(o.trace, 0, trace.data, trace.size, e);
    if (status == 0 && o.svg &&
        (status = profile_flame(&svg, p->g, p->plan, p->kernel, p->m.file->name, e)) == 0)
        status = output_whole(o.svg, 0, svg.data, svg.size, e);
    buf_free(&trace);
    buf_free(&svg);
    return status;
}

static int report(struct profile *p, int data, struct error *e)
{
    struct buf text = {0};
    cJSON *j = profile_json(p, e);
    int status = j ? write_pictures(p, e) : -1, json = p->t->json || o.format == FORMAT_AS_JSON;
    if (status == 0 && p->t->output)
        status = container_write(p->t->output, "profile", j, NULL, 0, NULL, NULL, NULL, NULL, e);
    if (status == 0 && !json)
        status = profile_text(p, &text, e);
    if (status == 0) {
        p->t->json = json;
        status = tool_report(p->t, text.data, j, data, e);
    }
    buf_free(&text);
    cJSON_Delete(j);
    return status;
}

/* Profiles of one model that several machines of a kind made, as one. */
static int merge(struct profile *p, struct error *e)
{
    struct tool_run *t = p->t;
    struct buf text = {0};
    double full, sum;
    if (!t->operands)
        return error_set(e, HASTEN_EUSAGE, "--merge: no files are given");
    if (output_is_stdout(t->output) && tool_claim_stdout(t, 1, e) < 0)
        return -1;
    cJSON *j = profile_merge(t->operand, t->operands, e);
    int status = j && json_double(j, "full_ms", 0, 1e12, &full, e) == 0 &&
                         json_double(j, "kernel_sum_ms", 0, 1e12, &sum, e) == 0
                     ? container_write(t->output, "profile", j, NULL, 0, NULL, NULL, NULL, NULL, e)
                     : -1;
    if (status == 0) {
        buf_printf(&text, e, "%d profiles: %.4g ms a call, %.4g in kernels\n", t->operands, full, sum);
        status = tool_report(t, text.data, j, output_is_stdout(t->output), e);
    }
    buf_free(&text);
    cJSON_Delete(j);
    return status;
}

static int run(struct profile *p, struct error *e)
{
    int other = !!o.plan + !!o.sweep + !!o.compare + !!o.predict;
    int data = p->t->output && tool_stdout_is_data(p->t); /* without -o the table goes there */
    if (o.merge && (other || o.learn.count || o.trace || o.svg))
        return error_set(e, HASTEN_EUSAGE, "--merge stands alone");
    if (!o.merge && p->t->operands > 1)
        return error_set(e, HASTEN_EUSAGE, "'%.200s': one operand too many", p->t->operand[1]);
    if (o.merge)
        return merge(p, e);
    const char *path = o.learn.count ? "" : tool_input(p->t, e);
    if (!path)
        return -1;
    if (o.learn.count && (other || p->t->operands || o.trace || o.svg))
        return error_set(e, HASTEN_EUSAGE, "--learn takes no model and stands alone");
    if (o.learn.count)
        return profile_learn(p, e);
    if (!o.plan && (tool_given(p->t, "steps") || tool_given(p->t, "guidance")))
        return error_set(e, HASTEN_EUSAGE, "--steps and --guidance go with --plan");
    if (other && (o.format == FORMAT_CSV || o.format == FORMAT_MD))
        return error_set(e, HASTEN_EUSAGE,
                         "--format csv and md are for kernels; --json says it all here as well");
    if (other && o.format == FORMAT_AS_JSON)
        p->t->json = 1;
    if (other > 1 || (other && (p->t->output || o.trace || o.svg)))
        return error_set(e, HASTEN_EUSAGE,
                         "--plan, --sweep, --compare and --predict stand alone, and write no file");
    if (other)
        return o.plan      ? profile_plan(p, path, e)
               : o.compare ? profile_compare(p, path, e)
               : o.predict ? profile_predict(p, path, e)
                           : profile_sweep(p, path, e);
    if (data && tool_claim_stdout(p->t, 1, e) < 0)
        return -1;
    if (model_open(&p->m, path, p->t->memory, p->t->team, e) < 0 || !(p->g = model_main(&p->m, e)) ||
        profile_read_size(p, &p->m, e) < 0)
        return -1;
    p->weights = weights_open(p->g, &p->t->backend, NULL, e);
    if (!p->weights)
        return -1;
    if (o.schedule ? add_schedule_actions(p, e) < 0
                   : o.actions && (p->candidates = candidate_actions(p->g, p->list, e)) < 0)
        return -1;
    int all = o.actions && !o.schedule ? candidates_widen(p->g, p->list, p->candidates, e) : p->candidates;
    if (all < 0)
        return -1;
    p->candidates = all;
    if (o.activations && collect_activations(p, e) < 0)
        return -1;
    return measure(p, e) < 0 ? -1 : report(p, data, e);
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    static struct profile p;
    p.t = &t;
    p.o = &o;
    if (tool_start(&t, &tool, argc, argv, &e) == 0) {
        run(&p, &e);
        activations_free(&p.activations);
        mem_free(p.kernel);
        mem_free(p.log.begin);
        mem_free(p.log.end);
        mem_free(p.trace.kernel);
        timed_close(p.timed);
        candidates_free(p.list, p.candidates > 0 ? p.candidates : 0);
        weights_close(p.weights);
        model_close(&p.m);
    }
    return tool_finish(&t, &e);
}
