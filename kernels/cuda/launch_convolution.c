/* See operation.h. In scratch: the enlarged source, float sums, the library's workspace. */
#include "kernels/cuda/launch_inside.h"
#include "kernels/cuda/operation.h"

enum { CHUNK = 32, EVEN = 8 }; /* of bfloat16: a chunk of pack.c, and 16 bytes */

static int is_enlarged(const struct matmul *m) { return m->source[0].upsample > 1; }

static size_t enlarged_size(const struct matmul *m)
{
    const struct mm_source *s = &m->source[0];
    size_t pixels = (size_t)m->images * 4 * (size_t)s->height * (size_t)s->width;
    return is_enlarged(m) ? whole_units(pixels * (size_t)s->channels * sizeof(uint16_t)) : 0;
}

static size_t sums_size(const struct matmul *m, enum cuda_way way)
{
    return way == CUDA_BARE ? whole_units((size_t)rows_of(m) * (size_t)m->n * sizeof(float)) : 0;
}

size_t cuda_convolution_scratch(const struct matmul *m, enum cuda_way way)
{
    return CUDA_LIBRARY_ALIGNED + enlarged_size(m) + sums_size(m, way);
}

static int fits(const struct matmul *m)
{
    const struct mm_source *s = &m->source[0];
    return m->bf16 && m->form == MM_NATIVE && m->sources == 1 && m->kernel_h * m->kernel_w > 1 &&
           s->channels % EVEN == 0 && m->n % EVEN == 0 && s->ld % EVEN == 0 && s->image_ld % EVEN == 0 &&
           s->image_ld > 0 && s->upsample <= 2 && is_aligned(s->data) && is_aligned(m->weights);
}

/* Does the graph's epilogue do all that m's has? */
static int is_whole(const struct matmul *m)
{
    const struct mm_epilogue *e = &m->epilogue;
    if (e->tap || e->gate || (e->scale != 0 && e->scale != 1) || (m->out && m->out_bf16) ||
        (e->act != ACT_NONE && e->act != ACT_SILU))
        return 0;
    if (!is_aligned(e->bias) || !is_aligned(e->image_bias) || !is_aligned(e->residual) ||
        e->image_bias_ld % 4 != 0 || e->residual_ld % 4 != 0)
        return 0;
    return m->out_bf16 ? m->out_bf16_ld % EVEN == 0 && is_aligned(m->out_bf16)
                       : m->out_ld % 4 == 0 && is_aligned(m->out);
}

/* Zeros behind the last row or column: as many as in front when that makes no window more, since more kernels
 * of the library have it. */
static int64_t pad_behind(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad)
{
    int64_t least = (out - 1) * stride + kernel - pad - in;
    return least <= pad && pad < least + stride ? pad : least;
}

static void describe(const struct matmul *m, struct cuda_operation *o)
{
    const struct mm_source *s = &m->source[0];
    struct cuda_convolution *c = &o->shape.convolution;
    int times = is_enlarged(m) ? 2 : 1;
    c->in_height = s->height * times;
    c->in_width = s->width * times;
    c->channels = s->channels;
    c->in_ld = times > 1 ? s->channels : s->ld;
    c->in_image_ld = times > 1 ? s->channels * c->in_height * c->in_width : s->image_ld;
    c->out_height = m->out_height;
    c->out_width = m->out_width;
    c->n = m->n;
    c->kernel_h = m->kernel_h;
    c->kernel_w = m->kernel_w;
    c->stride = m->stride;
    c->pad_top = m->pad_top;
    c->pad_left = m->pad_left;
    c->pad_bottom = pad_behind(c->in_height, m->out_height, m->kernel_h, m->stride, m->pad_top);
    c->pad_right = pad_behind(c->in_width, m->out_width, m->kernel_w, m->stride, m->pad_left);
    c->weights_ld = divide_up(s->channels, CHUNK) * CHUNK;
}

/* Two bfloat16 move as one number. */
static void enlarge(const struct matmul *m, void *to, struct cuda_launches *before)
{
    const struct mm_source *s = &m->source[0];
    struct move x = {.kind = MOVE_UPSAMPLE,
                     .in = s->data,
                     .out = to,
                     .in_ld = s->ld / 2,
                     .in_image_ld = s->image_ld / 2,
                     .out_ld = s->channels / 2,
                     .out_image_ld = s->channels / 2 * s->height * s->width * 4,
                     .images = m->images,
                     .in_height = s->height,
                     .in_width = s->width,
                     .out_height = s->height * 2,
                     .out_width = s->width * 2,
                     .channels = (int)s->channels / 2};
    cuda_move(&x, before);
}

static void ask_whole(const struct matmul *m, struct cuda_operation *o)
{
    const struct mm_epilogue *e = &m->epilogue;
    struct cuda_convolution *c = &o->shape.convolution;
    o->at[CUDA_BIAS] = e->bias;
    o->at[CUDA_IMAGE_BIAS] = e->image_bias;
    o->at[CUDA_RESIDUAL] = e->residual;
    o->at[CUDA_OUT] = m->out_bf16 ? (const void *)m->out_bf16 : m->out;
    c->image_bias_ld = e->image_bias ? e->image_bias_ld : 0;
    c->residual_ld = e->residual ? e->residual_ld : 0;
    c->silu = e->act == ACT_SILU;
    c->out_bf16 = m->out_bf16 != NULL;
    c->out_ld = m->out_bf16 ? m->out_bf16_ld : m->out_ld;
}

int cuda_convolution(const struct matmul *m, enum cuda_way way, struct cuda_operation *o,
                     struct cuda_launches *before, struct cuda_launches *after)
{
    before->count = after->count = 0;
    if (!fits(m) || (way == CUDA_WHOLE && !is_whole(m)))
        return 0;
    memset(o, 0, sizeof *o);
    describe(m, o);
    if (o->shape.convolution.pad_bottom < 0 || o->shape.convolution.pad_right < 0)
        return 0;
    char *scratch = scratch_of(m), *sums = scratch + enlarged_size(m);
    o->workspace = sums + sums_size(m, way);
    size_t before_it = (size_t)((char *)o->workspace - (char *)m->scratch);
    o->workspace_size = m->scratch_ld > before_it ? m->scratch_ld - before_it : 0;
    o->at[CUDA_IN] = is_enlarged(m) ? scratch : m->source[0].data;
    o->at[CUDA_WEIGHTS] = m->weights;
    if (is_enlarged(m))
        enlarge(m, scratch, before);
    if (is_enlarged(m) && before->count == 0) /* too large */
        return 0;
    if (way == CUDA_WHOLE) {
        ask_whole(m, o);
    } else {
        o->at[CUDA_OUT] = sums;
        o->shape.convolution.out_ld = m->n;
        finish_sums(m, sums, NULL, after);
    }
    o->shape.kind = CUDA_CONVOLUTION;
    o->shape.images = m->images;
    for (int i = 0; i < CUDA_OPERANDS; i++)
        o->shape.operands |= o->at[i] ? (int64_t)1 << i : 0;
    return 1;
}
