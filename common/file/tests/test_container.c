/* The container when all is well: what is written comes back, from files and pipes, ours, plain and foreign;
 * the bytes do not depend on the threads; other programs can open it. */
#include "common/base/tests/run_suite.h"
#include "common/file/tests/container_cases.h"

#include <math.h>
#include <sys/wait.h>
#include <zstd.h>

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/hasten-container-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

static void leave(void)
{
    char command[100];
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void write_small(const char *path, char id[HASH_HEX])
{
    struct error e = {0};
    struct tensor t[6];
    int n = small_content(t);
    cJSON *meta = small_meta();
    ck_assert_msg(container_write(path, "samples", meta, t, n, NULL, NULL, NULL, id, &e) == 0, "%s", e.text);
    cJSON_Delete(meta);
}

static struct container *load(const char *path, struct team *team)
{
    struct error e = {0};
    struct container *c = container_open(path, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.text);
    ck_assert_msg(container_load(c, team, &e) == 0, "%s", e.text);
    return c;
}

START_TEST(round_trip)
{
    size_t blocks = mem_live_blocks();
    char id[HASH_HEX], id2[HASH_HEX];
    struct tensor t[6];
    int n = small_content(t);
    write_small("a.zst", id);
    struct container *c = load("a.zst", NULL);
    ck_assert_str_eq(c->kind, "samples");
    ck_assert_int_eq(c->version, 1);
    ck_assert_int_eq(c->verified, 1);
    ck_assert_int_eq(c->count, n);
    ck_assert_str_eq(container_id(c), id);
    ck_assert(!container_is_foreign(c));
    for (int i = 0; i < n; i++) {
        const struct tensor *got = container_find(c, t[i].name);
        struct error e = {0};
        ck_assert_ptr_nonnull(got);
        ck_assert_int_eq(tensor_measure(&t[i], &e), 0);
        ck_assert(got->dtype == t[i].dtype && got->rank == t[i].rank && got->size == t[i].size &&
                  got->count == t[i].count);
        ck_assert_uint_eq((uintptr_t)got->data % 64, 0);
        if (got->size)
            ck_assert_mem_eq(got->data, t[i].data, got->size);
    }
    ck_assert_ptr_null(container_find(c, "net.a"));
    ck_assert_ptr_null(container_find(c, ""));
    ck_assert_int_eq(container_index(c, "zzz"), -1);
    ck_assert_ptr_eq(container_lookup(c, "labels"), container_find(c, "labels"));
    /* In the order of the format: element size descending, then name. */
    static const char *const order[] = {"labels",       "net.a.weight", "\xC3\xA4 \"scale\"",
                                        "net.b.weight", "nothing",      "net.b.codes"};
    for (int i = 0; i < n; i++)
        ck_assert_str_eq(c->tensor[i].name, order[i]);
    /* Read and written again: the same bytes. */
    struct error e = {0};
    ck_assert_msg(
        container_write("b.zst", c->kind, c->meta, c->tensor, c->count, NULL, NULL, NULL, id2, &e) == 0, "%s",
        e.text);
    ck_assert_str_eq(id, id2);
    struct buf a = {0}, b = {0};
    read_file("a.zst", &a);
    read_file("b.zst", &b);
    ck_assert_uint_eq(a.size, b.size);
    ck_assert_mem_eq(a.data, b.data, a.size);
    buf_free(&a);
    buf_free(&b);
    container_close(c);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

/* The same content in every packing: ours, plain, somebody else's zstd of the plain file without our
 * metadata. */
START_TEST(every_packing_has_the_same_content_and_id)
{
    char id[HASH_HEX], id2[HASH_HEX];
    struct buf ours = {0}, plain = {0};
    struct error e = {0};
    write_small("a.zst", id);
    write_small("a.safetensors", id2);
    ck_assert_str_eq(id, id2);
    read_file("a.zst", &ours);
    read_file("a.safetensors", &plain);
    /* What zstd -dc gives is the plain file. */
    char *unpacked = malloc(plain.size + 1);
    ck_assert_uint_eq(ZSTD_decompress(unpacked, plain.size + 1, ours.data, ours.size), plain.size);
    ck_assert_mem_eq(unpacked, plain.data, plain.size);
    free(unpacked);
    struct container *first = load("a.zst", NULL);
    for (int through_pipe = 0; through_pipe < 2; through_pipe++)
        for (int packed = 0; packed < 2; packed++) {
            const struct buf *b = packed ? &ours : &plain;
            struct container *c = load_bytes(b->data, b->size, through_pipe, NULL, &e);
            ck_assert_msg(c != NULL, "%s", e.text);
            ck_assert(same_content(first, c));
            ck_assert_int_eq(c->verified, packed);
            ck_assert_str_eq(container_id(c), id);
            container_close(c);
        }
    container_close(first);
    buf_free(&ours);
    buf_free(&plain);
}
END_TEST

/* As Python's safetensors writes it, keys in another order than the data. */
static const char foreign_header[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]},"
                                     "\"__metadata__\":{\"format\":\"pt\",\"note\":\"x\"},"
                                     "\"a\":{\"shape\":[2],\"data_offsets\":[0,8],\"dtype\":\"F32\"},\"e\":{"
                                     "\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[8,8]}}  ";

static size_t foreign_file(unsigned char *out)
{
    size_t n = sizeof foreign_header - 1;
    memset(out, 0, 8);
    out[0] = (unsigned char)n;
    out[1] = (unsigned char)(n >> 8);
    memcpy(out + 8, foreign_header, n);
    memcpy(out + 8 + n, (float[]){1.5f, -2}, 8);
    memcpy(out + 16 + n, "xyz", 3);
    return n + 19;
}

START_TEST(foreign_files)
{
    unsigned char plain[1000], packed[1200], all[1300];
    size_t n = foreign_file(plain), m = ZSTD_compress(packed, sizeof packed, plain, n, 3);
    char id[HASH_HEX] = "";
    /* Packed in two frames with a skippable one in between and one in front, as other tools may do. */
    memcpy(all, "\x5A\x2A\x4D\x18\x03\0\0\0abc", 11);
    size_t k = 11 + ZSTD_compress(all + 11, 600, plain, 50, 1);
    memcpy(all + k, "\x50\x2A\x4D\x18\0\0\0\0", 8);
    k += 8;
    k += ZSTD_compress(all + k, 600, plain + 50, n - 50, 1);
    const struct {
        const void *data;
        size_t size;
    } forms[] = {{plain, n}, {packed, m}, {all, k}};
    for (int f = 0; f < 3; f++)
        for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
            struct error e = {0};
            struct container *c = load_bytes(forms[f].data, forms[f].size, through_pipe, NULL, &e);
            ck_assert_msg(c != NULL, "form %d: %s", f, e.text);
            ck_assert(container_is_foreign(c));
            ck_assert_str_eq(c->kind, "");
            ck_assert_int_eq(c->verified, 0);
            ck_assert_int_eq(c->count, 3);
            ck_assert_str_eq(json_get(c->meta, "note")->valuestring, "x");
            const struct tensor *a = container_find(c, "a"), *b = container_find(c, "b");
            ck_assert(((float *)a->data)[1] == -2 && !memcmp(b->data, "xyz", 3));
            if (!id[0])
                snprintf(id, sizeof id, "%s", container_id(c));
            ck_assert_str_eq(container_id(c), id);
            container_close(c);
            struct container_options model = {.kind = "model"};
            ck_assert_ptr_null(load_bytes(forms[f].data, forms[f].size, through_pipe, &model, &e));
            ck_assert_msg(e.code == HASTEN_EFILE &&
                              strstr(e.text, "without hasten's metadata, a model is needed"),
                          "%s", e.text);
            model.foreign = 1;
            e = (struct error){0};
            c = load_bytes(forms[f].data, forms[f].size, through_pipe, &model, &e);
            ck_assert_msg(c != NULL, "%s", e.text);
            container_close(c);
        }
}
END_TEST

