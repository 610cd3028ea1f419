/* See output.h. Never O_TMPFILE: linkat cannot replace an existing name. */
#include "common/file/output.h"
#include "common/base/mem.h"
#include "common/file/input.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_OPEN = 64,
    WRITE_MOST = 1 << 30,
    NAME_KEPT = 200,
    ON_THE_WAY = 8 << 20, /* bytes that the disk begins with while more is written */
};

struct output {
    int fd;
    int slot;             /* into unfinished[]; -1: written directly */
    uint64_t size, begun; /* begun: what is on its way to the disk */
    char *name;           /* for messages */
    char *target;         /* the name to become, links resolved */
    mode_t mode;
};

/* ---- what a signal has to remove ---- */

/* Paths of temporary files. Fixed memory, since a handler may neither allocate nor follow a pointer that
 * somebody is freeing. */
static struct unfinished {
    atomic_int used, live;
    char path[PATH_MAX];
} unfinished[MAX_OPEN];

static pthread_once_t once = PTHREAD_ONCE_INIT;
static mode_t mask;

/* Async-signal-safe: unlink and raise only. SA_RESETHAND has restored the default action. */
static void on_signal(int number)
{
    int kept = errno;
    for (int i = 0; i < MAX_OPEN; i++)
        if (atomic_load(&unfinished[i].live))
            unlink(unfinished[i].path);
    errno = kept;
    raise(number);
}

static void prepare(void)
{
    mask = umask(077); /* the only way to ask is to set */
    umask(mask);
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGXCPU, SIGXFSZ};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old, fresh = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
        sigemptyset(&fresh.sa_mask);
        /* A signal that is ignored (nohup, background jobs) or handled by the program stays so. */
        if (sigaction(numbers[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
            old.sa_handler == SIG_DFL)
            sigaction(numbers[i], &fresh, NULL);
    }
}

static int take_slot(void)
{
    for (int i = 0; i < MAX_OPEN; i++) {
        int unused = 0;
        if (atomic_compare_exchange_strong(&unfinished[i].used, &unused, 1))
            return i;
    }
    return -1;
}

static void release_slot(int slot)
{
    atomic_store(&unfinished[slot].live, 0);
    atomic_store(&unfinished[slot].used, 0);
}

/* ---- opening ---- */

/* Where the chain of links at `path` ends (the end need not exist): a fresh string. */
static char *resolve(const char *path, struct error *e)
{
    char link[PATH_MAX];
    char *now = mem_strdup(path, e);
    for (int hops = 0; now; hops++) {
        ssize_t n = readlink(now, link, sizeof link - 1);
        if (n < 0)
            return now; /* no link, or nothing there */
        link[n] = 0;
        const char *slash = strrchr(now, '/');
        char *next = NULL;
        if (hops == 40)
            error_set(e, HASTEN_EFAIL, "cannot write '%s': too many symbolic links", path);
        else if (link[0] == '/' || !slash)
            next = mem_strdup(link, e);
        else
            next = mem_printf(e, "%.*s/%s", (int)(slash - now), now, link);
        mem_free(now);
        now = next;
    }
    return NULL;
}

static void folder_of(const char *target, char folder[PATH_MAX])
{
    const char *slash = strrchr(target, '/');
    int n = slash == target ? 1 : slash ? (int)(slash - target) : 0;
    snprintf(folder, PATH_MAX, "%.*s", slash ? n : 1, slash ? target : ".");
}

