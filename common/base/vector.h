/* A function whose loops the compiler shall turn into vectors, once for each width that x86 processors have;
 * which one runs is chosen when the program starts. No multiplication is joined with an addition, so that all
 * of them give the same bits.
 *
 *     ANY_VECTOR static void scale(float *x, int64_t n, float by) { for (...) x[i] *= by; }
 *
 * What such a loop calls must be IN_VECTOR: the compiler does not inline a function of other options by
 * itself, and a loop with a call in it stays as it is. */
#ifndef HASTEN_BASE_VECTOR_H
#define HASTEN_BASE_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined __x86_64__ && defined __GNUC__ && !defined __clang__ && !defined __SANITIZE_ADDRESS__
#define IN_VECTOR inline __attribute__((always_inline))
#define ANY_VECTOR                                                        \
    __attribute__((optimize("O3", "no-trapping-math", "fp-contract=off"), \
                   target_clones("default", "avx2", "avx512f")))
#else
#define IN_VECTOR inline
#define ANY_VECTOR
#endif

/* A float as its bits, and back. */
static IN_VECTOR uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static IN_VECTOR float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

#endif
