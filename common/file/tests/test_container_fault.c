/* The container on a failing machine: every allocation failing once and from then on, every system call
 * failing, in every packing, with one thread and with several: an error of the right kind, nothing leaked,
 * the old file intact. */
#include "common/base/tests/run_suite.h"
#include "common/file/tests/container_cases.h"

#include <dirent.h>
#include <zstd.h>

static char folder[64];

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/hasten-fault-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

static void leave(void)
{
    char command[100];
    fault_set(NULL);
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static int fill(void *context, int index, const struct tensor *t, void *data, struct error *e)
{
    (void)context, (void)e;
    memset(data, index + 1, t->size);
    return 0;
}

static int write_with(const char *path, struct team *team, struct error *e)
{
    struct tensor t[7];
    int n = small_content(t);
    t[n++] = (struct tensor){.name = "filled", .dtype = DTYPE_I16, .rank = 1, .shape = {77}};
    cJSON *meta = json_new_object(e);
    int result = json_add_int(meta, "steps", 50, e);
    if (result == 0)
        result = container_write(path, "model", meta, t, n, fill, NULL, team, NULL, e);
    cJSON_Delete(meta);
    return result;
}

static int entries(void)
{
    DIR *d = opendir(".");
    int n = -2;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void check_file(const char *path, const struct buf *content)
{
    struct buf now = {0};
    fault_set(NULL);
    read_file(path, &now);
    ck_assert(now.size == content->size && !memcmp(now.data, content->data, now.size));
    buf_free(&now);
}

/* ---- writing ---- */

/* All k of one kind until the call succeeds untouched. Gives how many calls there are. */
static int sweep_write(const char *kind, const char *tail, int code, struct team *team, const struct buf *old)
{
    for (int k = 1;; k++) {
        char setting[40];
        struct error e = {0};
        ck_assert_int_lt(k, 2000);
        FILE *f = fopen("out.zst", "w");
        ck_assert(fwrite(old->data, 1, old->size, f) == old->size);
        fclose(f);
        size_t blocks = mem_live_blocks();
        snprintf(setting, sizeof setting, "%s:%d%s", kind, k, tail);
        fault_set(setting);
        int result = write_with("out.zst", team, &e);
        fault_set(NULL);
        ck_assert_uint_eq(mem_live_blocks(), blocks);
        ck_assert_int_eq(entries(), 1);
        if (result == 0)
            return k - 1;
        ck_assert_msg(e.code == code, "%s: code %d, %s", setting, e.code, e.text);
        if (!strstr(e.text, "is complete, but")) /* only the folder could not be synced */
            check_file("out.zst", old);
    }
}

START_TEST(writing)
{
    struct error e = {0};
    struct team *team = _i ? team_open(3, &e) : NULL;
    struct buf old = {0};
    buf_text(&old, "the old content", &e);
    ck_assert_int_ge(sweep_write("alloc", "", HASTEN_ENOMEM, team, &old), 30);
    ck_assert_int_ge(sweep_write("alloc", "+", HASTEN_ENOMEM, team, &old), 30);
    ck_assert_int_ge(sweep_write("write", ":ENOSPC", HASTEN_EFAIL, team, &old), 8);
    ck_assert_int_ge(sweep_write("write", "+:EIO", HASTEN_EFAIL, team, &old), 8);
    ck_assert_int_eq(sweep_write("open", ":EACCES", HASTEN_EFAIL, team, &old), 1);
    ck_assert_int_eq(sweep_write("fsync", ":EIO", HASTEN_EFAIL, team, &old), 2);
    ck_assert_int_eq(sweep_write("close", ":EDQUOT", HASTEN_EFAIL, team, &old), 1);
    ck_assert_int_eq(sweep_write("rename", ":EROFS", HASTEN_EFAIL, team, &old), 1);
    buf_free(&old);
    team_close(team);
}
END_TEST

static int failing_fill(void *context, int index, const struct tensor *t, void *data, struct error *e)
{
    (void)context, (void)data;
    return index == 1 ? error_set(e, HASTEN_EGATE, "cannot make %s", t->name) : 0;
}

START_TEST(a_failing_fill)
{
    struct tensor t[2] = {{.name = "v", .dtype = DTYPE_U8, .rank = 1, .shape = {9}},
                          {.name = "w", .dtype = DTYPE_U8, .rank = 1, .shape = {9}}};
    struct error e = {0};
    size_t blocks = mem_live_blocks();
    ck_assert_int_eq(container_write("out.zst", "model", NULL, t, 2, failing_fill, NULL, NULL, NULL, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EGATE);
    ck_assert_str_eq(e.text, "tensor 'w': cannot make w");
    ck_assert_int_eq(entries(), 0);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

/* ---- reading ---- */

enum { OURS, PLAIN, FOREIGN_ZST, FORMS };

static struct buf bytes_of(int form)
{
    struct error e = {0};
    struct buf b = {0};
    const char *path = form == OURS ? "in.zst" : "in.safetensors";
    ck_assert_msg(write_with(path, NULL, &e) == 0, "%s", e.text);
    read_file(path, &b);
    unlink(path);
    if (form == FOREIGN_ZST) {
        /* Not ours any more: the key of our metadata has another name of the same length. */
        struct buf packed = {0};
        char *key = memmem(b.data, b.size, "\"hasten\"", 8);
        memcpy(key, "\"nobody\"", 8);
        char *out = buf_more(&packed, ZSTD_compressBound(b.size), &e);
        packed.size = ZSTD_compress(out, packed.size, b.data, b.size, 1);
        buf_free(&b);
        return packed;
    }
    return b;
}

static int read_with(const struct buf *b, const char *path, int through_pipe, struct team *team,
                     const char *setting, struct error *e)
{
    char name[40];
    int fd = through_pipe ? pipe_with(b->data, b->size, name) : -1;
    fault_set(setting);
    struct container *c = container_open(through_pipe ? name : path, NULL, e);
    int result = c ? container_load(c, team, e) : -1;
    if (c && result == 0) /* nothing is half there */
        for (int i = 0; i < c->count; i++)
            ck_assert_ptr_nonnull(c->tensor[i].data);
    if (c && result < 0)
        for (int i = 0; i < c->count; i++)
            ck_assert_ptr_null(c->tensor[i].data);
    container_close(c);
    fault_set(NULL);
    if (fd >= 0)
        close(fd);
    return result;
}

START_TEST(reading)
{
    int form = _i % FORMS, through_pipe = _i / FORMS & 1, threads = _i / FORMS / 2 ? 3 : 0;
    static const struct {
        const char *kind, *tail;
        int code, least;
    } sweeps[] = {{"alloc", "", HASTEN_ENOMEM, 15},
                  {"alloc", "+", HASTEN_ENOMEM, 15},
                  {"read", ":EIO", HASTEN_EFAIL, 2},
                  {"read", "+:EIO", HASTEN_EFAIL, 2},
                  {"open", ":EACCES", HASTEN_EFAIL, 1}};
    struct buf b = bytes_of(form);
    struct error none = {0};
    struct memfile m = memfile(b.data, b.size);
    struct team *team = threads ? team_open(threads, &none) : NULL;
    size_t blocks = mem_live_blocks();
    for (size_t s = 0; s < sizeof sweeps / sizeof *sweeps; s++)
        for (int k = 1;; k++) {
            char setting[40];
            struct error e = {0};
            snprintf(setting, sizeof setting, "%s:%d%s", sweeps[s].kind, k, sweeps[s].tail);
            int result = read_with(&b, m.path, through_pipe, team, setting, &e);
            ck_assert_uint_eq(mem_live_blocks(), blocks);
            ck_assert_int_lt(k, 2000);
            if (result == 0) {
                ck_assert_int_gt(k, sweeps[s].least);
                break;
            }
            ck_assert_msg(e.code == sweeps[s].code, "form %d, %s: code %d, %s", form, setting, e.code,
                          e.text);
        }
    /* What a signal or a slow pipe does is no error. */
    static const char *const harmless[] = {"read:1:EINTR", "read:2:EINTR", "read:1:EAGAIN", "read:3:EAGAIN"};
    for (int i = 0; i < 4; i++) {
        struct error e = {0};
        ck_assert_msg(read_with(&b, m.path, through_pipe, team, harmless[i], &e) == 0, "%s", e.text);
    }
    team_close(team);
    close(m.fd);
    buf_free(&b);
}
END_TEST

/* ---- files that change ---- */

START_TEST(a_file_that_changes_while_it_is_read)
{
    for (int form = OURS; form <= PLAIN; form++) {
        struct buf b = bytes_of(form);
        struct error e = {0};
        struct memfile m = memfile(b.data, b.size);
        struct container *c = container_open(m.path, NULL, &e);
        ck_assert_msg(c != NULL, "%s", e.text);
        ck_assert_int_eq(ftruncate(m.fd, 10), 0);
        ck_assert_int_eq(container_load(c, NULL, &e), -1);
        ck_assert_msg(e.code == HASTEN_EFILE && strstr(e.text, "the file ends at byte"), "%s", e.text);
        container_close(c);
        memfile_set(&m, b.data, b.size);
        e = (struct error){0};
        c = container_open(m.path, NULL, &e);
        int index = container_index(c, "labels");
        ck_assert_int_eq(container_load(c, NULL, &e), 0);
        container_tensor_free(c, index);
        memset(b.data, 0x55, b.size);
        memfile_set(&m, b.data, b.size);
        ck_assert_int_eq(container_tensor_load(c, index, NULL, &e), -1);
        ck_assert_msg(e.code == HASTEN_EFILE &&
                          strstr(e.text, form == PLAIN ? "tensor 'labels' changed since" : "'labels'"),
                      "%s", e.text);
        ck_assert_ptr_null(c->tensor[index].data);
        container_close(c);
        close(m.fd);
        buf_free(&b);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("container_fault");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, enter, leave);
    tcase_add_loop_test(t, writing, 0, 2);
    tcase_add_test(t, a_failing_fill);
    tcase_add_loop_test(t, reading, 0, FORMS * 4);
    tcase_add_test(t, a_file_that_changes_while_it_is_read);
    suite_add_tcase(s, t);
    return run_suite(s);
}
