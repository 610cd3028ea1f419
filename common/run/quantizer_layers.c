/* See quantizer.h: layers whose weights lie in a file, one or many. */
#include "common/file/pieces.h"
#include "common/run/quantizer.h"

/* Weight and bias of a layer, as far as they are in the file and not in memory. */
static int missing(const struct node *n, struct tensor **list)
{
    const struct tensor *own[] = {node_weight(n, "weight"), node_weight(n, "bias")};
    int count = 0;
    for (int i = 0; i < 2; i++)
        if (own[i] && !own[i]->data && own[i]->origin)
            list[count++] = (struct tensor *)(uintptr_t)own[i];
    return count;
}

static void let_go(struct tensor *const *list, int count)
{
    for (int i = 0; i < count; i++) {
        mem_free(list[i]->data);
        list[i]->data = NULL;
    }
}

int quantizer_layer(const struct quantizer *q, int node, int format, struct stored_layer *out,
                    struct error *e)
{
    const struct node *n = &q->graph->node[node];
    struct piece_readers r = {0};
    struct tensor *list[2];
    if (format == FORMAT_PLAIN) {
        *out = (struct stored_layer){.bytes = node_weight(n, "weight")->size};
        return 0;
    }
    int count = missing(n, list), status = tensors_load(&r, list, count, q->team, e);
    if (status == 0) {
        status = quantizer_make(q, node, format, out, e);
        let_go(list, count);
    }
    piece_readers_free(&r);
    return status;
}

/* ---- many layers ---- */

enum { STAYS = 4 << 10 }; /* bytes of a part that is not worth a place in the spill */

struct window {
    struct tensor **loaded;
    struct tensor **made;
    int loads, makes, end;
};

/* Layers from `first` on whose weights fit together. */
static void open_window(struct window *w, const struct quantizer *q, const struct quantizer_item *item,
                        int first, int count)
{
    size_t bytes = 0;
    w->loads = w->makes = 0;
    for (w->end = first; w->end < count; w->end++) {
        const struct node *n = &q->graph->node[item[w->end].node];
        bytes += node_weight(n, "weight")->size;
        if (w->end > first && bytes > QUANTIZER_AHEAD)
            break;
        if (item[w->end].format != FORMAT_PLAIN)
            w->loads += missing(n, w->loaded + w->loads);
    }
}

static int spill_window(struct window *w, const struct quantizer_item *item, int first, struct spill *spill,
                        struct error *e)
{
    for (int i = first; i < w->end; i++)
        for (int part = 0; part < STORED_PARTS; part++)
            if (item[i].out->part[part].data && item[i].out->part[part].size > STAYS)
                w->made[w->makes++] = &item[i].out->part[part];
    return spill_add(spill, w->made, w->makes, e);
}

int quantizer_layers(const struct quantizer *q, const struct quantizer_item *item, int count,
                     struct spill *spill, void (*done)(void *context, int layers), void *context,
                     struct error *e)
{
    size_t n = (size_t)count + 1;
    struct piece_readers r = {0};
    struct window w = {.loaded = mem_array(2 * n, sizeof *w.loaded, e),
                       .made = mem_array(STORED_PARTS * n, sizeof *w.made, e)};
    int status = w.loaded && w.made ? 0 : -1;
    for (int first = 0; status == 0 && first < count; first = w.end) {
        open_window(&w, q, item, first, count);
        status = tensors_load(&r, w.loaded, w.loads, q->team, e);
        for (int i = first; status == 0 && i < w.end; i++) {
            status = quantizer_layer(q, item[i].node, item[i].format, item[i].out, e);
            if (status == 0 && done)
                done(context, i + 1);
        }
        let_go(w.loaded, w.loads);
        if (status == 0)
            status = spill_window(&w, item, first, spill, e);
    }
    piece_readers_free(&r);
    mem_free(w.loaded);
    mem_free(w.made);
    return status;
}
