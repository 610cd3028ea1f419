/* quantize --lora: low-rank changes are merged before anything is rounded. */
#include "common/base/num.h"
#include "common/file/lora.h"
#include "tools/quantize.h"

#include <stdio.h>
#include <string.h>

/* What is behind the last colon, if that is a number. */
static int split(const char *item, char **path, double *scale, struct error *e)
{
    struct error ignored = {0};
    const char *colon = strrchr(item, ':');
    size_t n = strlen(item);
    *scale = 1;
    if (colon && num_double("--lora", colon + 1, -1e6, 1e6, scale, &ignored) == 0)
        n = (size_t)(colon - item);
    *path = mem_printf(e, "%.*s", (int)n, item);
    return *path ? 0 : -1;
}

static int merge(struct work *w, const char *item, struct error *e)
{
    struct buf unmatched = {0};
    char *path, id[HASH_HEX] = "";
    double scale;
    if (split(item, &path, &scale, e) < 0)
        return -1;
    int layers = lora_merge(&w->m, path, scale, &unmatched, id, e);
    if (unmatched.size)
        tool_warn(w->t, "%s: no layer of the model for\n%s", path, unmatched.data);
    cJSON *j = layers < 0 ? NULL : json_push_object(w->loras, e);
    int status = j && json_add_string(j, "id", id, e) == 0 && json_add_double(j, "scale", scale, e) == 0
                     ? buf_printf(&w->notes, e, "%s: %d layers changed, scale %g\n", path, layers, scale)
                     : -1;
    buf_free(&unmatched);
    mem_free(path);
    return status < 0 ? -1 : 0;
}

int quantize_loras(struct work *w, const struct tool_list *list, struct error *e)
{
    if (list->count && !(w->loras = json_new_array(e)))
        return -1;
    for (int i = 0; i < list->count; i++)
        if (merge(w, list->item[i], e) < 0)
            return -1;
    return 0;
}
