/* What could go, and the damage that it would do: see prune_inside.h. */
#include "common/method/prng.h"
#include "common/run/cut_probe.h"
#include "common/run/prune_inside.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

int prune_matches(const char *const *patterns, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return 1;
    return 0;
}

int prune_gone(const struct graph *g, const struct branch *b, unsigned char *gone, struct error *e)
{
    size_t n = (size_t)g->count + 1;
    struct graph *without = graph_copy(g, e);
    unsigned char *live = mem_array(n, 1, e), *before = mem_array(n, 1, e);
    int want[GRAPH_MAX_OUTPUTS], status = without && live && before ? 0 : -1;
    if (status == 0)
        status = graph_redirect(without, b->add, b->skip, e);
    if (status == 0) {
        for (int i = 0; i < g->outputs; i++)
            want[i] = g->output[i].node;
        graph_live(g, want, g->outputs, NULL, before);
        for (int i = 0; i < g->outputs; i++)
            want[i] = without->output[i].node;
        graph_live(without, want, g->outputs, NULL, live);
        for (int i = 0; i < g->count; i++)
            gone[i] = before[i] && !live[i];
    }
    mem_free(live);
    mem_free(before);
    graph_close(without);
    return status;
}

int site_kept(const struct site_list *s, const struct site *site, int level, int *kept)
{
    const struct cut *c = &s->cuts.cut[site->cut];
    const struct site_level *l = &site->level[level];
    int count = 0;
    for (int i = 0; i < c->channels; i++)
        if (l->keep[i])
            kept[count++] = i;
    return count;
}

/* Six shares up to three quarters, in steps that kernels' tiles reward. */
static void add_levels(const struct cut *c, struct site *x)
{
    int quantum = c->block * c->groups, total = c->channels / quantum, step = 1;
    while (c->channels >= 64 && step * quantum % 16 && (step + 1) * quantum <= c->channels / 4)
        step++;
    for (int i = 1; i <= 6; i++) {
        int quanta = (int)lround((double)total * i / 8 / step) * step;
        int before = x->levels ? x->level[x->levels - 1].quanta : 0;
        if (quanta > before && quanta < total)
            x->level[x->levels++] = (struct site_level){.quanta = quanta, .factor = 1};
    }
}

static int find_branch(const struct site_list *s, int value)
{
    for (int i = 0; i < s->branches.count; i++)
        if (s->branches.branch[i].value == value)
            return i;
    return -1;
}

static double bytes_of(const struct graph *g, const unsigned char *gone)
{
    double bytes = 0;
    for (int i = 0; i < g->count; i++)
        for (int k = 0; gone[i] && k < GRAPH_MAX_WEIGHTS; k++)
            bytes += g->node[i].tensor[k] ? (double)g->node[i].tensor[k]->size : 0;
    return bytes;
}

/* Leaving out the branch comes last. The first and the last block keep theirs, and whole branches go only
 * where parts are told by measured effects or by name. */
static int add_removal(struct pruner *p, struct site_list *s, struct site *x, struct error *e)
{
    const struct branch_list *b = &s->branches;
    int block = b->branch[x->branch].block, ends = b->blocks >= 12 ? 2 : 1;
    if (!p->o->removes && b->blocks >= 4 && (block < ends || block >= b->blocks - ends))
        return 0;
    unsigned char *gone = mem_array((size_t)p->g->count + 1, 1, e);
    int status = gone ? prune_gone(p->g, &b->branch[x->branch], gone, e) : -1;
    if (status == 0)
        x->level[x->levels++] = (struct site_level){.bytes = bytes_of(p->g, gone), .factor = 1};
    mem_free(gone);
    return status;
}

static int add_site(struct pruner *p, struct site_list *s, int cut, int branch, struct error *e)
{
    int node = cut >= 0 ? s->cuts.cut[cut].consumer : s->branches.branch[branch].value;
    struct site *x = &s->site[s->count];
    *x = (struct site){.name = p->g->node[node].name, .cut = cut, .branch = branch};
    if (prune_matches(p->o->keep, p->o->keeps, x->name))
        return 0;
    s->count++;
    if (cut >= 0) {
        add_levels(&s->cuts.cut[cut], x);
        double bytes = narrow_bytes(p->g, &s->cuts.cut[cut]);
        for (int l = 0; l < x->levels; l++)
            x->level[l].bytes = bytes * x->level[l].quanta * s->cuts.cut[cut].block * s->cuts.cut[cut].groups;
    }
    return branch >= 0 ? add_removal(p, s, x, e) : 0;
}