/* A temporary name beside the target, registered before it exists, lest a signal finds it unregistered. */
static int create_beside(struct output *o, struct error *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    struct unfinished *u = &unfinished[o->slot];
    const char *slash = strrchr(o->target, '/'), *base = slash ? slash + 1 : o->target;
    for (int tries = 0; tries < 100; tries++) {
        unsigned char random[6];
        char tail[7] = "";
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            return error_errno(e, HASTEN_EFAIL, "no random numbers for a temporary name");
        for (int i = 0; i < 6; i++)
            tail[i] = letters[random[i] % 62];
        int n = snprintf(u->path, sizeof u->path, "%.*s.%.*s.%s", (int)(base - o->target), o->target,
                         NAME_KEPT, base, tail);
        if (n < 0 || (size_t)n >= sizeof u->path)
            return error_set(e, HASTEN_EFAIL, "cannot write '%.200s...': the name is too long", o->name);
        atomic_store(&u->live, 1);
        o->fd = fault_hit("open") ? -1
                                  : open(u->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (o->fd >= 0)
            return 0;
        atomic_store(&u->live, 0);
        if (errno != EEXIST)
            break;
    }
    return error_errno(e, HASTEN_EFAIL, "cannot create a file beside '%s'", o->name);
}

static int keep_above(struct output *o, struct error *e)
{
    o->fd = input_above(o->fd);
    return o->fd < 0 ? error_errno(e, HASTEN_EFAIL, "cannot open '%s'", o->name) : 0;
}

/* What stands at `path` (mode 0: nothing), and the name that will be written: *target, NULL for what is
 * written directly. */
static int look(const char *path, mode_t *file, char **target, struct error *e)
{
    struct stat st;
    int there = stat(path, &st) == 0;
    *target = NULL;
    *file = there ? st.st_mode : 0;
    if (!*path)
        return error_set(e, HASTEN_EFAIL, "the output has an empty name");
    if (there && S_ISDIR(st.st_mode))
        return error_set(e, HASTEN_EFAIL, "cannot write '%s': it is a directory", path);
    if ((!there && errno != ENOENT) || (there && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0))
        return error_errno(e, HASTEN_EFAIL, "cannot write '%s'", path);
    if (there && !S_ISREG(st.st_mode))
        return 0;
    if (!(*target = resolve(path, e)))
        return -1;
    char folder[PATH_MAX];
    folder_of(*target, folder);
    const char *slash = strrchr(*target, '/');
    if (slash && !slash[1])
        return error_set(e, HASTEN_EFAIL, "cannot write '%s': it names a directory", path);
    return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0
               ? error_errno(e, HASTEN_EFAIL, "cannot write '%s'", path)
               : 0;
}

int output_check(const char *path, struct error *e)
{
    mode_t file;
    char *target = NULL;
    int status = output_is_stdout(path) ? 0 : look(path, &file, &target, e);
    mem_free(target);
    return status;
}

static int open_file(struct output *o, const char *path, struct error *e)
{
    mode_t file;
    if (look(path, &file, &o->target, e) < 0)
        return -1;
    if (!o->target) {
        o->fd = fault_hit("open") ? -1 : open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return o->fd < 0 ? error_errno(e, HASTEN_EFAIL, "cannot open '%s' for writing", path)
                         : keep_above(o, e);
    }
    o->mode = file ? file & 0777 : 0666 & ~mask;
    if ((o->slot = take_slot()) < 0)
        return error_set(e, HASTEN_EFAIL, "cannot write '%s': %d outputs are open already", path, MAX_OPEN);
    return create_beside(o, e) < 0 ? -1 : keep_above(o, e);
}

int output_is_stdout(const char *path)
{
    return !path || !strcmp(path, "-") || !strcmp(path, "/dev/stdout") || !strcmp(path, "/dev/fd/1") ||
           !strcmp(path, "/proc/self/fd/1");
}

struct output *output_open(const char *path, int flags, struct error *e)
{
    int standard = output_is_stdout(path);
    pthread_once(&once, prepare);
    struct output *o = mem_array(1, sizeof *o, e);
    if (!o)
        return NULL;
    o->fd = o->slot = -1;
    struct stat st;
    if (!(o->name = mem_strdup(standard ? "standard output" : path, e)))
        goto fail;
    if (!standard) {
        if (open_file(o, path, e) < 0)
            goto fail;
    } else if (fstat(STDOUT_FILENO, &st) < 0) {
        error_errno(e, HASTEN_EFAIL, "cannot write to standard output");
        goto fail;
    } else {
        o->fd = STDOUT_FILENO;
    }
    if ((flags & OUTPUT_BINARY) && o->slot < 0 && isatty(o->fd)) {
        error_set(e, HASTEN_EUSAGE,
                  "%s is a terminal: name a file with -o FILE, or send the output into a pipe", o->name);
        goto fail;
    }
    return o;
fail:
    output_abandon(o);
    return NULL;
}

/* ---- writing ---- */

/* A file that is synced in the end: without this nothing is on the disk until then. Errors are for fsync. */
static void written(struct output *o, size_t n)
{
    o->size += n;
    if (o->slot < 0 || o->size - o->begun < ON_THE_WAY)
        return;
    (void)sync_file_range(o->fd, (off_t)o->begun, (off_t)(o->size - o->begun), SYNC_FILE_RANGE_WRITE);
    o->begun = o->size;
}

int output_write(struct output *o, const void *data, size_t size, struct error *e)
{
    const char *at = data;
    for (size_t left = size; left;) {
        size_t most = left < WRITE_MOST ? left : WRITE_MOST;
        ssize_t n = fault_hit("write") ? -1 : write(o->fd, at, most);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = o->fd, .events = POLLOUT};
            if (poll(&p, 1, -1) >= 0 || errno == EINTR)
                continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_errno(e, HASTEN_EFAIL, "cannot write '%s'", o->name);
        at += n;
        left -= (size_t)n;
        written(o, (size_t)n);
    }
    return 0;
}

