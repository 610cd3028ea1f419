/* Matrix products of every level, the reference included, against the definition by another way: the input is
 * spread out into one padded image of real numbers (codes times scales), upsampled and concatenated by
 * copying, and convolved in double. */
#include "kernels/cpu/tests/matmul_test.h"

/* The definition's sums, and the size of the numbers that a sum's roundings are relative to. */
struct oracle {
    double *sum, *size; /* [rows][n] */
};

/* Source `which` into the padded image [height][width][channels], at its channels. */
static void spread(const struct data *d, const struct shape *c, int which, int image, double *to)
{
    const struct mm_source *s = &d->m.source[which];
    int channels = c->channels[0] + c->channels[1], width = c->width + c->left + c->right;
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            int64_t pixel = (int64_t)(y / c->up[which]) * s->width + x / c->up[which];
            int64_t from = image * s->image_ld + pixel * s->ld;
            double *at =
                to + ((int64_t)(y + c->top) * width + x + c->left) * channels + which * c->channels[0];
            for (int i = 0; i < c->channels[which]; i++)
                if (d->m.int8) {
                    const struct code_scale *by =
                        &s->scale[d->m.scale_per_row ? image * s->height * s->width + pixel : image];
                    at[i] = (((const uint8_t *)s->data)[from + i] - by->zero) * (double)by->scale;
                } else
                    at[i] = ((const float *)s->data)[from + i];
        }
}

static double weight_at(const struct data *d, int64_t i)
{
    return d->m.int8 ? ((const int8_t *)d->weight)[i] : (double)((const float *)d->weight)[i];
}

static void convolve(const struct data *d, const struct shape *c, const double *in, int64_t row, int y, int x,
                     struct oracle *o)
{
    int channels = c->channels[0] + c->channels[1], width = c->width + c->left + c->right;
    int taps = c->kernel_h * c->kernel_w;
    for (int n = 0; n < c->n; n++) {
        double part[2] = {0, 0}, scale = d->m.int8 ? d->column_scale[n] : 1;
        for (int tap = 0; tap < taps; tap++) {
            const double *at =
                in + ((int64_t)(y + tap / c->kernel_w) * width + x + tap % c->kernel_w) * channels;
            for (int i = 0; i < channels; i++)
                part[i >= c->channels[0]] += at[i] * weight_at(d, ((int64_t)n * channels + i) * taps + tap);
        }
        o->sum[row * c->n + n] = (part[0] + part[1]) * scale;
        o->size[row * c->n + n] = (fabs(part[0]) + fabs(part[1])) * scale;
    }
}

static struct oracle ask(const struct data *d, const struct shape *c)
{
    int64_t height = c->height + c->top + c->bottom, width = c->width + c->left + c->right;
    struct oracle o = {calloc((size_t)(d->rows * c->n), sizeof(double)),
                       calloc((size_t)(d->rows * c->n), sizeof(double))};
    double *in = calloc((size_t)(height * width * (c->channels[0] + c->channels[1])), sizeof *in);
    int64_t row = 0;
    for (int image = 0; image < c->images; image++) {
        for (int i = 0; i < d->m.sources; i++)
            spread(d, c, i, image, in);
        for (int y = 0; y < d->m.out_height; y++)
            for (int x = 0; x < d->m.out_width; x++)
                convolve(d, c, in, row++, y * c->stride, x * c->stride, &o);
    }
    free(in);
    return o;
}

static double activate(double x, enum activation act)
{
    switch (act) {
    case ACT_SILU:
        return x / (1 + exp(-x));
    case ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF:
        return 0.5 * x * erfc(-x * sqrt(0.5));
    case ACT_RELU:
        return fmax(x, 0);
    case ACT_TANH:
        return tanh(x);
    case ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    default:
        return x;
    }
}

/* A float sum of k products of numbers in [-1, 1] is off by about sqrt(k) roundings of its largest partial
 * sum, which is about sqrt(k) / 3: 2e-7 k would be three times that. An int8 sum has one rounding, of its
 * size. What follows has a dozen roundings of what is there at the time: the slopes are at most 1.13. */
static double allowed(const struct data *d, const struct shape *c, double size, double value)
{
    double k = (double)(c->channels[0] + c->channels[1]) * c->kernel_h * c->kernel_w;
    return 1e-6 * (3 + fabs(value)) + (d->m.int8 ? 5e-7 * size : 2e-7 * k);
}

