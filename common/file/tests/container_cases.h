/* What the container's tests share: files in memory, pipes, a small content, comparing two contents. */
#ifndef HASTEN_FILE_TESTS_CONTAINER_CASES_H
#define HASTEN_FILE_TESTS_CONTAINER_CASES_H

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/file/container.h"
#include "common/file/input.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A regular file that is nowhere but in memory; path opens it anew. */
struct memfile {
    int fd;
    char path[40];
};

static inline struct memfile memfile(const void *data, size_t n)
{
    struct memfile m = {.fd = memfd_create("container", MFD_CLOEXEC)};
    ck_assert_int_ge(m.fd, 0);
    ck_assert_int_eq(pwrite(m.fd, data, n, 0), (ssize_t)n);
    snprintf(m.path, sizeof m.path, "/proc/self/fd/%d", m.fd);
    return m;
}

static inline void memfile_set(struct memfile *m, const void *data, size_t n)
{
    ck_assert_int_eq(pwrite(m->fd, data, n, 0), (ssize_t)n);
    ck_assert_int_eq(ftruncate(m->fd, (off_t)n), 0);
}

/* A pipe that holds n < 64 KiB bytes and whose writer has gone; close(fd) afterwards. */
static inline int pipe_with(const void *data, size_t n, char path[40])
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], data, n), (ssize_t)n);
    close(ends[1]);
    snprintf(path, 40, "/proc/self/fd/%d", ends[0]);
    return ends[0];
}

/* Open and load from a pipe or a memory file: what the sweeps do thousands of times. NULL: e tells. */
static inline struct container *load_bytes(const void *data, size_t n, int through_pipe,
                                           const struct container_options *want, struct error *e)
{
    struct container *c = NULL;
    char path[40];
    struct memfile m = {.fd = -1};
    int fd = -1;
    if (through_pipe)
        fd = pipe_with(data, n, path);
    else
        m = memfile(data, n);
    c = container_open(through_pipe ? path : m.path, want, e);
    if (c && container_load(c, NULL, e) < 0) {
        container_close(c);
        c = NULL;
    }
    close(through_pipe ? fd : m.fd);
    return c;
}

/* Six tensors of several types, an empty one and a scalar among them; 300 bytes or so. */
static inline int small_content(struct tensor *t)
{
    static float a[12], scalar = 2.5f;
    static uint16_t b[15];
    static int8_t w[30];
    static int64_t labels[3] = {207, -1, 5};
    for (int i = 0; i < 30; i++)
        w[i] = (int8_t)(i * 37);
    for (int i = 0; i < 15; i++)
        b[i] = (uint16_t)(i * 4099);
    for (int i = 0; i < 12; i++)
        a[i] = (float)i / 7;
    t[0] = (struct tensor){.name = "net.a.weight", .dtype = DTYPE_F32, .rank = 2, .shape = {3, 4}, .data = a};
    t[1] =
        (struct tensor){.name = "net.b.weight", .dtype = DTYPE_F16, .rank = 3, .shape = {1, 5, 3}, .data = b};
    t[2] = (struct tensor){.name = "net.b.codes", .dtype = DTYPE_I8, .rank = 2, .shape = {5, 6}, .data = w};
    t[3] = (struct tensor){.name = "labels", .dtype = DTYPE_I64, .rank = 1, .shape = {3}, .data = labels};
    t[4] = (struct tensor){.name = "nothing", .dtype = DTYPE_I16, .rank = 2, .shape = {0, 9}};
    t[5] = (struct tensor){.name = "\xC3\xA4 \"scale\"", .dtype = DTYPE_F32, .rank = 0, .data = &scalar};
    return 6;
}

static inline cJSON *small_meta(void)
{
    static const char text[] =
        "{\"sampler\":{\"steps\":50,\"beta\":[0.0001,0.02]},\"name\":\"sm\xC3\xA5ll \\\"x\\\" {\","
        "\"claims\":{\"ms\":12.5},\"yes\":true,\"none\":null}";
    struct error e = {0};
    cJSON *j = json_parse(text, sizeof text - 1, &e);
    ck_assert_msg(j != NULL, "%s", e.text);
    return j;
}

static inline void read_file(const char *path, struct buf *b)
{
    struct error e = {0};
    b->size = 0;
    ck_assert_msg(input_whole(path, b, &e) == 0, "%s", e.text);
}

static inline char *canonical(const cJSON *j, struct buf *b)
{
    struct error e = {0};
    b->size = 0;
    ck_assert_msg(json_write(b, j, &e) == 0, "%s", e.text);
    return b->data;
}

/* 1 when both hold the same metadata and the same tensors with the same bytes. */
static inline int same_content(const struct container *a, const struct container *b)
{
    struct buf x = {0}, y = {0};
    int same = a->count == b->count && !strcmp(canonical(a->meta, &x), canonical(b->meta, &y)) &&
               !strcmp(a->kind, b->kind);
    for (int i = 0; same && i < a->count; i++) {
        const struct tensor *s = &a->tensor[i], *t = container_find(b, s->name);
        same = t && s->dtype == t->dtype && s->rank == t->rank && s->size == t->size &&
               !memcmp(s->shape, t->shape, (size_t)s->rank * sizeof *s->shape) && s->data && t->data &&
               !memcmp(s->data, t->data, s->size);
    }
    buf_free(&x);
    buf_free(&y);
    return same;
}

#endif