int output_copy(struct output *o, const struct input *in, int64_t at, size_t size, struct error *e)
{
    char part[1 << 16];
    off_t from = at;
    while (size) {
        ssize_t n = fault_hit("write") ? -1 : copy_file_range(in->fd, &from, o->fd, NULL, size, 0);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            break;
        size -= n > 0 ? (size_t)n : 0;
        written(o, n > 0 ? (size_t)n : 0);
    }
    /* Between other kinds of files, or what fails: write() says how. */
    for (size_t n; size; size -= n, from += (off_t)n) {
        n = size < sizeof part ? size : sizeof part;
        if (input_read_at(in, part, n, from, e) < 0 || output_write(o, part, n, e) < 0)
            return -1;
    }
    return 0;
}

uint64_t output_size(const struct output *o) { return o->size; }
const char *output_name(const struct output *o) { return o->name; }

/* ---- finishing ---- */

static void release(struct output *o)
{
    if (o->slot >= 0)
        release_slot(o->slot);
    mem_free(o->name);
    mem_free(o->target);
    mem_free(o);
}

void output_abandon(struct output *o)
{
    if (!o)
        return;
    if (o->fd > STDOUT_FILENO)
        close(o->fd);
    if (o->slot >= 0 && atomic_load(&unfinished[o->slot].live))
        unlink(unfinished[o->slot].path);
    release(o);
}

static int sync_fd(int fd)
{
    int r = fault_hit("fsync") ? -1 : fsync(fd);
    return r < 0 && errno == EINVAL ? 0 : r; /* a file system that cannot sync this kind of file */
}

/* The descriptor is gone afterwards in every case (close(2): on Linux also after EINTR). */
static int close_fd(int fd)
{
    int failed = fault_hit("close"), why = errno;
    int r = close(fd);
    if (failed)
        errno = why;
    return failed || (r < 0 && errno != EINTR) ? -1 : 0;
}

/* A new name is on the disk only when its folder is. */
static int sync_folder(const char *target)
{
    char folder[PATH_MAX];
    folder_of(target, folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : -1; /* a folder that may be written but not read */
    int r = sync_fd(fd), why = errno;
    close(fd);
    errno = why;
    return r;
}

static int commit_file(struct output *o, struct error *e)
{
    const char *temporary = unfinished[o->slot].path;
    if (fchmod(o->fd, o->mode) < 0 || sync_fd(o->fd) < 0)
        return error_errno(e, HASTEN_EFAIL, "cannot write '%s'", o->name);
    int fd = o->fd;
    o->fd = -1;
    if (close_fd(fd) < 0)
        return error_errno(e, HASTEN_EFAIL, "cannot write '%s'", o->name);
    if (fault_hit("rename") || rename(temporary, o->target) < 0)
        return error_errno(e, HASTEN_EFAIL, "cannot rename the finished file to '%s'", o->name);
    atomic_store(&unfinished[o->slot].live, 0);
    if (sync_folder(o->target) < 0)
        return error_errno(e, HASTEN_EFAIL, "'%s' is complete, but its folder could not be synced", o->name);
    return 0;
}

/* What cannot be renamed: only closing can still fail. Standard output stays open; closing a copy of it
 * reports what a network file system held back. */
static int commit_direct(struct output *o, struct error *e)
{
    int fd = o->fd == STDOUT_FILENO ? dup(STDOUT_FILENO) : o->fd;
    o->fd = -1;
    return fd < 0 || close_fd(fd) < 0 ? error_errno(e, HASTEN_EFAIL, "cannot write '%s'", o->name) : 0;
}

int output_commit(struct output *o, struct error *e)
{
    int result = o->slot >= 0 ? commit_file(o, e) : commit_direct(o, e);
    output_abandon(o);
    return result;
}

int output_whole(const char *path, int flags, const void *data, size_t size, struct error *e)
{
    struct output *o = output_open(path, flags, e);
    if (!o)
        return -1;
    if (output_write(o, data, size, e) < 0) {
        output_abandon(o);
        return -1;
    }
    return output_commit(o, e);
}
