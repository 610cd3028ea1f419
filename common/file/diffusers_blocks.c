/* See diffusers_blocks.h. */
#include "common/file/diffusers_blocks.h"
#include "common/base/json.h"

#include <stdlib.h>
#include <string.h>

/* The digits of a block's number in a module path or a tensor's name (which has the component before it);
 * NULL: it is of no block. */
static const char *number_in(const char *module, const char *name)
{
    size_t n = strlen(module);
    const char *at = name;
    for (; at; at = (at = strchr(at, '.')) ? at + 1 : NULL)
        if (!strncmp(at, module, n) && at[n] == '.' && at[n + 1] >= '0' && at[n + 1] <= '9')
            return at + n + 1;
    return NULL;
}

static void mark_blocks(const struct graph *g, const char *module, unsigned char *there, int blocks)
{
    for (int i = 0; i < g->count; i++) {
        const char *digits = number_in(module, g->node[i].name);
        long block = digits ? strtol(digits, NULL, 10) : blocks;
        if (block < blocks)
            there[block] = 1;
    }
}

int block_map_open(struct block_map *m, const struct family *f, const cJSON *config,
                   const struct graph *stored, struct error *e)
{
    int64_t blocks;
    *m = (struct block_map){.config = json_copy(config, e)};
    if (!m->config)
        return -1;
    if (!f->blocks || !cJSON_IsNumber(json_get(config, f->blocks_key)))
        return 0;
    if (json_int(config, f->blocks_key, 1, 1000, &blocks, e) < 0)
        return -1;
    unsigned char *there = mem_array((size_t)blocks, 1, e);
    m->old = there ? mem_array((size_t)blocks, sizeof *m->old, e) : NULL;
    if (!m->old) {
        mem_free(there);
        return -1;
    }
    mark_blocks(stored, f->blocks, there, (int)blocks);
    for (int i = 0; i < blocks; i++)
        if (there[i])
            m->old[m->count++] = i;
    int fewer = there[0] && m->count < blocks;
    mem_free(there);
    if (!fewer)
        return 0;
    m->module = f->blocks;
    json_remove(m->config, f->blocks_key);
    return json_add_int(m->config, f->blocks_key, m->count, e);
}

void block_map_close(struct block_map *m)
{
    mem_free(m->old);
    cJSON_Delete(m->config);
    *m = (struct block_map){0};
}

static const char *renumber(const char *name, const char *digits, int to, struct arena *a, struct error *e)
{
    char *end;
    (void)strtol(digits, &end, 10);
    return arena_printf(a, e, "%.*s%d%s", (int)(digits - name), name, to, end);
}

const char *block_map_old(const struct block_map *m, const char *name, struct arena *a, struct error *e)
{
    const char *digits = m->module ? number_in(m->module, name) : NULL;
    long block = digits ? strtol(digits, NULL, 10) : -1;
    return block >= 0 && block < m->count ? renumber(name, digits, m->old[block], a, e) : name;
}

const char *block_map_new(const struct block_map *m, const char *name, struct arena *a, struct error *e)
{
    const char *digits = m->module ? number_in(m->module, name) : NULL;
    long block = digits ? strtol(digits, NULL, 10) : -1;
    if (!digits)
        return name;
    for (int i = 0; i < m->count; i++)
        if (m->old[i] == block)
            return renumber(name, digits, i, a, e);
    return NULL;
}
