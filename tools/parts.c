/* See parts.h. */
#include "tools/parts.h"
#include "common/base/json.h"
#include "common/file/output.h"


int parts_check(struct tool_run *t, const struct parts *p, struct shard *shard, struct error *e)
{
    *shard = (struct shard){0, 1, NULL};
    if (p->merge && (p->measure_only || p->shard || p->calibration))
        return error_set(e, HASTEN_EUSAGE, "--merge goes with -o only");
    if (p->merge && !t->operands)
        return error_set(e, HASTEN_EUSAGE, "--merge: no files are given");
    if (!p->merge && t->operands > 1)
        return error_set(e, HASTEN_EUSAGE, "'%.200s': one operand too many", t->operand[1]);
    if (p->shard && !p->measure_only)
        return error_set(e, HASTEN_EUSAGE, "--shard goes with --measure-only");
    if (p->measure_only && p->calibration)
        return error_set(e, HASTEN_EUSAGE,
                         "--measure-only goes on from its own output, not from --calibration");
    if ((p->measure_only || p->merge) && output_is_stdout(t->output) && tool_claim_stdout(t, 1, e) < 0)
        return -1;
    return p->shard ? shard_parse(p->shard, tool_environment, NULL, shard, e) : 0;
}

int parts_report(struct tool_run *t, const struct sums *s, struct sum_range range, struct error *e)
{
    struct buf text = {0};
    cJSON *j = json_new_object(e);
    json_add_int(j, "images", s->total, e);
    json_add_int(j, "begin", range.begin, e);
    json_add_int(j, "end", range.end, e);
    buf_printf(&text, e, "%lld of %lld images, from image %lld on\n", (long long)(range.end - range.begin),
               (long long)s->total, (long long)range.begin);
    int status = e->code ? -1 : tool_report(t, text.data, j, output_is_stdout(t->output), e);
    cJSON_Delete(j);
    buf_free(&text);
    return status;
}

int parts_merge_files(struct tool_run *t, const char *kind, struct error *e)
{
    struct sums s = {0};
    int status = sums_merge(&s, t->operand, t->operands, kind, t->memory, t->team, e);
    if (status == 0)
        status = sums_write(&s, t->output, kind, t->team, e);
    if (status == 0)
        status = parts_report(t, &s, (struct sum_range){0, s.total}, e);
    sums_free(&s);
    return status;
}
