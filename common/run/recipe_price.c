/* What a trajectory costs by a profile's prices. See recipe.h. */
#include "common/run/profile.h"
#include "common/run/recipe.h"

#include <stdio.h>

int recipe_price(const struct recipe *r, const struct trajectory *t, const char *profile, double *ms,
                 struct error *e)
{
    struct candidate *list = mem_array(SCHEDULE_MAX_ACTIONS, sizeof *list, e);
    double price[SCHEDULE_MAX_ACTIONS + 1];
    int actions = r->has_schedule ? r->schedule.actions : 1, calls = trajectory_calls(t);
    const char *id = model_id(r->model);
    int guided = r->guidance != 1 && r->model->sampler.null_class >= 0;
    if (!list)
        return -1;
    for (int a = 1; a < actions; a++)
        snprintf(list[a - 1].name, sizeof list[a - 1].name, "%s",
                 r->schedule.action[a].difference ? "output" : r->schedule.action[a].name);
    int status = profile_prices(profile, id ? id : "", list, actions - 1, 1, price, e);
    mem_free(list);
    *ms = 0;
    for (int c = 0; status == 0 && c < calls; c++)
        for (int s = 0; s <= guided; s++)
            *ms += price[r->has_schedule ? r->schedule.choice[s][c] : 0];
    return status;
}
