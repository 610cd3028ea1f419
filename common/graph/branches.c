/* See branches.h. */
#include "common/graph/branches.h"
#include "common/graph/ops.h"

#include <ctype.h>
#include <string.h>

static int same(struct shape a, struct shape b)
{
    return a.kind == b.kind && a.height == b.height && a.width == b.width && a.channels == b.channels;
}

/* The edge before a gate and a constant factor. */
static int before_gate(const struct graph *g, int node)
{
    const struct node *n = &g->node[node];
    int gate =
        node_is(n, "mul") && g->node[n->in[1]].shape.kind == VALUE_VECTOR && n->shape.kind != VALUE_VECTOR;
    return gate || node_is(n, "scale") ? before_gate(g, n->in[0]) : node;
}

/* The length of the module path up to and with the last number that stands alone before a part's name:
 * "transformer_blocks.3.attn1.x" -> "transformer_blocks.3", "down_blocks.0.resnets.1.conv2" ->
 * "...resnets.1". */
static size_t block_path(const char *name)
{
    size_t best = strlen(name);
    int found = 0;
    for (size_t i = 0; name[i]; i++) {
        size_t digits = 0;
        if (name[i] != '.')
            continue;
        while (isdigit((unsigned char)name[i + 1 + digits]))
            digits++;
        if (digits == 0 || (name[i + 1 + digits] != '.' && name[i + 1 + digits]))
            continue;
        best = i + 1 + digits;
        found++;
        /* One more level only for "blocks.I.parts.J". */
        const char *part = name + best;
        size_t word = *part == '.' ? strcspn(part + 1, ".") : 0;
        if (found == 2 || !word || part[word] != 's')
            break;
    }
    return best;
}

/* marks[i]: reached backwards from `from`, not going behind `stop`. 1 when stop was reached. */
static int reaches(const struct graph *g, int from, int stop, unsigned char *marks, int *attention)
{
    int found = 0;
    memset(marks, 0, (size_t)g->count);
    marks[from] = 1;
    *attention = 0;
    for (int i = from; i > stop; i--) {
        if (!marks[i])
            continue;
        *attention |= node_is(&g->node[i], "attention");
        for (int j = 0; j < g->node[i].inputs; j++) {
            if (!node_reads(&g->node[i], j))
                continue;
            found |= g->node[i].in[j] == stop;
            marks[g->node[i].in[j]] = 1;
        }
    }
    return found;
}

static int find_branch(const struct graph *g, int add, unsigned char *marks, struct branch *b)
{
    const struct node *n = &g->node[add];
    if (!node_is(n, "add") || !same(g->node[n->in[0]].shape, g->node[n->in[1]].shape) ||
        n->shape.kind == VALUE_VECTOR)
        return 0;
    for (int side = 0; side < 2; side++) {
        int skip = n->in[side], end = n->in[1 - side], attention;
        if (skip < end && reaches(g, end, skip, marks, &attention)) {
            *b = (struct branch){
                .add = add, .skip = skip, .value = before_gate(g, end), .attention = attention};
            return b->value > skip;
        }
    }
    return 0;
}

int graph_branches(const struct graph *g, struct branch_list *list, struct error *e)
{
    unsigned char *marks = mem_array((size_t)g->count + 1, 1, e);
    *list = (struct branch_list){.branch = mem_array((size_t)g->count + 1, sizeof *list->branch, e)};
    if (!marks || !list->branch) {
        mem_free(marks);
        mem_free(list->branch);
        list->branch = NULL;
        return -1;
    }
    for (int i = 0; i < g->count; i++) {
        struct branch *b = &list->branch[list->count];
        if (!find_branch(g, i, marks, b))
            continue;
        const char *name = g->node[b->value].name;
        size_t path = block_path(name);
        const char *before = list->count ? g->node[b[-1].value].name : "";
        int follows = list->count && block_path(before) == path && !memcmp(before, name, path);
        b->block = follows ? b[-1].block : list->blocks++;
        list->count++;
    }
    mem_free(marks);
    return 0;
}

int graph_joints(const struct graph *g, int *node, int room)
{
    int count = 0;
    for (int i = 0; i < g->count && count < room; i++) {
        const struct node *n = &g->node[i];
        if (node_is(n, "concat") && n->inputs == 2 && (int)node_attr(n, "axis") == AXIS_CHANNELS &&
            n->shape.kind == VALUE_IMAGE && n->in[0] > n->in[1])
            node[count++] = n->in[0];
    }
    return count;
}
