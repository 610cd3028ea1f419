/* profile: the report for people, and as CSV and Markdown. */
#include "common/run/machine.h"
#include "common/run/profile_trace.h"
#include "tools/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *name;
    int length; /* of the name that counts */
    const char *kind;
    double ms, gflop, mib, at_peak; /* at_peak: ms that the work would take at the peak */
    double spread;                  /* of a kernel; of a block: the mean over its time */
};

static int by_time(const void *x, const void *y)
{
    double a = ((const struct row *)x)->ms, b = ((const struct row *)y)->ms;
    return a < b ? 1 : a > b ? -1 : 0;
}

/* The row of this block among the last rows (its kernels stand together), or a new one. */
static struct row *find_row(struct row *rows, int *n, const char *name, int length)
{
    struct row *last = *n ? &rows[*n - 1] : NULL;
    if (last && last->length == length && !strncmp(last->name, name, (size_t)length))
        return last;
    rows[*n] = (struct row){.name = name, .length = length};
    return &rows[(*n)++];
}

static int fill_rows(const struct profile *p, struct row *rows)
{
    int n = 0;
    for (int i = 0; i < p->plan->calls; i++) {
        const struct kernel_call *c = &p->plan->call[i];
        const char *name = p->g->node[c->node].name;
        struct row *r = &rows[n];
        if (p->o->by_block)
            r = find_row(rows, &n, name, (int)name_prefix(name, 0));
        else
            rows[n++] = (struct row){.name = name, .length = (int)strlen(name)};
        r->kind = p->o->by_block ? "block" : kernel_kind_name(c->kind);
        if (p->kernel[i] > 0)
            r->spread += (p->kernel_spread[i] - r->spread) * p->kernel[i] / (r->ms + p->kernel[i]);
        r->ms += p->kernel[i];
        r->gflop += c->flops * 1e-9;
        r->mib += c->bytes / 1048576;
        r->at_peak += percent_of_peak(p, c, p->kernel[i]) * p->kernel[i];
    }
    return n;
}

/* What a line of CSV says of machine and settings, so that lines of many runs can stand in one table. */
static const char where_head[] =
    ",model,batch,width,height,repeat,threads,backend,cpu,cpu_level,version,compiler";

static void say_where(const struct profile *p, char out[400])
{
    char cpu[128];
    machine_cpu(cpu, sizeof cpu);
    for (char *c = cpu; *c; c++)
        *c = *c == ',' || *c == '"' ? ' ' : *c;
    snprintf(out, 400, ",%s,%lld,%d,%d,%lld,%d,%s,%s,%s," HASTEN_VERSION "," __VERSION__, model_id(&p->m),
             (long long)p->o->batch, p->width, p->height, (long long)p->o->repeat, team_size(p->t->team),
             p->t->backend.ops->name, cpu, cpu_level_name(p->t->kernels->level));
}

static void add_rows(const struct profile *p, struct buf *b, const struct row *r, int n, struct error *e)
{
    char where[400];
    say_where(p, where);
    for (const struct row *end = r + n; r < end; r++) {
        double share = 100 * r->ms / p->sum, peak = r->ms > 0 ? r->at_peak / r->ms : 0;
        switch (p->o->format) { /* three literal formats, for the compiler's checks */
        case FORMAT_TABLE:
            buf_printf(b, e, "%-*.*s %-11s %9.3f %5.1f%% %9.3f %9.2f %6.1f%%\n", 52, r->length, r->name,
                       r->kind, r->ms, share, r->gflop, r->mib, peak);
            break;
        case FORMAT_CSV:
            buf_printf(b, e, "%.*s,%s,%.4f,%.2f,%.4f,%.3f,%.2f,%.4f%s\n", r->length, r->name, r->kind, r->ms,
                       share, r->gflop, r->mib, peak, r->spread, where);
            break;
        default:
            buf_printf(b, e, "| %.*s | %s | %.3f | %.1f %% | %.1f %% | %.3f | %.2f | %.1f %% |\n", r->length,
                       r->name, r->kind, r->ms, 100 * r->spread, share, r->gflop, r->mib, peak);
        }
    }
}

