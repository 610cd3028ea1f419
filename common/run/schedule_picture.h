/* A choice of schedules as a picture: milliseconds against error, and the calls of the one that was taken.
 *
 *     struct picture_point p[] = {{9.5, 0.02, "2.0x dp, two", 1}, {6.1, 0.05, "3.1x dp, two", 0}};
 *     if (schedule_picture(&svg, &s, "model.zst", 19, p, 2, 0, e) < 0) ...
 *
 * Errors are on a logarithmic axis; points of no error stand on its lower end. Labels that would cover others
 * are left out, that of a chosen point is not; each point says all as its tooltip. */
#ifndef HASTEN_RUN_SCHEDULE_PICTURE_H
#define HASTEN_RUN_SCHEDULE_PICTURE_H

#include "common/base/buf.h"
#include "common/run/cache_schedule.h"

struct picture_point {
    double ms, error;
    char label[64];
    int chosen;
};

/* s: its calls, a row for each stream that differs. full_ms: of the axis. line: the points are a front,
 * fastest first.
 */
int schedule_picture(struct buf *out, const struct cache_schedule *s, const char *title, double full_ms,
                     const struct picture_point *point, int points, int line, struct error *e) HASTEN_CHECKED;

#endif
