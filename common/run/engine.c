/* See engine.h. Nodes fall into three classes: constant (no input at all), hoisted (inputs other than the
 * latent) and step. Constants are computed once, hoisted values in chunks of calls as far as the memory for
 * them goes. */
#include "common/run/engine_inside.h"

#include <string.h>

/* ---- opening ---- */

static int classify(struct engine *x, struct error *e)
{
    const struct graph *g = x->g;
    x->sample = -1;
    for (int i = 0; i < g->count; i++) {
        const struct node *n = &g->node[i];
        if (!node_is(n, "input"))
            continue;
        if (x->sample < 0 && n->shape.kind == VALUE_IMAGE) {
            x->sample = i;
        } else {
            if (x->inputs == MAX_INPUTS)
                return error_set(e, HASTEN_EFILE, "more than %d inputs", MAX_INPUTS);
            x->input[x->inputs++] = (struct bound){.node = i};
        }
    }
    for (int i = 0; i < g->count; i++) {
        const struct node *n = &g->node[i];
        x->class_of[i] = i == x->sample ? CLASS_STEP : node_is(n, "input") ? CLASS_HOISTED : CLASS_CONSTANT;
        for (int j = 0; j < n->inputs; j++)
            if (node_reads(n, j) && x->class_of[n->in[j]] > x->class_of[i])
                x->class_of[i] = x->class_of[n->in[j]];
    }
    return 0;
}

/* What steps read from before, and whether one row a call is enough for it. */
static void find_kept(struct engine *x)
{
    const struct graph *g = x->g;
    int per_image = x->o.per_image_time;
    for (int i = 0; i < g->count; i++)
        for (int j = 0; x->class_of[i] == CLASS_STEP && j < g->node[i].inputs; j++)
            if (node_reads(&g->node[i], j) && x->class_of[g->node[i].in[j]] != CLASS_STEP)
                x->hoist_keep[g->node[i].in[j]] = 1;
    for (int i = 0; i < g->outputs; i++) {
        int node = g->output[i].node;
        *(x->class_of[node] == CLASS_STEP ? &x->output[node] : &x->hoist_keep[node]) = 1;
    }
    for (int i = 0; x->o.want && i < g->count; i++)
        if (x->o.want[i])
            *(x->class_of[i] == CLASS_STEP ? &x->output[i] : &x->hoist_keep[i]) = 1;
    for (int i = 0; i < x->inputs; i++)
        per_image |= strcmp(g->node[x->input[i].node].name, "timestep") != 0;
    for (int i = 0; i < g->count; i++)
        per_image |=
            x->hoist_keep[i] && x->class_of[i] == CLASS_HOISTED && g->node[i].shape.kind != VALUE_VECTOR;
    x->rows = per_image ? x->o.images : 1;
}

struct engine *engine_open(const struct graph *g, const struct weights *w, const struct engine_options *o,
                           struct error *e)
{
    size_t n = (size_t)g->count + 1;
    struct engine *x = mem_array(1, sizeof *x, e);
    if (!x)
        return NULL;
    x->g = g;
    x->w = w;
    x->b = w->backend;
    x->o = *o;
    x->chunk_first = -1;
    x->class_of = mem_array(n, 1, e);
    x->hoist_keep = mem_array(n, 1, e);
    x->cached = mem_array(n, 1, e);
    x->output = mem_array(n, 1, e);
    x->given_place = mem_array(n, sizeof *x->given_place, e);
    x->older_place = mem_array(n, sizeof *x->older_place, e);
    x->base = mem_array(n, sizeof *x->base, e);
    x->stored = mem_array(n * (size_t)o->images, sizeof *x->stored, e);
    x->turn = mem_array(2 * n, sizeof *x->turn, e);
    x->memory.turn = x->turn;
    x->host = mem_array(n, sizeof *x->host, e);
    x->action[0].served = mem_array(n, 1, e);
    x->action[0].declared = 1;
    if (!x->class_of || !x->hoist_keep || !x->cached || !x->output || !x->given_place || !x->host ||
        !x->older_place || !x->base || !x->stored || !x->turn || !x->action[0].served || classify(x, e) < 0) {
        engine_close(x);
        return NULL;
    }
    for (int i = 0; i < g->count; i++)
        x->base[i] = -1;
    find_kept(x);
    return x;
}

