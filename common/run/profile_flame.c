/* A plan's milliseconds as a picture in SVG, in running order from left to right: the whole call on top,
 * below it the parts of the nodes' names ("transformer_blocks.3", "attn1"), at the bottom the kernels,
 * coloured by their kind. */
#include "common/run/profile_trace.h"

#include <string.h>

enum { WIDTH = 1200, MARGIN = 20, ROW = 22, HEAD = 64, LEGEND = 40, DEPTH = 6 };

static const char *const colours[] = {
    [KERNEL_MATMUL] = "#4878a8",         [KERNEL_ROW_NORM] = "#7aa457",  [KERNEL_GROUP_NORM] = "#7aa457",
    [KERNEL_IMAGE_QUANTIZE] = "#b8a03a", [KERNEL_ATTENTION] = "#c2653c", [KERNEL_ELEMENTWISE] = "#8e6aa8",
    [KERNEL_CACHE_READ] = "#3f9a93",     [KERNEL_MOVE] = "#9a8f86",      [KERNEL_REFERENCE] = "#777777",
};

/* Bytes of a name up to the end of its level-th part; a number belongs to the word before it. 0: it has no
 * such part. */
size_t name_prefix(const char *name, int level)
{
    const char *at = name;
    for (;;) {
        const char *dot = strchr(at, '.');
        int number = dot && dot[1] >= '0' && dot[1] <= '9';
        if (dot && !number && level-- == 0)
            return (size_t)(dot - name);
        if (!dot)
            return level == 0 ? strlen(name) : 0;
        at = dot + 1;
    }
}

struct box {
    double x, width; /* pixels */
    int row;
    const char *colour;
    int dark; /* so that its text must be light */
    const char *name;
    size_t full, from, to; /* of the name: for the tooltip, and what is written inside */
    double ms, share;
};

static void add_box(struct buf *out, const struct box *b, struct error *e)
{
    size_t room = (size_t)(b->width / 6.6), n = b->to - b->from;
    buf_printf(out, e, "<g><title>");
    buf_escaped(out, b->name, b->full, e);
    buf_printf(
        out, e,
        ": %.3f ms, %.1f %%</title><rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\"/>",
        b->ms, 100 * b->share, b->x, HEAD + b->row * ROW, b->width > 0.7 ? b->width - 0.5 : b->width, ROW - 2,
        b->colour);
    if (room >= 3) {
        buf_printf(out, e, "<text%s x=\"%.2f\" y=\"%d\">", b->dark ? "" : " class=\"k\"", b->x + 3,
                   HEAD + b->row * ROW + 14);
        buf_escaped(out, b->name + b->from, n <= room ? n : room - 1, e);
        buf_text(out, n <= room ? "</text>" : "\xe2\x80\xa6</text>", e);
    }
    buf_text(out, "</g>\n", e);
}

/* The boxes of one level: runs of kernels whose names agree so far. */
static void add_level(struct buf *out, const struct graph *g, const struct plan *p, const double *ms,
                      double total, int level, struct error *e)
{
    double x = 0, scale = (WIDTH - 2.0 * MARGIN) / total;
    for (int i = 0, end; i < p->calls; i = end) {
        const char *name = g->node[p->call[i].node].name;
        size_t n = name_prefix(name, level), before = level ? name_prefix(name, level - 1) : 0;
        int leaf = !n || n == strlen(name);
        double sum = ms[i];
        for (end = i + 1; end < p->calls && n; end++) {
            const char *next = g->node[p->call[end].node].name;
            if (strncmp(name, next, n) || name_prefix(next, level) != n)
                break;
            sum += ms[end];
        }
        struct box b = {.x = MARGIN + x * scale,
                        .width = sum * scale,
                        .row = level + 1,
                        .colour = leaf ? colours[p->call[i].kind] : "#d8d4cc",
                        .dark = leaf,
                        .name = name,
                        .full = n,
                        .from = before ? before + 1 : 0,
                        .to = n,
                        .ms = sum,
                        .share = sum / total};
        if (n)
            add_box(out, &b, e);
        x += sum;
    }
}

static void add_legend(struct buf *out, const struct plan *p, const double *ms, double total, int y,
                       struct error *e)
{
    int x = MARGIN;
    for (int kind = 0; kind <= KERNEL_REFERENCE; kind++) {
        double sum = 0;
        for (int i = 0; i < p->calls; i++)
            sum += (int)p->call[i].kind == kind ? ms[i] : 0;
        if (sum <= 0)
            continue;
        buf_printf(
            out, e,
            "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/><text class=\"k\" x=\"%d\" "
            "y=\"%d\">%s %.1f %%</text>\n",
            x, y, colours[kind], x + 17, y + 10, kernel_kind_name((enum kernel_kind)kind), 100 * sum / total);
        x += 135;
    }
}

int profile_flame(struct buf *out, const struct graph *g, const struct plan *p, const double *kernel_ms,
                  const char *title, struct error *e)
{
    double total = 0;
    int levels = 1;
    for (int i = 0; i < p->calls; i++)
        total += kernel_ms[i];
    for (int i = 0; i < p->calls; i++)
        while (levels < DEPTH && name_prefix(g->node[p->call[i].node].name, levels))
            levels++;
    int height = HEAD + (levels + 1) * ROW + LEGEND;
    buf_printf(out, e,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\">\n"
               "<style>text{font:11px sans-serif;fill:#fff}text.k{fill:#333}text.h{font-size:16px;fill:#222}"
               "</style>\n<rect width=\"%d\" height=\"%d\" fill=\"#fbfaf8\"/>\n<text class=\"h\" "
               "x=\"%d\" y=\"30\">",
               WIDTH, height, WIDTH, height, WIDTH, height, MARGIN);
    buf_escaped(out, title, strlen(title), e);
    buf_printf(out, e,
               "</text><text class=\"k\" x=\"%d\" y=\"50\">one network call: %.3f ms in %d kernels</text>\n",
               MARGIN, total, p->calls);
    size_t n = strlen(g->component);
    struct box whole = {.x = MARGIN,
                        .width = WIDTH - 2.0 * MARGIN,
                        .colour = "#bcb6aa",
                        .name = g->component,
                        .full = n,
                        .to = n,
                        .ms = total,
                        .share = 1};
    add_box(out, &whole, e);
    for (int level = 0; level < levels && total > 0; level++)
        add_level(out, g, p, kernel_ms, total, level, e);
    add_legend(out, p, kernel_ms, total, height - 24, e);
    return buf_text(out, "</svg>\n", e);
}
