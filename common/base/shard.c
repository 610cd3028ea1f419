/* See shard.h. */
#include "common/base/shard.h"
#include "common/base/num.h"

#include <stdio.h>
#include <string.h>

struct system {
    const char *name, *index, *count;
};

static const struct system kubernetes = {"Kubernetes", "JOB_COMPLETION_INDEX", "HASTEN_SHARDS"};

/* Ranks inside a job. torchrun and srun come last: an MPI launcher under srun sets its own as well. */
static const struct system ranks[] = {{"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"},
                                      {"MPI", "PMI_RANK", "PMI_SIZE"},
                                      {"torchrun", "RANK", "WORLD_SIZE"},
                                      {"srun", "SLURM_PROCID", "SLURM_NTASKS"}};

static const struct system *const srun = &ranks[sizeof ranks / sizeof *ranks - 1];

struct environment {
    shard_lookup *lookup;
    void *context;
};

static const char *value(const struct environment *v, const char *name)
{
    const char *text = v->lookup(name, v->context);
    return text && *text ? text : NULL;
}

/* 1: found. 0: the system has set nothing. */
static int read_pair(const struct environment *v, const struct system *s, struct shard *out, struct error *e)
{
    const char *index = value(v, s->index), *count = value(v, s->count);
    /* A batch script itself has SLURM_PROCID 0 whatever its tasks; only job steps have ranks. */
    if (!index || (s == srun && value(v, "SLURM_JOB_ID") && !value(v, "SLURM_STEP_ID")))
        return 0;
    if (!count)
        return error_set(e, HASTEN_EUSAGE,
                         "--shard auto: %s is set and %s is not; set it to the number of shards", s->index,
                         s->count);
    if (num_int(s->count, count, 1, SHARD_MOST, &out->count, e) < 0 ||
        num_int(s->index, index, 0, SHARD_MOST, &out->index, e) < 0)
        return -1;
    if (out->index >= out->count)
        return error_set(e, HASTEN_EUSAGE, "--shard auto: %s is %s, but %s is only %s", s->index, index,
                         s->count, count);
    out->source = s->name;
    return 1;
}

static int read_array(const struct environment *v, struct shard *out, struct error *e)
{
    int64_t id, min = 0, step = 1;
    const char *text = value(v, "SLURM_ARRAY_TASK_ID"), *count = value(v, "SLURM_ARRAY_TASK_COUNT");
    const char *low = value(v, "SLURM_ARRAY_TASK_MIN"), *by = value(v, "SLURM_ARRAY_TASK_STEP");
    if (!text)
        return 0;
    if (!count || !low)
        return error_set(e, HASTEN_EUSAGE,
                         "--shard auto: SLURM_ARRAY_TASK_ID is set and SLURM_ARRAY_TASK_%s is not",
                         count ? "MIN" : "COUNT");
    if (num_int("SLURM_ARRAY_TASK_ID", text, 0, INT32_MAX, &id, e) < 0 ||
        num_int("SLURM_ARRAY_TASK_COUNT", count, 1, SHARD_MOST, &out->count, e) < 0 ||
        num_int("SLURM_ARRAY_TASK_MIN", low, 0, INT32_MAX, &min, e) < 0 ||
        (by && num_int("SLURM_ARRAY_TASK_STEP", by, 1, INT32_MAX, &step, e) < 0))
        return -1;
    if (id < min || (id - min) % step || (id - min) / step >= out->count)
        return error_set(
            e, HASTEN_EUSAGE,
            "--shard auto: element %lld of an array of %lld from %lld by %lld is no shard; use an "
            "array without gaps, as 0-7, or give --shard i/n",
            (long long)id, (long long)out->count, (long long)min, (long long)step);
    out->index = (id - min) / step;
    out->source = "Slurm array";
    return 1;
}

/* The first launcher that has set its variables; one that starts a single process says nothing. */
static int read_rank(const struct environment *v, struct shard *out, struct error *e)
{
    int found = 0;
    for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
        struct shard s;
        int r = read_pair(v, &ranks[i], &s, e);
        if (r < 0)
            return -1;
        if (r == 0 || (found && (s.count == 1 || out->count > 1) && s.count != out->count))
            continue;
        if (found && s.count == out->count && s.index != out->index)
            return error_set(e, HASTEN_EUSAGE,
                             "--shard auto: %s says %lld of %lld, %s says %lld of %lld; give --shard i/n",
                             out->source, (long long)out->index, (long long)out->count, s.source,
                             (long long)s.index, (long long)s.count);
        if (!found || out->count == 1)
            *out = s;
        found = 1;
    }
    return found;
}

static int find(const struct environment *v, struct shard *out, struct error *e)
{
    struct shard pod, rank;
    int array = read_array(v, out, e);
    int pods = array < 0 ? -1 : read_pair(v, &kubernetes, &pod, e);
    int ranked = pods < 0 ? -1 : read_rank(v, &rank, e);
    if (ranked < 0)
        return -1;
    if (array && pods)
        return error_set(
            e, HASTEN_EUSAGE,
            "--shard auto: SLURM_ARRAY_TASK_ID and JOB_COMPLETION_INDEX are both set; give --shard i/n");
    if (pods)
        *out = pod;
    if (array || pods) {
        int64_t count, index;
        if (!ranked || rank.count == 1)
            return 0;
        if (num_mul(out->count, rank.count, &count) || count > SHARD_MOST)
            return error_set(e, HASTEN_EUSAGE, "--shard auto: %lld times %lld shards are too many",
                             (long long)out->count, (long long)rank.count);
        index = out->index * rank.count + rank.index;
        *out = (struct shard){index, count, out->source};
        return 0;
    }
    if (!ranked)
        return error_set(
            e, HASTEN_EUSAGE,
            "--shard auto: no variables of Slurm, Kubernetes, MPI or torchrun are set; give --shard "
            "i/n, counted from 0");
    *out = rank;
    return 0;
}

int shard_parse(const char *text, shard_lookup *lookup, void *context, struct shard *out, struct error *e)
{
    char index[24];
    const char *slash = strchr(text, '/');
    *out = (struct shard){0, 1, "--shard"};
    if (!strcmp(text, "auto")) {
        struct environment v = {lookup, context};
        return find(&v, out, e);
    }
    if (!slash || (size_t)(slash - text) >= sizeof index)
        return error_set(e, HASTEN_EUSAGE, "--shard: '%.60s' is neither i/n nor auto", text);
    snprintf(index, sizeof index, "%.*s", (int)(slash - text), text);
    if (num_int("--shard", index, 0, SHARD_MOST, &out->index, e) < 0 ||
        num_int("--shard", slash + 1, 1, SHARD_MOST, &out->count, e) < 0)
        return -1;
    if (out->index >= out->count)
        return error_set(e, HASTEN_EUSAGE,
                         "--shard %s: shards are counted from 0, the last of %lld is %lld/%lld", text,
                         (long long)out->count, (long long)out->count - 1, (long long)out->count);
    return 0;
}

int shard_local(shard_lookup *lookup, void *context)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "LOCAL_RANK",
                                        "SLURM_LOCALID"};
    struct environment v = {lookup, context};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = value(&v, names[i]);
        int64_t rank;
        if (text && num_int(names[i], text, 0, SHARD_MOST, &rank, NULL) == 0 && rank > 0)
            return (int)rank;
    }
    return 0;
}
