/* See lines.h. */
#include "common/file/lines.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };

struct lines {
    int fd, own, ended;
    const char *name;
    char *data;
    size_t begin, end, scanned, room, most; /* data[begin, end) is unread; no '\n' before scanned */
    int64_t number;
    int passing; /* inside a line that is too long */
};

struct lines *lines_open(const char *path, size_t most, struct error *e)
{
    struct lines *l = mem_array(1, sizeof *l, e);
    int standard = !path || !strcmp(path, "-");
    if (!l)
        return NULL;
    *l = (struct lines){.own = !standard, .name = standard ? "standard input" : path, .most = most};
    l->room = most + PIECE;
    l->fd = standard ? STDIN_FILENO : fault_hit("open") ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (l->fd < 0)
        error_errno(e, HASTEN_EFAIL, "cannot open '%s'", path);
    else if ((l->data = mem_array(l->room, 1, e)))
        return l;
    lines_close(l);
    return NULL;
}

void lines_close(struct lines *l)
{
    if (!l)
        return;
    if (l->own && l->fd >= 0)
        close(l->fd);
    mem_free(l->data);
    mem_free(l);
}

/* More bytes behind end: LINES_LINE when something came, LINES_LATER, LINES_END, -1. */
static int fill(struct lines *l, int wait, struct error *e)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    if (l->begin) {
        memmove(l->data, l->data + l->begin, l->end - l->begin);
        l->end -= l->begin;
        l->scanned -= l->begin;
        l->begin = 0;
    }
    for (;;) {
        int ready = poll(&p, 1, wait ? -1 : 0);
        if (ready == 0)
            return LINES_LATER;
        ssize_t n = ready < 0 || fault_hit("read") ? -1 : read(l->fd, l->data + l->end, PIECE);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_errno(e, HASTEN_EFAIL, "cannot read '%s'", l->name);
        l->end += (size_t)n;
        l->ended = n == 0;
        return n ? LINES_LINE : LINES_END;
    }
}

/* Take data[begin, at) as a line; skip: bytes of its end. */
static int take(struct lines *l, size_t at, size_t skip, struct line *out)
{
    size_t size = at - l->begin;
    *out = (struct line){l->data + l->begin, size, ++l->number, l->passing || size > l->most};
    if (out->too_long)
        out->size = 0;
    l->passing = 0;
    l->begin = l->scanned = at + skip;
    return LINES_LINE;
}

int lines_next(struct lines *l, int wait, struct line *out, struct error *e)
{
    for (;;) {
        const char *newline =
            l->scanned < l->end ? memchr(l->data + l->scanned, '\n', l->end - l->scanned) : NULL;
        if (newline)
            return take(l, (size_t)(newline - l->data), 1, out);
        l->scanned = l->end;
        if (l->end - l->begin > l->most) {
            l->passing = 1;
            l->begin = l->scanned = l->end = 0;
        }
        if (l->ended)
            return l->end > l->begin || l->passing ? take(l, l->end, 0, out) : LINES_END;
        int r = fill(l, wait, e);
        if (r < 0 || r == LINES_LATER)
            return r;
    }
}
