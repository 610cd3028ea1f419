/* The packages of pruning: see prune.h. */
#include "common/method/prune_choose.h"
#include "common/run/cut_probe.h"
#include "common/run/predict.h"
#include "common/run/profile.h"
#include "common/run/prune_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double bytes_of(const struct graph *g)
{
    double bytes = 0;
    for (int i = 0; i < g->count; i++)
        for (int k = 0; k < GRAPH_MAX_WEIGHTS; k++) {
            const struct tensor *t = g->node[i].tensor[k];
            int seen = 0;
            for (int j = 0; t && j < i && !seen; j++)
                for (int l = 0; l < GRAPH_MAX_WEIGHTS; l++)
                    seen |= g->node[j].tensor[l] == t;
            bytes += t && !seen ? (double)t->size : 0;
        }
    return bytes;
}

/* ---- opening ---- */

static int open_profile(struct pruner *p, struct error *e)
{
    p->profile_ms = mem_array((size_t)p->original->count + 1, sizeof *p->profile_ms, e);
    struct profile_machine m;
    if (!p->profile_ms ||
        profile_node_ms(p->o->profile, model_id(p->m), p->original, p->profile_ms, &p->full_ms, e) < 0 ||
        profile_machine(p->o->profile, &m, e) < 0)
        return -1;
    p->panel = predict_panel(m.level);
    return 0;
}

static int open_kept(struct pruner *p, struct error *e)
{
    if (graph_cuts(p->original, &p->cuts, e) < 0)
        return -1;
    p->kept = mem_array((size_t)p->cuts.count + 1, sizeof *p->kept, e);
    for (int i = 0; p->kept && i < p->cuts.count; i++) {
        struct kept *k = &p->kept[i];
        k->count = p->cuts.cut[i].channels;
        k->channel = mem_array((size_t)k->count, sizeof *k->channel, e);
        for (int c = 0; k->channel && c < k->count; c++)
            k->channel[c] = c;
        if (!k->channel)
            return -1;
    }
    return p->kept ? 0 : -1;
}

static struct measure measure_of(const struct pruner *p, const struct graph *g, const struct weights *w)
{
    return (struct measure){.model = p->m, .graph = g, .weights = w, .backend = p->b};
}

static int needs_states(const struct prune_settings *o)
{
    return !o->removes && (o->compensate || o->score == PRUNE_JOINT || o->score == PRUNE_LATENT);
}

static int record_states(struct pruner *p, struct error *e)
{
    struct measure m = measure_of(p, p->original, p->original_weights);
    m.count = p->o->images * (p->o->compensate ? REFIT_IMAGES : 1);
    m.steps = p->o->calls;
    m.seed = CALIBRATION_SEED;
    return states_record(&p->states, &m, e);
}

static int open_pruner(struct pruner *p, struct error *e)
{
    double total = 0, *ms;
    struct graph *g = model_component(p->m, "denoiser");
    if (!g || !p->m->sampler.present)
        return error_set(e, HASTEN_EFILE, "the model has no denoiser with a sampler");
    p->over.model = p->plain_over.model = p->m;
    if (!(p->original = graph_copy(g, e)) || !(p->g = graph_copy(g, e)) || !(p->plain = graph_copy(g, e)) ||
        graph_infer(p->original, 0, 0, model_find, p->m, e) < 0 ||
        !(p->original_weights = weights_open(p->original, p->b, NULL, e)) ||
        !(p->weights = weights_open(p->g, p->b, NULL, e)) || open_kept(p, e) < 0)
        return -1;
    if (p->o->profile) {
        if (open_profile(p, e) < 0)
            return -1;
    } else {
        ms = mem_array((size_t)g->count + 1, sizeof *ms, e);
        int status = ms ? prune_time_nodes(p->original, p->b, 15, ms, &total, e) : -1;
        mem_free(ms);
        if (status < 0)
            return -1;
        p->full_ms = total;
    }
    p->ms = p->full_ms;
    p->bytes = bytes_of(p->original);
    return needs_states(p->o) ? record_states(p, e) : 0;
}

