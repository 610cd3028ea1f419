/* Routers of Learning-to-Cache (arXiv 2406.01733) and HarmoniCa (arXiv 2410.01723): a number for each call
 * and branch, computed where its sigmoid is above "threshold" (0.1). They stand in the file as "router", a
 * list of lists, or in a safetensors file, "file", as tensor "router" [rows, branches] or as tensors
 * "routers.ROW.prob". "activation": "none" when the numbers are probabilities. Rows are one a call, one for
 * each call but the first (HarmoniCa), or one for every second call (Learning-to-Cache). Branches are in the
 * order of the blocks, attention before feed-forward. More than 32 different sets of branches are united,
 * cheapest first. */
#include "common/base/json.h"
#include "common/graph/branches.h"
#include "common/run/foreign.h"
#include "common/run/search_blocks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct router {
    int rows, branches;
    float *value; /* rows x branches */
};

static int read_lists(struct router *r, const cJSON *lists, struct error *e)
{
    const cJSON *row, *v;
    r->rows = cJSON_GetArraySize(lists);
    r->branches = cJSON_GetArraySize(cJSON_GetArrayItem(lists, 0));
    if (r->rows < 1 || r->branches < 1)
        return error_set(e, HASTEN_EFILE, "router must be a list of lists of numbers");
    if (!(r->value = mem_array((size_t)r->rows, (size_t)r->branches * sizeof(float), e)))
        return -1;
    size_t n = 0;
    cJSON_ArrayForEach(row, lists)
    {
        if (!cJSON_IsArray(row) || cJSON_GetArraySize(row) != r->branches)
            return error_set(e, HASTEN_EFILE, "each row of router must have %d numbers", r->branches);
        cJSON_ArrayForEach(v, row)
        {
            if (!cJSON_IsNumber(v))
                return error_set(e, HASTEN_EFILE, "router holds something that is no number");
            r->value[n++] = (float)v->valuedouble;
        }
    }
    return 0;
}

static int take_rows(struct router *r, const struct tensor *t, int row, struct error *e)
{
    int64_t n = t->rank ? t->shape[t->rank - 1] : 0;
    if (n < 1 || n > 100000 || !dtype_is_float(t->dtype) || (row > 0 && n != r->branches))
        return error_set(e, HASTEN_EFILE, "tensor '%s' is no row of a router", t->name);
    int rows = row < 0 ? (int)((int64_t)t->count / n) : row + 1;
    float *larger = mem_resize(r->value, (size_t)rows * (size_t)n, sizeof *larger, e);
    if (!larger)
        return -1;
    r->value = larger;
    r->rows = rows;
    r->branches = (int)n;
    if (row >= 0 && (int64_t)t->count != n)
        return error_set(e, HASTEN_EFILE, "tensor '%s' is no row of a router", t->name);
    tensor_to_f32(t->dtype, t->data, larger + (row < 0 ? 0 : row * n), t->count);
    return 0;
}

static int read_tensors(struct router *r, const struct foreign *f, const char *file, struct error *e)
{
    struct container_options any = {.foreign = 1};
    const char *slash = file[0] == '/' ? NULL : strrchr(f->path, '/');
    char *path =
        slash ? mem_printf(e, "%.*s/%s", (int)(slash - f->path), f->path, file) : mem_strdup(file, e);
    struct container *c = path ? container_open(path, &any, e) : NULL;
    int status = c && container_load(c, NULL, e) == 0 ? 0 : -1;
    const struct tensor *whole = status == 0 ? container_find(c, "router") : NULL;
    if (whole)
        status = take_rows(r, whole, -1, e);
    for (int row = 0; status == 0 && !whole; row++) {
        char name[64];
        snprintf(name, sizeof name, "routers.%d.prob", row);
        const struct tensor *t = container_find(c, name);
        if (!t)
            break;
        status = take_rows(r, t, row, e);
    }
    if (status == 0 && !r->rows)
        status = error_set(e, HASTEN_EFILE, "%s has neither 'router' nor 'routers.0.prob'", file);
    container_close(c);
    mem_free(path);
    return status;
}

/* The row that speaks for call t, -1: the call is computed. */
static int row_of(const struct router *r, int t, int calls)
{
    if (t == 0)
        return -1;
    if (r->rows == calls)
        return t;
    if (r->rows == calls - 1)
        return t - 1;
    return t % 2 ? t / 2 : -1;
}

/* compute: branches x calls. */
static int make_masks(const struct foreign *f, const struct router *r, unsigned char *compute,
                      struct error *e)
{
    double threshold;
    const char *activation;
    int calls = f->s->calls;
    if (json_double_or(f->json, "threshold", 0, 1, 0.1, &threshold, e) < 0 ||
        json_string_or(f->json, "activation", "sigmoid", &activation, e) < 0)
        return -1;
    int plain = !strcmp(activation, "none");
    if (!plain && strcmp(activation, "sigmoid") != 0)
        return error_set(e, HASTEN_EFILE, "activation is '%s', known are sigmoid and none", activation);
    if (r->rows != calls && r->rows != calls - 1 && r->rows != calls / 2)
        return error_set(e, HASTEN_EFILE, "the router has %d rows: %d, %d or %d are needed for %d calls",
                         r->rows, calls, calls - 1, calls / 2, calls);
    for (int t = 0; t < calls; t++) {
        int row = row_of(r, t, calls);
        for (int u = 0; u < r->branches; u++) {
            double x = row < 0 ? 0 : (double)r->value[row * r->branches + u];
            if (!isfinite(x))
                return error_set(e, HASTEN_EFILE, "row %d of the router, branch %d, is not finite", row, u);
            compute[u * calls + t] = row < 0 || (plain ? x : 1 / (1 + exp(-x))) > threshold;
        }
    }
    return 0;
}

int foreign_router(struct foreign *f, struct error *e)
{
    struct router r = {0};
    struct branch_list b = {0};
    const char *file;
    cJSON *lists;
    unsigned char *compute = NULL;
    if (json_string_or(f->json, "file", NULL, &file, e) < 0 ||
        json_array_or(f->json, "router", &lists, e) < 0)
        return -1;
    int status = !file == !lists ? error_set(e, HASTEN_EFILE, "either 'router' or 'file' must be given")
                 : lists         ? read_lists(&r, lists, e)
                                 : read_tensors(&r, f, file, e);
    if (status == 0)
        status = graph_branches(f->g, &b, e);
    if (status == 0 && r.branches != b.count)
        status = error_set(e, HASTEN_EFILE, "the router is for %d branches, this network has %d", r.branches,
                           b.count);
    if (status == 0 && !(compute = mem_array((size_t)b.count, (size_t)f->s->calls, e)))
        status = -1;
    if (status == 0)
        status = make_masks(f, &r, compute, e);
    if (status == 0)
        status = schedule_of_masks(f->s, f->g, &b, compute, e);
    mem_free(compute);
    mem_free(b.branch);
    mem_free(r.value);
    return status;
}
