/* The engine's memory outside the arena, and the way of values between the host and the backend. */
#include "common/run/engine_inside.h"

#include <string.h>

/* ---- memory outside the arena ---- */

/* A new buffer; the offset inside its space is set, the space grows. */
static int give(struct engine *x, enum space space, size_t size, size_t call_stride, struct error *e)
{
    if (x->given_count == x->given_capacity) {
        int capacity = x->given_capacity ? 2 * x->given_capacity : 64;
        struct buffer *bigger = mem_resize(x->given, (size_t)capacity, sizeof *bigger, e);
        if (!bigger)
            return -1;
        x->given = bigger;
        x->given_capacity = capacity;
    }
    size = (size + 63) / 64 * 64;
    x->given[x->given_count] = (struct buffer){
        .space = space, .size = size, .offset = x->space_size[space], .call_stride = call_stride};
    x->space_size[space] += size;
    return x->given_count++;
}

static size_t value_bytes(const struct engine *x, int node)
{
    return (size_t)shape_size(x->g->node[node].shape) * sizeof(float);
}

static int give_node(struct engine *x, int node, enum space space, size_t rows, size_t call_stride,
                     int shared, struct error *e)
{
    struct shape s = x->g->node[node].shape;
    int buffer = give(x, space, rows * value_bytes(x, node), call_stride, e);
    x->given_place[node] = (struct place){buffer, 0, s.channels, shared ? 0 : shape_size(s)};
    return buffer < 0 ? -1 : 0;
}

/* Room for the kept values of a node. With two of them, one buffer is the slot in turn, another the one
 * before; plan_memory's turns say which is which. */
static int give_slots(struct engine *x, int node, struct error *e)
{
    size_t images = (size_t)x->o.images;
    if (give_node(x, node, SPACE_CACHE, images * x->cached[node], 0, 0, e) < 0)
        return -1;
    if (x->cached[node] < 2)
        return 0;
    x->older_place[node] = x->given_place[node];
    int newest = x->given_place[node].buffer, older = give(x, SPACE_CACHE, 0, 0, e);
    if (older < 0)
        return -1;
    x->given[older].offset = x->given[newest].offset;
    x->given[newest].ring = 1 + 2 * node;
    x->given[older].ring = 2 + 2 * node;
    x->older_place[node].buffer = older;
    return 0;
}

int engine_turn(struct engine *x, const struct compiled *c, struct error *e)
{
    size_t n = (size_t)x->g->count;
    for (int k = 1; k < c->count; k++)
        if (!engine_in_phase(x, c->first, c->first + k))
            return error_set(e, HASTEN_EFAIL, "internal: images of one run have stored values differently");
    for (int i = 0; i < x->g->count; i++) {
        if (x->cached[i] < 2)
            continue;
        const int *stored = x->stored + (size_t)c->first * n + i;
        size_t slot = (size_t)x->o.images * value_bytes(x, i);
        int newest = c->stores[i] ? *stored : *stored - 1, older = *stored >= 2 ? *stored : newest;
        x->turn[2 * i] = newest & 1 ? slot : 0;
        x->turn[2 * i + 1] = older & 1 ? slot : 0;
    }
    return 0;
}

void engine_note_stored(struct engine *x, const struct compiled *c)
{
    size_t n = (size_t)x->g->count;
    for (int k = c->first; k < c->first + c->count; k++)
        for (int i = 0; i < x->g->count; i++)
            x->stored[(size_t)k * n + (size_t)i] += c->stores[i];
}

void engine_restart(struct engine *x)
{
    if (x->stored)
        memset(x->stored, 0, (size_t)x->o.images * (size_t)x->g->count * sizeof *x->stored);
}

int engine_in_phase(const struct engine *x, int a, int b)
{
    size_t n = (size_t)x->g->count;
    for (size_t i = 0; i < n; i++) {
        int p = x->stored[(size_t)a * n + i], q = x->stored[(size_t)b * n + i];
        if (x->cached[i] >= 2 && (((p ^ q) & 1) || (p >= 2) != (q >= 2)))
            return 0;
    }
    return 1;
}

