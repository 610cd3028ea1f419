/* quantize with a budget: formats are chosen layer by layer, confirmed by a real run. */
#include "common/base/json.h"
#include "common/run/mixed.h"
#include "tools/quantize.h"

#include <stdio.h>
#include <string.h>

struct search {
    struct work *w;
    const struct quantize_limits *limits;
    struct mixed x;
    int *node, *choice;
    unsigned char *allowed;
    struct allocation a;
    struct allocation_move *path;
    int moves;
    double fixed[ALLOCATE_COSTS], most[ALLOCATE_COSTS]; /* outside of the layers; limits for them, 0: none */
    const float *reference;
    int64_t size;
    double psnr; /* of the last choice that was run */
    int runs;
};

static void show_progress(void *context, int done, int of)
{
    struct search *s = context;
    tool_progress(s->w->t, "what each layer does", done, of);
}

/* Plain, 8 bits, 4 bits, and the type that was asked for; a layer with a rule of its own has no other. */
static int prepare(struct search *s, const struct quantizer *q, const struct measure *m, struct error *e)
{
    struct work *w = s->w;
    struct mixed *x = &s->x;
    size_t n = (size_t)w->layers;
    int list[] = {FORMAT_PLAIN, FORMAT_W8A8, FORMAT_W4A8, s->limits->type};
    for (int i = 0; i < 4; i++)
        if (i < 3 || (list[i] != FORMAT_W8A8 && list[i] != FORMAT_W4A8))
            x->format[x->formats++] = list[i];
    s->node = mem_array(n, sizeof *s->node, e);
    s->choice = mem_array(n, sizeof *s->choice, e);
    s->allowed = mem_array(n * (size_t)x->formats, 1, e);
    s->path = mem_array(n * (size_t)x->formats, sizeof *s->path, e);
    if (!s->node || !s->choice || !s->allowed || !s->path)
        return -1;
    for (int i = 0; i < w->layers; i++) {
        s->node[i] = w->layer[i].node;
        for (int f = 0; f < x->formats; f++)
            s->allowed[i * x->formats + f] =
                f == 0 ||
                (!w->layer[i].shared && quantizer_format(w->g, s->node[i], x->format[f]) == x->format[f]);
    }
    x->measure = m;
    x->quantizer = q;
    x->layers = w->layers;
    x->node = s->node;
    x->allowed = s->allowed;
    x->batch = s->limits->batch;
    x->separate = s->limits->separate;
    if (mixed_open(x, show_progress, s, e) < 0)
        return -1;
    tool_progress_end(w->t);
    s->a = mixed_allocation(x);
    return 0;
}

static void find_limits(struct search *s)
{
    struct work *w = s->w;
    double bytes = 0;
    for (int i = 0; i < w->m.tensors; i++)
        bytes += (double)w->m.tensor[i].size;
    s->fixed[0] = bytes - allocation_cost(&s->a, 0, s->choice);
    s->fixed[1] = s->x.call_ms - allocation_cost(&s->a, 1, s->choice);
    s->most[0] = s->limits->bytes > 0 ? s->limits->bytes - s->fixed[0] : 0;
    s->most[1] = s->limits->ms > 0 ? s->limits->ms - s->fixed[1] : 0;
}

static double spent(const struct search *s, int which)
{
    return s->fixed[which] + allocation_cost(&s->a, which, s->choice);
}

static int fits(const struct search *s)
{
    return (s->limits->bytes <= 0 || spent(s, 0) <= s->limits->bytes) &&
           (s->limits->ms <= 0 || spent(s, 1) <= s->limits->ms);
}

/* The first choice along a path that keeps all limits, then swaps inside them. 0: there is one. */
static int keep_limits(struct search *s, int which, struct error *e)
{
    s->moves = allocation_path(&s->a, which, s->path, e);
    if (s->moves < 0)
        return -1;
    for (int k = 0; k <= s->moves; k++) {
        allocation_at(&s->a, s->path, k, s->choice);
        if (fits(s)) {
            allocation_polish(&s->a, s->most, s->choice);
            return 0;
        }
    }
    return 1;
}

static int solve_limits(struct search *s, struct error *e)
{
    int first = s->limits->ms > 0 ? 1 : 0, status = keep_limits(s, first, e);
    if (status == 1 && s->limits->bytes > 0 && s->limits->ms > 0)
        status = keep_limits(s, !first, e);
    if (status != 1)
        return status;
    return error_set(
        e, HASTEN_EGATE,
        "the budget cannot be met: the nearest reachable is %.0f bytes and %.3f ms a call; --type-of "
        "and fewer --keep widen what is possible",
        spent(s, 0), spent(s, 1));
}

