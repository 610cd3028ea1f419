/* Between two network calls: guidance, the sampler's step and the next input, a number a thread; and changes
 * of layout. struct cuda_step and cuda_layout of launch.h. */
#include "kernels/cuda/device.h"

DEVICE int is_finite(float x) { return fabsf(x) <= 3.402823466e38f; }

DEVICE float deviation(const struct step_numbers &n, float v)
{
    float share = (v + 1) / 2;
    return n.variance == STEP_RANGE ? expf(0.5f * (share * n.high + (1 - share) * n.low)) : sqrtf(v);
}

KERNEL(sampler_step, 256, 4, cuda_step)
{
    const struct step_numbers &n = a.numbers;
    unsigned channels = (unsigned)a.channels, pixels = (unsigned)a.pixels,
             at = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned row = at / channels, c = at % channels, image = row / pixels;
    if (image >= (unsigned)a.images)
        return;
    int64_t from = (int64_t)row * a.out_channels + c;
    float out = a.cond[from];
    int finite = is_finite(out);
    if (a.out_channels > a.channels)
        finite &= is_finite(a.cond[from + a.channels]);
    if (a.uncond) {
        float other = a.uncond[from];
        finite &=
            is_finite(other) && (a.out_channels == a.channels || is_finite(a.uncond[from + a.channels]));
        out = other + a.guidance * (out - other);
    }
    if (a.failed && !finite)
        atomic_set(a.failed);

    float in[STEP_INPUTS] = {a.x[at], out};
    float picture = n.picture_of[0] * in[STEP_X] + n.picture_of[1] * out;
    if (n.clip > 0)
        picture = picture < -n.clip ? -n.clip : picture > n.clip ? n.clip : picture;
    in[STEP_PICTURE] = picture;
    if (a.noise) {
        in[STEP_NOISE] = a.noise[((int64_t)image * channels + c) * pixels + row % pixels];
        if (n.variance != STEP_FIXED)
            in[STEP_NOISE] *= deviation(n, a.cond[from + a.channels]);
    }
#pragma unroll
    for (int k = 0; k < STEP_HISTORY; k++)
        if (n.reads >> k & 1)
            in[STEP_FIRST_HISTORY + k] = a.history[k][at];
    float target[1 + STEP_HISTORY];
#pragma unroll
    for (int t = 0; t <= STEP_HISTORY; t++) {
        target[t] = 0;
        if (t == 0 || n.writes >> (t - 1) & 1)
#pragma unroll
            for (int i = 0; i < STEP_INPUTS; i++)
                if (n.to[t][i] != 0) /* what is not there may be anything */
                    target[t] += n.to[t][i] * in[i];
    }
    a.x[at] = target[0];
#pragma unroll
    for (int k = 0; k < STEP_HISTORY; k++)
        if (n.writes >> k & 1)
            a.history[k][at] = target[1 + k];
#pragma unroll
    for (int k = 0; k < 2; k++)
        if (a.input[k])
            a.input[k][at] = a.input_scale * target[0];
}

KERNEL(change_layout, 256, 4, cuda_layout)
{
    unsigned channels = (unsigned)a.channels, pixels = (unsigned)a.pixels,
             at = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned image = at / (channels * pixels), inside = at % (channels * pixels);
    if (image >= (unsigned)a.images)
        return;
    unsigned pixel = a.to_last ? inside / channels : inside % pixels;
    unsigned c = a.to_last ? inside % channels : inside / pixels;
    int64_t first = (int64_t)image * channels * pixels,
            from = a.to_last ? c * pixels + pixel : pixel * channels + c;
    float v = a.scale * a.in[first + from];
    a.out[at] = v;
    if (a.again)
        a.again[at] = v;
}
