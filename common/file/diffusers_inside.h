/* What the parts of the diffusers reader and writer share; not for others. */
#ifndef HASTEN_FILE_DIFFUSERS_INSIDE_H
#define HASTEN_FILE_DIFFUSERS_INSIDE_H

#include "common/file/diffusers.h"

/* Where tensors of a file go. renamed: NULL, or gets "full name now": "name in the file" where they
 * differ. */
struct intake {
    struct model *m;
    const char *prefix;
    enum import_dtype dtype;
    cJSON *renamed;
};

int intake_file(const struct intake *to, const char *path, struct error *e) HASTEN_CHECKED;
/* The weight files of a component's folder, the full ones before the fp16 variant. */
int intake_folder(const struct intake *to, const char *folder, struct error *e) HASTEN_CHECKED;

#endif
