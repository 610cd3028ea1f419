/* TeaCache (arXiv 2411.19108): the relative change of the first block's modulated input between calls,
 * through the polynomial "coefficients" (highest power first), adds up; calls are served while the sum is
 * below "rel_l1_thresh". The first and the last call are computed. "node" names another signal; "input" is
 * the latent. */
#include "common/base/json.h"
#include "common/run/foreign.h"

#include <string.h>

static const char *first_modulated(const struct graph *g)
{
    for (int i = 0; i < g->count; i++)
        if (node_is(&g->node[i], "modulate"))
            return g->node[i].name;
    return "input";
}

int foreign_teacache(struct foreign *f, struct error *e)
{
    struct trigger_rule *rule = &f->s->trigger;
    const char *node;
    double *terms = NULL;
    size_t n = 0;
    int64_t first, last;
    int action = foreign_serve(f, "span", e);
    if (action < 0 || json_string_or(f->json, "node", first_modulated(f->g), &node, e) < 0 ||
        json_double(f->json, "rel_l1_thresh", 0, 1e6, &rule->threshold, e) < 0 ||
        json_int_or(f->json, "first", 1, 1000000, 1, &first, e) < 0 ||
        json_int_or(f->json, "last", 0, 1000000, 1, &last, e) < 0 ||
        (json_get(f->json, "coefficients") &&
         json_get_doubles(f->json, "coefficients", -1e30, 1e30, &terms, &n, e) < 0))
        return -1;
    rule->signal = strcmp(node, "input") ? TRIGGER_NODE : TRIGGER_INPUT;
    rule->sum = 1;
    rule->terms = (int)n;
    int status = n > TRIGGER_TERMS || strlen(node) >= sizeof rule->node
                     ? error_set(e, HASTEN_EFILE, "too many coefficients, or too long a name")
                     : 0;
    if (status == 0 && n)
        memcpy(rule->polynomial, terms, n * sizeof *terms);
    if (status == 0 && rule->signal == TRIGGER_NODE)
        memcpy(rule->node, node, strlen(node) + 1);
    mem_free(terms);
    foreign_set_between(f, (int)first, (int)last, action);
    return status;
}
