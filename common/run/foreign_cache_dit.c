/* cache-dit's step masks: "steps_computation_mask", a 0 or 1 for each call (1: computed), as a list or a
 * string of digits. */
#include "common/base/json.h"
#include "common/run/foreign.h"

#include <string.h>

static int read_digits(struct foreign *f, const char *digits, int action, struct error *e)
{
    if (strlen(digits) != (size_t)f->s->calls || strspn(digits, "01") != (size_t)f->s->calls)
        return error_set(e, HASTEN_EFILE, "steps_computation_mask must be %d digits of 0 and 1", f->s->calls);
    for (int t = 0; t < f->s->calls; t++)
        foreign_set(f, t, digits[t] == '1' ? 0 : action);
    return 0;
}

int foreign_cache_dit(struct foreign *f, struct error *e)
{
    const cJSON *mask = json_get(f->json, "steps_computation_mask");
    int64_t *bits = NULL;
    size_t count = 0;
    int action = foreign_serve(f, "span", e), status = action < 0 ? -1 : 0;
    if (status == 0 && cJSON_IsString(mask)) {
        status = read_digits(f, mask->valuestring, action, e);
    } else if (status == 0) {
        status = json_get_ints(f->json, "steps_computation_mask", 0, 1, &bits, &count, e);
        if (status == 0 && count != (size_t)f->s->calls)
            status =
                error_set(e, HASTEN_EFILE, "steps_computation_mask has %zu numbers, the trajectory %d calls",
                          count, f->s->calls);
        for (size_t t = 0; status == 0 && t < count; t++)
            foreign_set(f, (int)t, bits[t] ? 0 : action);
        mem_free(bits);
    }
    if (status == 0 && f->s->choice[0][0])
        return error_set(e, HASTEN_EFILE, "the first call must be computed");
    return status;
}