static void check(const struct data *d, const struct shape *c, const struct oracle *o, enum cpu_level level)
{
    const struct mm_epilogue *e = &d->m.epilogue;
    int64_t per_image = d->rows / c->images, ld = d->m.out_ld;
    for (int64_t r = 0; r < d->rows; r++)
        for (int n = 0; n < c->n; n++) {
            int64_t i = r / per_image * c->n + n;
            double v =
                o->sum[r * c->n + n] + (e->bias ? d->bias[n] : 0) + (e->image_bias ? d->image_bias[i] : 0);
            double tap = activate(v, e->act), want = tap * (e->gate ? d->gate[i] : 1);
            want = (want + (e->residual ? d->residual[r * c->n + n] : 0)) * (e->scale != 0 ? e->scale : 1);
            double tolerance = allowed(d, c, o->size[r * c->n + n], v);
            if (!(fabs(d->out[r * ld + n] - want) <= tolerance) ||
                (e->tap && !(fabs(d->tap[r * ld + n] - tap) <= tolerance)))
                ck_abort_msg("%s, shape %d, int8 %d, form %d, row %d, column %d: %.9g and %.9g, expected "
                             "%.9g and %.9g",
                             cpu_level_name(level), (int)(c - shapes), d->m.int8, (int)d->m.form, (int)r, n,
                             d->out[r * ld + n], d->tap[r * ld + n], want, tap);
        }
}

/* What lies between the rows of out and tap is as it was made. */
static void gaps_are_untouched(const struct data *d)
{
    float *out = floats(d->out_size, 37, 1, 0), *tap = floats(d->out_size, 38, 1, 0);
    for (int64_t i = 0; i < d->out_size; i++)
        if (i % d->m.out_ld >= d->m.n || !d->m.epilogue.tap)
            if ((i % d->m.out_ld >= d->m.n && d->out[i] != out[i]) || d->tap[i] != tap[i])
                ck_abort_msg("wrote at %lld, outside of the rows", (long long)i);
    free(out), free(tap);
}

/* Every piece alone, all together, every activation. */
START_TEST(every_level_computes_the_definition)
{
    static const struct {
        int pieces;
        enum activation act;
    } epilogues[] = {
        {0, ACT_NONE},         {BIAS, ACT_NONE},           {IMAGE_BIAS, ACT_NONE},
        {GATE, ACT_NONE},      {RESIDUAL, ACT_NONE},       {TAP, ACT_NONE},
        {SCALE, ACT_NONE},     {ALL_PIECES, ACT_NONE},     {ALL_PIECES, ACT_SILU},
        {BIAS, ACT_GELU_TANH}, {BIAS, ACT_GELU_ERF},       {BIAS | TAP, ACT_RELU},
        {0, ACT_TANH},         {BIAS | GATE, ACT_SIGMOID},
    };
    const struct shape *c = &shapes[_i];
    for (int kind = 0; kind < kinds_of(c); kind++) {
        struct data d;
        make(&d, c, kind, 0, ACT_NONE);
        struct oracle o = ask(&d, c);
        release(&d);
        for (int level = CPU_REF; level <= (int)cpu_best_level(); level++)
            for (size_t i = 0; i < sizeof epilogues / sizeof *epilogues; i++) {
                const struct cpu_kernels *k = cpu_kernels((enum cpu_level)level);
                make(&d, c, kind, epilogues[i].pieces, epilogues[i].act);
                pack(&d, k);
                k->matmul(&d.m, 0, 1);
                check(&d, c, &o, (enum cpu_level)level);
                gaps_are_untouched(&d);
                release(&d);
            }
        free(o.sum), free(o.size);
    }
}
END_TEST

START_TEST(levels_have_names)
{
    for (int i = 0; i < CPU_LEVELS; i++) {
        ck_assert_int_eq(cpu_level_from_name(cpu_level_name((enum cpu_level)i)), i);
        if (i <= (int)cpu_best_level())
            ck_assert_int_eq(cpu_kernels((enum cpu_level)i)->level, i);
    }
    ck_assert_int_eq(cpu_level_from_name("avx"), -1);
    ck_assert_int_eq(cpu_level_from_name(""), -1);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("all");
    tcase_add_loop_test(t, every_level_computes_the_definition, 0, SHAPES);
    tcase_add_test(t, levels_have_names);
    return run_suite(t, "matmul");
}