/* ---- a band of quality ---- */

static int run_choice(struct search *s, struct error *e)
{
    float *latents;
    struct quality q;
    if (mixed_latents(&s->x, s->choice, &latents, e) < 0)
        return -1;
    measure_quality(s->reference, latents, s->w->validate, s->size, &q);
    mem_free(latents);
    s->psnr = q.identical ? 999 : q.psnr;
    tool_note(s->w->t, "run %d: %.0f bytes, %.3f ms, PSNR %.2f dB", ++s->runs, spent(s, 0), spent(s, 1),
              s->psnr);
    return 0;
}

/* The most moves of the path whose real run is within the band: bisection, then three more beyond, since
 * quality is not quite monotonous. */
static int solve_band(struct search *s, struct error *e)
{
    int low = 0, high;
    double best = 0;
    high = s->moves = allocation_path(&s->a, s->limits->ms > 0 ? 1 : 0, s->path, e);
    if (s->moves < 0)
        return -1;
    for (int k = high; high - low > 1 || k == s->moves; k = (low + high) / 2) {
        allocation_at(&s->a, s->path, k, s->choice);
        if (run_choice(s, e) < 0)
            return -1;
        best = s->psnr > best && k > 0 ? s->psnr : best;
        if (s->psnr >= s->limits->psnr)
            low = k;
        else
            high = k;
        if (low == s->moves)
            break;
    }
    for (int k = low + 1, end = low + 3; k <= end && k < s->moves; k++) {
        allocation_at(&s->a, s->path, k, s->choice);
        if (run_choice(s, e) < 0)
            return -1;
        best = s->psnr > best ? s->psnr : best;
        if (s->psnr >= s->limits->psnr)
            low = k;
    }
    if (low == 0)
        return error_set(
            e, HASTEN_EGATE,
            "PSNR of the final latents stays below --min-psnr %.2f whatever is quantized: the nearest "
            "reachable is %.2f dB",
            s->limits->psnr, best);
    allocation_at(&s->a, s->path, low, s->choice);
    return 0;
}

/* ---- the result ---- */

static int say(struct search *s, struct error *e)
{
    struct work *w = s->w;
    double change, predicted = mixed_predicted(&s->x, s->choice);
    if (mixed_change(&s->x, s->choice, &change, e) < 0)
        return -1;
    w->predicted_ms = spent(s, 1);
    buf_printf(&w->notes, e,
               "budget: final latents change by %.3e (relative L2), predicted %.3e; predicted %.0f bytes, "
               "%.3f ms a call\n",
               change, predicted, spent(s, 0), spent(s, 1));
    w->budget = json_new_object(e);
    return !w->budget || json_add_double(w->budget, "terms_kept", s->x.kept, e) < 0 ||
                   json_add_double(w->budget, "predicted_change", predicted, e) < 0 ||
                   json_add_double(w->budget, "measured_change", change, e) < 0 ||
                   json_add_double(w->budget, "predicted_bytes", spent(s, 0), e) < 0 ||
                   json_add_double(w->budget, "predicted_ms", spent(s, 1), e) < 0
               ? -1
               : 0;
}

static void take_choice(struct search *s)
{
    struct work *w = s->w;
    for (int i = 0; i < w->layers; i++) {
        struct stored_layer *from = &s->x.stored[i * s->x.formats + s->choice[i]];
        w->layer[i].format = s->x.format[s->choice[i]];
        w->layer[i].stored = *from;
        memset(from->part, 0, sizeof from->part); /* the layer's now */
    }
}

int quantize_budget(struct work *w, const struct quantize_limits *limits, const struct quantizer *q,
                    const struct measure *m, const float *reference, int64_t size, struct error *e)
{
    struct search s = {.w = w, .limits = limits, .reference = reference, .size = size};
    int status = prepare(&s, q, m, e);
    if (status == 0) {
        find_limits(&s);
        status = limits->bytes > 0 || limits->ms > 0 ? solve_limits(&s, e) : solve_band(&s, e);
    }
    if (status == 0)
        status = say(&s, e);
    if (status == 0)
        take_choice(&s);
    mixed_close(&s.x);
    mem_free(s.node);
    mem_free(s.choice);
    mem_free(s.allowed);
    mem_free(s.path);
    return status;
}
