/* See sums.h; sums_file.c has the file. */
#include "common/file/sums.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/file/output.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

/* Numbers that an array has in a record of so many images. */
static size_t numbers(const struct sum_array *a, int64_t images)
{
    size_t n = a->rule == SUM_JOIN ? (size_t)images : 1;
    for (int i = 0; i < a->rank; i++)
        n *= (size_t)a->shape[i];
    return n;
}

int sums_open(struct sums *s, cJSON *head, int64_t total, int64_t unit, const struct sum_array *array,
              int arrays, struct error *e)
{
    *s = (struct sums){.head = head, .total = total, .unit = unit};
    s->array = head ? mem_array((size_t)arrays + 1, sizeof *s->array, e) : NULL;
    for (int i = 0; s->array && i < arrays; i++) {
        s->array[i] = array[i];
        s->array[i].name = mem_strdup(array[i].name, e);
        s->arrays++;
        if (!s->array[i].name)
            break;
    }
    if (s->array && (arrays == 0 || s->array[arrays - 1].name) && s->arrays == arrays)
        return 0;
    sums_free(s);
    return -1;
}

static void record_free(const struct sums *s, struct sum_record *r)
{
    for (int i = 0; r->data && i < s->arrays; i++)
        mem_free(r->data[i]);
    mem_free(r->data);
    *r = (struct sum_record){0};
}

void sums_free(struct sums *s)
{
    for (int i = 0; i < s->records; i++)
        record_free(s, &s->record[i]);
    for (int i = 0; i < s->arrays; i++)
        mem_free((void *)s->array[i].name);
    mem_free(s->record);
    mem_free(s->array);
    cJSON_Delete(s->head);
    *s = (struct sums){0};
}

struct sum_range sums_range(const struct sums *s, const struct shard *shard)
{
    int64_t units = (s->total + s->unit - 1) / s->unit;
    int64_t begin = units * shard->index / shard->count * s->unit;
    int64_t end = units * (shard->index + 1) / shard->count * s->unit;
    return (struct sum_range){begin < s->total ? begin : s->total, end < s->total ? end : s->total};
}

int64_t sums_next(const struct sums *s, int64_t begin)
{
    return s->records ? s->record[s->records - 1].end : begin;
}

/* Room for one record more. */
static int make_room(struct sums *s, struct error *e)
{
    if (s->records < s->room)
        return 0;
    int room = s->room ? 2 * s->room : 4;
    struct sum_record *more = mem_array((size_t)room, sizeof *more, e);
    if (!more)
        return -1;
    if (s->records)
        memcpy(more, s->record, (size_t)s->records * sizeof *more);
    mem_free(s->record);
    s->record = more;
    s->room = room;
    return 0;
}

struct sum_record *sums_begin(struct sums *s, int64_t image, struct error *e)
{
    struct sum_record *last = s->records ? &s->record[s->records - 1] : NULL;
    if (last && last->end == image && image % s->unit)
        return last;
    if (image % s->unit || (last && last->end != image)) {
        error_set(e, HASTEN_EFAIL, "image %lld does not follow what was measured", (long long)image);
        return NULL;
    }
    if (make_room(s, e) < 0)
        return NULL;
    struct sum_record *r = &s->record[s->records];
    *r = (struct sum_record){.begin = image, .end = image};
    if (!(r->data = mem_array((size_t)s->arrays + 1, sizeof *r->data, e)))
        return NULL;
    s->records++;
    for (int i = 0; i < s->arrays; i++)
        if (!(r->data[i] = mem_array(numbers(&s->array[i], s->unit), dtype_size(s->array[i].dtype), e))) {
            record_free(s, r);
            s->records--;
            return NULL;
        }
    return r;
}

/* ---- adding up ---- */

static void add(const struct sum_array *a, void *to, const void *from)
{
    size_t n = numbers(a, 1);
    for (size_t i = 0; a->dtype == DTYPE_F64 && i < n; i++)
        ((double *)to)[i] += ((const double *)from)[i];
    for (size_t i = 0; a->dtype == DTYPE_I64 && i < n; i++)
        ((int64_t *)to)[i] += ((const int64_t *)from)[i];
    for (size_t i = 0; a->dtype == DTYPE_F32 && a->rule == SUM_ADD && i < n; i++)
        ((float *)to)[i] += ((const float *)from)[i];
    for (size_t i = 0; a->dtype == DTYPE_F32 && a->rule == SUM_LARGEST && i < n; i++)
        ((float *)to)[i] = fmaxf(((const float *)to)[i], ((const float *)from)[i]);
}

