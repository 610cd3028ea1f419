/* FORA (arXiv 2407.01425): the branches of all blocks are computed at the first call and whenever the number
 * of calls still to come is a multiple of "interval"; so the last call is computed. */
#include "common/base/json.h"
#include "common/run/foreign.h"

int foreign_fora(struct foreign *f, struct error *e)
{
    int64_t interval;
    int action;
    if (json_int(f->json, "interval", 1, f->s->calls, &interval, e) < 0 ||
        (action = foreign_serve(f, "blocks", e)) < 0)
        return -1;
    for (int t = 1; t < f->s->calls; t++)
        foreign_set(f, t, (f->s->calls - 1 - t) % interval ? action : 0);
    return 0;
}
