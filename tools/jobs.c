/* generate --jobs: one load for all. A window of jobs is read ahead, never more; the oldest job and those
 * of its kind in the window make a batch, at once, so that nothing waits for jobs that have not come. */
#include "tools/jobs.h"
#include "common/base/json.h"
#include "common/base/seen.h"
#include "common/file/lines.h"
#include "common/file/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATIONS = 4, WINDOW_LEAST = 64 };

/* A recipe that is open, and the wish that it came from. */
struct station {
    struct recipe_wish wish;
    char *text[3]; /* its schedule, size and sampler */
    struct recipe recipe;
    struct trajectory *trajectory;
    int64_t used; /* when last; 0: free */
};

struct kitchen {
    struct tool_run *t;
    struct model *m;
    const struct jobs_options *o;
    struct lines *lines;
    struct weights *weights;
    struct station station[STATIONS];
    struct painter *painter; /* of this size */
    int height, width;
    struct job *window;
    int pending, most, ended;
    struct seen outs;
    int64_t number, uses, done, skipped, failed;
    float *latents;
    int64_t room; /* floats of latents */
};

/* ---- status ---- */

static int report(struct kitchen *k, const struct job *x, const char *status, const char *hash,
                  const struct error *why, struct error *e)
{
    struct error own = {0};
    struct buf b = {0};
    if (why && !buf_printf(&b, &own, "%s: line %lld: %s\n", k->t->program, (long long)x->line, why->text))
        fwrite(b.data, 1, b.size, stderr);
    buf_free(&b);
    tool_progress(k->t, "jobs", (double)(k->done + k->skipped + k->failed), (double)k->number);
    if (!k->t->json)
        return 0;
    cJSON *o = json_new_object(e);
    json_add_int(o, "line", x->line, e);
    json_add_string(o, "out", x->out, e);
    json_add_string(o, "status", status, e);
    if (hash)
        json_add_string(o, "hash", hash, e);
    if (why)
        json_add_string(o, "error", why->text, e);
    if (!e->code && json_write(&b, o, e) == 0 && buf_text(&b, "\n", e) == 0 &&
        (fwrite(b.data, 1, b.size, stdout) != b.size || fflush(stdout) != 0))
        error_errno(e, HASTEN_EFAIL, "cannot write to standard output");
    buf_free(&b);
    cJSON_Delete(o);
    return e->code ? -1 : 0;
}

static int failed(struct kitchen *k, const struct job *x, const struct error *why, struct error *e)
{
    k->failed++;
    return report(k, x, "failed", NULL, why, e);
}

