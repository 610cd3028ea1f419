/* See seen.h: open addressing with linear probing, at most half full. */
#include "common/base/seen.h"
#include "common/base/mem.h"

static uint64_t real(uint64_t key) { return key ? key : 1; /* 0 means free */ }

/* The entry with that key, or the free one where it would go. */
static struct seen_entry *place(struct seen_entry *entry, int64_t room, uint64_t key)
{
    uint64_t mask = (uint64_t)room - 1, at = key & mask;
    while (entry[at].key && entry[at].key != key)
        at = (at + 1) & mask;
    return &entry[at];
}

static int grow(struct seen *s, struct error *e)
{
    int64_t room = s->room ? 2 * s->room : 256;
    struct seen_entry *entry = mem_array((size_t)room, sizeof *entry, e);
    if (!entry)
        return -1;
    for (int64_t i = 0; i < s->room; i++)
        if (s->entry[i].key)
            *place(entry, room, s->entry[i].key) = s->entry[i];
    mem_free(s->entry);
    s->entry = entry;
    s->room = room;
    return 0;
}

int seen_put(struct seen *s, uint64_t key, int64_t number, int64_t *before, struct error *e)
{
    if (2 * s->count >= s->room && grow(s, e) < 0)
        return -1;
    struct seen_entry *x = place(s->entry, s->room, real(key));
    if (x->key) {
        *before = x->number;
        return 1;
    }
    *x = (struct seen_entry){real(key), number};
    s->count++;
    return 0;
}

int seen_has(const struct seen *s, uint64_t key)
{
    return s->room && place(s->entry, s->room, real(key))->key;
}

void seen_free(struct seen *s)
{
    mem_free(s->entry);
    *s = (struct seen){0};
}
