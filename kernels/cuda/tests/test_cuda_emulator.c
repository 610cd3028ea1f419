/* The emulator is held to what the other tests take from it: a right kernel gives the same for every order of
 * threads, each kind of mistake is found. */
#include "kernels/cpu/tests/kernel_test.h"
#include "kernels/cuda/tests/cuda_test.h"
#include "kernels/cuda/tests/emulator/broken.h"
#include "kernels/cuda/tests/emulator/emulator.h"

#include <signal.h>

emulator_kernel emulate_rotations, emulate_copied_sums;

enum { BLOCKS = 3, THREADS = 128, TURNS = 4, SEEDS = 20 };

static void rotate(const float *in, float *out, enum mistake mistake, unsigned seed)
{
    struct broken b = {in, out, TURNS, mistake};
    const unsigned grid[3] = {BLOCKS, 1, 1}, block[3] = {THREADS, 1, 1};
    emulate_function("rotations", emulate_rotations, grid, block, THREADS * sizeof(float), &b, seed);
}

static void expect(const float *in, float *out)
{
    for (int i = 0; i < BLOCKS * THREADS; i++) {
        out[i] = 0;
        for (int turn = 0; turn < TURNS; turn++)
            out[i] += in[i / THREADS * THREADS + (i % THREADS + 37 + turn) % THREADS] * (float)(turn + 1);
    }
}

/* How many of SEEDS orders give a wrong result. */
static int wrong_orders(enum mistake mistake)
{
    float *in = floats(BLOCKS * THREADS, 1, 1, 0), want[BLOCKS * THREADS], got[BLOCKS * THREADS];
    int wrong = 0;
    expect(in, want);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        memset(got, 0, sizeof got);
        rotate(in, got, mistake, seed);
        wrong += memcmp(got, want, sizeof got) != 0;
    }
    free(in);
    return wrong;
}

START_TEST(barriers_make_every_order_right) { ck_assert_int_eq(wrong_orders(RIGHT), 0); }
END_TEST

START_TEST(a_missing_barrier_shows_in_every_order)
{
    ck_assert_int_eq(wrong_orders(NO_BARRIER_BEFORE_READ), SEEDS);
    ck_assert_int_eq(wrong_orders(NO_BARRIER_BEFORE_WRITE), SEEDS);
}
END_TEST

START_TEST(a_barrier_for_some_ends_the_program) { wrong_orders(BARRIER_FOR_SOME); }
END_TEST

static void sum_copied(const float *in, float *out, enum mistake mistake, unsigned seed)
{
    struct broken b = {in, out, 0, mistake};
    const unsigned grid[3] = {BLOCKS, 1, 1}, block[3] = {THREADS, 1, 1};
    emulate_function("copied_sums", emulate_copied_sums, grid, block, 16 * THREADS, &b, seed);
}

static void copies(enum mistake mistake, int right)
{
    float *in = floats(4 * BLOCKS * THREADS, 2, 1, 0), got[BLOCKS * THREADS / 32];
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        sum_copied(in, got, mistake, seed);
        for (int i = 0; i < BLOCKS * THREADS / 32; i++) {
            double want = 0;
            for (int k = 0; k < 128; k++)
                want += in[128 * i + k];
            ck_assert_int_eq(fabs(got[i] - want) < 1e-4, right);
        }
    }
    free(in);
}

START_TEST(copies_arrive_when_waited_for) { copies(RIGHT, 1); }
END_TEST
START_TEST(copies_not_waited_for_do_not_arrive) { copies(NO_WAIT_FOR_COPIES, 0); }
END_TEST
START_TEST(a_misaligned_vector_ends_the_program) { copies(MISALIGNED, 1); }
END_TEST
START_TEST(a_thread_that_misses_a_shuffle_ends_the_program) { copies(SHUFFLE_FOR_SOME, 1); }
END_TEST

#if defined __SANITIZE_ADDRESS__
START_TEST(a_step_beyond_shared_memory_ends_the_program) { copies(BEHIND_SHARED, 1); }
END_TEST
#endif

START_TEST(an_unknown_kernel_is_refused)
{
    const unsigned one[3] = {1, 1, 1};
    ck_assert_int_eq(emulate("no_such_kernel", one, one, 0, NULL, 0), -1);
}
END_TEST

START_TEST(every_kernel_of_the_list_has_a_name)
{
    int count = 0;
    for (const char *const *name = cuda_kernel_names(); *name; name++)
        count++;
    ck_assert_int_ge(count, 6);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("emulator");
    tcase_add_test(t, barriers_make_every_order_right);
    tcase_add_test(t, a_missing_barrier_shows_in_every_order);
    tcase_add_test_raise_signal(t, a_barrier_for_some_ends_the_program, SIGABRT);
    tcase_add_test(t, copies_arrive_when_waited_for);
    tcase_add_test(t, copies_not_waited_for_do_not_arrive);
    tcase_add_test_raise_signal(t, a_misaligned_vector_ends_the_program, SIGABRT);
    tcase_add_test_raise_signal(t, a_thread_that_misses_a_shuffle_ends_the_program, SIGABRT);
#if defined __SANITIZE_ADDRESS__
    tcase_add_exit_test(t, a_step_beyond_shared_memory_ends_the_program, 1);
#endif
    tcase_add_test(t, an_unknown_kernel_is_refused);
    tcase_add_test(t, every_kernel_of_the_list_has_a_name);
    return run_suite(t, "cuda emulator");
}