void engine_close(struct engine *x)
{
    if (!x)
        return;
    for (int i = 0; i < ENGINE_MAX_ACTIONS; i++) {
        mem_free(x->action[i].served);
        mem_free(x->action[i].correct);
        mem_free(x->action[i].anchors);
        mem_free(x->action[i].wide);
    }
    for (int i = 0; i < x->plans; i++) {
        plan_free(x->plan[i].plan);
        mem_free(x->plan[i].stores);
    }
    plan_free(x->hoist);
    plan_free(x->constant);
    engine_release_memory(x);
    mem_free(x->class_of);
    mem_free(x->hoist_keep);
    mem_free(x->cached);
    mem_free(x->output);
    mem_free(x->given_place);
    mem_free(x->older_place);
    mem_free(x->base);
    mem_free(x->stored);
    mem_free(x->turn);
    mem_free(x->given);
    mem_free(x);
}

int engine_is_step(const struct engine *x, int node) { return x->class_of[node] == CLASS_STEP; }

static struct bound *find_input(const struct engine *x, const char *name)
{
    for (int i = 0; i < x->inputs; i++)
        if (!strcmp(x->g->node[x->input[i].node].name, name))
            return (struct bound *)&x->input[i];
    return NULL;
}

int engine_has_input(const struct engine *x, const char *name) { return find_input(x, name) != NULL; }

int engine_bind(struct engine *x, const char *name, const float *data, int64_t call_stride,
                int64_t image_stride, struct error *e)
{
    struct bound *b = find_input(x, name);
    if (!b)
        return error_set(e, HASTEN_EFILE, "component '%s' has no input '%s'", x->g->component, name);
    b->data = data;
    b->call_stride = call_stride;
    b->image_stride = image_stride;
    x->chunk_first = -1;
    return 0;
}

float engine_bound(const struct engine *x, const char *name, int call, int image)
{
    const struct bound *b = find_input(x, name);
    return b ? b->data[call * b->call_stride + image * b->image_stride] : 0;
}

/* ---- actions and plans ---- */

static int declare(struct engine *x, struct action *a, int node, const struct engine_predictor *p,
                   struct error *e)
{
    const struct node *n = &x->g->node[node];
    int base = p ? p->base : -1, channels = n->shape.channels;
    if (!engine_is_step(x, node) || node == x->sample)
        return error_set(e, HASTEN_EFILE, "'%s' does not depend on the latent and cannot be cached", n->name);
    if (x->cached[node] && x->base[node] != base)
        return error_set(e, HASTEN_EFILE, "'%s' is served in two ways: as a value and as a difference",
                         n->name);
    if (base >= 0 && (base >= node || !engine_is_step(x, base) ||
                      memcmp(&x->g->node[base].shape, &n->shape, sizeof n->shape)))
        return error_set(e, HASTEN_EFILE, "'%s' cannot be served as its difference to '%s'", n->name,
                         x->g->node[base].name);
    x->base[node] = base;
    a->anchors[node] = (unsigned char)(p && p->table ? p->anchors : 1);
    if (a->anchors[node] > x->cached[node])
        x->cached[node] = a->anchors[node];
    return p && p->table ? engine_give_table(x, &a->correct[node], p->table, p->anchors + 1, channels, e) : 0;
}

int engine_action(struct engine *x, int index, const unsigned char *served,
                  const struct engine_predictor *predictor, struct error *e)
{
    size_t n = (size_t)x->g->count;
    if (index < 1 || index >= ENGINE_MAX_ACTIONS || x->ready)
        return error_set(e, HASTEN_EFAIL, "internal: action %d declared out of range or too late", index);
    struct action *a = &x->action[index];
    a->served = mem_array(n + 1, 1, e);
    a->anchors = mem_array(n + 1, 1, e);
    a->correct = mem_array(n + 1, sizeof *a->correct, e);
    if (!a->served || !a->correct || !a->anchors)
        return -1;
    a->declared = 1;
    memcpy(a->served, served, n);
    for (int i = 0; i < x->g->count; i++) {
        a->correct[i].buffer = -1;
        if (served[i] && declare(x, a, i, predictor ? &predictor[i] : NULL, e) < 0)
            return -1;
    }
    return 0;
}

int engine_wide(struct engine *x, int index, const unsigned char *wide, struct error *e)
{
    if (index < 1 || index >= ENGINE_MAX_ACTIONS || x->ready || !x->action[index].declared)
        return error_set(e, HASTEN_EFAIL, "internal: wide action %d out of range or too late", index);
    struct action *a = &x->action[index];
    mem_free(a->wide);
    a->wide = mem_array((size_t)x->g->count + 1, 1, e);
    if (!a->wide)
        return -1;
    memcpy(a->wide, wide, (size_t)x->g->count);
    return 0;
}

static void shift_image(struct place *at, int first)
{
    at->offset += (size_t)first * (size_t)at->image_ld * sizeof(float);
}