void prune_close(struct pruner *p)
{
    for (int i = 0; p->kept && i < p->cuts.count; i++)
        mem_free(p->kept[i].channel);
    mem_free(p->kept);
    cut_list_free(&p->cuts);
    states_free(&p->states);
    mem_free(p->profile_ms);
    weights_close(p->weights);
    weights_close(p->original_weights);
    graph_close(p->g);
    graph_close(p->plain);
    graph_close(p->original);
    overlay_close(&p->over);
    overlay_close(&p->plain_over);
}

/* ---- taking out ---- */

static int add_part(struct pruner *p, const struct site_list *s, const struct site *x, int level,
                    struct error *e)
{
    struct prune_report *r = p->r;
    const struct site_level *l = &x->level[level];
    struct prune_part *more = mem_resize(r->part, (size_t)r->parts + 1, sizeof *more, e);
    if (!more)
        return -1;
    r->part = more;
    struct prune_part *part = &more[r->parts++];
    *part = (struct prune_part){.ms = l->ms, .bytes = l->bytes, .damage = l->score};
    for (int i = 0; l->change && i < SKETCH; i++)
        part->damage += (double)l->change[i] * (double)l->change[i];
    snprintf(part->name, sizeof part->name, "%.127s", x->name);
    if (!l->quanta) {
        snprintf(part->what, sizeof part->what, "left out");
        return 0;
    }
    const struct cut *c = &s->cuts.cut[x->cut];
    int before = c->channels / c->block, after = before - l->quanta * c->groups;
    snprintf(part->what, sizeof part->what, "%d of %d %s", after, before,
             c->attention >= 0 ? "heads"
             : c->groups > 1   ? "channels"
                               : "neurons");
    return 0;
}

static int note_kept(struct pruner *p, const struct cut *c, const int *kept, int count)
{
    for (int i = 0; i < p->cuts.count; i++) {
        const char *name = p->original->node[p->cuts.cut[i].consumer].name;
        if (strcmp(name, p->g->node[c->consumer].name))
            continue;
        for (int k = 0; k < count; k++)
            p->kept[i].channel[k] = p->kept[i].channel[kept[k]];
        p->kept[i].count = count;
    }
    return 0;
}

/* Milliseconds from a profile, of what was cut or left out. */
static int scale_profile(struct pruner *p, const struct site_list *s, const struct site *x, int level,
                         struct error *e)
{
    unsigned char *marks = p->profile_ms ? mem_array((size_t)p->g->count + 1, 1, e) : NULL;
    const struct cut *c = x->level[level].quanta ? &s->cuts.cut[x->cut] : NULL;
    int status = 0;
    if (!p->profile_ms)
        return 0;
    if (!marks)
        return -1;
    if (c)
        cut_nodes(p->g, c, marks);
    else
        status = prune_gone(p->g, &s->branches.branch[x->branch], marks, e);
    for (int i = 0; status == 0 && i < p->g->count; i++)
        if (marks[i])
            p->profile_ms[graph_find(p->original, p->g->node[i].name)] *=
                c ? prune_left(p, c, i, x->level[level].quanta * c->block * c->groups) : 0;
    mem_free(marks);
    return status;
}

/* Both networks have the same nodes in the same order. */
static int take_cut(struct pruner *p, const struct site_list *s, const struct site *x, int level,
                    struct error *e)
{
    const struct cut *c = &s->cuts.cut[x->cut];
    int *kept = mem_array((size_t)c->channels, sizeof *kept, e);
    int count = kept ? site_kept(s, x, level, kept) : 0;
    int status = kept && narrow_cut(p->g, &p->over, c, kept, count, e) == 0 &&
                         narrow_cut(p->plain, &p->plain_over, c, kept, count, e) == 0
                     ? note_kept(p, c, kept, count)
                     : -1;
    mem_free(kept);
    return status;
}

