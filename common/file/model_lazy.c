/* See model_lazy.h. Tensors are read in the order in which the graph's nodes want them, some megabytes at a
 * time, so that all threads have pieces to decompress and what was decompressed is packed while it is in the
 * cache. */
#include "common/file/container_inside.h"
#include "common/file/model_lazy.h"

enum {
    SMALL = 64 << 10, /* bytes of a tensor that is loaded at once: biases, scales, markers */
    AHEAD = 24 << 20, /* bytes that are read in one go */
    AT_ONCE = 64,     /* tensors, likewise */
};

struct lazy {
    struct team *team;
    int tensors;    /* when it was opened; those that were added later are in memory or in a spill */
    int *readers;   /* by tensor */
    int *left;      /* by tensor: readers that have not let go of it */
    int *order;     /* large tensors by their first reader */
    int *component; /* of that reader, by place in the order */
    int *place;     /* by tensor: in the order; -1: small, or nobody reads it */
    int count;
};

int lazy_load_small(struct model *m, struct team *team, struct error *e)
{
    const struct container *c = m->file;
    int count = 0, status;
    if (c->inside->ordered || !container_id(c))
        return 0;
    int *list = mem_array((size_t)c->count + 1, sizeof *list, e);
    for (int i = 0; list && i < c->count; i++)
        if (c->tensor[i].size <= SMALL)
            list[count++] = i;
    status = list ? container_load_listed(m->file, list, count, team, e) : -1;
    mem_free(list);
    return status < 0 ? -1 : 1;
}

static void note(struct model *m, struct lazy *l, int component, const struct tensor *t)
{
    int i = (int)(t - m->tensor);
    l->left[i] = l->readers[i] + 1;
    if (l->readers[i]++ || t->data)
        return;
    l->place[i] = l->count;
    l->component[l->count] = component;
    l->order[l->count++] = i;
}

int lazy_start(struct model *m, struct team *team, struct error *e)
{
    size_t n = (size_t)m->tensors + 1;
    struct lazy *l = m->lazy = mem_array(1, sizeof *l, e);
    if (!l || !(l->readers = mem_array(n, sizeof *l->readers, e)) ||
        !(l->left = mem_array(n, sizeof *l->left, e)) || !(l->order = mem_array(n, sizeof *l->order, e)) ||
        !(l->component = mem_array(n, sizeof *l->component, e)) ||
        !(l->place = mem_array(n, sizeof *l->place, e)))
        return -1;
    l->team = team;
    l->tensors = m->tensors;
    for (int i = 0; i < m->tensors; i++)
        l->place[i] = -1;
    for (int c = 0; c < m->components; c++)
        for (int i = 0; i < m->graph[c]->count; i++)
            for (int w = 0; w < GRAPH_MAX_WEIGHTS; w++)
                if (m->graph[c]->node[i].tensor[w])
                    note(m, l, c, m->graph[c]->node[i].tensor[w]);
    return 0;
}

void lazy_close(struct lazy *l)
{
    if (!l)
        return;
    mem_free(l->readers);
    mem_free(l->left);
    mem_free(l->order);
    mem_free(l->component);
    mem_free(l->place);
    mem_free(l);
}

/* This tensor, and those that its component wants next. */
static int load_from(struct model *m, int first, struct error *e)
{
    struct lazy *l = m->lazy;
    int model[AT_ONCE], file[AT_ONCE], count = 0, at = l->place[first];
    size_t bytes = 0;
    do {
        int i = at < 0 ? first : l->order[at];
        if (m->tensor[i].data || m->owned[i])
            continue;
        bytes += m->tensor[i].size;
        if (count && bytes > AHEAD)
            break;
        model[count] = i;
        file[count++] = container_index(m->file, m->tensor[i].name);
    } while (at >= 0 && count < AT_ONCE && ++at < l->count && l->component[at] == l->component[at - 1]);
    if (container_load_listed(m->file, file, count, l->team, e) < 0)
        return -1;
    for (int k = 0; k < count; k++)
        m->tensor[model[k]].data = m->file->tensor[file[k]].data;
    return 0;
}

/* The place of a tensor that is to be had from the model's file; -1: another one. */
static int place_in_file(const struct model *m, const struct tensor *t)
{
    uintptr_t from = (uintptr_t)m->tensor, at = (uintptr_t)t;
    if (!m->lazy || at < from || at >= (uintptr_t)(m->tensor + m->lazy->tensors))
        return -1;
    int i = (int)(t - m->tensor);
    return m->owned[i] ? -1 : i;
}

int model_tensor_begin(void *model, const struct tensor *t, struct error *e)
{
    struct model *m = model;
    int i = place_in_file(m, t);
    if (t->data || (i < 0 && !t->origin))
        return 0;
    if (i >= 0)
        return load_from(m, i, e);
    struct piece_readers r = {0};
    struct tensor *spilled = (struct tensor *)(uintptr_t)t;
    int status = tensors_load(&r, &spilled, 1, m->lazy ? m->lazy->team : NULL, e);
    piece_readers_free(&r);
    return status;
}

void model_tensor_end(void *model, const struct tensor *t)
{
    struct model *m = model;
    int i = place_in_file(m, t);
    if (i < 0) {
        if (t->origin && t->origin->own) {
            struct tensor *spilled = (struct tensor *)(uintptr_t)t;
            mem_free(spilled->data);
            spilled->data = NULL;
        }
        return;
    }
    if (--m->lazy->left[i] > 0)
        return;
    m->lazy->left[i] = m->lazy->readers[i]; /* the model may be read again */
    container_tensor_free(m->file, container_index(m->file, t->name));
    m->tensor[i].data = NULL;
    /* With the last tensor of a component loading is over: what it worked with shall not stay beside the run.
     */
    const struct lazy *l = m->lazy;
    int next = l->place[i] + 1;
    if (next && (next == l->count || l->component[next] != l->component[next - 1]))
        container_rest(m->file);
}
