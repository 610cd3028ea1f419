/* Parts of a measurement: written by the shards, merged by index. See evaluate.h. */
#include "common/base/json.h"
#include "common/file/container.h"
#include "tools/evaluate.h"

#include <string.h>

enum { COLUMNS = 7 };

/* The columns as tensors over m's arrays; those that m does not have are left out. */
static int columns(const struct measured *m, struct tensor out[COLUMNS], struct error *e)
{
    const struct tensor all[COLUMNS] = {
        {.name = "index", .dtype = DTYPE_I64, .rank = 1, .data = m->index},
        {.name = "psnr", .dtype = DTYPE_F64, .rank = 1, .data = m->psnr},
        {.name = "ssim", .dtype = DTYPE_F64, .rank = 1, .data = m->ssim},
        {.name = "rel_l2", .dtype = DTYPE_F64, .rank = 1, .data = m->rel_l2},
        {.name = "identical", .dtype = DTYPE_F64, .rank = 1, .data = m->identical},
        {.name = "got", .dtype = DTYPE_F32, .rank = 2, .data = m->got},
        {.name = "reference", .dtype = DTYPE_F32, .rank = 2, .data = m->reference},
    };
    int n = 0;
    for (int i = 0; i < COLUMNS; i++) {
        if (!all[i].data)
            continue;
        out[n] = all[i];
        out[n].shape[0] = m->count;
        out[n].shape[1] = m->dim;
        if (tensor_measure(&out[n++], e) < 0)
            return -1;
    }
    return n;
}

int part_write(const struct measured *m, const char *path, struct team *team, struct error *e)
{
    struct tensor t[COLUMNS];
    int n = columns(m, t, e);
    cJSON *meta = json_new_object(e);
    json_add_int(meta, "total", m->total, e);
    json_add_bool(meta, "ssim", m->has_ssim, e);
    json_add_bool(meta, "paired", m->paired, e);
    json_add_int(meta, "dim", m->dim, e);
    json_add_string(meta, "features", m->model, e);
    int status =
        n < 0 || e->code ? -1 : container_write(path, "measurement", meta, t, n, NULL, NULL, team, NULL, e);
    cJSON_Delete(meta);
    return status;
}

/* ---- merging ---- */

static int allocate(struct measured *m, struct error *e)
{
    size_t n = (size_t)m->total;
    double **scores[] = {&m->psnr, &m->ssim, &m->rel_l2, &m->identical};
    m->count = m->total;
    m->index = mem_array(n, sizeof *m->index, e);
    for (size_t i = 0; m->paired && i < sizeof scores / sizeof *scores; i++)
        if (!(*scores[i] = mem_array(n, sizeof(double), e)))
            return -1;
    if (m->dim && !(m->got = mem_array(n, (size_t)m->dim * sizeof(float), e)))
        return -1;
    if (m->dim && m->paired && !(m->reference = mem_array(n, (size_t)m->dim * sizeof(float), e)))
        return -1;
    return m->index ? 0 : -1;
}

/* What all parts must have in common: the first sets it. */
static int read_head(struct measured *m, const cJSON *meta, int first, struct error *e)
{
    int64_t total, dim;
    int ssim, paired;
    const char *model;
    if (json_int(meta, "total", 1, (int64_t)1 << 32, &total, e) < 0 ||
        json_int(meta, "dim", 0, 1 << 20, &dim, e) < 0 || json_bool(meta, "ssim", &ssim, e) < 0 ||
        json_bool(meta, "paired", &paired, e) < 0 || json_string(meta, "features", &model, e) < 0)
        return -1;
    if (!first)
        return total == m->total && dim == m->dim && ssim == m->has_ssim && paired == m->paired &&
                       !strcmp(model, m->model)
                   ? 0
                   : error_set(e, HASTEN_EFILE, "it is a part of another measurement than the first file");
    if (strlen(model) >= sizeof m->model)
        return error_set(e, HASTEN_EFILE, "'features' is no content id");
    *m = (struct measured){.total = total, .dim = (int)dim, .has_ssim = ssim, .paired = paired};
    memcpy(m->model, model, strlen(model) + 1);
    return allocate(m, e);
}

/* One column of a part into the rows that its index names. */
static int scatter(const struct container *c, const struct tensor *want, const int64_t *index, int64_t rows,
                   struct error *e)
{
    const struct tensor *t = container_find(c, want->name);
    if (!t || t->dtype != want->dtype || t->rank != want->rank || t->shape[0] != rows ||
        (t->rank == 2 && t->shape[1] != want->shape[1]))
        return error_set(e, HASTEN_EFILE, "tensor '%s' is missing or has another shape", want->name);
    size_t row = rows ? t->size / (size_t)rows : 0;
    for (int64_t i = 0; i < rows; i++)
        memcpy((char *)want->data + (size_t)index[i] * row, (const char *)t->data + (size_t)i * row, row);
    return 0;
}

static int read_part(struct measured *m, const struct container *c, int first, unsigned char **have,
                     struct error *e)
{
    struct tensor want[COLUMNS];
    const struct tensor *t = container_find(c, "index");
    if (read_head(m, c->meta, first, e) < 0)
        return -1;
    if (first && !(*have = mem_array((size_t)m->total, 1, e)))
        return -1;
    if (!t || t->dtype != DTYPE_I64 || t->rank != 1 || !t->data)
        return error_set(e, HASTEN_EFILE, "it has no tensor 'index'");
    const int64_t *index = t->data;
    for (int64_t i = 0; i < t->shape[0]; i++) {
        if (index[i] < 0 || index[i] >= m->total)
            return error_set(e, HASTEN_EFILE, "image %lld of %lld", (long long)index[i], (long long)m->total);
        if ((*have)[index[i]])
            return error_set(e, HASTEN_EFILE, "image %lld is in an earlier file as well",
                             (long long)index[i]);
        (*have)[index[i]] = 1;
    }
    int n = columns(m, want, e), status = n < 0 ? -1 : 0;
    for (int i = 0; status == 0 && i < n; i++)
        status = scatter(c, &want[i], index, t->shape[0], e);
    return status;
}

int parts_merge(struct measured *m, const char *const *path, int parts, struct error *e)
{
    struct container_options ours = {.kind = "measurement"};
    unsigned char *have = NULL;
    int status = 0;
    for (int i = 0; status == 0 && i < parts; i++) {
        struct container *c = container_open(path[i], &ours, e);
        status = c && container_load(c, NULL, e) == 0 ? read_part(m, c, i == 0, &have, e) : -1;
        if (c && status < 0)
            error_in(e, path[i]);
        container_close(c);
    }
    for (int64_t i = 0; status == 0 && i < m->total; i++)
        if (!have[i])
            status = error_set(e, HASTEN_EFILE, "image %lld of %lld is in none of the %d files", (long long)i,
                               (long long)m->total, parts);
    mem_free(have);
    return status;
}
