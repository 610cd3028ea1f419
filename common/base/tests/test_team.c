/* The thread team: every part runs once, barriers meet, spans cover, a thread that does not start is an
 * error. */
#include "common/base/mem.h"
#include "common/base/team.h"
#include "common/base/tests/run_suite.h"

#include <check.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { ROUNDS = 300, MOST = 8 };

struct job {
    struct team *team;
    atomic_int runs[MOST];
    int64_t value[MOST], sum[MOST];
};

static void count(void *job, int part, int parts)
{
    struct job *j = job;
    ck_assert_int_lt(part, parts);
    atomic_fetch_add(&j->runs[part], 1);
}

START_TEST(every_part_runs_once)
{
    struct error e = {0};
    int threads = _i;
    size_t blocks = mem_live_blocks();
    struct team *t = team_open(threads, &e);
    ck_assert_msg(t != NULL, "%s", e.text);
    ck_assert_int_eq(team_size(t), threads);
    struct job j = {.team = t};
    for (int i = 0; i < ROUNDS; i++)
        team_run(t, count, &j);
    for (int i = 0; i < MOST; i++)
        ck_assert_int_eq(atomic_load(&j.runs[i]), i < threads ? ROUNDS : 0);
    team_close(t);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

/* Each part adds up what all parts wrote before the barrier. */
static void meet(void *job, int part, int parts)
{
    struct job *j = job;
    for (int round = 1; round <= ROUNDS; round++) {
        j->value[part] = round * (part + 1);
        team_barrier(j->team);
        int64_t sum = 0;
        for (int i = 0; i < parts; i++)
            sum += j->value[i];
        j->sum[part] += sum;
        team_barrier(j->team);
    }
}

START_TEST(barriers_meet)
{
    struct error e = {0};
    int threads = _i;
    struct team *t = team_open(threads, &e);
    struct job j = {.team = t};
    team_run(t, meet, &j);
    int64_t expected = (int64_t)threads * (threads + 1) / 2 * ROUNDS * (ROUNDS + 1) / 2;
    for (int i = 0; i < threads; i++)
        ck_assert_int_eq(j.sum[i], expected);
    team_close(t);
}
END_TEST

START_TEST(spans_cover_without_overlap)
{
    for (int64_t n = 0; n < 70; n++)
        for (int64_t chunk = 1; chunk < 20; chunk += 3)
            for (int parts = 1; parts <= MOST; parts++) {
                int64_t at = 0;
                for (int part = 0; part < parts; part++) {
                    struct span s = team_span(n, chunk, part, parts);
                    ck_assert_int_eq(s.begin, at);
                    ck_assert(s.begin % chunk == 0 || s.begin == n);
                    ck_assert_int_ge(s.end, s.begin);
                    at = s.end;
                }
                ck_assert_int_eq(at, n);
            }
}
END_TEST

START_TEST(a_thread_that_does_not_start)
{
    size_t blocks = mem_live_blocks();
    for (int k = 1; k <= 3; k++) {
        struct error e = {0};
        fault_set(k == 1 ? "thread:1" : k == 2 ? "thread:2" : "thread:3");
        ck_assert_ptr_null(team_open(4, &e));
        ck_assert_int_eq(e.code, HASTEN_EFAIL);
        ck_assert_ptr_nonnull(strstr(e.text, "cannot start thread"));
        fault_set(NULL);
        ck_assert_uint_eq(mem_live_blocks(), blocks);
    }
    for (int k = 1; k <= 3; k++) {
        struct error e = {0};
        fault_set(k == 1 ? "alloc:1" : k == 2 ? "alloc:2" : "alloc:3");
        ck_assert_ptr_null(team_open(4, &e));
        ck_assert_int_eq(e.code, HASTEN_ENOMEM);
        fault_set(NULL);
        ck_assert_uint_eq(mem_live_blocks(), blocks);
    }
    team_close(NULL);
}
END_TEST

START_TEST(default_size)
{
    struct error e = {0};
    cpu_set_t before, after;
    sched_getaffinity(0, sizeof before, &before);
    ck_assert_int_ge(team_cores(), 1);
    struct team *t = team_open(0, &e);
    ck_assert_int_eq(team_size(t), team_cores()); /* although the caller is pinned to one core now */
    team_close(t);
    sched_getaffinity(0, sizeof after, &after);
    ck_assert(CPU_EQUAL(&before, &after));
}
END_TEST

static cpu_set_t seen[MOST];

static void ask(void *job, int part, int parts)
{
    (void)job, (void)parts;
    sched_getaffinity(0, sizeof seen[part], &seen[part]);
}

/* Several processes of few threads on one machine must not share the first CPUs: only a team that takes them
 * all is pinned, each thread to one of its own. */
START_TEST(only_a_team_of_all_cpus_is_pinned)
{
    struct error e = {0};
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    int all = CPU_COUNT(&before);
    for (int threads = 1; threads <= MOST; threads++) {
        struct team *t = team_open(threads, &e);
        ck_assert_ptr_nonnull(t);
        team_run(t, ask, NULL);
        for (int i = 0; i < threads; i++) {
            if (threads == all && threads > 1)
                ck_assert_int_eq(CPU_COUNT(&seen[i]), 1);
            else
                ck_assert(CPU_EQUAL(&seen[i], &before));
            for (int k = 0; k < i && threads == all; k++)
                ck_assert(!CPU_EQUAL(&seen[i], &seen[k]));
        }
        team_close(t);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("team");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, every_part_runs_once, 1, 6);
    tcase_add_loop_test(t, barriers_meet, 1, 5);
    tcase_add_test(t, spans_cover_without_overlap);
    tcase_add_test(t, a_thread_that_does_not_start);
    tcase_add_test(t, default_size);
    tcase_add_test(t, only_a_team_of_all_cpus_is_pinned);
    suite_add_tcase(s, t);
    return run_suite(s);
}
