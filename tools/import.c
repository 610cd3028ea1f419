/* import: a diffusers directory, or a safetensors or GGUF file with a graph, becomes a model file. */
#include "common/base/json.h"
#include "common/file/diffusers.h"
#include "tools/tool.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct {
    const char *graph;
    int dtype;
} o;

static const struct tool_option options[] = {
    {"graph", 0, "FILE", OPTION_TEXT, &o.graph,
     .help = "graph of a .safetensors or .gguf SOURCE (hasten-model(5))"},
    {"dtype", 0, "TYPE", OPTION_CHOICE, &o.dtype, .choices = "keep f32 f16 bf16",
     .help = "store weights as keep, f32, f16 or bf16"},
    {0}};

static const struct tool tool = {"import",
                                 "SOURCE",
                                 "Turn a diffusers directory into a model file.",
                                 options,
                                 TOOL_DATA | TOOL_COMPUTES | TOOL_NEEDS_OPERAND,
                                 "import DiT-XL-2-256/ -o dit.model.zst"};

/* 1 or 0; -1: there is nothing. */
static int is_directory(const char *path, struct error *e)
{
    struct stat s;
    if (stat(path, &s) < 0)
        return error_errno(e, HASTEN_EFAIL, "cannot open '%s'", path);
    return S_ISDIR(s.st_mode);
}

static int report(struct tool_run *t, const struct model *m, const struct import_report *r, const char *id,
                  struct error *e)
{
    char text[512];
    cJSON *j = json_new_object(e);
    snprintf(text, sizeof text,
             "%d tensors used, %d stored once instead of again, %d not needed, %d unknown; id %s\n", r->used,
             r->shared, r->ignored, r->unused, id);
    int status =
        !j || json_add_int(j, "used", r->used, e) < 0 || json_add_int(j, "shared", r->shared, e) < 0 ||
                json_add_int(j, "ignored", r->ignored, e) < 0 ||
                json_add_int(j, "unused", r->unused, e) < 0 ||
                json_add_int(j, "components", m->components, e) < 0 || json_add_string(j, "id", id, e) < 0
            ? -1
            : tool_report(t, t->verbose || t->output ? text : NULL, j, tool_stdout_is_data(t), e);
    cJSON_Delete(j);
    return status;
}

static int run(struct tool_run *t, struct error *e)
{
    struct model m;
    struct import_report r = {0};
    char id[HASH_HEX];
    const char *source = t->operand[0];
    int directory = is_directory(source, e);
    if (directory < 0)
        return -1;
    int status = model_new(&m, e);
    if (status == 0 && !directory && !o.graph)
        status = error_set(e, HASTEN_EUSAGE, "%s is no directory; a .safetensors or .gguf file needs --graph",
                           source);
    else if (status == 0 && directory && o.graph)
        status =
            error_set(e, HASTEN_EUSAGE, "--graph goes with a .safetensors file, %s is a directory", source);
    if (status == 0)
        status = directory ? diffusers_import(&m, source, (enum import_dtype)o.dtype, &r, e)
                           : graph_file_import(&m, source, o.graph, (enum import_dtype)o.dtype, &r, e);
    if (r.defects.size)
        tool_warn(t, "tensors that do not fit:\n%s", r.defects.data);
    if (r.unused)
        tool_warn(t, "%d tensors are not used:\n%s", r.unused, r.unused_names.data);
    cJSON *chosen = status == 0 ? json_new_object(e) : NULL;
    static const char *const dtypes[] = {"keep", "f32", "f16", "bf16"};
    if (!chosen || json_add_string(chosen, "dtype", dtypes[o.dtype], e) < 0) {
        cJSON_Delete(chosen);
        status = -1;
    } else {
        status = model_provenance(&m, "import", HASTEN_VERSION, chosen, e);
    }
    if (status == 0 && model_write(&m, t->output, t->team, id, e) == 0)
        report(t, &m, &r, id, e);
    buf_free(&r.unused_names);
    buf_free(&r.defects);
    model_close(&m);
    return e->code ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct error e = {0};
    struct tool_run t;
    if (tool_start(&t, &tool, argc, argv, &e) == 0)
        run(&t, &e);
    return tool_finish(&t, &e);
}
