/* exp, tanh, sigmoid and erf on vectors: AVX2, 8 lanes. */
#if defined __x86_64__
#define LEVEL CPU_AVX2
#include "kernels/cpu/tests/vmath.inc"
#else
#include <stdio.h>

int main(void)
{
    puts("vmath: this machine is no x86-64: skipped");
    return 77;
}
#endif
