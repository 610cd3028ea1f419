/* A model out of arrays of the test's own, as tests of what runs whole models want it:
 *
 *     made_tensor(&m, "w.a", a, 4, 5, 2);      // float32 of that rank, [5][2] or [5][2][1][1]
 *     made_model(&m, network);                 // JSON of the header; m is open then, as a file would be
 */
#ifndef HASTEN_MADE_MODEL_H
#define HASTEN_MADE_MODEL_H

#include "common/base/json.h"
#include "common/file/container.h"
#include "common/file/model.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void made_tensor(struct model *m, const char *name, float *data, int rank, int rows,
                               int columns)
{
    struct error e = {0};
    struct tensor t = {.name = name, .dtype = DTYPE_F32, .rank = rank, .shape = {rows, columns, 1, 1}};
    ck_assert_int_eq(tensor_measure(&t, &e), 0);
    t.data = data;
    ck_assert_int_eq(model_add_tensor(m, &t, 0, &e), 0);
}

static inline void made_model(struct model *m, const char *network)
{
    struct error e = {0};
    char path[] = "/tmp/hasten-made-XXXXXX";
    close(mkstemp(path));
    cJSON *meta = json_parse(network, strlen(network), &e);
    ck_assert_int_eq(
        container_write(path, "model", meta, m->tensor, m->tensors, NULL, NULL, NULL, NULL, &e), 0);
    cJSON_Delete(meta);
    model_close(m);
    ck_assert_msg(model_open(m, path, 0, NULL, &e) == 0, "%s", e.text);
    unlink(path);
}

#endif
