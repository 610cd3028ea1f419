/* A run as Chrome's trace events: see profile_trace.h. */
#include "common/run/profile_trace.h"
#include "common/base/json.h"
#include "common/run/backend.h"

static int add_event(cJSON *events, const char *name, const char *kind, int thread, double begin, double end,
                     struct error *e)
{
    cJSON *j = json_push_object(events, e);
    return !j || json_add_string(j, "name", name, e) < 0 || json_add_string(j, "cat", kind, e) < 0 ||
                   json_add_string(j, "ph", "X", e) < 0 || json_add_int(j, "pid", 0, e) < 0 ||
                   json_add_int(j, "tid", thread, e) < 0 || json_add_double(j, "ts", 1e3 * begin, e) < 0 ||
                   json_add_double(j, "dur", 1e3 * (end - begin), e) < 0
               ? -1
               : 0;
}

int profile_chrome_trace(struct buf *out, const struct graph *g, const struct plan *p,
                         const struct cpu_log *log, struct error *e)
{
    cJSON *root = json_new_object(e), *events = root ? json_add_array(root, "traceEvents", e) : NULL;
    int status = events ? 0 : -1;
    for (int i = 0; status == 0 && i < p->calls && i < log->calls; i++)
        for (int part = 0; status == 0 && part < log->parts; part++)
            status = add_event(events, g->node[p->call[i].node].name, kernel_kind_name(p->call[i].kind), part,
                               log->begin[i * log->parts + part] - log->submit,
                               log->end[i * log->parts + part] - log->submit, e);
    if (status == 0)
        status = json_write(out, root, e);
    cJSON_Delete(root);
    return status;
}

int profile_device_trace(struct buf *out, const struct cuda_trace *kernel, int count, struct error *e)
{
    cJSON *root = json_new_object(e), *events = root ? json_add_array(root, "traceEvents", e) : NULL;
    int status = events ? 0 : -1;
    for (int i = 0; status == 0 && i < count; i++) {
        const struct cuda_trace *k = &kernel[i];
        status = add_event(events, k->name, "kernel", 0, k->begin, k->end, e) < 0 ||
                         add_event(events, k->name, "wait", 1, k->asked, k->begin, e) < 0
                     ? -1
                     : 0;
    }
    if (status == 0)
        status = json_write(out, root, e);
    cJSON_Delete(root);
    return status;
}
