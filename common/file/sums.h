/* Sums over numbered images that can be measured in parts: what is added for an image goes to the record of
 * its unit (a fixed number of images), and records are added up in the order of the images, so that the
 * result has the same bytes however the images were split over processes and however often those were
 * stopped.
 *
 *     struct sums s = {0};
 *     sums_open(&s, head, 12, 4, arrays, n, e);            // 12 images, records of 4; head becomes its own
 *     for (int64_t i = range.begin; i < range.end; i++) {
 *         struct sum_record *r = sums_begin(&s, i, e);     // r->data[k]: add to it in place
 *         ...
 *         sums_end(&s, e);
 *     }
 *     sums_write(&s, "part-0.zst", "calibration", team, e);
 *
 *     sums_merge(&s, paths, parts, "calibration", memory, team, e);
 *     sums_fold(&s, e);                                    // all in s.record[0]
 *
 * Records that begin at image 0 and are whole are folded as they come, so one process holds at most two and a
 * part that begins later one for each unit. A part is a range of whole units. The file is
 * hasten-calibration(5). */
#ifndef HASTEN_FILE_SUMS_H
#define HASTEN_FILE_SUMS_H

#include "common/base/shard.h"
#include "common/base/team.h"
#include "common/file/tensor.h"
#include <cjson/cJSON.h>

enum sum_rule {
    SUM_ADD,
    SUM_LARGEST,
    SUM_JOIN, /* a row for each image, one behind the other */
    SUM_RULES
};

enum { SUM_RANK = 4 };

struct sum_array {
    const char *name;
    enum sum_rule rule;
    enum dtype dtype; /* F32, F64 or I64 */
    int rank;
    int64_t shape[SUM_RANK]; /* SUM_JOIN: of one image */
};

struct sum_record {
    int64_t begin, end; /* images in it */
    void **data;        /* [arrays] */
};

struct sums {
    cJSON *head;   /* what was measured of what: the same in all parts */
    int64_t total; /* images of the whole */
    int64_t unit;
    struct sum_array *array;
    int arrays;
    struct sum_record *record; /* in the order of the images, without gaps */
    int records, room;
};

/* s must be empty; arrays are copied. head is taken over in every case, NULL: passes the failure through. */
int sums_open(struct sums *s, cJSON *head, int64_t total, int64_t unit, const struct sum_array *array,
              int arrays, struct error *e) HASTEN_CHECKED;
void sums_free(struct sums *s);

struct sum_range {
    int64_t begin, end;
};
/* The images of a shard: whole units, contiguous. */
struct sum_range sums_range(const struct sums *s, const struct shard *shard);
/* Go on from the file of a run that was stopped, where there is one: its records become those of s, which has
 * none. HASTEN_EFILE: it is of another measurement (total: or of another number of images) or of other
 * images. */
int sums_resume(struct sums *s, const char *path, const char *kind, struct sum_range range, int total,
                size_t memory, struct team *team, struct error *e) HASTEN_CHECKED;
/* Where to go on: the image behind the last record, `begin` where there is none. */
int64_t sums_next(const struct sums *s, int64_t begin);

/* The record of an image, which must be the one behind the last or the first of a unit. It is good until
 * sums_end. */
struct sum_record *sums_begin(struct sums *s, int64_t image, struct error *e) HASTEN_CHECKED;
int sums_end(struct sums *s, struct error *e) HASTEN_CHECKED;

/* All records into the first. HASTEN_EFILE: images are missing. */
int sums_fold(struct sums *s, struct error *e) HASTEN_CHECKED;

int sums_write(const struct sums *s, const char *path, const char *kind, struct team *team,
               struct error *e) HASTEN_CHECKED;
/* Everything is checked, but not whether the arrays are those that the caller expects: see sums_match. load
 * 0: without the numbers, data of records is NULL. */
int sums_read(struct sums *s, const char *path, const char *kind, int load, size_t memory, struct team *team,
              struct error *e) HASTEN_CHECKED;
/* HASTEN_EFILE with what differs: head, unit, arrays, and total where it counts. name: of b, for the message.
 */
int sums_match(const struct sums *a, const struct sums *b, const char *name, int total,
               struct error *e) HASTEN_CHECKED;
/* Parts in any order. HASTEN_EFILE names the file, and the images that are missing or there twice. */
int sums_merge(struct sums *s, const char *const *path, int parts, const char *kind, size_t memory,
               struct team *team, struct error *e) HASTEN_CHECKED;

#endif
