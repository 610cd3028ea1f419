/* DeepCache (arXiv 2312.00858): cache_interval, cache_branch_id; uniform, or with "uniform": false the
 * quadratic schedule with pow and center. */
#include "common/base/json.h"
#include "common/method/schedule.h"
#include "common/run/foreign.h"

static int set_quadratic(struct foreign *f, int64_t interval, int action, struct error *e)
{
    int64_t center;
    double power;
    size_t n = (size_t)f->s->calls;
    if (json_int_or(f->json, "center", 0, f->s->calls - 1, 0, &center, e) < 0 ||
        json_double_or(f->json, "pow", 1, 100, 1.4, &power, e) < 0)
        return -1;
    double *ms = mem_array(2 * n, sizeof *ms, e), *error = mem_array(2 * n, n * sizeof *error, e);
    struct schedule_problem p = {.calls = f->s->calls, .actions = 2, .ms = ms, .error = error, .serve = 1};
    struct schedule found = {0};
    p.interval = (int)interval;
    p.center = (int)center;
    p.power = power;
    int status = ms && error ? schedule_solver_find("power")->run(&p, &found, e) : -1;
    for (int t = 0; status == 0 && t < f->s->calls; t++)
        foreign_set(f, t, found.action[t] ? action : 0);
    schedule_free(&found);
    mem_free(error);
    mem_free(ms);
    return status;
}

int foreign_deepcache(struct foreign *f, struct error *e)
{
    int64_t interval;
    int uniform, action;
    if (json_int(f->json, "cache_interval", 1, f->s->calls, &interval, e) < 0 ||
        json_bool_or(f->json, "uniform", 1, &uniform, e) < 0 || (action = foreign_serve(f, "blocks", e)) < 0)
        return -1;
    if (!uniform)
        return set_quadratic(f, interval, action, e);
    for (int t = 0; t < f->s->calls; t++)
        foreign_set(f, t, t % interval ? action : 0);
    return 0;
}
