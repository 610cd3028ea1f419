/* One profile of several of the same model on machines of one kind: what was measured is the median over
 * them, what the model and the machine say must be the same.
 *
 *     cJSON *j = profile_merge(paths, 3, e);           // the metadata of a profile; cJSON_Delete
 *
 * Medians of an even number are the mean of the middle two; the order of the files does not matter, and
 * samples (of profile --learn) are left out. HASTEN_EFILE names the file and what differs: "kernels[3].node".
 */
#ifndef HASTEN_RUN_PROFILE_MERGE_H
#define HASTEN_RUN_PROFILE_MERGE_H

#include "common/base/error.h"
#include <cjson/cJSON.h>

cJSON *profile_merge(const char *const *path, int count, struct error *e) HASTEN_CHECKED;

#endif
