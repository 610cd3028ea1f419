/* Reading sets of pictures and latents. See evaluate.h. */
#include "common/file/container.h"
#include "common/image/png.h"
#include "common/method/metrics.h"
#include "tools/evaluate.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int is_png(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && !strcmp(d->d_name + n - 4, ".png");
}

static int read_picture(struct set *s, const char *folder, const char *name, int64_t index, struct error *e)
{
    char path[4608];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rbe");
    struct buf b = {.max = (size_t)256 << 20};
    struct image p = {0};
    char piece[65536];
    size_t n;
    if (!f)
        return error_errno(e, HASTEN_EFAIL, "%s", path);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && buf_add(&b, piece, n, e) == 0)
        ;
    fclose(f);
    int status = e->code ? -1 : image_png_read(b.data ? b.data : "", b.size, &p, e);
    buf_free(&b);
    if (status == 0 && index == 0) {
        s->channels = p.channels;
        s->height = p.height;
        s->width = p.width;
        s->size = (int64_t)p.channels * p.height * p.width;
        s->x = mem_array((size_t)s->count * (size_t)s->size, sizeof(float), e);
        status = s->x ? 0 : -1;
    } else if (status == 0 && (p.channels != s->channels || p.height != s->height || p.width != s->width)) {
        status = error_set(e, HASTEN_EFILE, "%dx%d with %d channels, the first is %dx%d with %d", p.width,
                           p.height, p.channels, s->width, s->height, s->channels);
    }
    for (int64_t i = 0; status == 0 && i < s->size; i++) /* channels first */
        s->x[index * s->size + i] =
            p.data[i % ((int64_t)p.height * p.width) * p.channels + i / ((int64_t)p.height * p.width)];
    image_free(&p);
    return status < 0 ? error_in(e, path) : 0;
}

/* Which of `total` items are the shard's. */
static int take_items(struct set *s, int64_t total, const struct shard *shard, struct error *e)
{
    s->total = total;
    s->index = mem_array((size_t)(total / shard->count) + 1, sizeof *s->index, e);
    for (int64_t i = 0; s->index && i < total; i++)
        if (shard_has(shard, i))
            s->index[s->count++] = i;
    return s->index ? 0 : -1;
}

static int read_folder(struct set *s, const char *path, const struct shard *shard, struct error *e)
{
    struct dirent **list;
    int n = scandir(path, &list, is_png, alphasort), status = 0;
    if (n < 0)
        return error_errno(e, HASTEN_EFAIL, "%s", path);
    s->pictures = 1;
    s->name = mem_array((size_t)n + 1, sizeof *s->name, e);
    if (n == 0)
        status = error_set(e, HASTEN_EFILE, "%s has no PNG files", path);
    if (status == 0 && (!s->name || take_items(s, n, shard, e) < 0))
        status = -1;
    for (int64_t i = 0; status == 0 && i < s->count; i++) {
        const char *name = list[s->index[i]]->d_name;
        status = (s->name[i] = mem_strdup(name, e)) ? read_picture(s, path, name, i, e) : -1;
    }
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    return status;
}

static double *doubles_of(const struct tensor *t, struct error *e)
{
    double *out = mem_array(t->count, sizeof *out, e);
    float *x = mem_array(t->count, sizeof *x, e);
    if (out && x) {
        tensor_to_f32(t->dtype, t->data, x, t->count);
        for (size_t i = 0; i < t->count; i++)
            out[i] = x[i];
    }
    mem_free(x);
    return x ? out : NULL;
}

static int read_stored(struct set *s, struct container *c, struct error *e)
{
    const struct tensor *mean = container_find(c, "mean"), *cov = container_find(c, "cov"),
                        *count = container_find(c, "count");
    float n = 0;
    if (!mean || !cov || !count || mean->rank != 1 || cov->rank != 2 || cov->shape[0] != mean->shape[0] ||
        cov->shape[1] != mean->shape[0] || count->count < 1)
        return error_set(e, HASTEN_EFILE, "%s has neither 'latents' nor 'mean', 'cov' and 'count' that fit",
                         c->name);
    tensor_to_f32(count->dtype, count->data, &n, 1);
    s->dim = (int)mean->shape[0];
    s->stored_count = (int64_t)n;
    s->mean = doubles_of(mean, e);
    s->covariance = doubles_of(cov, e);
    return s->mean && s->covariance ? 0 : -1;
}

static int read_samples(struct set *s, const char *path, const struct shard *shard, struct error *e)
{
    struct container_options any = {.foreign = 1};
    struct container *c = container_open(path, &any, e);
    const struct tensor *t = c && container_load(c, NULL, e) == 0 ? container_find(c, "latents") : NULL;
    int status = e->code ? -1 : 0;
    if (status == 0 && !t) {
        status = read_stored(s, c, e);
    } else if (status == 0) {
        if (t->rank != 4 || !dtype_is_float(t->dtype) || t->count == 0)
            status = error_set(e, HASTEN_EFILE, "%s: 'latents' must be floats [count,channels,height,width]",
                               path);
        if (status == 0)
            status = take_items(s, t->shape[0], shard, e);
        if (status == 0) {
            s->channels = (int)t->shape[1];
            s->height = (int)t->shape[2];
            s->width = (int)t->shape[3];
            s->size = (int64_t)t->count / t->shape[0];
            s->x = mem_array((size_t)s->count * (size_t)s->size, sizeof(float), e);
            status = s->x ? 0 : -1;
        }
        float *all = status == 0 ? mem_array(t->count, sizeof *all, e) : NULL;
        if (all) { /* whatever part of the set is measured here */
            tensor_to_f32(t->dtype, t->data, all, t->count);
            s->range = metric_range(all, (int64_t)t->count);
        } else {
            status = -1;
        }
        for (int64_t i = 0; status == 0 && i < s->count; i++)
            memcpy(s->x + i * s->size, all + s->index[i] * s->size, (size_t)s->size * sizeof *all);
        mem_free(all);
    }
    container_close(c);
    return status;
}

int set_read(struct set *s, const char *path, const struct shard *shard, struct error *e)
{
    struct stat st;
    if (strcmp(path, "-") && stat(path, &st) < 0)
        return error_errno(e, HASTEN_EFAIL, "%s", path);
    return strcmp(path, "-") && S_ISDIR(st.st_mode) ? read_folder(s, path, shard, e)
                                                    : read_samples(s, path, shard, e);
}

void set_free(struct set *s)
{
    for (int64_t i = 0; s->name && i < s->count; i++)
        mem_free(s->name[i]);
    mem_free(s->name);
    mem_free(s->index);
    mem_free(s->x);
    mem_free(s->mean);
    mem_free(s->covariance);
}