/* Record `at` + 1 into record `at`. */
static int fold_pair(struct sums *s, int at, struct error *e)
{
    struct sum_record *a = &s->record[at], *b = a + 1;
    for (int i = 0; i < s->arrays; i++) { /* what can fail comes before anything is changed */
        const struct sum_array *x = &s->array[i];
        size_t size = dtype_size(x->dtype), here = numbers(x, a->end - a->begin),
               there = numbers(x, b->end - b->begin);
        if (x->rule != SUM_JOIN)
            continue;
        char *both = mem_array(here + there, size, e);
        if (!both)
            return -1;
        memcpy(both, a->data[i], here * size);
        memcpy(both + here * size, b->data[i], there * size);
        mem_free(a->data[i]);
        a->data[i] = both;
    }
    for (int i = 0; i < s->arrays; i++)
        if (s->array[i].rule != SUM_JOIN)
            add(&s->array[i], a->data[i], b->data[i]);
    a->end = b->end;
    record_free(s, b);
    s->records--;
    memmove(b, b + 1, (size_t)(s->records - at - 1) * sizeof *b);
    return 0;
}

int sums_end(struct sums *s, struct error *e)
{
    struct sum_record *last = &s->record[s->records - 1];
    last->end++;
    return s->records == 2 && s->record[0].begin == 0 && last->end % s->unit == 0 ? fold_pair(s, 0, e) : 0;
}

int sums_fold(struct sums *s, struct error *e)
{
    int64_t begin = s->records ? s->record[0].begin : s->total, end = sums_next(s, begin);
    if (begin > 0 || end < s->total)
        return error_set(e, HASTEN_EFILE, "image %lld of %lld was not measured",
                         begin > 0 ? 0LL : (long long)end, (long long)s->total);
    while (s->records > 1)
        if (fold_pair(s, 0, e) < 0)
            return -1;
    return 0;
}

/* ---- parts ---- */

static const struct sum_array *find_array(const struct sums *s, const char *name)
{
    for (int i = 0; i < s->arrays; i++)
        if (!strcmp(s->array[i].name, name))
            return &s->array[i];
    return NULL;
}

/* The same thing was measured: sums that differ are those of another version of the program. */
static int same_arrays(const struct sums *a, const struct sums *b, const char *name, struct error *e)
{
    static const char version[] = "it is of another version of this program, measure again:";
    for (int i = 0; i < a->arrays || i < b->arrays; i++) {
        const struct sum_array *p = i < a->arrays ? &a->array[i] : NULL,
                               *q = i < b->arrays ? &b->array[i] : NULL;
        if (q && !find_array(a, q->name))
            return error_set(e, HASTEN_EFILE, "%s it has no sums '%s', %s has", version, q->name, name);
        if (p && !find_array(b, p->name))
            return error_set(e, HASTEN_EFILE, "%s it has sums '%s', %s has not", version, p->name, name);
        if (!p || !q || strcmp(p->name, q->name) || p->rule != q->rule || p->dtype != q->dtype ||
            p->rank != q->rank || memcmp(p->shape, q->shape, (size_t)p->rank * sizeof *p->shape))
            return error_set(e, HASTEN_EFILE, "%s its sums '%s' are not like those of %s", version,
                             p ? p->name : q->name, name);
    }
    return a->unit == b->unit ? 0
                              : error_set(e, HASTEN_EFILE, "%s its records have %lld images, in %s %lld",
                                          version, (long long)a->unit, name, (long long)b->unit);
}

int sums_match(const struct sums *a, const struct sums *b, const char *name, int total, struct error *e)
{
    const cJSON *x;
    cJSON_ArrayForEach(x, a->head)
    {
        const cJSON *y = json_get(b->head, x->string);
        if (y && cJSON_Compare(x, y, 1))
            continue;
        struct buf here = {0}, there = {0};
        if (json_write(&here, x, e) == 0 && (!y || json_write(&there, y, e) == 0))
            error_set(e, HASTEN_EFILE, "it is of another measurement: '%s' is %.*s, in %s %.*s", x->string,
                      (int)here.size, here.data, name, y ? (int)there.size : 7, y ? there.data : "missing");
        buf_free(&here);
        buf_free(&there);
        return -1;
    }
    if (total && a->total != b->total)
        return error_set(e, HASTEN_EFILE, "it is of another measurement: it has %lld images, %s %lld",
                         (long long)a->total, name, (long long)b->total);
    return same_arrays(a, b, name, e);
}

