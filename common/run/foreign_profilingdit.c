/* ProfilingDiT ("Model Reveals What to Cache"): blocks whose attention looks at the background are served as
 * the difference that each run of neighbours of them makes; the others are computed at every call. All is
 * computed at the calls before "first" and at every "interval"-th from there on, or at those that "steps"
 * lists. Which blocks: "background", a list of numbers, or "activations" as hasten-profile --activations
 * --json reports them. */
#include "common/base/json.h"
#include "common/graph/branches.h"
#include "common/run/foreign.h"

#include <string.h>

enum { BLOCKS = 1024 };

static int block_of(const struct foreign *f, const struct branch_list *b, const char *name)
{
    int node = graph_find(f->g, name);
    for (int i = 0; i < b->count; i++)
        if (b->branch[i].value == node)
            return b->branch[i].block;
    return -1;
}

/* By hasten-profile's report: an attention that overlaps less than the median. */
static int read_activations(const struct foreign *f, const struct branch_list *b, const cJSON *activations,
                            unsigned char *background, struct error *e)
{
    const cJSON *list = json_array(activations, "branches", e), *branch;
    cJSON_ArrayForEach(branch, list)
    {
        const cJSON *foreground = json_get(branch, "foreground");
        const char *name;
        if (json_string(branch, "name", &name, e) < 0)
            return -1;
        int block = block_of(f, b, name);
        if (block < 0)
            return error_set(e, HASTEN_EFILE, "the activations name '%s', which is no branch of this network",
                             name);
        if (foreground)
            background[block] = !cJSON_IsTrue(foreground);
    }
    return list ? 0 : -1;
}

static int read_background(const struct foreign *f, const struct branch_list *b, unsigned char *background,
                           struct error *e)
{
    const cJSON *activations = json_get(f->json, "activations");
    double *list;
    size_t n;
    if (activations)
        return read_activations(f, b, activations, background, e);
    if (json_get_doubles(f->json, "background", 0, b->blocks - 1, &list, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        background[(int)list[i]] = 1;
    mem_free(list);
    return 0;
}

/* Each run of background blocks as one difference; the action's index. */
static int serve_runs(struct foreign *f, const struct branch_list *b, const unsigned char *background,
                      struct error *e)
{
    const char *to[BLOCKS], *from[BLOCKS];
    int runs = 0, inside = 0;
    for (int i = 0; i < b->count; i++) {
        const struct branch *x = &b->branch[i];
        int is_background = background[x->block];
        if (is_background && !inside)
            from[runs++] = f->g->node[x->skip].name;
        if (is_background)
            to[runs - 1] = f->g->node[x->add].name;
        inside = is_background;
    }
    if (!runs)
        return error_set(e, HASTEN_EFILE, "no block of this network is said to be background");
    int action = cache_schedule_add(f->s, "background", to, runs, e);
    for (int i = 0; action > 0 && i < runs; i++)
        if (cache_schedule_base(f->s, action, i, from[i], e) < 0)
            return -1;
    return action;
}

static int set_calls(struct foreign *f, int action, struct error *e)
{
    int64_t first, interval;
    double *steps = NULL;
    size_t n = 0;
    if (json_int_or(f->json, "first", 1, 1000000, 1, &first, e) < 0 ||
        json_int_or(f->json, "interval", 1, 1000000, 4, &interval, e) < 0 ||
        (json_get(f->json, "steps") &&
         json_get_doubles(f->json, "steps", 0, f->s->calls - 1, &steps, &n, e) < 0))
        return -1;
    for (int t = 1; t < f->s->calls; t++) {
        int computed = t < first || (!n && (t - first) % interval == 0);
        for (size_t i = 0; i < n; i++)
            computed |= (int)steps[i] == t;
        if (!computed)
            foreign_set(f, t, action);
    }
    mem_free(steps);
    return 0;
}

int foreign_profilingdit(struct foreign *f, struct error *e)
{
    struct branch_list b;
    unsigned char *background;
    int action = -1;
    if (graph_branches(f->g, &b, e) < 0)
        return -1;
    if (b.blocks < 1 || b.blocks > BLOCKS || b.branch[0].block != 0)
        error_set(e, HASTEN_EFILE, "this network has %d blocks", b.blocks);
    else if ((background = mem_array((size_t)b.blocks, 1, e))) {
        action = read_background(f, &b, background, e) < 0 ? -1 : serve_runs(f, &b, background, e);
        mem_free(background);
    }
    mem_free(b.branch);
    return action < 0 ? -1 : set_calls(f, action, e);
}