static int take_branches(struct pruner *p, struct graph *g, const struct site_list *s, const int *choice,
                         struct error *e)
{
    (void)p;
    /* From the last on: the skip of a later branch may be the sum of an earlier one that goes as well. */
    for (int b = s->branches.count - 1; b >= 0; b--)
        for (int i = 0; i < s->count; i++) {
            const struct site *x = &s->site[i];
            if (x->branch != b || choice[i] < 0 || x->level[choice[i]].quanta)
                continue;
            if (graph_redirect(g, s->branches.branch[b].add, s->branches.branch[b].skip, e) < 0)
                return -1;
        }
    return 0;
}

static int renew(struct pruner *p, struct error *e)
{
    weights_close(p->weights);
    p->weights = NULL;
    if (graph_sweep(p->g, e) < 0 || graph_infer(p->g, 0, 0, overlay_find, &p->over, e) < 0 ||
        graph_sweep(p->plain, e) < 0 || graph_infer(p->plain, 0, 0, overlay_find, &p->plain_over, e) < 0)
        return -1;
    p->weights = weights_open(p->g, p->b, NULL, e);
    return p->weights ? 0 : -1;
}

int prune_take_out(struct pruner *p, const struct site_list *s, const int *choice, struct error *e)
{
    for (int i = 0; i < s->count; i++) {
        const struct site *x = &s->site[i];
        if (choice[i] < 0)
            continue;
        if (add_part(p, s, x, choice[i], e) < 0 || scale_profile(p, s, x, choice[i], e) < 0 ||
            (x->level[choice[i]].quanta && take_cut(p, s, x, choice[i], e) < 0))
            return -1;
        p->ms -= x->level[choice[i]].ms;
        p->bytes -= x->level[choice[i]].bytes;
    }
    if (take_branches(p, p->g, s, choice, e) < 0 || take_branches(p, p->plain, s, choice, e) < 0)
        return -1;
    return renew(p, e);
}

/* ---- packages ---- */

/* What the budget means: the number to save from now on, in milliseconds or bytes. */
static double to_save(const struct pruner *p, double share)
{
    const struct prune_settings *o = p->o;
    double all = bytes_of(p->original);
    if (o->max_bytes > 0)
        return p->bytes - (all - (all - o->max_bytes) * share);
    double target = o->max_ms > 0 ? o->max_ms : p->full_ms / o->speedup;
    return p->ms - (p->full_ms - (p->full_ms - target) * share);
}

void prune_problem_free(struct prune_problem *q)
{
    mem_free(q->site);
    mem_free(q->option);
    mem_free(q->base);
    *q = (struct prune_problem){0};
}

static double score_of(const struct site_level *x, enum prune_score score)
{
    return score == PRUNE_LATENT ? x->latent : score == PRUNE_MAGNITUDE ? x->magnitude : x->score;
}

int prune_problem(struct pruner *p, const struct site_list *s, enum prune_score score,
                  struct prune_problem *q, struct error *e)
{
    int used = 0, dims = score == PRUNE_JOINT ? SKETCH : 0;
    *q = (struct prune_problem){.count = s->count, .dims = dims};
    q->site = mem_array((size_t)s->count + 1, sizeof *q->site, e);
    q->option = mem_array((size_t)s->count * SITE_LEVELS + 1, sizeof *q->option, e);
    q->base = mem_array((size_t)dims + 1, sizeof *q->base, e);
    if (!q->site || !q->option || !q->base)
        return -1;
    for (int i = 0; i < s->count; i++) {
        q->site[i] = (struct prune_site){q->option + used, 0};
        for (int l = 0; l < s->site[i].levels; l++) {
            const struct site_level *x = &s->site[i].level[l];
            q->option[used++] = (struct prune_option){p->o->max_bytes > 0 ? x->bytes : x->ms,
                                                      dims ? x->change : NULL, dims ? 0 : score_of(x, score)};
            q->site[i].options++;
        }
    }
    struct states some = states_part(&p->states, 0, prune_images(p));
    return dims && p->r->parts
               ? cut_probe_base(&some, p->original, p->original_weights, p->g, p->weights, dims, q->base, e)
               : 0;
}

