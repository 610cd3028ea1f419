/* What the threads of a warp do together. Fragment layouts are those of the PTX ISA ("Matrix Fragments for
 * mma", m16n8k16 .bf16, m16n8k8 .tf32, m16n8k32 .s8): g = lane / 4, t = lane % 4. Float sums are made in
 * double and rounded once; the hardware's order and rounding are its own. */
#include <stdint.h>
#include <string.h>

#include "kernels/cuda/emulate.h"
#include "kernels/cuda/tests/emulator/emulator.h"

enum { LANES = 32, ROWS = 16, COLUMNS = 8 };

/* As in host.h. */
struct shuffle {
    float value;
    int mask;
    float result;
};
struct ldmatrix {
    const void *row;
    uint32_t r[4];
};
struct mma {
    void *d;
    const uint32_t *a, *b;
};

void emulator_nothing(void **lane);
void emulator_shuffle_xor(void **lane);
void emulator_ldmatrix(void **lane);
void emulator_mma_bf16(void **lane);
void emulator_mma_tf32(void **lane);
void emulator_mma_u8s8(void **lane);

/* To have met is enough: a barrier. */
void emulator_nothing(void **lane) { (void)lane; }

void emulator_shuffle_xor(void **lane)
{
    for (int i = 0; i < LANES; i++) {
        struct shuffle *s = lane[i];
        s->result = ((struct shuffle *)lane[i ^ s->mask])->value;
    }
}

static long conflicts;

long emulator_bank_conflicts(void)
{
    long n = conflicts;
    conflicts = 0;
    return n;
}

/* The 8 rows of a matrix are read at once if they lie in different sixteens of bytes of 128. */
static void count_conflicts(void **lane, int matrix)
{
    unsigned seen = 0;
    for (int row = 0; row < 8; row++)
        seen |= 1u << ((uintptr_t)((const struct ldmatrix *)lane[8 * matrix + row])->row / 16 % 8);
    conflicts += 8 - __builtin_popcount(seen);
}

/* Lane 8 i + r names row r of matrix i; lane l gets word l % 4 of row l / 4 of each. */
void emulator_ldmatrix(void **lane)
{
    for (int i = 0; i < 32; i++) {
        const struct ldmatrix *from = lane[i];
        if ((uintptr_t)from->row % 16)
            emulator_stop("ldmatrix: a row is not aligned");
        for (int word = 0; word < 4; word++)
            memcpy(&((struct ldmatrix *)lane[4 * (i % 8) + word])->r[i / 8],
                   (const char *)from->row + 4 * word, 4);
    }
    for (int matrix = 0; matrix < 4; matrix++)
        count_conflicts(lane, matrix);
}

/* Word `word` (4 bytes) of row `row` of A (16 rows, 8 words of k) and of column `column` of B. */
static uint32_t a_word(void **lane, int row, int word)
{
    return ((struct mma *)lane[row % 8 * 4 + word % 4])->a[row / 8 + word / 4 * 2];
}

static uint32_t b_word(void **lane, int column, int word)
{
    return ((struct mma *)lane[column * 4 + word % 4])->b[word / 4];
}

static float as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Padding of tiles: one factor is all zeros, and the other has no exponent of all ones (mask: of its numbers
 * in a word), so nothing is added. */
static int adds_nothing(void **lane, uint32_t mask, uint32_t half)
{
    uint32_t a = 0, b = 0, odd = 0;
    for (int i = 0; i < 32; i++) {
        const struct mma *m = lane[i];
        a |= m->a[0] | m->a[1] | m->a[2] | m->a[3];
        b |= m->b[0] | m->b[1];
    }
    if (a && b)
        return 0;
    for (int i = 0; mask && i < 32; i++)
        for (int word = 0; word < 6; word++) {
            uint32_t x = word < 4 ? ((struct mma *)lane[i])->a[word] : ((struct mma *)lane[i])->b[word - 4];
            odd |= (x & mask) == mask || (half && (x & half) == half);
        }
    return !odd;
}

/* The result of (row, column), in the lane that holds it. */
static void *place(void **lane, int row, int column, int size)
{
    return (char *)((struct mma *)lane[row % 8 * 4 + column / 2])->d + (row / 8 * 2 + column % 2) * size;
}

/* b: [k][column], for the compiler's vectors. */
static void product(void **lane, float a[][16], float b[][COLUMNS], int depth)
{
    for (int r = 0; r < ROWS; r++) {
        double sum[COLUMNS];
        for (int c = 0; c < COLUMNS; c++)
            sum[c] = *(float *)place(lane, r, c, sizeof(float));
        for (int k = 0; k < depth; k++)
            for (int c = 0; c < COLUMNS; c++)
                sum[c] += (double)a[r][k] * b[k][c];
        for (int c = 0; c < COLUMNS; c++)
            *(float *)place(lane, r, c, sizeof(float)) = (float)sum[c];
    }
}

void emulator_mma_bf16(void **lane)
{
    float a[ROWS][16], b[16][COLUMNS];
    if (adds_nothing(lane, 0x7f800000u, 0x7f80u))
        return;
    for (int word = 0; word < 8; word++) {
        for (int r = 0; r < ROWS; r++) {
            a[r][2 * word] = as_float(a_word(lane, r, word) << 16);
            a[r][2 * word + 1] = as_float(a_word(lane, r, word) & 0xffff0000u);
        }
        for (int c = 0; c < COLUMNS; c++) {
            b[2 * word][c] = as_float(b_word(lane, c, word) << 16);
            b[2 * word + 1][c] = as_float(b_word(lane, c, word) & 0xffff0000u);
        }
    }
    product(lane, a, b, 16);
}

/* The low 13 bits of an operand are not looked at. */
void emulator_mma_tf32(void **lane)
{
    float a[ROWS][16], b[8][COLUMNS];
    if (adds_nothing(lane, 0x7f800000u, 0))
        return;
    for (int word = 0; word < 8; word++) {
        for (int r = 0; r < ROWS; r++)
            a[r][word] = as_float(a_word(lane, r, word) & ~0x1fffu);
        for (int c = 0; c < COLUMNS; c++)
            b[word][c] = as_float(b_word(lane, c, word) & ~0x1fffu);
    }
    product(lane, a, b, 8);
}

void emulator_mma_u8s8(void **lane)
{
    int32_t a[ROWS][32], b[32][COLUMNS];
    if (adds_nothing(lane, 0, 0))
        return;
    for (int word = 0; word < 8; word++)
        for (int byte = 0; byte < 4; byte++) {
            for (int r = 0; r < ROWS; r++)
                a[r][4 * word + byte] = (uint8_t)(a_word(lane, r, word) >> 8 * byte);
            for (int c = 0; c < COLUMNS; c++)
                b[4 * word + byte][c] = (int8_t)(b_word(lane, c, word) >> 8 * byte);
        }
    for (int r = 0; r < ROWS; r++) {
        uint32_t sum[COLUMNS]; /* wraps, as the hardware's does */
        for (int c = 0; c < COLUMNS; c++)
            sum[c] = *(uint32_t *)place(lane, r, c, sizeof(uint32_t));
        for (int k = 0; k < 32; k++)
            for (int c = 0; c < COLUMNS; c++)
                sum[c] += (uint32_t)(a[r][k] * b[k][c]);
        for (int c = 0; c < COLUMNS; c++)
            *(uint32_t *)place(lane, r, c, sizeof(uint32_t)) = sum[c];
    }
}
