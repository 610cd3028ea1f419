/* Inside generate --jobs: one line of jobs. */
#ifndef HASTEN_TOOLS_JOBS_H
#define HASTEN_TOOLS_JOBS_H

#include "common/file/lines.h"
#include "tools/generate.h"

enum { JOB_LINE_MOST = 1 << 16 };

struct job {
    int64_t number, line; /* of the jobs from 0, of the file from 1 */
    struct recipe_wish wish;
    char *schedule, *size, *sampler; /* the wish's own strings; NULL where it has the command line's */
    char *out, *path;                /* as given; with the folder */
    int taken;
    struct recipe_image image;
};

/* number and line are set; the rest is filled from a JSON object and from the command line where the object
 * is silent. HASTEN_EFILE with the reason; what was set is to be freed in every case. */
int job_read(struct job *x, const struct line *text, const struct jobs_options *o, const struct model *m,
             uint64_t seed, struct error *e) HASTEN_CHECKED;
void job_free(struct job *x);

/* Can they be in one batch? */
int job_fits(const struct recipe_wish *a, const struct recipe_wish *b);

#endif