int prune_solve(const struct pruner *p, const struct prune_problem *q, double target, int *choice,
                struct error *e)
{
    struct prune_result result;
    int status = prune_choose(q->site, q->count, q->base, q->dims, target, choice, &result, e);
    if (status < 0 && e && e->code == HASTEN_EGATE) {
        *e = (struct error){0}; /* said in the units of the user */
        if (p->o->max_bytes > 0)
            error_set(e, HASTEN_EGATE, "%.0f bytes cannot be reached: all that may go leaves %.0f",
                      p->bytes - target, p->bytes - result.saves);
        else
            error_set(
                e, HASTEN_EGATE,
                "%.3f ms a call cannot be reached: with all that may go it takes %.3f of %.3f ms (%.2fx)",
                p->ms - target, p->ms - result.saves, p->full_ms, p->full_ms / (p->ms - result.saves));
    }
    return status;
}

static int prune_package(struct pruner *p, double target, struct error *e)
{
    struct site_list s;
    struct prune_problem q = {0};
    int *choice = NULL, status = prune_sites(p, &s, e);
    if (status == 0 && (prune_orders(p, &s, e) < 0 || prune_price(p, &s, e) < 0 ||
                        prune_score_sites(p, &s, e) < 0 || prune_problem(p, &s, p->o->score, &q, e) < 0))
        status = -1;
    if (status == 0 && !(choice = mem_array((size_t)s.count + 1, sizeof *choice, e)))
        status = -1;
    if (status == 0)
        status = prune_solve(p, &q, target, choice, e);
    if (status == 0 && p->o->score == PRUNE_JOINT)
        status = prune_try(p, &s, &q, target, choice, e);
    if (status == 0)
        status = prune_take_out(p, &s, choice, e);
    if (status == 0 && p->o->compensate)
        status = prune_refit(p, REFIT_ROUNDS, e);
    prune_problem_free(&q);
    mem_free(choice);
    prune_sites_free(&s);
    return status;
}

static int remove_by_name(struct pruner *p, struct error *e)
{
    struct site_list s;
    int status = prune_sites(p, &s, e), *choice = NULL;
    if (status == 0)
        choice = mem_array((size_t)s.count + 1, sizeof *choice, e);
    status = choice ? 0 : -1;
    const char *first = "none";
    for (int k = s.count - 1; status == 0 && k >= 0; k--)
        first = s.site[k].branch >= 0 ? s.site[k].name : first;
    for (int i = 0; status == 0 && i < p->o->removes; i++) {
        int hits = 0;
        for (int k = 0; k < s.count; k++)
            hits += s.site[k].branch >= 0 && prune_matches(&p->o->remove[i], 1, s.site[k].name);
        if (!hits)
            status = error_set(e, HASTEN_EUSAGE, "--remove '%s' matches no branch; the first is '%s'",
                               p->o->remove[i], first);
    }
    for (int k = 0; status == 0 && k < s.count; k++) {
        struct site *x = &s.site[k];
        int hit = x->branch >= 0 && prune_matches(p->o->remove, p->o->removes, x->name);
        choice[k] = -1;
        if (!hit) {
            x->levels = 0;
            continue;
        }
        x->level[0] = x->level[x->levels - 1]; /* the branch as a whole */
        x->levels = 1;
        choice[k] = 0;
    }
    if (status == 0)
        status = prune_price(p, &s, e);
    if (status == 0)
        status = prune_take_out(p, &s, choice, e);
    mem_free(choice);
    prune_sites_free(&s);
    return status;
}

/* ---- the end ---- */

