/* Products of e4m3: see library.h. In scratch: the library's workspace, the rows' scales and codes, float
 * sums. */
#include "kernels/cuda/launch_inside.h"
#include "kernels/cuda/library.h"

enum { EVEN = 16, CHUNK = 64, ROW_WARPS = 4 }; /* CHUNK: bytes of pack.c */

static int64_t padded(int64_t channels) { return divide_up(channels, EVEN) * EVEN; }

int cuda_fp8_fits(const struct mm_shape *s)
{
    return s->kernel_h == 1 && s->kernel_w == 1 && s->channels[1] == 0 && s->n % EVEN == 0;
}

static int fits(const struct matmul *m)
{
    const struct mm_source *s = &m->source[0];
    struct mm_shape shape = {
        m->n, m->kernel_h, m->kernel_w, {(int)s->channels, m->sources > 1 ? (int)m->source[1].channels : 0}};
    return m->form == MM_E4M3 && !m->int8 && (!m->bf16 || s->channels % 2 == 0) && cuda_fp8_fits(&shape) &&
           m->stride == 1 && m->pad_top == 0 && m->pad_left == 0 && s->upsample <= 1 &&
           (int64_t)s->height * s->width == (int64_t)m->out_height * m->out_width;
}

static size_t codes_size(const struct matmul *m)
{
    return whole_units((size_t)(rows_of(m) * padded(m->source[0].channels)));
}

size_t cuda_fp8_scratch(const struct matmul *m)
{
    size_t rows = (size_t)rows_of(m);
    return fits(m) ? CUDA_LIBRARY_ALIGNED + CUDA_LIBRARY_WORKSPACE + whole_units(rows * sizeof(float)) +
                         codes_size(m) + rows * (size_t)m->n * sizeof(float)
                   : 0;
}

/* Does the library's epilogue do all that m's has? */
static int is_whole(const struct matmul *m)
{
    const struct mm_epilogue *e = &m->epilogue;
    return has_plain_epilogue(e) && (e->act == ACT_NONE || e->act == ACT_GELU_TANH) && m->out_bf16 &&
           !m->out && m->out_bf16_ld % 8 == 0 && is_aligned(m->out_bf16) && is_aligned(m->column_scale);
}

int cuda_fp8_product(const struct matmul *m, const uint16_t *half_bias, enum cuda_way way,
                     struct cuda_product *p, struct cuda_launches *before, struct cuda_launches *after)
{
    before->count = after->count = 0;
    if (!fits(m) || !is_aligned(m->weights) || (way == CUDA_WHOLE && !is_whole(m)))
        return 0;
    char *scratch = scratch_of(m), *scales = scratch + CUDA_LIBRARY_WORKSPACE,
         *codes = scales + whole_units((size_t)rows_of(m) * sizeof(float)), *sums = codes + codes_size(m);
    struct e4m3_args rows = {.from = m->source[0],
                             .rows = (int)rows_of(m),
                             .per_image = m->out_height * m->out_width,
                             .k = (int)padded(m->source[0].channels),
                             .half = m->bf16,
                             .codes = (unsigned char *)codes,
                             .scale = (float *)(void *)scales};
    add_launch(before, "rows_e4m3", divide_up(rows.rows, ROW_WARPS), ROW_WARPS * 32, 0, &rows, sizeof rows);
    *p = (struct cuda_product){.rows = rows.rows,
                               .n = m->n,
                               .k = rows.k,
                               .e4m3 = 1,
                               .in = codes,
                               .weights = m->weights,
                               .in_ld = rows.k,
                               .weights_ld = divide_up(m->source[0].channels, CHUNK) * CHUNK,
                               .workspace = scratch};
    if (way == CUDA_WHOLE) {
        p->row_scale = rows.scale;
        p->column_scale = m->column_scale;
        p->out = m->out_bf16;
        p->out_bf16 = 1;
        p->out_ld = m->out_bf16_ld;
        p->gelu = m->epilogue.act == ACT_GELU_TANH;
        p->bias = half_bias;
        return 1;
    }
    p->out = sums;
    p->out_ld = m->n;
    finish_sums(m, sums, rows.scale, after);
    return 1;
}