/* A request whose arrays are one block, to be freed with mem_free(request->run). */
static int new_request(const struct engine *x, int images, struct plan_request *r, struct error *e)
{
    size_t n = (size_t)x->g->count + 1;
    unsigned char *flags = mem_array(5 * n, 1, e);
    struct place *places = flags ? mem_array(2 * n, sizeof *places, e) : NULL;
    if (!places) {
        mem_free(flags);
        return -1;
    }
    for (int i = 0; i < x->g->count; i++)
        places[i] = x->given_place[i];
    *r = (struct plan_request){.graph = x->g,
                               .weights = x->w,
                               .images = images,
                               .run = flags,
                               .is_given = flags + n,
                               .keep = flags + 2 * n,
                               .output = flags + 3 * n,
                               .difference = flags + 4 * n,
                               .older = places + n,
                               .given = places,
                               .given_buffer = x->given,
                               .given_buffers = x->given_count};
    return 0;
}

static void free_request(struct plan_request *r)
{
    mem_free((void *)r->run);
    mem_free((void *)r->given);
}

/* The plan of all kept nodes of a class (constants that hoisted nodes need are made again among them). */
static struct plan *build_before(struct engine *x, int class_of, int images, struct error *e)
{
    struct plan_request r;
    struct plan *p = NULL;
    int any = 0;
    if (new_request(x, images, &r, e) < 0)
        return NULL;
    unsigned char *run = (unsigned char *)r.run, *given = (unsigned char *)r.is_given,
                  *keep = (unsigned char *)r.keep;
    for (int i = x->g->count - 1; i >= 0; i--) {
        const struct node *n = &x->g->node[i];
        if (x->hoist_keep[i] && x->class_of[i] == class_of && !node_is(n, "input"))
            run[i] = keep[i] = 1;
        any |= keep[i];
        given[i] = node_is(n, "input");
        /* Each hoisted row is an image of this plan, also where the steps' images share one. */
        ((struct place *)r.given)[i].image_ld = shape_size(n->shape);
        for (int j = 0; run[i] && j < n->inputs; j++)
            if (node_reads(n, j) && !node_is(&x->g->node[n->in[j]], "input"))
                run[n->in[j]] = 1;
    }
    if (any)
        p = plan_build(&r, e);
    free_request(&r);
    return p;
}

static int action_is_declared(const struct engine *x, int action)
{
    return action >= 0 && action < ENGINE_MAX_ACTIONS && x->action[action].declared;
}

/* What the outputs need, served nodes included: these need their bases, the others their inputs. A base is
 * before its node. */
static void find_needed(const struct engine *x, const struct action *a, unsigned char *needed)
{
    for (int i = x->g->count - 1; i >= 0; i--) {
        const struct node *n = &x->g->node[i];
        needed[i] |= x->output[i];
        if (needed[i] && x->base[i] >= 0)
            needed[x->base[i]] = 1;
        for (int j = 0; needed[i] && !a->served[i] && j < n->inputs; j++)
            if (node_reads(n, j))
                needed[n->in[j]] = 1;
    }
}

static struct plan *build_step(struct engine *x, int action, int first, int count, unsigned char *stores,
                               struct error *e)
{
    const struct action *a = &x->action[action];
    struct plan_request r;
    if (new_request(x, count, &r, e) < 0)
        return NULL;
    unsigned char *run = (unsigned char *)r.run, *given = (unsigned char *)r.is_given,
                  *keep = (unsigned char *)r.keep;
    unsigned char *output = (unsigned char *)r.output, *difference = (unsigned char *)r.difference;
    struct place *older = (struct place *)r.older;
    find_needed(x, a, run);
    for (int i = 0; i < x->g->count; i++) {
        int outside = x->class_of[i] != CLASS_STEP || i == x->sample;
        given[i] = (outside && x->given_place[i].buffer >= 0) || a->served[i];
        run[i] = run[i] && !given[i] && !outside;
        stores[i] = run[i] && x->cached[i] && !(x->o.store_once && action > 0);
        keep[i] = stores[i] && x->base[i] < 0;
        difference[i] = stores[i] && x->base[i] >= 0;
        output[i] = x->output[i] && (run[i] || given[i]);
        if (given[i] || stores[i])
            shift_image((struct place *)&r.given[i], first);
        older[i] = x->older_place[i];
        if (!a->served[i] || a->anchors[i] < 2)
            older[i].buffer = -1;
        else
            shift_image(&older[i], first);
    }
    r.correct = a->correct;
    r.base = x->base;
    r.wide = a->wide;
    struct plan *p = plan_build(&r, e);
    free_request(&r);
    return p;
}

