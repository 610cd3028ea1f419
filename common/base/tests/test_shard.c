/* Shards and sets: environments of every batch system, contradictions, coverage. */
#include "common/base/mem.h"
#include "common/base/seen.h"
#include "common/base/shard.h"
#include "common/base/tests/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* The environment of a test: "NAME=VALUE NAME=VALUE". */
static const char *lookup(const char *name, void *context)
{
    static char values[16][64]; /* the caller looks at several at once */
    static int last;
    size_t n = strlen(name);
    for (const char *at = context; at && *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (!strncmp(at, name, n) && at[n] == '=') {
            size_t size = strcspn(at + n + 1, " ");
            char *value = values[last++ % 16];
            memcpy(value, at + n + 1, size);
            value[size] = 0;
            return value;
        }
    return NULL;
}

static const struct {
    const char *text, *environment;
    int index, count; /* count 0: refused */
    const char *says;
} cases[] = {
    {"0/1", "", 0, 1, NULL},
    {"3/4", "RANK=1 WORLD_SIZE=2", 3, 4, NULL},
    {"4/4", "", 0, 0, "counted from 0"},
    {"1/0", "", 0, 0, "--shard"},
    {"-1/2", "", 0, 0, "--shard"},
    {"1/2/3", "", 0, 0, "--shard"},
    {"/2", "", 0, 0, "--shard"},
    {"2", "", 0, 0, "neither i/n nor auto"},
    {"all", "", 0, 0, "neither i/n nor auto"},
    {"0/99999999999", "", 0, 0, "--shard"},
    {"auto", "", 0, 0, "no variables"},
    {"auto", "SLURM_ARRAY_TASK_ID=5 SLURM_ARRAY_TASK_COUNT=8 SLURM_ARRAY_TASK_MIN=0", 5, 8, NULL},
    {"auto", "SLURM_ARRAY_TASK_ID=7 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_STEP=2",
     3, 4, NULL},
    {"auto", "SLURM_ARRAY_TASK_ID=9 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_MIN=0", 0, 0, "without gaps"},
    {"auto", "SLURM_ARRAY_TASK_ID=4 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_STEP=2",
     0, 0, "without gaps"},
    {"auto", "SLURM_ARRAY_TASK_ID=1", 0, 0, "SLURM_ARRAY_TASK_COUNT is not"},
    {"auto", "SLURM_ARRAY_TASK_ID=x SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0", 0, 0,
     "SLURM_ARRAY_TASK_ID"},
    /* what sbatch sets in each element beside the array's own */
    {"auto",
     "SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0 SLURM_PROCID=0 SLURM_NTASKS=1", 2,
     4, NULL},
    {"auto",
     "SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=4 SLURM_ARRAY_TASK_MIN=0 SLURM_PROCID=1 SLURM_NTASKS=3", 7,
     12, NULL},
    {"auto", "JOB_COMPLETION_INDEX=2 HASTEN_SHARDS=3", 2, 3, NULL},
    {"auto", "JOB_COMPLETION_INDEX=2", 0, 0, "HASTEN_SHARDS is not"},
    {"auto", "JOB_COMPLETION_INDEX=3 HASTEN_SHARDS=3", 0, 0, "only 3"},
    {"auto",
     "JOB_COMPLETION_INDEX=0 HASTEN_SHARDS=3 SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=4 "
     "SLURM_ARRAY_TASK_MIN=0",
     0, 0, "both set"},
    {"auto", "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2", 1, 2, NULL},
    {"auto", "PMI_RANK=1 PMI_SIZE=2", 1, 2, NULL},
    {"auto", "RANK=3 WORLD_SIZE=4", 3, 4, NULL},
    {"auto", "RANK=3", 0, 0, "WORLD_SIZE is not"},
    {"auto", "SLURM_PROCID=3 SLURM_NTASKS=4", 3, 4, NULL},
    /* mpirun inside a batch script: srun's variables are those of the script itself */
    {"auto", "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 SLURM_PROCID=0 SLURM_NTASKS=1", 1, 2, NULL},
    {"auto", "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 SLURM_PROCID=2 SLURM_NTASKS=4", 2, 4, NULL},
    {"auto", "PMI_RANK=1 PMI_SIZE=4 SLURM_PROCID=1 SLURM_NTASKS=4", 1, 4, NULL},
    {"auto", "PMI_RANK=1 PMI_SIZE=4 SLURM_PROCID=2 SLURM_NTASKS=4", 0, 0, "MPI says 1 of 4"},
    /* a batch script, and a step that it starts */
    {"auto", "SLURM_JOB_ID=7 SLURM_PROCID=0", 0, 0, "no variables"},
    {"auto", "SLURM_JOB_ID=7 SLURM_PROCID=0 SLURM_NTASKS=4", 0, 0, "no variables"},
    {"auto", "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_NTASKS=4", 1, 4, NULL},
    {"auto",
     "SLURM_ARRAY_TASK_ID=1 SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=0 SLURM_JOB_ID=7 SLURM_PROCID=0", 1,
     2, NULL},
    {"auto", "RANK= WORLD_SIZE=", 0, 0, "no variables"},
};

START_TEST(environments)
{
    struct error e = {0};
    struct shard s;
    int status = shard_parse(cases[_i].text, lookup, (void *)cases[_i].environment, &s, &e);
    if (cases[_i].count) {
        ck_assert_msg(status == 0, "%s: %s", cases[_i].environment, e.text);
        ck_assert_int_eq(s.index, cases[_i].index);
        ck_assert_int_eq(s.count, cases[_i].count);
    } else {
        ck_assert_int_eq(status, -1);
        ck_assert_int_eq(e.code, HASTEN_EUSAGE);
        ck_assert_msg(strstr(e.text, cases[_i].says) != NULL, "%s", e.text);
    }
}
END_TEST

/* Every item belongs to exactly one shard, and no shard has two items more than another. */
START_TEST(coverage)
{
    for (int count = 1; count < 9; count++) {
        int items[8] = {0};
        for (int64_t i = 0; i < 100; i++) {
            int owners = 0;
            for (int k = 0; k < count; k++) {
                struct shard s = {k, count, NULL};
                owners += shard_has(&s, i);
                items[k] += shard_has(&s, i);
            }
            ck_assert_int_eq(owners, 1);
        }
        ck_assert_int_le(items[0] - items[count - 1], 1);
    }
}
END_TEST

START_TEST(sets)
{
    struct error e = {0};
    struct seen s = {0};
    int64_t before = -1;
    ck_assert(!seen_has(&s, 5));
    for (int64_t i = 0; i < 2000; i++) /* key 0 is a key like others; many share their low bits */
        ck_assert_int_eq(seen_put(&s, (uint64_t)i << 20, i, &before, &e), 0);
    for (int64_t i = 0; i < 2000; i++) {
        ck_assert_int_eq(seen_put(&s, (uint64_t)i << 20, 7, &before, &e), 1);
        ck_assert_int_eq(before, i);
    }
    ck_assert(!seen_has(&s, 12345));
    seen_free(&s);
    fault_set("alloc:1");
    ck_assert_int_eq(seen_put(&s, 1, 1, &before, &e), -1);
    fault_set(NULL);
    ck_assert_int_eq(e.code, HASTEN_ENOMEM);
    seen_free(&s);
}
END_TEST

START_TEST(local_ranks)
{
    ck_assert_int_eq(shard_local(lookup, ""), 0);
    ck_assert_int_eq(shard_local(lookup, "SLURM_LOCALID=3"), 3);
    ck_assert_int_eq(shard_local(lookup, "SLURM_LOCALID=0 LOCAL_RANK=5"), 5); /* torchrun under srun */
    ck_assert_int_eq(shard_local(lookup, "SLURM_LOCALID=0 OMPI_COMM_WORLD_LOCAL_RANK=2"), 2);
    ck_assert_int_eq(shard_local(lookup, "MPI_LOCALRANKID=1 RANK=7"), 1);
    ck_assert_int_eq(shard_local(lookup, "LOCAL_RANK=x"), 0);
    ck_assert_int_eq(shard_local(lookup, "LOCAL_RANK=-1"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shard");
    TCase *c = tcase_create("all");
    tcase_add_loop_test(c, environments, 0, (int)(sizeof cases / sizeof *cases));
    tcase_add_test(c, coverage);
    tcase_add_test(c, local_ranks);
    tcase_add_test(c, sets);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}
