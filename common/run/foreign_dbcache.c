/* DBCache of cache-dit: the first Fn_compute_blocks blocks are always computed; when what they give has
 * changed by less than residual_diff_threshold since the last computed call, the blocks up to the last
 * Bn_compute_blocks are served as the difference that they made. max_warmup_steps calls are computed first,
 * and at most max_continuous_cached_steps are served in a row (0: any number). */
#include "common/base/json.h"
#include "common/run/foreign.h"

#include <stdio.h>

int foreign_dbcache(struct foreign *f, struct error *e)
{
    struct trigger_rule *rule = &f->s->trigger;
    int64_t front, back, warmup, run;
    int base, action;
    if (json_int_or(f->json, "Fn_compute_blocks", 1, 100000, 1, &front, e) < 0 ||
        json_int_or(f->json, "Bn_compute_blocks", 0, 100000, 0, &back, e) < 0 ||
        json_int_or(f->json, "max_warmup_steps", 1, 1000000, 1, &warmup, e) < 0 ||
        json_int_or(f->json, "max_continuous_cached_steps", 0, 1000000, 0, &run, e) < 0 ||
        json_double(f->json, "residual_diff_threshold", 0, 1e6, &rule->threshold, e) < 0 ||
        (action = foreign_serve_span(f, (int)front, (int)back, &base, e)) < 0)
        return -1;
    rule->signal = TRIGGER_NODE;
    rule->computed = 1;
    rule->max_run = (int)run;
    snprintf(rule->node, sizeof rule->node, "%s", f->g->node[base].name);
    foreign_set_between(f, (int)warmup, 0, action);
    return 0;
}