int prune_sites(struct pruner *p, struct site_list *s, struct error *e)
{
    *s = (struct site_list){0};
    if (graph_cuts(p->g, &s->cuts, e) < 0 || graph_branches(p->g, &s->branches, e) < 0)
        return -1;
    size_t most = (size_t)(s->cuts.count + s->branches.count + 1);
    unsigned char *taken = mem_array(most, 1, e);
    s->site = mem_array(most, sizeof *s->site, e);
    int status = taken && s->site ? 0 : -1;
    for (int i = 0; status == 0 && i < s->cuts.count; i++) {
        int branch = find_branch(s, s->cuts.cut[i].consumer);
        if (branch >= 0)
            taken[branch] = 1;
        status = add_site(p, s, i, branch, e);
    }
    for (int i = 0; status == 0 && i < s->branches.count; i++)
        if (!taken[i])
            status = add_site(p, s, -1, i, e);
    mem_free(taken);
    if (status == 0 && s->count == 0)
        status = error_set(e, HASTEN_EFILE, "the model has no part that could be left out or made smaller");
    return status;
}

void prune_sites_free(struct site_list *s)
{
    for (int i = 0; i < s->count; i++) {
        mem_free(s->site[i].order);
        for (int l = 0; l < s->site[i].levels; l++) {
            mem_free(s->site[i].level[l].change);
            mem_free(s->site[i].level[l].keep);
        }
    }
    mem_free(s->site);
    mem_free(s->branches.branch);
    cut_list_free(&s->cuts);
    *s = (struct site_list){0};
}

/* ---- scores ---- */

static int magnitude(struct pruner *p, struct site_list *s, struct site *x, struct error *e)
{
    size_t n = (size_t)p->g->count + 1;
    unsigned char *gone = mem_array(n, 1, e);
    int status = gone ? 0 : -1;
    for (int l = 0; status == 0 && l < x->levels; l++) {
        const struct cut *c = x->cut >= 0 ? &s->cuts.cut[x->cut] : NULL;
        double *squares = c ? mem_array((size_t)c->channels, sizeof *squares, e) : NULL;
        if (x->level[l].quanta) {
            status = squares ? narrow_squares(p->g, c, squares, e) : -1;
            for (int i = 0; status == 0 && i < c->channels; i++)
                x->level[l].magnitude += x->level[l].keep[i] ? 0 : squares[i];
        } else if ((status = prune_gone(p->g, &s->branches.branch[x->branch], gone, e)) == 0) {
            for (int i = 0; status == 0 && i < p->g->count; i++)
                for (int k = 0; gone[i] && status == 0 && k < GRAPH_MAX_WEIGHTS; k++) {
                    const struct tensor *t = p->g->node[i].tensor[k];
                    float *w = t && t->rank > 1 ? mem_array(t->count, sizeof *w, e) : NULL;
                    if (t && t->rank > 1 && !w)
                        status = -1;
                    if (w)
                        tensor_to_f32(t->dtype, t->data, w, t->count);
                    for (size_t v = 0; w && v < t->count; v++)
                        x->level[l].magnitude += (double)w[v] * (double)w[v];
                    mem_free(w);
                }
        }
        mem_free(squares);
    }
    mem_free(gone);
    return status;
}

static void probe_progress(void *context, double done, double total)
{
    const struct pruner *p = context;
    if (p->o->progress)
        p->o->progress(p->o->context, "score", done, total);
}

/* Of a cut two levels are run, about a quarter and all of the way; the others are taken to do the same to a
 * degree that goes with the error at the consumer. Leaving out the branch is run. */
static int is_probed(const struct site *x, int level)
{
    int last = x->levels - 1;
    if (last > 0 && !x->level[last].quanta)
        last--;
    return !x->level[level].quanta || level == last || level == 1 || last < 2;
}

