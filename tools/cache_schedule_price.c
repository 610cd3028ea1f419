/* Milliseconds of cache-schedule's actions: from a profile, or timed here. */
#include "tools/cache_schedule.h"

#include "common/run/profile.h"

#include <string.h>

static int streams(const struct work *w) { return w->measure.guidance != 1 ? 2 : 1; }

/* Milliseconds of another machine are worth a word. */
static int look_at_profile(struct work *w, struct error *e)
{
    struct profile_machine m;
    const char *level = cpu_level_name(w->t->kernels->level);
    int threads = team_size(w->t->team);
    if (profile_machine(w->o->profile, &m, e) < 0)
        return -1;
    if (m.threads != threads || strcmp(m.level, level))
        tool_warn(w->t,
                  "%s was made with %d threads at %s, this is %d at %s: its milliseconds may not hold here",
                  w->o->profile, m.threads, m.level, threads, level);
    return 0;
}

int schedule_price_actions(struct work *w, int must, struct error *e)
{
    double ms[CANDIDATES + 1];
    int all = w->candidates + w->wides, missing = !w->o->profile;
    if (w->o->profile &&
        (profile_known_prices(w->o->profile, model_id(&w->m), w->list, all, streams(w), w->ms, e) < 0 ||
         look_at_profile(w, e) < 0))
        return -1;
    for (int i = 1; i <= all && w->o->profile; i++) {
        if (w->ms[i] == 0 && i <= must)
            return error_set(e, HASTEN_EFILE,
                             "%s: the profile has no time for the action '%s'; make it again", w->o->profile,
                             w->list[i - 1].name);
        missing |= w->ms[i] == 0;
    }
    if (!missing)
        return 0;
    struct timing t = {.graph = w->g, .weights = w->weights, .batch = streams(w), .repeats = 3};
    struct timed *x = timed_open(&t, w->list, all, e);
    int status = x ? timed_all(x, all, 4, ms, e) : -1;
    timed_close(x);
    for (int i = 0; i <= all && status == 0; i++)
        if (!w->o->profile || w->ms[i] == 0)
            w->ms[i] = w->o->profile ? w->ms[0] * ms[i] / ms[0] : ms[i];
    return status;
}

int schedule_price_one(struct work *w, struct error *e)
{
    if (streams(w) == 1)
        return error_set(e, HASTEN_EUSAGE, "--streams split: without guidance there is one stream");
    w->one_ms = w->ms[0] / 2;
    if (w->o->profile)
        return 0;
    struct timing t = {.graph = w->g, .weights = w->weights, .batch = 1, .repeats = 3};
    struct timed *x = timed_open(&t, w->list, 0, e);
    int status = x ? timed_all(x, 0, 4, &w->one_ms, e) : -1;
    timed_close(x);
    return status;
}
