/* See input.h. Reads that are interrupted, short or refused for the moment are continued here and nowhere
 * else. */
#include "common/file/input.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MOST = 1 << 30 };

int input_above(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    int above = fcntl(fd, F_DUPFD_CLOEXEC, 3), why = errno;
    close(fd);
    errno = why;
    return above;
}

static int open_above(const char *path)
{
    return fault_hit("open") ? -1 : input_above(open(path, O_RDONLY | O_CLOEXEC));
}

int input_open(struct input *in, const char *path, struct error *e)
{
    int standard = !path || !strcmp(path, "-");
    *in = (struct input){.fd = -1, .size = -1, .name = standard ? "standard input" : path};
    int fd = standard ? STDIN_FILENO : open_above(path);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_errno(e, HASTEN_EFAIL, "cannot open '%s'", in->name);
    in->fd = fd;
    in->close = !standard;
    if (S_ISDIR(st.st_mode)) {
        input_close(in);
        return error_set(e, HASTEN_EFAIL, "'%s' is a directory, a file is needed", in->name);
    }
    if (S_ISREG(st.st_mode) && (!standard || lseek(fd, 0, SEEK_CUR) == 0))
        in->size = st.st_size;
    return 0;
}

void input_close(struct input *in)
{
    if (in->close && in->fd >= 0)
        close(in->fd);
    in->fd = -1;
}

/* After a failed read: 1 try again, 0 give up. */
static int again(int fd)
{
    if (errno == EINTR)
        return 1;
    if (errno != EAGAIN)
        return 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

int64_t input_read(struct input *in, void *data, size_t n, struct error *e)
{
    size_t got = 0;
    while (got < n) {
        size_t want = n - got < READ_MOST ? n - got : READ_MOST;
        ssize_t r = fault_hit("read") ? -1 : read(in->fd, (char *)data + got, want);
        if (r == 0)
            break;
        if (r < 0 && !again(in->fd))
            return error_errno(e, HASTEN_EFAIL, "cannot read '%s'", in->name);
        got += r > 0 ? (size_t)r : 0;
    }
    return (int64_t)got;
}

int input_read_at(const struct input *in, void *data, size_t n, int64_t offset, struct error *e)
{
    size_t got = 0;
    while (got < n) {
        size_t want = n - got < READ_MOST ? n - got : READ_MOST;
        ssize_t r = fault_hit("read") ? -1 : pread(in->fd, (char *)data + got, want, offset + (int64_t)got);
        if (r == 0)
            return error_set(e, HASTEN_EFILE, "the file ends at byte %lld, while it is being read",
                             (long long)offset + (long long)got);
        if (r < 0 && !again(in->fd))
            return error_errno(e, HASTEN_EFAIL, "cannot read '%s'", in->name);
        got += r > 0 ? (size_t)r : 0;
    }
    return 0;
}

int input_whole(const char *path, struct buf *b, struct error *e)
{
    struct input in;
    char part[16384];
    int64_t got;
    if (input_open(&in, path, e) < 0)
        return -1;
    while ((got = input_read(&in, part, sizeof part, e)) > 0)
        if (buf_add(b, part, (size_t)got, e) < 0) {
            got = error_in(e, in.name);
            break;
        }
    input_close(&in);
    return got < 0 ? -1 : 0;
}
