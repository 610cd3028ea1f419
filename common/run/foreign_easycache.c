/* EasyCache (arXiv 2507.02860): after "ret_steps" computed calls (10), calls are served while the expected
 * change of the output, from the change of the input and the last known ratio between the two, adds up to
 * less than "thresh". */
#include "common/base/json.h"
#include "common/run/foreign.h"

int foreign_easycache(struct foreign *f, struct error *e)
{
    struct trigger_rule *rule = &f->s->trigger;
    int64_t first, last;
    int action = foreign_serve(f, "output", e);
    if (action < 0 || json_double(f->json, "thresh", 0, 1e6, &rule->threshold, e) < 0 ||
        json_int_or(f->json, "ret_steps", 1, 1000000, 10, &first, e) < 0 ||
        json_int_or(f->json, "last", 0, 1000000, 1, &last, e) < 0)
        return -1;
    rule->signal = TRIGGER_RATIO;
    rule->sum = 1;
    foreign_set_between(f, (int)first, (int)last, action);
    return 0;
}
