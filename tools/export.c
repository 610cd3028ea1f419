/* export: a model that came from a diffusers directory goes back into one. */
#include "common/base/json.h"
#include "common/file/diffusers.h"
#include "tools/tool.h"

#include <stdio.h>

static const struct tool_option options[] = {{0}};

static const struct tool tool = {"export",
                                 "MODEL",
                                 "Write a model as a diffusers directory.",
                                 options,
                                 TOOL_FOLDER | TOOL_COMPUTES,
                                 "export small.model.zst -o small/"};

/* Tensors that import had no use for are not in the model, so not in the folder either. */
static void warn_of_missing(const struct tool_run *t, const struct model *m)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, json_get(json_get(m->meta, "source"), "components"))
    {
        const cJSON *n = json_get(entry, "ignored"), *component = json_get(entry, "component");
        if (cJSON_IsNumber(n) && n->valueint > 0 && cJSON_IsString(component))
            tool_warn(t, "%d tensors beside the %s were not imported and are not written", n->valueint,
                      component->valuestring);
    }
}

static int report(struct tool_run *t, const struct model *m, int tensors, struct error *e)
{
    char text[512];
    cJSON *j = json_new_object(e);
    snprintf(text, sizeof text, "%d tensors of %d components\n", tensors, m->components);
    int status = !j || json_add_int(j, "tensors", tensors, e) < 0 ||
                         json_add_int(j, "components", m->components, e) < 0
                     ? -1
                     : tool_report(t, text, j, 0, e);
    cJSON_Delete(j);
    return status;
}

static int run(struct tool_run *t, struct error *e)
{
    struct model m;
    int tensors;
    if (tool_stdout_is_data(t))
        return error_set(e, HASTEN_EUSAGE, "a folder is written: give -o DIR");
    const char *path = tool_input(t, e);
    if (!path || model_open(&m, path, t->memory, t->team, e) < 0)
        return -1;
    int status = diffusers_export(&m, t->output, t->team, &tensors, e);
    if (status == 0) {
        warn_of_missing(t, &m);
        status = report(t, &m, tensors, e);
    }
    model_close(&m);
    return status;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    if (tool_start(&t, &tool, argc, argv, &e) == 0)
        run(&t, &e);
    return tool_finish(&t, &e);
}
