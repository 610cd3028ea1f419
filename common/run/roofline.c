/* See roofline.h. */
#include "common/run/roofline.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/run/measure.h"

#include <string.h>

enum { ROWS = 448, DEPTH = 768, COLUMNS = 1536, COPY_BYTES = 96 << 20, COPY_BLOCK = 1 << 16 };

struct product_job {
    struct matmul m;
    const struct cpu_kernels *kernels;
};

static void product_part(void *context, int part, int parts)
{
    struct product_job *j = context;
    j->kernels->matmul(&j->m, part, parts);
}

/* Best rate of at least 12 products and 80 ms. */
static double best_product(struct product_job *j, struct team *team)
{
    double begin = clock_ms(), best = 0;
    for (int i = 0; i < 12 || clock_ms() - begin < 80; i++) {
        double start = clock_ms();
        team_run(team, product_part, j);
        double rate = 2.0 * ROWS * DEPTH * COLUMNS / (clock_ms() - start) * 1e-6;
        best = rate > best ? rate : best;
    }
    return best;
}

static int measure_product(double *rate, const struct cpu_kernels *k, struct team *team, int roof,
                           struct error *e)
{
    struct mm_shape s = {COLUMNS, 1, 1, {DEPTH, 0}};
    void *weight = mem_array((size_t)COLUMNS * DEPTH, sizeof(float), e);
    int int8 = roof == ROOF_INT8, bf16 = roof == ROOF_BF16;
    void *packed = mem_array(bf16 ? k->matmul_bf16_size(&s) : k->matmul_packed_size(&s, int8), 1, e);
    void *in = mem_array((size_t)ROWS * DEPTH, sizeof(float), e);
    float *out = mem_array((size_t)ROWS * COLUMNS, sizeof(float), e);
    float *scale = mem_array(COLUMNS, sizeof(float), e);
    struct code_scale *code_scale = mem_array(ROWS, sizeof *code_scale, e);
    int status = weight && packed && in && out && scale && code_scale ? 0 : -1;
    if (status == 0) {
        if (int8)
            k->matmul_pack_int8(packed, weight, &s, 0, COLUMNS);
        else if (bf16)
            k->matmul_pack_bf16(packed, weight, &s, 0, COLUMNS);
        else
            k->matmul_pack(packed, weight, &s, 0, COLUMNS);
        struct product_job j = {.kernels = k,
                                .m = {.images = 1,
                                      .out_height = 1,
                                      .out_width = ROWS,
                                      .n = COLUMNS,
                                      .kernel_h = 1,
                                      .kernel_w = 1,
                                      .stride = 1,
                                      .sources = 1,
                                      .source = {{in, DEPTH, DEPTH, ROWS * DEPTH, 1, ROWS, 1, code_scale}},
                                      .weights = packed,
                                      .column_scale = scale,
                                      .int8 = int8,
                                      .bf16 = bf16,
                                      .scale_per_row = 1,
                                      .out = out,
                                      .out_ld = COLUMNS}};
        *rate = best_product(&j, team);
    }
    mem_free(weight), mem_free(packed), mem_free(in), mem_free(out), mem_free(scale);
    mem_free(code_scale);
    return status;
}

struct copy_job {
    char *to;
    const char *from;
};

static void copy_part(void *context, int part, int parts)
{
    const struct copy_job *j = context;
    struct span s = team_span(COPY_BYTES, COPY_BLOCK, part, parts);
    memcpy(j->to + s.begin, j->from + s.begin, (size_t)(s.end - s.begin));
}

static int measure_copy(double *rate, struct team *team, struct error *e)
{
    struct copy_job j = {mem_array(COPY_BYTES, 1, e), mem_array(COPY_BYTES, 1, e)};
    int status = j.to && j.from ? 0 : -1;
    *rate = 0;
    for (int i = 0; status == 0 && i < 5; i++) { /* the first run maps the pages */
        double start = clock_ms();
        team_run(team, copy_part, &j);
        double now = 2.0 * COPY_BYTES / (clock_ms() - start) * 1e-6;
        *rate = now > *rate ? now : *rate;
    }
    mem_free(j.to), mem_free((void *)j.from);
    return status;
}

int roofline_measure(struct roofline *r, const struct cpu_kernels *kernels, struct team *team,
                     struct error *e)
{
    for (int i = 0; i < ROOFS; i++)
        if (measure_product(&r->gflops[i], kernels, team, i, e) < 0)
            return -1;
    return measure_copy(&r->copy_gbs, team, e);
}
