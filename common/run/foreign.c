/* See foreign.h. */
#include "common/run/foreign.h"
#include "common/base/json.h"
#include "common/file/diffusers.h"
#include "common/graph/branches.h"

#include <string.h>

static const struct {
    const char *name;
    int (*read)(struct foreign *f, struct error *e);
} methods[] = {
    {"deepcache", foreign_deepcache}, {"fora", foreign_fora},
    {"cache-dit", foreign_cache_dit}, {"learning-to-cache", foreign_router},
    {"harmonica", foreign_router},    {"magcache", foreign_magcache},
    {"teacache", foreign_teacache},   {"easycache", foreign_easycache},
    {"dbcache", foreign_dbcache},     {"profilingdit", foreign_profilingdit},
};

static int read_method(struct foreign *f, struct error *e)
{
    const char *name;
    if (json_string(f->json, "method", &name, e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(name, methods[i].name))
            return methods[i].read(f, e);
    return error_set(e, HASTEN_EFILE,
                     "the method '%s' is unknown; known are deepcache, fora, cache-dit, learning-to-cache, "
                     "harmonica, magcache, teacache, easycache, dbcache and profilingdit",
                     name);
}

int foreign_read(const char *path, const struct graph *g, int calls, struct cache_schedule *s,
                 struct error *e)
{
    cJSON *json = json_read_file(path, e);
    struct foreign f = {.path = path, .g = g, .json = json, .s = s};
    *s = (struct cache_schedule){0};
    int status = !json || cache_schedule_new(s, calls, e) < 0 || read_method(&f, e) < 0 ? -1 : 0;
    if (status < 0) {
        cache_schedule_free(s);
        error_in(e, path);
    }
    cJSON_Delete(json);
    return status;
}

/* ---- actions ---- */

int foreign_serve_branch(struct foreign *f, int branch, struct error *e)
{
    enum { MOST = 256 };
    int node[MOST], joints = graph_joints(f->g, node, MOST);
    if (branch < 0 || branch >= joints)
        return error_set(e, HASTEN_EFILE, "branch %d: this network has %d", branch, joints);
    const char *name = f->g->node[node[joints - 1 - branch]].name;
    return cache_schedule_add(f->s, "branch", &name, 1, e);
}

int foreign_serve_blocks(struct foreign *f, struct error *e)
{
    enum { MOST = 1024 };
    const char *names[MOST];
    struct branch_list b;
    if (graph_branches(f->g, &b, e) < 0)
        return -1;
    int n = b.count < MOST ? b.count : MOST;
    for (int i = 0; i < n; i++)
        names[i] = f->g->node[b.branch[i].value].name;
    int status = b.count == 0 || b.count > MOST
                     ? error_set(e, HASTEN_EFILE, "this network has %d branches of blocks", b.count)
                     : cache_schedule_add(f->s, "blocks", names, n, e);
    mem_free(b.branch);
    return status;
}

int foreign_serve_span(struct foreign *f, int first, int last, int *base, struct error *e)
{
    struct branch_list b;
    int from = -1, to = -1, action;
    if (graph_branches(f->g, &b, e) < 0)
        return -1;
    for (int i = 0; i < b.count; i++) {
        if (b.branch[i].block == first && from < 0)
            from = b.branch[i].skip;
        if (b.branch[i].block == b.blocks - last - 1)
            to = b.branch[i].add;
    }
    int blocks = b.blocks;
    mem_free(b.branch);
    if (first < 0 || last < 0 || from < 0 || to <= from)
        return error_set(e, HASTEN_EFILE, "blocks %d to %d of %d make no span", first, blocks - last - 1,
                         blocks);
    const char *name = f->g->node[to].name;
    if ((action = cache_schedule_add(f->s, "span", &name, 1, e)) < 0 ||
        cache_schedule_base(f->s, action, 0, f->g->node[from].name, e) < 0)
        return -1;
    if (base)
        *base = from;
    return action;
}

static int serve_output(struct foreign *f, struct error *e)
{
    int out = graph_find_output(f->g, "sample");
    if (out < 0)
        return error_set(e, HASTEN_EFILE, "this network has no output 'sample'");
    const char *name = f->g->node[out].name;
    return cache_schedule_add(f->s, "output", &name, 1, e);
}

int foreign_serve(struct foreign *f, const char *usual, struct error *e)
{
    int joint;
    int64_t branch;
    const char *what;
    if (json_string_or(f->json, "serve", graph_joints(f->g, &joint, 1) ? "branch" : usual, &what, e) < 0 ||
        json_int_or(f->json, "cache_branch_id", 0, 1000, 0, &branch, e) < 0)
        return -1;
    if (!strcmp(what, "branch"))
        return foreign_serve_branch(f, (int)branch, e);
    if (!strcmp(what, "blocks"))
        return foreign_serve_blocks(f, e);
    if (!strcmp(what, "span"))
        return foreign_serve_span(f, 0, 0, NULL, e);
    if (!strcmp(what, "output"))
        return serve_output(f, e);
    return error_set(e, HASTEN_EFILE, "\"serve\" is '%s', known are branch, blocks, span and output", what);
}

void foreign_set(struct foreign *f, int call, int action)
{
    for (int i = 0; i < SCHEDULE_STREAMS; i++)
        f->s->choice[i][call] = action;
}

void foreign_set_between(struct foreign *f, int first, int last, int action)
{
    for (int t = first > 1 ? first : 1; t < f->s->calls - last; t++)
        foreign_set(f, t, action);
}