static struct compiled *compile(struct engine *x, int action, int first, int count, struct error *e)
{
    for (int i = 0; i < x->plans; i++)
        if (x->plan[i].action == action && x->plan[i].first == first && x->plan[i].count == count) {
            x->last = x->plan[i].plan;
            return &x->plan[i];
        }
    if (!action_is_declared(x, action) || first < 0 || count < 1 || first + count > x->o.images ||
        x->plans == MAX_PLANS) {
        error_set(e, HASTEN_EFAIL, "internal: no plan for action %d and images %d to %d", action, first,
                  first + count - 1);
        return NULL;
    }
    unsigned char *stores = mem_array((size_t)x->g->count + 1, 1, e);
    struct plan *p = stores ? build_step(x, action, first, count, stores, e) : NULL;
    if (!p) {
        mem_free(stores);
        return NULL;
    }
    x->plan[x->plans++] = (struct compiled){action, first, count, stores, p};
    x->last = p;
    if (p->arena_size > x->space_size[SPACE_ARENA]) {
        x->generation++;
        x->space_size[SPACE_ARENA] = p->arena_size;
        if (engine_allocate(x, SPACE_ARENA, e) < 0)
            return NULL;
    }
    return &x->plan[x->plans - 1];
}

struct plan *engine_plan(struct engine *x, int action, int first, int count, struct error *e)
{
    const struct compiled *c = compile(x, action, first, count, e);
    return c ? c->plan : NULL;
}

int engine_ready(struct engine *x, struct error *e)
{
    if (engine_lay_out(x, e) < 0)
        return -1;
    x->ready = 1;
    x->hoist = build_before(x, CLASS_HOISTED, x->rows * x->chunk, e);
    x->constant = e->code ? NULL : build_before(x, CLASS_CONSTANT, x->o.images, e);
    if (e->code)
        return -1;
    size_t arena = x->hoist ? x->hoist->arena_size : 0;
    if (x->constant && x->constant->arena_size > arena)
        arena = x->constant->arena_size;
    x->space_size[SPACE_ARENA] = arena;
    for (int s = SPACE_ARENA; s < SPACES; s++)
        if (engine_allocate(x, (enum space)s, e) < 0)
            return -1;
    if (engine_make_host_copies(x, e) < 0 || (x->constant && plan_run(x->constant, &x->memory, NULL, e) < 0))
        return -1;
    return engine_plan(x, 0, 0, x->o.images, e) ? 0 : -1;
}

size_t engine_space_bytes(const struct engine *x, enum space space) { return x->space_size[space]; }

size_t engine_bytes(const struct engine *x)
{
    size_t total = 0;
    for (int s = SPACE_ARENA; s < SPACES; s++)
        total += x->space_size[s];
    return total;
}

/* ---- running ---- */

int engine_hoist(struct engine *x, int call, struct error *e)
{
    int first = call / x->chunk * x->chunk;
    if (x->chunk_first == first)
        return 0;
    if (engine_fill_inputs(x, first, e) < 0)
        return -1;
    x->memory.hoisted_call = 0;
    if (x->hoist && plan_run(x->hoist, &x->memory, NULL, e) < 0)
        return -1;
    x->chunk_first = first;
    return 0;
}

int engine_run(struct engine *x, int call, int action, int first, int count, double *milliseconds,
               struct error *e)
{
    const struct compiled *c = compile(x, action, first, count, e);
    if (!c || engine_hoist(x, call, e) < 0 || engine_turn(x, c, e) < 0)
        return -1;
    x->memory.call = call;
    x->memory.hoisted_call = call - x->chunk_first;
    if (engine_put_sample(x, first, count, e) < 0 || plan_run(c->plan, &x->memory, milliseconds, e) < 0)
        return -1;
    engine_note_stored(x, c);
    return x->b->ops->direct ? 0 : engine_get_values(x, count, e);
}

int engine_enqueue(struct engine *x, int call, int action, int first, int count, int pretend, struct error *e)
{
    const struct compiled *c = compile(x, action, first, count, e);
    if (!c || engine_turn(x, c, e) < 0)
        return -1;
    x->memory.call = call;
    x->memory.hoisted_call = call % x->chunk;
    if (!pretend && plan_enqueue(c->plan, &x->memory, e) < 0)
        return -1;
    engine_note_stored(x, c);
    return 0;
}

int engine_chunk(const struct engine *x) { return x->chunk; }
int engine_generation(const struct engine *x) { return x->generation; }

const char *engine_first_nonfinite(struct engine *x, int call, int action, int first, int count,
                                   struct error *e)
{
    const struct compiled *c = compile(x, action, first, count, e);
    if (!c || engine_hoist(x, call, e) < 0 || engine_turn(x, c, e) < 0 ||
        engine_put_sample(x, first, count, e) < 0)
        return NULL;
    x->memory.call = call;
    x->memory.hoisted_call = call - x->chunk_first;
    int at = plan_find_nonfinite(c->plan, &x->memory, e);
    return at < 0 ? NULL : x->g->node[c->plan->call[at].node].name;
}