static int latents_of(struct pruner *p, const struct graph *g, float **out, int64_t *size, struct error *e)
{
    struct measure m = measure_of(p, g, NULL);
    m.count = p->o->validate;
    m.steps = p->r->steps;
    return measure_latents(&m, out, NULL, size, e);
}

/* The refit stays only where it helps on seeds that it has not seen. */
static int validate(struct pruner *p, struct error *e)
{
    struct prune_report *r = p->r;
    float *full = NULL, *got = NULL, *plain = NULL;
    int64_t size;
    int status = latents_of(p, p->original, &full, &size, e);
    if (status == 0)
        status = latents_of(p, p->g, &got, &size, e);
    if (status == 0 && r->compensated)
        status = latents_of(p, p->plain, &plain, &size, e);
    if (status == 0) {
        measure_quality(full, got, p->o->validate, size, &r->quality);
        r->validated = 1;
        r->plain = r->quality;
        if (plain)
            measure_quality(full, plain, p->o->validate, size, &r->plain);
        r->compensated = plain && r->quality.rel_l2 < r->plain.rel_l2;
    }
    mem_free(full);
    mem_free(got);
    mem_free(plain);
    return status;
}

static int measure_result(struct pruner *p, struct error *e)
{
    struct prune_report *r = p->r;
    double ratio;
    r->before_ms = p->full_ms;
    r->predicted_ms = p->ms;
    r->before_bytes = bytes_of(p->original);
    r->after_bytes = bytes_of(p->g);
    if (prune_time_ratio(p->original, p->g, p->b, &ratio, e) < 0)
        return -1;
    r->after_ms = ratio * p->full_ms;
    r->compensated = p->o->compensate && !p->o->removes;
    return p->o->validate ? validate(p, e) : 0;
}

int prune_commit(struct pruner *p, struct error *e)
{
    const struct prune_report *r = p->r;
    struct graph *to = model_component(p->m, "denoiser"), **from = r->compensated ? &p->g : &p->plain;
    struct overlay *over = r->compensated ? &p->over : &p->plain_over;
    for (int i = 0; i < p->m->components; i++)
        if (p->m->graph[i] == to) {
            p->m->graph[i] = *from;
            *from = to;
        }
    return overlay_commit(over, p->m, e) < 0 || model_verify(p->m, e) < 0 ? -1 : 0;
}

/* More than a fifth of the time costs much, more than three tenths ruin most models. */
static int guard(const struct pruner *p, struct error *e)
{
    const struct prune_settings *o = p->o;
    double all = o->max_bytes > 0 ? p->bytes : p->full_ms, part = o->removes ? 0 : to_save(p, 1) / all;
    char text[128];
    if (part > 0.3 && !o->force)
        return error_set(
            e, HASTEN_EGATE,
            "leaving out %.0f %% of the %s ruins most models; 30 %% is the limit, give --force to "
            "go on",
            100 * part, o->max_bytes > 0 ? "weights" : "time");
    snprintf(text, sizeof text, "leaving out %.0f %% of the %s costs much quality", 100 * part,
             o->max_bytes > 0 ? "weights" : "time");
    if (part > 0.2 && o->note)
        o->note(o->context, text);
    return 0;
}

int prune_once(struct pruner *p, struct error *e)
{
    const struct prune_settings *o = p->o;
    *p->r = (struct prune_report){.steps = p->m->sampler.steps < 20 ? p->m->sampler.steps : 20};
    int status = open_pruner(p, e);
    if (status == 0)
        status = guard(p, e);
    if (status == 0 && o->removes)
        status = remove_by_name(p, e);
    for (int i = 0; status == 0 && !o->removes && i < o->packages; i++) {
        double target = to_save(p, (i + 1.0) / o->packages);
        if (target > 0)
            status = prune_package(p, target, e);
    }
    return status == 0 ? measure_result(p, e) : -1;
}

void prune_report_free(struct prune_report *r)
{
    mem_free(r->part);
    r->part = NULL;
    r->parts = 0;
}
