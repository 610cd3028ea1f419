/* See manifest.h. */
#include "common/file/manifest.h"
#include "common/base/buf.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/seen.h"
#include "common/file/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LINE_MOST = 1 << 16 };

struct manifest {
    int fd, fresh; /* fresh: made here */
    off_t size;
    char *path;
    struct seen lines;
};

/* Take in the lines that are there; a last one without its end is cut off. */
static int read_lines(struct manifest *m, struct error *e)
{
    struct lines *l = lines_open(m->path, LINE_MOST, e);
    struct line x;
    int64_t before;
    int r = l ? 0 : -1;
    off_t size = lseek(m->fd, 0, SEEK_END);
    char last = '\n';
    while (r >= 0 && (r = lines_next(l, 1, &x, e)) == LINES_LINE) {
        if (x.too_long)
            r = error_set(e, HASTEN_EFAIL, "'%s' is no manifest: line %lld is too long", m->path,
                          (long long)x.number);
        else if (m->size + (off_t)x.size < size)
            r = seen_put(&m->lines, hash_bytes64(x.text, x.size), x.number, &before, e);
        if (m->size + (off_t)x.size < size)
            m->size += (off_t)x.size + 1;
    }
    lines_close(l);
    if (r >= 0 && m->size < size && ftruncate(m->fd, m->size) < 0)
        r = error_errno(e, HASTEN_EFAIL, "cannot write '%s'", m->path);
    if (r >= 0 && m->size && (pread(m->fd, &last, 1, m->size - 1) != 1 || last != '\n'))
        r = error_set(e, HASTEN_EFAIL, "'%s' was changed while it was read", m->path);
    return r < 0 ? -1 : 0;
}

struct manifest *manifest_open(const char *path, struct error *e)
{
    struct manifest *m = mem_array(1, sizeof *m, e);
    if (!m)
        return NULL;
    m->fd = -1;
    if (!(m->path = mem_strdup(path, e)))
        goto fail;
    int flags = O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY;
    m->fd = fault_hit("open") ? -1 : open(path, flags | O_EXCL, 0666);
    m->fresh = m->fd >= 0;
    if (m->fd < 0 && errno == EEXIST)
        m->fd = open(path, flags, 0666);
    if (m->fd < 0) {
        error_errno(e, HASTEN_EFAIL, "cannot open the manifest '%s'", path);
        goto fail;
    }
    if (lseek(m->fd, 0, SEEK_END) < 0) {
        error_errno(e, HASTEN_EFAIL, "the manifest '%s' must be a regular file", path);
        goto fail;
    }
    if (flock(m->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        error_set(e, HASTEN_EFAIL, "another run is writing the manifest '%s'; use --shard or --manifest",
                  path);
        goto fail;
    }
    if (read_lines(m, e) == 0)
        return m;
fail:
    manifest_close(m, NULL);
    return NULL;
}

int manifest_has(const struct manifest *m, const char *line)
{
    return seen_has(&m->lines, hash_bytes64(line, strlen(line)));
}

/* All of it, or the file as it was. */
static int append(struct manifest *m, const char *data, size_t size, struct error *e)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = fault_hit("write") ? -1 : write(m->fd, data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            error_errno(e, HASTEN_EFAIL, "cannot write '%s'", m->path);
            if (ftruncate(m->fd, m->size) < 0)
                return -1; /* the next manifest_open cuts it off */
            return -1;
        }
        done += (size_t)n;
    }
    m->size += (off_t)size;
    return 0;
}

int manifest_add(struct manifest *m, const char *line, struct error *e)
{
    struct buf b = {0};
    int64_t before;
    size_t n = strlen(line);
    int status = seen_put(&m->lines, hash_bytes64(line, n), 0, &before, e);
    if (status == 0)
        status =
            buf_add(&b, line, n, e) < 0 || buf_add(&b, "\n", 1, e) < 0 ? -1 : append(m, b.data, b.size, e);
    buf_free(&b);
    return status < 0 ? -1 : 0;
}

int manifest_close(struct manifest *m, struct error *e)
{
    int status = 0;
    if (!m)
        return 0;
    if (m->fd >= 0) {
        if (m->fresh && !m->size) /* nothing came of the run */
            unlink(m->path);
        if ((fault_hit("fsync") || fsync(m->fd) < 0) && errno != EINVAL)
            status = error_errno(e, HASTEN_EFAIL, "cannot write '%s'", m->path);
        if ((fault_hit("close") ? (close(m->fd), 1) : close(m->fd) < 0) && status == 0)
            status = error_errno(e, HASTEN_EFAIL, "cannot write '%s'", m->path);
    }
    seen_free(&m->lines);
    mem_free(m->path);
    mem_free(m);
    return status;
}
