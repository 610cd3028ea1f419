/* exp, tanh, sigmoid and erf on vectors: AVX-512, 16 lanes. */
#if defined __x86_64__
#define LEVEL CPU_AVX512
#include "kernels/cpu/tests/vmath.inc"
#else
#include <stdio.h>

int main(void)
{
    puts("vmath: this machine is no x86-64: skipped");
    return 77;
}
#endif