/* Put the records of b behind those of a, and fold what is a whole beginning. */
static int append(struct sums *a, struct sums *b, struct error *e)
{
    for (int i = 0; i < b->records; i++) {
        if (make_room(a, e) < 0)
            return -1;
        a->record[a->records++] = b->record[i];
        b->record[i] = (struct sum_record){0};
        if (a->records == 2 && a->record[0].begin == 0 && a->record[0].end % a->unit == 0 &&
            a->record[1].end % a->unit == 0 && fold_pair(a, 0, e) < 0)
            return -1;
    }
    return 0;
}

int sums_resume(struct sums *s, const char *path, const char *kind, struct sum_range range, int total,
                size_t memory, struct team *team, struct error *e)
{
    struct sums old = {0};
    struct stat about;
    if (output_is_stdout(path) || stat(path, &about) < 0 || !S_ISREG(about.st_mode))
        return 0;
    if (sums_read(&old, path, kind, 1, memory, team, e) < 0)
        return -1;
    int status = sums_match(&old, s, "this run", total, e);
    if (status == 0 && old.records && (old.record[0].begin != range.begin || sums_next(&old, 0) > range.end))
        status =
            error_set(e, HASTEN_EFILE, "it is another part: it begins with image %lld, this one with %lld",
                      (long long)old.record[0].begin, (long long)range.begin);
    if (status < 0)
        error_under(e, "%s is there already, remove it or choose another name", path);
    else
        status = append(s, &old, e);
    sums_free(&old);
    return status;
}

/* The part that begins first of those that have something and were not taken; -1: none. */
static int first_of(const struct sums *part, int parts, const unsigned char *taken)
{
    int at = -1;
    for (int i = 0; i < parts; i++)
        if (part[i].records && !taken[i] && (at < 0 || part[i].record[0].begin < part[at].record[0].begin))
            at = i;
    return at;
}

/* Heads are known, numbers are read file by file, in the order of the images. */
static int join(struct sums *s, struct sums *part, const char *const *path, int parts, unsigned char *taken,
                const char *kind, size_t memory, struct team *team, struct error *e)
{
    int64_t next = 0;
    for (int before = -1, at; next < s->total || first_of(part, parts, taken) >= 0; before = at) {
        at = first_of(part, parts, taken);
        int64_t begin = at < 0 ? s->total : part[at].record[0].begin;
        if (begin > next)
            return error_set(e, HASTEN_EFILE, "images %lld to %lld of %lld are in none of the %d files",
                             (long long)next, (long long)begin - 1, (long long)s->total, parts);
        if (begin < next)
            return error_set(e, HASTEN_EFILE, "%s: image %lld is in %s as well", path[at], (long long)begin,
                             path[before]);
        taken[at] = 1;
        next = sums_next(&part[at], 0);
        sums_free(&part[at]);
        if (sums_read(&part[at], path[at], kind, 1, memory, team, e) < 0)
            return -1;
        if (sums_match(&part[at], s, "the first file", 1, e) < 0 || sums_next(&part[at], 0) != next)
            return error_set(e, HASTEN_EFILE, "%s has changed while it was read", path[at]);
        if (append(s, &part[at], e) < 0)
            return -1;
    }
    return 0;
}

int sums_merge(struct sums *s, const char *const *path, int parts, const char *kind, size_t memory,
               struct team *team, struct error *e)
{
    struct sums *part = mem_array((size_t)parts + 1, sizeof *part, e);
    unsigned char *taken = mem_array((size_t)parts + 1, 1, e);
    int status = part && taken ? 0 : -1;
    *s = (struct sums){0};
    for (int i = 0; status == 0 && i < parts; i++) {
        status = sums_read(&part[i], path[i], kind, 0, memory, team, e);
        if (status == 0 && i && sums_match(&part[i], &part[0], path[0], 1, e) < 0)
            status = error_in(e, path[i]);
    }
    if (status == 0)
        status = sums_open(s, json_copy(part[0].head, e), part[0].total, part[0].unit, part[0].array,
                           part[0].arrays, e);
    if (status == 0)
        status = join(s, part, path, parts, taken, kind, memory, team, e);
    for (int i = 0; part && i < parts; i++)
        sums_free(&part[i]);
    mem_free(part);
    mem_free(taken);
    if (status < 0)
        sums_free(s);
    return status;
}