/* ---- large tensors, threads ---- */

static void fill_noise(unsigned char *p, size_t n, uint32_t state)
{
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (unsigned char)((state >> 24) & (i & 64 ? 0xFF : 0x0F));
    }
}

static int fill_counted;

static int fill(void *context, int index, const struct tensor *t, void *data, struct error *e)
{
    const struct tensor *list = context;
    (void)e;
    ck_assert_str_eq(list[index].name, t->name);
    fill_noise(data, t->size, (uint32_t)index);
    fill_counted++;
    return 0;
}

/* Two of several pieces (one of them an exact multiple), many small ones. */
static int large_content(struct tensor *t)
{
    static char name[40][24];
    t[0] =
        (struct tensor){.name = "big", .dtype = DTYPE_U8, .rank = 1, .shape = {2 * CONTAINER_PIECE + 12345}};
    t[1] = (struct tensor){.name = "exact", .dtype = DTYPE_F16, .rank = 2, .shape = {2, CONTAINER_PIECE / 2}};
    for (int i = 2; i < 40; i++) {
        snprintf(name[i], sizeof name[i], "small.%d", i);
        t[i] = (struct tensor){.name = name[i], .dtype = DTYPE_I16, .rank = 1, .shape = {1000 + 17 * i}};
    }
    return 40;
}

