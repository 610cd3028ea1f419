/* See overlay.h. */
#include "common/run/overlay.h"

#include <string.h>

static int find_own(const struct overlay *o, const char *name)
{
    for (int i = 0; i < o->count; i++)
        if (!strcmp(o->tensor[i]->name, name))
            return i;
    return -1;
}

const struct tensor *overlay_find(const void *context, const char *name)
{
    const struct overlay *o = context;
    int at = find_own(o, name);
    if (at >= 0)
        return o->tensor[at];
    return o->below ? overlay_find(o->below, name) : model_find(o->model, name);
}

static void free_tensor(struct tensor *t)
{
    if (!t)
        return;
    mem_free((void *)t->name);
    mem_free(t->data);
    mem_free(t);
}

int overlay_put(struct overlay *o, const char *name, struct tensor *t, struct error *e)
{
    int at = find_own(o, name), capacity = o->capacity ? 2 * o->capacity : 64;
    struct tensor *own = mem_array(1, sizeof *own, e);
    char *copy = own ? mem_strdup(name, e) : NULL;
    if (copy && at < 0 && o->count == o->capacity) {
        struct tensor **more = mem_resize(o->tensor, (size_t)capacity, sizeof *more, e);
        if (!more) {
            mem_free(copy);
            copy = NULL;
        } else {
            o->tensor = more;
            o->capacity = capacity;
        }
    }
    if (!copy || tensor_measure(t, e) < 0) {
        mem_free(copy);
        mem_free(own);
        mem_free(t->data);
        t->data = NULL;
        return -1;
    }
    *own = *t;
    own->name = copy;
    if (at >= 0) {
        free_tensor(o->tensor[at]);
        o->tensor[at] = own;
    } else {
        o->tensor[o->count++] = own;
    }
    return 0;
}

int overlay_commit(struct overlay *o, struct model *m, struct error *e)
{
    int status = 0;
    for (int i = 0; status == 0 && i < o->count; i++) {
        status = model_replace_tensor(m, o->tensor[i]->name, o->tensor[i], 1, e);
        if (status == 0)
            o->tensor[i]->data = NULL;
    }
    if (status == 0)
        overlay_close(o);
    return status;
}

void overlay_close(struct overlay *o)
{
    for (int i = 0; i < o->count; i++)
        free_tensor(o->tensor[i]);
    mem_free(o->tensor);
    o->tensor = NULL;
    o->count = o->capacity = 0;
}