/* How many calls' hoisted values fit; all chunks of about the same length. */
static int choose_chunk(const struct engine *x)
{
    size_t per_call = 1, budget = x->o.hoist_bytes ? x->o.hoist_bytes : (size_t)256 << 20;
    for (int i = 0; i < x->g->count; i++)
        if (x->class_of[i] == CLASS_HOISTED && (x->hoist_keep[i] || node_is(&x->g->node[i], "input")))
            per_call += (size_t)x->rows * value_bytes(x, i);
    size_t most = budget / per_call;
    most = most < 1 ? 1 : most > (size_t)x->o.calls ? (size_t)x->o.calls : most;
    int chunks = (x->o.calls + (int)most - 1) / (int)most;
    return (x->o.calls + chunks - 1) / chunks;
}

int engine_lay_out(struct engine *x, struct error *e)
{
    size_t images = (size_t)x->o.images, rows = (size_t)x->rows;
    x->chunk = choose_chunk(x);
    for (int i = 0; i < x->g->count; i++) {
        int input = node_is(&x->g->node[i], "input"), status = 0;
        x->given_place[i].buffer = x->older_place[i].buffer = -1;
        if (i == x->sample)
            status = give_node(x, i, SPACE_INPUT, images, 0, 0, e);
        else if (x->class_of[i] == CLASS_HOISTED && (x->hoist_keep[i] || input))
            status = give_node(x, i, SPACE_HOISTED, rows * (size_t)x->chunk, rows * value_bytes(x, i),
                               x->rows == 1, e);
        else if (x->class_of[i] == CLASS_CONSTANT && x->hoist_keep[i])
            status = give_node(x, i, SPACE_CONSTANT, images, 0, 0, e);
        else if (x->cached[i])
            status = give_slots(x, i, e);
        if (status < 0)
            return -1;
    }
    return 0;
}

int engine_allocate(struct engine *x, enum space space, struct error *e)
{
    x->b->ops->release(x->b, x->memory.base[space]);
    x->memory.base[space] = x->b->ops->allocate(x->b, x->space_size[space] + 64, e);
    return x->memory.base[space] ? 0 : -1;
}

void engine_release_memory(struct engine *x)
{
    for (int i = 0; i < SPACES; i++)
        x->b->ops->release(x->b, x->memory.base[i]);
    for (int i = 0; i < x->given_count && !x->b->ops->direct; i++)
        if (x->given[i].space == SPACE_ABSOLUTE)
            x->b->ops->release(x->b, (void *)(uintptr_t)x->given[i].offset);
    for (int i = 0; x->host && i < x->g->count; i++)
        mem_free(x->host[i]);
    mem_free(x->host);
    mem_free(x->host_input);
}

/* A table of corrections: an absolute address, one row a call. The caller's stays where it is if it can. */
int engine_give_table(struct engine *x, struct place *at, const float *table, int rows, int channels,
                      struct error *e)
{
    size_t row = (size_t)rows * sizeof(float) * (size_t)channels, bytes = row * (size_t)x->o.calls;
    at->buffer = give(x, SPACE_ABSOLUTE, 0, row, e);
    if (at->buffer < 0)
        return -1;
    struct buffer *b = &x->given[at->buffer];
    b->offset = x->b->ops->direct ? (size_t)(uintptr_t)table : 0;
    if (x->b->ops->direct)
        return 0;
    void *copy = x->b->ops->allocate(x->b, bytes, e);
    b->offset = (size_t)(uintptr_t)copy;
    return copy ? x->b->ops->put(x->b, copy, table, bytes, e) : -1;
}

/* ---- the host's side ---- */