int profile_text(const struct profile *w, struct buf *b, struct error *e)
{
    static const char *const heads[] = {[FORMAT_CSV] = "node,kernel,ms,share,gflop,mib,peak_percent,spread",
                                        [FORMAT_MD] = "| node | kernel | ms | spread | share | GFLOP | MiB | "
                                                      "of peak |\n|---|---|---|---|---|---|---|---|"};
    struct row *rows = mem_array((size_t)w->plan->calls + 1, sizeof *rows, e);
    if (!rows)
        return -1;
    int n = fill_rows(w, rows);
    qsort(rows, (size_t)n, sizeof *rows, by_time);
    if (w->o->format == FORMAT_TABLE)
        buf_printf(b, e, "%-52s %-11s %9s %6s %9s %9s %7s\n", "node", "kernel", "ms", "share", "GFLOP", "MiB",
                   "of peak");
    else
        buf_printf(b, e, "%s%s\n", heads[w->o->format], w->o->format == FORMAT_CSV ? where_head : "");
    add_rows(w, b, rows, n, e);
    mem_free(rows);
    if (w->o->format == FORMAT_CSV)
        return b->failed ? -1 : 0;
    buf_printf(b, e, "\none call of %lld images: %.3f ms (spread %.1f %%), sum of kernels %.3f ms; ",
               (long long)w->o->batch, w->full, 100 * w->spread, w->sum);
    if (w->t->backend.ops->direct)
        buf_printf(b, e,
                   "%d threads, %s; peak measured in this run: "
                   "%.0f GF/s float, %.0f bfloat16, %.0f GOP/s int8, copies at %.0f GB/s\n",
                   team_size(w->t->team), cpu_level_name(w->t->kernels->level), w->roof.gflops[ROOF_F32],
                   w->roof.gflops[ROOF_BF16], w->roof.gflops[ROOF_INT8], w->roof.copy_gbs);
    else
        buf_printf(b, e,
                   "on %s; peak measured in this run: "
                   "%.0f GF/s float, %.0f bfloat16, %.0f GOP/s int8, copies at %.0f GB/s\n",
                   w->t->backend.ops->name, w->roof.gflops[ROOF_F32], w->roof.gflops[ROOF_BF16],
                   w->roof.gflops[ROOF_INT8], w->roof.copy_gbs);
    if (w->log.calls)
        buf_printf(b, e,
                   "launches: %.3f ms between submit and begin (TKLQT), %.1f %% of the threads' time outside "
                   "of kernels\n",
                   w->launch.tklqt, 100 * w->launch.waiting);
    if (w->trace.count)
        buf_printf(
            b, e,
            "%d kernels of %.4f ms; one by one %.3f ms, the device idle for %.1f %%, %.3f ms between launch "
            "and begin (TKLQT)\n",
            w->trace.count, w->trace.calls.kernel, w->trace.calls.total, 100 * w->trace.calls.waiting,
            w->trace.calls.tklqt);
    if (w->trace.graph.total > 0)
        buf_printf(b, e, "as a graph %.3f ms, the device idle for %.1f %%\n", w->trace.graph.total,
                   100 * w->trace.graph.waiting);
    buf_text(b, "\n", e);
    for (int a = 0; a < w->candidates; a++)
        buf_printf(b, e, "%-60s %9.3f ms  %5.2fx\n", w->list[a].name, w->ms[a], w->full / w->ms[a]);
    const struct activations *x = &w->activations;
    if (x->count)
        buf_printf(b, e,
                   "\nbranches over %d images, %d calls: relative change from call to call, overlap of "
                   "attention and foreground\n",
                   x->images, x->calls);
    for (int i = 0; i < x->count; i++) {
        buf_printf(b, e, "%-60s %9.4f", w->g->node[x->branch[i].node].name, x->branch[i].mean);
        if (x->branch[i].overlap >= 0)
            buf_printf(b, e, " %7.3f %s", x->branch[i].overlap,
                       x->branch[i].foreground ? "foreground" : "background");
        buf_text(b, "\n", e);
    }
    return b->failed ? -1 : 0;
}