static int probed_for(const struct site *x, int level)
{
    int best = -1;
    double least = INFINITY;
    for (int l = 0; l < x->levels; l++) {
        double far = fabs(log((x->level[l].local + 1e-30) / (x->level[level].local + 1e-30)));
        if (l == level && is_probed(x, l))
            return l;
        if (is_probed(x, l) && x->level[l].quanta && far < least) {
            best = l;
            least = far;
        }
    }
    return best;
}

static int set_scores(struct pruner *p, struct site *x, const struct cut_probe *const *of, struct error *e)
{
    for (int l = 0; l < x->levels; l++) {
        struct site_level *level = &x->level[l];
        int from = probed_for(x, l);
        double ratio = level->factor;
        if (from != l && x->level[from].local > 0)
            ratio *= sqrt(level->local / x->level[from].local);
        level->score = level->latent = of[from]->latent * ratio;
        if (p->o->score == PRUNE_LATENT)
            continue;
        level->score = 0;
        level->change = mem_array(SKETCH, sizeof *level->change, e);
        if (!level->change)
            return -1;
        for (int k = 0; k < SKETCH; k++)
            level->change[k] = of[from]->change[k] * (float)ratio;
    }
    return 0;
}

static void note_time(const struct pruner *p, const struct states *s, int probes)
{
    char text[128];
    double rows = 0;
    int images;
    for (int call = 0; call < s->calls; call++)
        for (int first = 0; first < s->images; first += s->batch)
            rows += states_rows(s, call, first, &images);
    snprintf(text, sizeof text, "scoring %d changes takes about %.0f s", probes,
             rows * p->full_ms * (0.5 * probes + 1) / 1000);
    if (p->o->note)
        p->o->note(p->o->context, text);
}

int prune_images(const struct pruner *p)
{
    return p->o->score == PRUNE_JOINT && p->o->images > JOINT_IMAGES ? JOINT_IMAGES : p->o->images;
}

static int measured_scores(struct pruner *p, struct site_list *s, struct error *e)
{
    int count = 0, most = s->count * SITE_LEVELS, status;
    struct cut_probe *probe = mem_array((size_t)most + 1, sizeof *probe, e);
    struct probe_report report = {probe_progress, p};
    struct states some = states_part(&p->states, 0, prune_images(p));
    if (!probe)
        return -1;
    for (int i = 0; i < s->count; i++)
        for (int l = 0; l < s->site[i].levels; l++) {
            const struct site *x = &s->site[i];
            int edge = x->level[l].quanta ? s->cuts.cut[x->cut].edge : s->branches.branch[x->branch].value;
            if (is_probed(x, l))
                probe[count++] = (struct cut_probe){.edge = {edge}, .edges = 1, .keep = x->level[l].keep};
        }
    note_time(p, &some, count);
    status = cut_probe_run(probe, count, &some, p->g, p->weights, SKETCH, &report, e);
    count = 0;
    for (int i = 0; status == 0 && i < s->count; i++) {
        const struct cut_probe *of[SITE_LEVELS] = {NULL};
        for (int l = 0; l < s->site[i].levels; l++)
            of[l] = is_probed(&s->site[i], l) ? &probe[count++] : NULL;
        status = set_scores(p, &s->site[i], of, e);
    }
    cut_probes_free(probe, most);
    mem_free(probe);
    return status;
}

int prune_score_sites(struct pruner *p, struct site_list *s, struct error *e)
{
    struct prng r = {p->o->seed};
    for (int i = 0; p->o->score == PRUNE_JOINT && i < s->count; i++)
        if (magnitude(p, s, &s->site[i], e) < 0)
            return -1;
    if (p->o->score == PRUNE_JOINT || p->o->score == PRUNE_LATENT)
        return measured_scores(p, s, e);
    for (int i = 0; i < s->count; i++) {
        double chance = prng_unit(&r);
        if (p->o->score == PRUNE_MAGNITUDE && magnitude(p, s, &s->site[i], e) < 0)
            return -1;
        for (int l = 0; p->o->score == PRUNE_MAGNITUDE && l < s->site[i].levels; l++)
            s->site[i].level[l].score = s->site[i].level[l].magnitude;
        for (int l = 0; p->o->score == PRUNE_RANDOM && l < s->site[i].levels; l++)
            s->site[i].level[l].score = chance * s->site[i].level[l].ms;
    }
    return 0;
}
