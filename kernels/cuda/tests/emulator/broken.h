/* Kernels that the emulator is tested with: right ones, and the same with one mistake. */
#ifndef HASTEN_EMULATOR_BROKEN_H
#define HASTEN_EMULATOR_BROKEN_H

/* What is left out or done wrong. */
enum mistake {
    RIGHT,
    NO_BARRIER_BEFORE_READ,  /* of what other threads have written */
    NO_BARRIER_BEFORE_WRITE, /* over what other threads still read */
    NO_WAIT_FOR_COPIES,
    BARRIER_FOR_SOME,
    SHUFFLE_FOR_SOME,
    MISALIGNED,
    BEHIND_SHARED, /* a byte behind the block's shared memory */
};

/* out[i] = the sum of `turns` rotations of in within a block, by shared memory; or so. */
struct broken {
    const float *in;
    float *out;
    int turns;
    enum mistake mistake;
};

#endif