/* Failures that the next job would meet as well. */
static int is_everybodys(const struct error *e)
{
    static const int numbers[] = {ENOSPC, EDQUOT, EROFS, EIO, EFBIG, EMFILE, ENFILE, EPIPE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (e->system == numbers[i])
            return 1;
    return 0;
}

/* ---- the window ---- */

static int is_blank(const struct line *x) { return !x->too_long && strspn(x->text, " \t\r") >= x->size; }

/* A line into the window, if it is a job of this shard. */
static int admit(struct kitchen *k, const struct line *text, struct error *e)
{
    struct job x = {.number = k->number++, .line = text->number};
    struct error why = {0};
    int64_t before;
    int mine = shard_has(&k->o->shard, x.number), known = 0;
    int status = job_read(&x, text, k->o, k->m, k->t->seed, &why);
    if (status == 0)
        known = seen_put(&k->outs, hash_bytes64(x.path, strlen(x.path)), x.line, &before, &why);
    if (known > 0)
        status = error_set(&why, HASTEN_EFILE, "'out' is '%.200s', which is the output of line %lld", x.out,
                           (long long)before);
    if (why.code == HASTEN_ENOMEM) {
        *e = why;
        job_free(&x);
        return -1;
    }
    if (mine && status == 0) {
        k->window[k->pending++] = x;
        return 0;
    }
    status = mine ? failed(k, &x, &why, e) : 0;
    job_free(&x);
    return status;
}

/* Read what is there; wait only when there is nothing to do. */
static int fill_window(struct kitchen *k, struct error *e)
{
    struct line x;
    while (!k->ended && k->pending < k->most) {
        int r = lines_next(k->lines, k->pending == 0, &x, e);
        if (r < 0)
            return -1;
        if (r == LINES_LATER)
            break;
        k->ended = r == LINES_END;
        if (r == LINES_LINE && !is_blank(&x) && admit(k, &x, e) < 0)
            return -1;
    }
    return 0;
}

static void drop(struct kitchen *k, int i)
{
    job_free(&k->window[i]);
    memmove(&k->window[i], &k->window[i + 1], sizeof *k->window * (size_t)(--k->pending - i));
}

/* ---- recipes ---- */

static void clear(struct station *s)
{
    trajectory_close(s->trajectory);
    if (s->used)
        recipe_close(&s->recipe);
    for (int i = 0; i < 3; i++)
        mem_free(s->text[i]);
    *s = (struct station){0};
}

static int keep_wish(struct station *s, const struct recipe_wish *w, struct error *e)
{
    const char **slot[] = {&s->wish.schedule, &s->wish.size, &s->wish.sampler};
    s->wish = *w;
    for (int i = 0; i < 3; i++)
        if (*slot[i] && !(*slot[i] = s->text[i] = mem_strdup(*slot[i], e)))
            return -1;
    return 0;
}

/* The recipe of a wish, from those that are open or instead of the one that was used least recently. */
static struct station *station_for(struct kitchen *k, const struct recipe_wish *w, struct error *e)
{
    struct station *s = &k->station[0];
    for (int i = 0; i < STATIONS; i++) {
        struct station *x = &k->station[i];
        if (x->used && job_fits(&x->wish, w)) {
            x->used = ++k->uses;
            return x;
        }
        if (x->used < s->used)
            s = x;
    }
    clear(s);
    if (keep_wish(s, w, e) < 0 || recipe_open(&s->recipe, k->m, &s->wish, e) < 0) {
        clear(s);
        return NULL;
    }
    s->used = ++k->uses;
    return s;
}

/* Schedules that decide while they run take fewer images at once. */
static int batch_of(const struct kitchen *k, const struct recipe *r)
{
    return trajectory_batch(r->has_schedule ? &r->schedule : NULL, k->o->batch);
}

/* Trajectory, painter and room for the latents. When memory is short the other recipes give way. */
static int ready(struct kitchen *k, struct station *s, struct error *e)
{
    const struct recipe *r = &s->recipe;
    int batch = batch_of(k, r);
    if (!k->weights && !(k->weights = weights_open(r->graph, &k->t->backend, NULL, e)))
        return -1;
    if (!s->trajectory) {
        struct error first = {0};
        s->trajectory = recipe_trajectory(&s->recipe, k->weights, batch, NULL, &first);
        if (!s->trajectory && first.code != HASTEN_ENOMEM) {
            *e = first;
            return -1;
        }
        for (int i = 0; !s->trajectory && i < STATIONS; i++)
            if (&k->station[i] != s)
                clear(&k->station[i]);
        if (!s->trajectory)
            s->trajectory = recipe_trajectory(&s->recipe, k->weights, batch, NULL, e);
        if (!s->trajectory)
            return -1;
    }
    if (!k->painter || k->height != r->height || k->width != r->width) {
        painter_close(k->painter);
        k->height = r->height;
        k->width = r->width;
        if (!(k->painter = painter_open(k->t, k->m, r->height, r->width, e)))
            return -1;
    }
    int64_t want = k->o->batch * trajectory_size(s->trajectory);
    if (want > k->room) {
        float *more = mem_resize(k->latents, (size_t)want, sizeof *more, e);
        if (!more)
            return -1;
        k->latents = more;
        k->room = want;
    }
    return 0;
}

/* ---- running ---- */

static struct exhibit exhibit_of(const struct job *x, const struct recipe *r)
{
    return (struct exhibit){x->path, x->out, r, x->image};
}

/* One picture from its latent. why: a failure of this job alone; e: of all. */
static int finish(struct kitchen *k, struct station *s, const struct job *x, const float *latent,
                  struct error *e)
{
    struct error why = {0};
    struct image picture = {0};
    char hash[HASH_HEX];
    struct exhibit exhibit = exhibit_of(x, &s->recipe);
    int status = painter_paint(k->painter, latent, &picture, &why);
    if (status == 0)
        status = gallery_put(k->o->gallery, &exhibit, &picture, hash, &why);
    image_free(&picture);
    if (status < 0 && is_everybodys(&why)) {
        *e = why;
        return -1;
    }
    if (status < 0)
        return failed(k, x, &why, e);
    k->done++;
    return report(k, x, "done", hash, NULL, e);
}

/* A batch; when it fails, each of its jobs alone, so that only the guilty ones fail. */
static int run_batch(struct kitchen *k, struct station *s, struct job *const *batch, int count,
                     struct error *e)
{
    struct trajectory_image images[64] = {{0}};
    struct error why = {0};
    for (int i = 0; i < count; i++) {
        const struct recipe_image *x = &batch[i]->image;
        images[i] = (struct trajectory_image){
            .seed = x->seed, .label = x->label, .has_negative = x->has_negative, .negative = x->negative};
    }
    if (trajectory_run(s->trajectory, images, count, k->latents, &why) < 0) {
        if (count == 1)
            return failed(k, batch[0], &why, e);
        for (int i = 0; i < count; i++)
            if (run_batch(k, s, batch + i, 1, e) < 0)
                return -1;
        return 0;
    }
    int64_t size = trajectory_size(s->trajectory);
    for (int i = 0; i < count; i++)
        if (finish(k, s, batch[i], k->latents + i * size, e) < 0)
            return -1;
    return 0;
}

/* All jobs of a wish fail alike. */
static int fail_all(struct kitchen *k, const struct recipe_wish *w, const struct error *why, struct error *e)
{
    for (int i = k->pending - 1; i > 0; i--)
        if (job_fits(&k->window[i].wish, w)) {
            if (failed(k, &k->window[i], why, e) < 0)
                return -1;
            drop(k, i);
        }
    int status = failed(k, &k->window[0], why, e);
    drop(k, 0);
    return status;
}

/* The oldest job and its like, as many as fit. Finished ones take no place. */
static int run_next(struct kitchen *k, struct error *e)
{
    struct job *batch[64];
    struct error why = {0};
    int count = 0, status = 0;
    struct recipe_wish w = k->window[0].wish;
    struct station *s = station_for(k, &w, &why);
    if (!s)
        return fail_all(k, &w, &why, e);
    for (int i = 0; status == 0 && i < k->pending && count < batch_of(k, &s->recipe); i++) {
        struct job *x = &k->window[i];
        if (!job_fits(&x->wish, &s->wish))
            continue;
        struct exhibit exhibit = exhibit_of(x, &s->recipe);
        int has = gallery_has(k->o->gallery, &exhibit, e);
        if (has < 0)
            return -1;
        x->taken = 1;
        if (!has) {
            batch[count++] = x;
            continue;
        }
        k->skipped++;
        status = report(k, x, "skipped", NULL, NULL, e);
    }
    if (status == 0 && count && ready(k, s, &why) < 0)
        for (int i = 0; status == 0 && i < count; i++)
            status = failed(k, batch[i], &why, e);
    else if (status == 0 && count)
        status = run_batch(k, s, batch, count, e);
    for (int i = k->pending - 1; i >= 0; i--)
        if (k->window[i].taken)
            drop(k, i);
    return status;
}

/* ---- the whole ---- */

static int open_kitchen(struct kitchen *k, struct error *e)
{
    if (k->o->batch > 64)
        return error_set(e, HASTEN_EUSAGE, "--batch %d: jobs run at most 64 at once", k->o->batch);
    k->most = 4 * k->o->batch > WINDOW_LEAST ? 4 * k->o->batch : WINDOW_LEAST;
    k->window = mem_array((size_t)k->most, sizeof *k->window, e);
    k->lines = k->window ? lines_open(k->o->path, JOB_LINE_MOST, e) : NULL;
    return k->lines ? 0 : -1;
}

static void close_kitchen(struct kitchen *k)
{
    while (k->pending)
        drop(k, k->pending - 1);
    mem_free(k->window);
    mem_free(k->latents);
    painter_close(k->painter);
    for (int i = 0; i < STATIONS; i++)
        clear(&k->station[i]);
    weights_close(k->weights);
    seen_free(&k->outs);
    lines_close(k->lines);
}

/* Counts into --report, a sentence with --verbose; failed jobs are an error at the end. */
static int sum_up(const struct kitchen *k, struct error *e)
{
    struct buf b = {0};
    cJSON *o = json_new_object(e);
    json_add_int(o, "done", k->done, e);
    json_add_int(o, "skipped", k->skipped, e);
    json_add_int(o, "failed", k->failed, e);
    int status = e->code ? -1 : 0;
    if (status == 0 && k->t->report)
        status = json_write(&b, o, e) < 0 || buf_text(&b, "\n", e) < 0
                     ? -1
                     : output_whole(k->t->report, 0, b.data, b.size, e);
    buf_free(&b);
    cJSON_Delete(o);
    if (status < 0)
        return -1;
    tool_note(k->t, "%lld done, %lld were there already, %lld failed", (long long)k->done,
              (long long)k->skipped, (long long)k->failed);
    return k->failed ? error_set(e, HASTEN_EFAIL, "%lld of %lld jobs failed", (long long)k->failed,
                                 (long long)(k->done + k->skipped + k->failed))
                     : 0;
}

int generate_jobs(struct tool_run *t, struct model *m, const struct jobs_options *o, struct error *e)
{
    struct kitchen k = {.t = t, .m = m, .o = o};
    int status = open_kitchen(&k, e);
    while (status == 0 && (status = fill_window(&k, e)) == 0 && k.pending)
        status = run_next(&k, e);
    tool_progress_end(t);
    if (status == 0)
        status = sum_up(&k, e);
    close_kitchen(&k);
    return status;
}