/* Room on the host for what it writes and reads, where that is another memory. */
int engine_make_host_copies(struct engine *x, struct error *e)
{
    size_t most = 0;
    for (int i = 0; i < x->g->count && !x->b->ops->direct; i++) {
        int bound = x->class_of[i] != CLASS_STEP, output = x->output[i] || i == x->sample;
        for (int k = 0; bound && k < x->g->outputs; k++)
            output |= x->g->output[k].node == i;
        output |= bound && x->o.want && x->o.want[i];
        size_t bytes = value_bytes(x, i) * (size_t)x->o.images;
        if (output && !(x->host[i] = mem_array(bytes, 1, e)))
            return -1;
        bytes = value_bytes(x, i) * (size_t)x->rows * (size_t)x->chunk;
        if (bound && node_is(&x->g->node[i], "input") && bytes > most)
            most = bytes;
    }
    return most && !(x->host_input = mem_array(most, 1, e)) ? -1 : 0;
}

int engine_fill_inputs(struct engine *x, int first_call, struct error *e)
{
    for (int i = 0; i < x->inputs; i++) {
        const struct bound *in = &x->input[i];
        const struct place *at = &x->given_place[in->node];
        int64_t size = shape_size(x->g->node[in->node].shape);
        float *own = (float *)(x->memory.base[SPACE_HOISTED] + x->given[at->buffer].offset);
        float *to = x->host_input ? x->host_input : own;
        if (!in->data)
            return error_set(e, HASTEN_EFILE, "input '%s' of component '%s' is not given",
                             x->g->node[in->node].name, x->g->component);
        for (int c = 0; c < x->chunk; c++) {
            int call = first_call + c < x->o.calls ? first_call + c : x->o.calls - 1;
            for (int r = 0; r < x->rows; r++)
                memcpy(to + ((int64_t)c * x->rows + r) * size,
                       in->data + call * in->call_stride + r * in->image_stride, (size_t)size * sizeof *to);
        }
        if (to != own &&
            x->b->ops->put(x->b, own, to, (size_t)x->chunk * (size_t)x->rows * (size_t)size * sizeof *to, e) <
                0)
            return -1;
    }
    return 0;
}

static char *given_address(const struct engine *x, int node)
{
    const struct buffer *b = &x->given[x->given_place[node].buffer];
    return x->memory.base[b->space] + b->offset;
}

float *engine_sample_address(const struct engine *x) { return (float *)given_address(x, x->sample); }

const float *engine_last_sample(const struct engine *x)
{
    if (x->sample < 0)
        return NULL;
    return x->host[x->sample] ? x->host[x->sample] : (const float *)given_address(x, x->sample);
}

float *engine_sample(struct engine *x) { return (float *)engine_last_sample(x); }

/* The latents of these images to the backend, where the host's memory is another. */
int engine_put_sample(struct engine *x, int first, int count, struct error *e)
{
    if (x->sample < 0 || !x->host[x->sample])
        return 0;
    size_t one = value_bytes(x, x->sample), offset = one * (size_t)first;
    return x->b->ops->put(x->b, given_address(x, x->sample) + offset, (char *)x->host[x->sample] + offset,
                          one * (size_t)count, e);
}

/* Where a value is in the backend's memory. */
const float *engine_value_address(const struct engine *x, int node)
{
    if (x->class_of[node] != CLASS_STEP && x->given_place[node].buffer >= 0) {
        const struct buffer *b = &x->given[x->given_place[node].buffer];
        return (const float *)(x->memory.base[b->space] + b->offset +
                               (size_t)x->memory.hoisted_call * b->call_stride);
    }
    return x->last ? plan_value(x->last, node, &x->memory) : NULL;
}

int engine_get_values(struct engine *x, int count, struct error *e)
{
    for (int i = 0; i < x->g->count; i++) {
        const float *from = x->host[i] && i != x->sample ? engine_value_address(x, i) : NULL;
        size_t rows = x->class_of[i] == CLASS_HOISTED ? (size_t)x->rows : (size_t)count;
        if (from && x->b->ops->get(x->b, x->host[i], from, rows * value_bytes(x, i), e) < 0)
            return -1;
    }
    return 0;
}

const float *engine_value(const struct engine *x, int node)
{
    const float *at = engine_value_address(x, node);
    return at && !x->b->ops->direct ? x->host[node] : at;
}
