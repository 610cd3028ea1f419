/* See profile.h. */
#include "common/run/profile.h"
#include "common/base/json.h"
#include "common/file/container.h"

#include <stdio.h>
#include <string.h>

static int find_price(const cJSON *actions, const char *name, int must, double *ms, struct error *e)
{
    const cJSON *a;
    cJSON_ArrayForEach(a, actions)
    {
        const char *have;
        if (json_string(a, "name", &have, e) < 0)
            return -1;
        if (!strcmp(have, name))
            return json_double(a, "ms", 1e-9, 1e12, ms, e);
    }
    *ms = 0;
    if (!must)
        return 0;
    return error_set(e, HASTEN_EFILE, "the profile has no time for the action '%s'; make it again", name);
}

static int read_prices(const cJSON *meta, const char *model, const struct candidate *list, int count,
                       int batch, int must, double *ms, struct error *e)
{
    const char *of;
    int64_t had;
    const cJSON *actions = json_array(meta, "actions", e);
    if (!actions || json_string(meta, "model", &of, e) < 0 ||
        json_int(meta, "batch", 1, 1 << 20, &had, e) < 0)
        return -1;
    if (strcmp(of, model))
        return error_set(e, HASTEN_EFILE, "the profile is of model %s, this is %s", of, model);
    if (find_price(actions, "full", 1, &ms[0], e) < 0)
        return -1;
    for (int i = 0; i < count; i++)
        if (find_price(actions, list[i].name, must, &ms[i + 1], e) < 0)
            return -1;
    /* Times of another batch are in the right proportion; guidance runs two images a call. */
    for (int i = 0; i <= count; i++)
        ms[i] *= (double)batch / (double)had;
    return 0;
}

static int open_prices(const char *path, const char *model, const struct candidate *list, int count,
                       int batch, int must, double *ms, struct error *e)
{
    struct container_options want = {.kind = "profile"};
    struct container *c = container_open(path, &want, e);
    int status = c && container_load(c, NULL, e) == 0
                     ? read_prices(c->meta, model, list, count, batch, must, ms, e)
                     : -1;
    if (status < 0)
        error_in(e, path);
    container_close(c);
    return status;
}

int profile_prices(const char *path, const char *model, const struct candidate *list, int count, int batch,
                   double *ms, struct error *e)
{
    return open_prices(path, model, list, count, batch, 1, ms, e);
}

int profile_known_prices(const char *path, const char *model, const struct candidate *list, int count,
                         int batch, double *ms, struct error *e)
{
    return open_prices(path, model, list, count, batch, 0, ms, e);
}

int profile_machine(const char *path, struct profile_machine *m, struct error *e)
{
    struct container_options want = {.kind = "profile"};
    struct container *c = container_open(path, &want, e);
    const char *level;
    int64_t threads;
    int status = c && json_string(c->meta, "cpu_level", &level, e) == 0 &&
                         json_int(c->meta, "threads", 1, 1 << 20, &threads, e) == 0
                     ? 0
                     : -1;
    if (status == 0) {
        snprintf(m->level, sizeof m->level, "%s", level);
        m->threads = (int)threads;
    } else {
        error_in(e, path);
    }
    container_close(c);
    return status;
}

static int add_kernels(const cJSON *meta, const struct graph *g, double *ms, double *sum, struct error *e)
{
    const cJSON *kernels = json_array(meta, "kernels", e), *k;
    *sum = 0;
    cJSON_ArrayForEach(k, kernels)
    {
        double time;
        const cJSON *nodes = json_array(k, "nodes", e), *first = nodes ? nodes->child : NULL;
        if (!nodes || json_double(k, "ms", 0, 1e12, &time, e) < 0)
            return -1;
        int at = cJSON_IsString(first) ? graph_find(g, first->valuestring) : -1;
        if (at >= 0)
            ms[at] += time;
        *sum += time;
    }
    return kernels ? 0 : -1;
}

int profile_node_ms(const char *path, const char *model, const struct graph *g, double *ms, double *full,
                    struct error *e)
{
    struct container_options want = {.kind = "profile"};
    struct container *c = container_open(path, &want, e);
    const char *of;
    double sum = 0;
    int status = c && container_load(c, NULL, e) == 0 && json_string(c->meta, "model", &of, e) == 0 ? 0 : -1;
    if (status == 0 && strcmp(of, model))
        status = error_set(e, HASTEN_EFILE, "the profile is of model %s, this is %s", of, model);
    if (status == 0)
        status = json_double(c->meta, "full_ms", 1e-9, 1e12, full, e);
    memset(ms, 0, (size_t)g->count * sizeof *ms);
    if (status == 0)
        status = add_kernels(c->meta, g, ms, &sum, e);
    if (status == 0 && sum > 0)
        *full = sum;
    if (status < 0)
        error_in(e, path);
    container_close(c);
    return status;
}
