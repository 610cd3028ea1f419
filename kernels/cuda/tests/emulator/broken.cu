/* See broken.h. */
#include "kernels/cuda/device.h"
#include "kernels/cuda/tests/emulator/broken.h"

KERNEL(rotations, 128, 1, broken)
{
    SHARED(memory);
    float *seen = (float *)memory, sum = 0;
    unsigned me = threadIdx.x, all = blockDim.x, at = blockIdx.x * all + me;
    for (int turn = 0; turn < a.turns; turn++) {
        seen[me] = a.in[at] * (float)(turn + 1);
        if (a.mistake != NO_BARRIER_BEFORE_READ && (a.mistake != BARRIER_FOR_SOME || me > 0))
            __syncthreads();
        sum += seen[(me + 37 + (unsigned)turn) % all];
        if (a.mistake != NO_BARRIER_BEFORE_WRITE)
            __syncthreads();
    }
    a.out[at] = sum;
}

/* Sums of four neighbours that were copied without waiting; then over the warp. */
KERNEL(copied_sums, 128, 1, broken)
{
    SHARED(memory);
    float *mine = (float *)memory + 4 * threadIdx.x, sum;
    copy16(mine, a.in + 4 * (blockIdx.x * blockDim.x + threadIdx.x), 16);
    copy_commit();
    if (a.mistake != NO_WAIT_FOR_COPIES)
        copy_wait<0>();
    float4 v = load4(mine + (a.mistake == MISALIGNED));
    sum = v.x + v.y + v.z + v.w;
    if (a.mistake == SHUFFLE_FOR_SOME && threadIdx.x == 5)
        return;
    sum = warp_sum(sum);
    if (a.mistake == BEHIND_SHARED)
        memory[blockDim.x * 16] = 1;
    if (threadIdx.x % 32 == 0)
        a.out[(blockIdx.x * blockDim.x + threadIdx.x) / 32] = sum;
}