START_TEST(bytes_do_not_depend_on_threads)
{
    struct tensor t[40];
    int n = large_content(t);
    struct buf first = {0}, other = {0};
    struct container *one = NULL;
    size_t blocks = mem_live_blocks();
    for (int threads = 0; threads <= 5; threads++) {
        struct error e = {0};
        struct team *team = threads ? team_open(threads, &e) : NULL;
        char path[16];
        snprintf(path, sizeof path, "%d.zst", threads);
        fill_counted = 0;
        ck_assert_msg(container_write(path, "model", NULL, t, n, fill, t, team, NULL, &e) == 0, "%s", e.text);
        ck_assert_int_eq(fill_counted, n);
        read_file(path, threads ? &other : &first);
        if (threads) {
            ck_assert_uint_eq(first.size, other.size);
            ck_assert(!memcmp(first.data, other.data, first.size));
        }
        struct container *c = load(path, team);
        if (!one)
            one = load(path, NULL);
        ck_assert(same_content(c, one));
        for (int i = 0; i < c->count; i++) {
            unsigned char *want = malloc(c->tensor[i].size);
            for (int k = 0; k < n; k++)
                if (!strcmp(t[k].name, c->tensor[i].name))
                    fill_noise(want, c->tensor[i].size, (uint32_t)k);
            ck_assert(!memcmp(want, c->tensor[i].data, c->tensor[i].size));
            free(want);
        }
        container_close(c);
        team_close(team);
        unlink(path);
    }
    container_close(one);
    buf_free(&first);
    buf_free(&other);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

START_TEST(tensor_by_tensor)
{
    struct tensor t[40];
    int n = large_content(t);
    struct error e = {0};
    static const char *const paths[] = {"m.zst", "m.safetensors"};
    char id[HASH_HEX];
    for (int f = 0; f < 2; f++) {
        ck_assert_int_eq(container_write(paths[f], "model", NULL, t, n, fill, t, NULL, id, &e), 0);
        /* A limit that holds the largest tensor, but not two of them. */
        struct container_options want = {.memory = 9 << 20};
        struct container *whole = load(paths[f], NULL), *c = container_open(paths[f], &want, &e);
        ck_assert_int_eq(container_load(c, NULL, &e), -1);
        ck_assert_msg(e.code == HASTEN_ENOMEM &&
                          strstr(e.text, "bytes of tensors would pass the memory limit of 9437184") &&
                          strstr(e.text, paths[f]),
                      "%s", e.text);
        e = (struct error){0};
        int big = container_index(c, "big"), exact = container_index(c, "exact");
        ck_assert_int_eq(container_tensor_load(c, big, NULL, &e), 0);
        ck_assert(!memcmp(c->tensor[big].data, whole->tensor[big].data, c->tensor[big].size));
        ck_assert_int_eq(container_tensor_load(c, exact, NULL, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_ENOMEM);
        ck_assert_ptr_null(c->tensor[exact].data);
        e = (struct error){0};
        container_tensor_free(c, big);
        for (int i = c->count - 1; i >= 0; i--) { /* in any order */
            ck_assert_msg(container_tensor_load(c, i, NULL, &e) == 0, "%s", e.text);
            ck_assert(!memcmp(c->tensor[i].data, whole->tensor[i].data, c->tensor[i].size));
            container_tensor_free(c, i);
        }
        ck_assert_str_eq(container_id(c), id); /* every tensor has been seen */
        ck_assert_int_eq(container_tensor_load(c, exact, NULL, &e), 0);
        void *taken = container_tensor_take(c, exact);
        ck_assert_ptr_nonnull(taken);
        ck_assert_ptr_null(container_tensor_take(c, exact));
        ck_assert_int_eq(container_verify(c, NULL, &e), 0);
        ck_assert_ptr_null(c->tensor[big].data);
        mem_free(taken);
        container_close(c);
        container_close(whole);
        unlink(paths[f]);
    }
}
END_TEST

START_TEST(a_pipe_is_read_once)
{
    struct buf b = {0};
    struct error e = {0};
    char path[40], id[HASH_HEX];
    write_small("a.zst", id);
    read_file("a.zst", &b);
    int fd = pipe_with(b.data, b.size, path);
    struct container *c = container_open(path, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.text);
    ck_assert_ptr_null(container_id(c)); /* not before the trailer */
    ck_assert_int_eq(container_tensor_load(c, 2, NULL, &e), 0);
    ck_assert_ptr_nonnull(c->tensor[0].data);
    ck_assert_str_eq(container_id(c), id);
    ck_assert_int_eq(container_load(c, NULL, &e), 0);
    container_tensor_free(c, 2);
    ck_assert_int_eq(container_tensor_load(c, 2, NULL, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFAIL && strstr(e.text, "only once"), "%s", e.text);
    container_close(c);
    close(fd);
    e = (struct error){0};
    fd = pipe_with(b.data, b.size, path);
    c = container_open(path, NULL, &e);
    ck_assert_int_eq(container_verify(c, NULL, &e), 0);
    ck_assert_int_eq(container_verify(c, NULL, &e), 0);
    ck_assert_str_eq(container_id(c), id);
    ck_assert_ptr_null(c->tensor[0].data);
    container_close(c);
    close(fd);
    buf_free(&b);
}
END_TEST

/* More than any buffer holds, in uneven pieces, from another process. */
START_TEST(a_large_pipe)
{
    struct tensor t[40];
    int n = large_content(t);
    struct error e = {0};
    static const char *const paths[] = {"p.zst", "p.safetensors"};
    for (int f = 0; f < 2; f++) {
        struct buf b = {0};
        ck_assert_int_eq(container_write(paths[f], "model", NULL, t, n, fill, t, NULL, NULL, &e), 0);
        read_file(paths[f], &b);
        int ends[2];
        char path[40];
        ck_assert_int_eq(pipe(ends), 0);
        pid_t writer = fork();
        if (writer == 0) {
            close(ends[0]);
            for (size_t at = 0, step = 1; at < b.size; at += step, step = step * 7 % 70001)
                if (write(ends[1], b.data + at, step < b.size - at ? step : b.size - at) < 0)
                    _exit(1);
            _exit(0);
        }
        close(ends[1]);
        snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
        struct container *whole = load(paths[f], NULL), *c = load(path, NULL);
        ck_assert(same_content(whole, c));
        ck_assert_str_eq(container_id(whole), container_id(c));
        container_close(whole);
        container_close(c);
        close(ends[0]);
        int status;
        ck_assert_int_eq(waitpid(writer, &status, 0), writer);
        ck_assert_int_eq(status, 0);
        unlink(paths[f]);
        buf_free(&b);
    }
}
END_TEST

START_TEST(standard_input)
{
    struct error e = {0};
    char id[HASH_HEX];
    write_small("a.zst", id);
    int kept = dup(0), file = open("a.zst", O_RDONLY);
    dup2(file, 0);
    struct container *c = container_open("-", NULL, &e), *again = c ? container_open(NULL, NULL, &e) : NULL;
    dup2(kept, 0);
    ck_assert_msg(c && again, "%s", e.text);
    ck_assert_str_eq(c->name, "standard input");
    ck_assert_str_eq(container_id(c), id); /* a redirected file is a regular one */
    container_close(c);
    container_close(again);
    close(kept);
    close(file);
}
END_TEST

/* ---- identity, kinds ---- */

static void id_of(const cJSON *meta, const char *kind, const struct tensor *t, int n, char id[HASH_HEX])
{
    struct error e = {0};
    ck_assert_msg(container_write("id.zst", kind, meta, t, n, NULL, NULL, NULL, id, &e) == 0, "%s", e.text);
}

START_TEST(identity)
{
    struct tensor t[6], changed[6];
    int n = small_content(t);
    char id[HASH_HEX], other[HASH_HEX];
    struct error e = {0};
    cJSON *meta = small_meta();
    id_of(meta, "model", t, n, id);
    /* What does not count: claims, the order of keys and tensors, what the writer sets itself. */
    json_add_int(json_object(meta, "claims", &e), "ms", 99, &e);
    json_add_string(meta, "name", json_get(meta, "name")->valuestring, &e);
    json_add_int(meta, "version", 7, &e);
    for (int i = 0; i < n; i++)
        changed[i] = t[n - 1 - i];
    id_of(meta, "model", changed, n, other);
    ck_assert_str_eq(id, other);
    /* What counts: everything else. */
    id_of(meta, "samples", t, n, other);
    ck_assert_str_ne(id, other);
    json_add_bool(meta, "yes", 0, &e);
    id_of(meta, "model", t, n, other);
    ck_assert_str_ne(id, other);
    json_add_bool(meta, "yes", 1, &e);
    for (int k = 0; k < 4; k++) {
        float data[12];
        memcpy(changed, t, sizeof t);
        memcpy(data, t[0].data, sizeof data);
        data[11] = nextafterf(data[11], 9);
        if (k == 0)
            changed[0].name = "net.a.weights";
        else if (k == 1)
            changed[0].shape[0] = 4, changed[0].shape[1] = 3;
        else if (k == 2)
            changed[0].dtype = DTYPE_I32;
        else
            changed[0].data = data;
        id_of(meta, "model", changed, n, other);
        ck_assert_msg(strcmp(id, other) != 0, "change %d", k);
    }
    id_of(meta, "model", t, n, other);
    ck_assert_str_eq(id, other);
    cJSON_Delete(meta);
}
END_TEST

START_TEST(kinds)
{
    struct container_options model = {.kind = "model"}, samples = {.kind = "samples"};
    struct error e = {0};
    write_small("a.zst", NULL);
    struct container *c = container_open("a.zst", &samples, &e);
    ck_assert_msg(c != NULL, "%s", e.text);
    container_close(c);
    model.foreign = 1; /* does not make another kind welcome */
    ck_assert_ptr_null(container_open("a.zst", &model, &e));
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    ck_assert_str_eq(e.text, "a.zst: this is a file of kind 'samples', a model is needed");
}
END_TEST

START_TEST(nothing_inside)
{
    struct error e = {0};
    ck_assert_msg(container_write("a.zst", "schedule", NULL, NULL, 0, NULL, NULL, NULL, NULL, &e) == 0, "%s",
                  e.text);
    struct buf b = {0};
    read_file("a.zst", &b);
    for (int through_pipe = 0; through_pipe < 2; through_pipe++) {
        struct container *c = load_bytes(b.data, b.size, through_pipe, NULL, &e);
        ck_assert_msg(c != NULL, "%s", e.text);
        ck_assert_int_eq(c->count, 0);
        ck_assert_str_eq(c->kind, "schedule");
        container_close(c);
    }
    buf_free(&b);
}
END_TEST

/* ---- others can open it ---- */

START_TEST(python_opens_it)
{
    if (system("python3 -c 'import safetensors, numpy' 2> python.err") != 0) {
        fprintf(stderr, "python3 with safetensors is not here: skipped\n");
        return;
    }
    write_small("a.safetensors", NULL);
    FILE *f = fopen("check.py", "w");
    fputs("from safetensors.numpy import load_file, save_file\n"
          "from safetensors import safe_open\n"
          "import json\n"
          "t = load_file('a.safetensors')\n"
          "assert t['labels'].tolist() == [207, -1, 5], t\n"
          "assert t['net.b.codes'].shape == (5, 6) and t['\xC3\xA4 \"scale\"'] == 2.5\n"
          "m = safe_open('a.safetensors', 'np').metadata()\n"
          "assert json.loads(m['hasten'])['sampler']['steps'] == 50, m\n"
          "save_file({k: t[k] for k in reversed(t)}, 'python.safetensors', metadata=m)\n",
          f);
    fclose(f);
    ck_assert_int_eq(system("python3 check.py"), 0);
    struct container *a = load("a.safetensors", NULL), *b = load("python.safetensors", NULL);
    ck_assert(same_content(a, b));
    ck_assert_str_eq(container_id(a), container_id(b));
    container_close(a);
    container_close(b);
}
END_TEST

/* Noise is stored, what can be compressed is not; zstd reads both, and a flipped bit of either is found. */
START_TEST(what_does_not_shrink_is_stored)
{
    enum { N = 1500001 };
    struct error e = {0};
    unsigned char *noise = mem_array(N, 1, &e), *zeros = mem_array(N, 1, &e), *all = mem_array(4 * N, 1, &e);
    uint32_t state = 1;
    for (int i = 0; i < N; i++)
        noise[i] = (unsigned char)((state = state * 1664525u + 1013904223u) >> 24);
    struct tensor t[2] = {{.name = "noise", .dtype = DTYPE_U8, .rank = 1, .shape = {N}, .data = noise},
                          {.name = "zeros", .dtype = DTYPE_U8, .rank = 1, .shape = {N}, .data = zeros}};
    ck_assert_msg(container_write("a.zst", "samples", NULL, t, 2, NULL, NULL, NULL, NULL, &e) == 0, "%s",
                  e.text);
    struct buf b = {0};
    read_file("a.zst", &b);
    ck_assert(b.size > N && b.size < N + 2000);
    size_t plain = ZSTD_decompress(all, 4 * N, b.data, b.size);
    ck_assert(!ZSTD_isError(plain) && plain > 2 * N);
    ck_assert_mem_eq(all + plain - 2 * N, noise, N);
    ck_assert_mem_eq(all + plain - N, zeros, N);
    for (size_t at = 400; at < b.size - 600; at += 49999) {
        struct container *c;
        b.data[at] ^= 4;
        c = load_bytes(b.data, b.size, 0, NULL, &e);
        ck_assert_ptr_null(c);
        b.data[at] ^= 4;
    }
    /* Let go and loaded again, into the same block. */
    struct container *c = load("a.zst", NULL);
    for (int i = 0; i < 4; i++) {
        container_tensor_free(c, i % 2);
        ck_assert_int_eq(container_tensor_load(c, i % 2, NULL, &e), 0);
        ck_assert_mem_eq(c->tensor[i % 2].data, i % 2 ? zeros : noise, N);
    }
    container_close(c);
    buf_free(&b);
    mem_free(noise);
    mem_free(zeros);
    mem_free(all);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("container");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, enter, leave);
    tcase_add_test(t, round_trip);
    tcase_add_test(t, every_packing_has_the_same_content_and_id);
    tcase_add_test(t, foreign_files);
    tcase_add_test(t, bytes_do_not_depend_on_threads);
    tcase_add_test(t, tensor_by_tensor);
    tcase_add_test(t, a_pipe_is_read_once);
    tcase_add_test(t, a_large_pipe);
    tcase_add_test(t, standard_input);
    tcase_add_test(t, identity);
    tcase_add_test(t, kinds);
    tcase_add_test(t, nothing_inside);
    tcase_add_test(t, python_opens_it);
    tcase_add_test(t, what_does_not_shrink_is_stored);
    suite_add_tcase(s, t);
    return run_suite(s);
}
