/* Outputs appear whole or not at all: modes, links, devices, faults at each system call, signals; inputs. */
#include "common/base/mem.h"
#include "common/base/tests/run_suite.h"
#include "common/file/input.h"
#include "common/file/output.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

/* Each test in an empty folder of its own. */
static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/hasten-output-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    umask(027);
}

static void leave(void)
{
    char command[100];
    fault_set(NULL);
    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void check_content(const char *path, const char *text)
{
    struct buf b = {0};
    struct error e = {0};
    ck_assert_msg(input_whole(path, &b, &e) == 0, "%s", e.text);
    ck_assert_str_eq(b.data ? b.data : "", text);
    buf_free(&b);
}

/* Names in the folder without . and .. */
static int entries(void)
{
    DIR *d = opendir(".");
    int n = -2;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(new_file)
{
    struct error e = {0};
    size_t blocks = mem_live_blocks();
    struct output *o = output_open("out", OUTPUT_BINARY, &e);
    ck_assert_msg(o != NULL, "%s", e.text);
    ck_assert_int_eq(output_write(o, "hello ", 6, &e), 0);
    ck_assert_int_eq(access("out", F_OK), -1); /* not under its name yet */
    ck_assert_int_eq(entries(), 1);
    ck_assert_int_eq(output_write(o, "world", 5, &e), 0);
    ck_assert_uint_eq(output_size(o), 11);
    ck_assert_str_eq(output_name(o), "out");
    ck_assert_int_eq(output_commit(o, &e), 0);
    check_content("out", "hello world");
    ck_assert_int_eq(entries(), 1);
    ck_assert_int_eq(mode_of("out"), 0640);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
}
END_TEST

START_TEST(abandoned)
{
    struct error e = {0};
    put("out", "old");
    struct output *o = output_open("out", 0, &e);
    ck_assert_int_eq(output_write(o, "new", 3, &e), 0);
    output_abandon(o);
    check_content("out", "old");
    ck_assert_int_eq(entries(), 1);
    output_abandon(NULL);
}
END_TEST

START_TEST(modes)
{
    struct error e = {0};
    put("kept", "old");
    chmod("kept", 0604);
    ck_assert_int_eq(output_whole("fresh", 0, "x", 1, &e), 0);
    ck_assert_int_eq(mode_of("fresh"), 0640); /* enter() set the umask */
    ck_assert_int_eq(output_whole("kept", 0, "x", 1, &e), 0);
    ck_assert_int_eq(mode_of("kept"), 0604);
    struct output *o = output_open("kept", 0, &e);
    DIR *d = opendir(".");
    for (struct dirent *f; (f = readdir(d));)
        if (!strncmp(f->d_name, ".kept.", 6))
            ck_assert_int_eq(mode_of(f->d_name), 0600); /* nobody reads along while it is written */
    closedir(d);
    output_abandon(o);
}
END_TEST

START_TEST(links_are_followed)
{
    struct error e = {0};
    mkdir("sub", 0755);
    put("sub/target", "old");
    ck_assert_int_eq(symlink("target", "sub/second"), 0);
    ck_assert_int_eq(symlink("sub/second", "first"), 0);
    ck_assert_int_eq(output_whole("first", 0, "new", 3, &e), 0);
    check_content("sub/target", "new");
    struct stat st;
    ck_assert(lstat("first", &st) == 0 && S_ISLNK(st.st_mode));
    ck_assert(lstat("sub/second", &st) == 0 && S_ISLNK(st.st_mode));
    /* A link to nothing yet. */
    ck_assert_int_eq(symlink("sub/later", "dangling"), 0);
    ck_assert_int_eq(output_whole("dangling", 0, "x", 1, &e), 0);
    check_content("sub/later", "x");
    ck_assert(lstat("dangling", &st) == 0 && S_ISLNK(st.st_mode));
    /* Links in a circle. */
    ck_assert_int_eq(symlink("b", "a"), 0);
    ck_assert_int_eq(symlink("a", "b"), 0);
    ck_assert_int_eq(output_whole("a", 0, "x", 1, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFAIL);
}
END_TEST

START_TEST(refusals)
{
    static const struct {
        const char *path, *message;
    } all[] = {{".", "is a directory"},      {"dir", "is a directory"},       {"", "empty name"},
               {"none/out", "No such file"}, {"file/out", "Not a directory"}, {"new/", "names a directory"}};
    mkdir("dir", 0755);
    put("file", "x");
    int before = entries();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct error e = {0};
        size_t blocks = mem_live_blocks();
        ck_assert_int_eq(output_whole(all[i].path, 0, "x", 1, &e), -1);
        ck_assert_int_eq(e.code, HASTEN_EFAIL);
        ck_assert_msg(strstr(e.text, all[i].message) != NULL, "'%s': %s", all[i].path, e.text);
        ck_assert_int_eq(entries(), before);
        ck_assert_uint_eq(mem_live_blocks(), blocks);
    }
}
END_TEST

START_TEST(long_and_odd_names)
{
    static const char *const odd[] = {"with space", "-dash", "new\nline", "\xFFraw", ".hidden", "a.b.c"};
    struct error e = {0};
    char name[256];
    memset(name, 'n', 255);
    name[255] = 0;
    ck_assert_msg(output_whole(name, 0, "x", 1, &e) == 0, "%s", e.text);
    check_content(name, "x");
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        ck_assert_msg(output_whole(odd[i], 0, "x", 1, &e) == 0, "%s", e.text);
        check_content(odd[i], "x");
    }
    ck_assert_int_eq(output_whole("./-", 0, "dash", 4, &e), 0);
    check_content("./-", "dash");
}
END_TEST

START_TEST(output_may_be_the_input)
{
    struct input in;
    struct error e = {0};
    char part[4];
    put("file", "input text");
    ck_assert_int_eq(input_open(&in, "file", &e), 0);
    ck_assert_int_eq(input_read(&in, part, 4, &e), 4);
    ck_assert_int_eq(output_whole("file", 0, "changed", 7, &e), 0);
    char rest[16] = "";
    ck_assert_int_eq(input_read(&in, rest, 15, &e), 6); /* the old file, to its end */
    ck_assert_str_eq(rest, "t text");
    input_close(&in);
    check_content("file", "changed");
}
END_TEST

START_TEST(devices_and_pipes)
{
    struct error e = {0};
    ck_assert_int_eq(output_whole("/dev/null", OUTPUT_BINARY, "x", 1, &e), 0);
    ck_assert_int_eq(output_whole("/dev/full", 0, "x", 1, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFAIL && strstr(e.text, "No space left"), "%s", e.text);
    e = (struct error){0};
    ck_assert_int_eq(mkfifo("pipe", 0600), 0);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    ck_assert_int_eq(output_whole("pipe", 0, "through", 7, &e), 0);
    char got[16] = "";
    ck_assert_int_eq(read(reader, got, 15), 7);
    ck_assert_str_eq(got, "through");
    struct stat st;
    ck_assert(stat("pipe", &st) == 0 && S_ISFIFO(st.st_mode));
    close(reader);
}
END_TEST

/* From a file into a file, where the kernel does it, and into a pipe, where it does not. */
START_TEST(copies)
{
    struct error e = {0};
    struct input in;
    put("from", "0123456789");
    put("to", "old");
    ck_assert_int_eq(input_open(&in, "from", &e), 0);
    struct output *o = output_open("to", 0, &e);
    ck_assert_int_eq(output_write(o, "a", 1, &e), 0);
    ck_assert_int_eq(output_copy(o, &in, 3, 4, &e), 0);
    ck_assert_int_eq(output_copy(o, &in, 9, 0, &e), 0);
    ck_assert_int_eq(output_write(o, "b", 1, &e), 0);
    ck_assert_int_eq(output_copy(o, &in, 0, 2, &e), 0);
    ck_assert_uint_eq(output_size(o), 8);
    ck_assert_int_eq(output_commit(o, &e), 0);
    check_content("to", "a3456b01");
    ck_assert_int_eq(mkfifo("pipe", 0600), 0);
    int reader = open("pipe", O_RDONLY | O_NONBLOCK);
    char got[16] = "";
    o = output_open("pipe", 0, &e);
    ck_assert_int_eq(output_copy(o, &in, 2, 7, &e), 0);
    ck_assert_int_eq(read(reader, got, 15), 7);
    ck_assert_str_eq(got, "2345678");
    ck_assert_int_eq(output_commit(o, &e), 0);
    close(reader);
    o = output_open("to", 0, &e);
    ck_assert_int_eq(output_copy(o, &in, 8, 3, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFILE && strstr(e.text, "ends at byte 10"), "%s", e.text);
    fault_set("write:1+:ENOSPC");
    e = (struct error){0};
    ck_assert_int_eq(output_copy(o, &in, 0, 3, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFAIL && strstr(e.text, "No space left"), "%s", e.text);
    output_abandon(o);
    check_content("to", "a3456b01");
    input_close(&in);
}
END_TEST

START_TEST(standard_output)
{
    struct error e = {0};
    fflush(stdout);
    int kept = dup(1), file = open("captured", O_RDWR | O_CREAT, 0600);
    dup2(file, 1);
    int a = output_whole(NULL, OUTPUT_BINARY, "one ", 4, &e), b = output_whole("-", 0, "two ", 4, &e);
    int c = output_whole("/dev/stdout", 0, "three", 5, &e);
    close(1);
    struct error closed = {0};
    int d = output_whole("-", 0, "x", 1, &closed);
    dup2(kept, 1);
    ck_assert_msg(a == 0 && b == 0 && c == 0, "%s", e.text);
    ck_assert_int_eq(d, -1);
    ck_assert_msg(strstr(closed.text, "standard output") != NULL, "%s", closed.text);
    check_content("captured", "one two three");
    close(file);
    close(kept);
    ck_assert(output_is_stdout("-") && output_is_stdout(NULL) && output_is_stdout("/dev/fd/1") &&
              !output_is_stdout("./-"));
}
END_TEST

START_TEST(no_binary_to_a_terminal)
{
    int master, slave;
    char name[64];
    struct error e = {0};
    ck_assert_int_eq(openpty(&master, &slave, name, NULL, NULL), 0);
    int kept = dup(1);
    fflush(stdout);
    dup2(slave, 1);
    struct output *o = output_open("-", OUTPUT_BINARY, &e), *text = output_open(NULL, 0, NULL);
    struct error named = {0};
    struct output *p = output_open(name, OUTPUT_BINARY, &named);
    dup2(kept, 1);
    ck_assert_ptr_null(o);
    ck_assert_ptr_null(p);
    ck_assert_ptr_nonnull(text);
    output_abandon(text);
    ck_assert_int_eq(e.code, HASTEN_EUSAGE);
    ck_assert_msg(strstr(e.text, "-o FILE") != NULL, "%s", e.text);
    ck_assert_int_eq(named.code, HASTEN_EUSAGE);
    close(master);
    close(slave);
    close(kept);
}
END_TEST

/* ---- faults ---- */

static const struct {
    const char *setting;
    int keeps_old, code;
    const char *message;
} fault_cases[] = {
    {"open:1:EACCES", 1, HASTEN_EFAIL, "Permission denied"},
    {"write:1:ENOSPC", 1, HASTEN_EFAIL, "No space left"},
    {"write:2:EDQUOT", 1, HASTEN_EFAIL, "quota"},
    {"write:2:EFBIG", 1, HASTEN_EFAIL, "File too large"},
    {"write:1:EINTR", 0, 0, NULL},
    {"write:2:EAGAIN", 0, 0, NULL},
    {"fsync:1:EIO", 1, HASTEN_EFAIL, "Input/output error"},
    {"close:1:EDQUOT", 1, HASTEN_EFAIL, "quota"},
    {"close:1:EIO", 1, HASTEN_EFAIL, "Input/output error"},
    {"rename:1:EROFS", 1, HASTEN_EFAIL, "Read-only"},
    {"fsync:2:EIO", 0, HASTEN_EFAIL, "complete, but its folder could not be synced"},
    {"alloc:1", 1, HASTEN_ENOMEM, "out of memory"},
    {"alloc:2", 1, HASTEN_ENOMEM, "out of memory"},
    {"alloc:3", 1, HASTEN_ENOMEM, "out of memory"},
};

static int two_writes(const char *path, struct error *e)
{
    struct output *o = output_open(path, 0, e);
    if (!o)
        return -1;
    if (output_write(o, "new ", 4, e) < 0 || output_write(o, "content", 7, e) < 0) {
        output_abandon(o);
        return -1;
    }
    return output_commit(o, e);
}

START_TEST(a_fault_keeps_the_old_file)
{
    struct error e = {0};
    put("out", "old");
    size_t blocks = mem_live_blocks();
    fault_set(fault_cases[_i].setting);
    int result = two_writes("out", &e);
    fault_set(NULL);
    ck_assert_int_eq(e.code, fault_cases[_i].code);
    ck_assert_int_eq(result, fault_cases[_i].code ? -1 : 0);
    if (fault_cases[_i].message)
        ck_assert_msg(strstr(e.text, fault_cases[_i].message) &&
                          (e.code != HASTEN_EFAIL || strstr(e.text, "'out'")),
                      "%s", e.text);
    check_content("out", fault_cases[_i].keeps_old ? "old" : "new content");
    ck_assert_int_eq(entries(), 1);
    ck_assert_uint_eq(mem_live_blocks(), blocks);
    ck_assert_int_eq(two_writes("out", &e), 0); /* and afterwards all is well */
    check_content("out", "new content");
}
END_TEST

START_TEST(many_outputs_at_once)
{
    struct output *o[70];
    struct error e = {0};
    int n = 0;
    while (n < 70) {
        char name[16];
        snprintf(name, sizeof name, "f%d", n);
        if (!(o[n] = output_open(name, 0, &e)))
            break;
        n++;
    }
    ck_assert_int_eq(n, 64);
    ck_assert_ptr_nonnull(strstr(e.text, "outputs are open already"));
    for (int i = 0; i < n; i++)
        output_abandon(o[i]);
    ck_assert_int_eq(entries(), 0);
    e = (struct error){0};
    ck_assert_int_eq(output_whole("f", 0, "x", 1, &e), 0);
}
END_TEST

/* ---- signals ---- */

/* In a program of its own, since Check has handlers: an unfinished output, then the signal comes. */
static int child(int number, int ignored)
{
    struct error e = {0};
    if (ignored)
        signal(number, SIG_IGN);
    struct output *o = output_open("out", 0, &e);
    int bad = !o || output_write(o, "part", 4, &e) < 0;
    raise(number);
    return bad || output_commit(o, &e) < 0;
}

static int signalled(int number, int ignored)
{
    int status;
    put("out", "old");
    pid_t pid = fork();
    if (pid == 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", number);
        execl("/proc/self/exe", "child", text, ignored ? "1" : "0", (char *)NULL);
        _exit(99);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

START_TEST(signals_leave_nothing_behind)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    int number = numbers[_i], status = signalled(number, 0);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == number, "status %x", (unsigned)status);
    check_content("out", "old");
    ck_assert_int_eq(entries(), 1);
    status = signalled(number, 1);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "an ignored signal: status %x",
                  (unsigned)status);
    check_content("out", "part");
}
END_TEST

/* ---- inputs ---- */

START_TEST(inputs)
{
    struct input in;
    struct error e = {0};
    char part[8] = "";
    put("file", "0123456789");
    ck_assert_int_eq(input_open(&in, "file", &e), 0);
    ck_assert_int_eq(in.size, 10);
    ck_assert_int_eq(input_read_at(&in, part, 3, 7, &e), 0);
    ck_assert_str_eq(part, "789");
    ck_assert_int_eq(input_read_at(&in, part, 3, 8, &e), -1);
    ck_assert_int_eq(e.code, HASTEN_EFILE);
    input_close(&in);
    static const struct {
        const char *path, *message;
    } bad[] = {{"none", "No such file"}, {".", "is a directory"}, {"", "No such file"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        e = (struct error){0};
        ck_assert_int_eq(input_open(&in, bad[i].path, &e), -1);
        ck_assert_msg(e.code == HASTEN_EFAIL && strstr(e.text, bad[i].message), "%s", e.text);
    }
    struct buf b = {.max = 9};
    e = (struct error){0};
    ck_assert_int_eq(input_whole("file", &b, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFILE && strstr(e.text, "file: more than the 9 bytes"), "%s", e.text);
    buf_free(&b);
    static const char *const settings[] = {"read:1:EINTR", "read:1:EAGAIN"};
    for (int i = 0; i < 2; i++) {
        fault_set(settings[i]);
        check_content("file", "0123456789");
    }
    fault_set("read:2");
    e = (struct error){0};
    b = (struct buf){0};
    ck_assert_int_eq(input_whole("file", &b, &e), -1);
    ck_assert_msg(e.code == HASTEN_EFAIL && strstr(e.text, "cannot read 'file': Input/output"), "%s", e.text);
    buf_free(&b);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3)
        return child(atoi(argv[1]), atoi(argv[2]));
    Suite *s = suite_create("output");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, enter, leave);
    tcase_add_test(t, new_file);
    tcase_add_test(t, abandoned);
    tcase_add_test(t, modes);
    tcase_add_test(t, links_are_followed);
    tcase_add_test(t, refusals);
    tcase_add_test(t, long_and_odd_names);
    tcase_add_test(t, output_may_be_the_input);
    tcase_add_test(t, devices_and_pipes);
    tcase_add_test(t, copies);
    tcase_add_test(t, standard_output);
    tcase_add_test(t, no_binary_to_a_terminal);
    tcase_add_loop_test(t, a_fault_keeps_the_old_file, 0, (int)(sizeof fault_cases / sizeof *fault_cases));
    tcase_add_test(t, many_outputs_at_once);
    tcase_add_loop_test(t, signals_leave_nothing_behind, 0, 3);
    tcase_add_test(t, inputs);
    suite_add_tcase(s, t);
    return run_suite(s);
}
