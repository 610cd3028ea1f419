/* See buf.h. Room doubles, so that adding n bytes one by one costs O(n). */
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <stdio.h>
#include <string.h>

/* Room for n more bytes and the NUL. */
static int grow(struct buf *b, size_t n, struct error *e)
{
    size_t need;
    if (b->failed)
        return error_set(e, HASTEN_EFAIL, "a buffer is incomplete after an earlier failure");
    if (__builtin_add_overflow(b->size, n, &need) || need >= SIZE_MAX / 4 || (b->max && need > b->max)) {
        b->failed = 1;
        return error_set(e, HASTEN_EFILE, "more than the %zu bytes allowed here",
                         b->max ? b->max : SIZE_MAX / 4);
    }
    if (need < b->room)
        return 0;
    size_t room = b->room ? 2 * b->room : 256;
    while (room <= need)
        room *= 2;
    char *bigger = mem_resize(b->data, room, 1, e);
    if (!bigger) {
        b->failed = 1;
        return -1;
    }
    b->data = bigger;
    b->room = room;
    return 0;
}

void *buf_more(struct buf *b, size_t n, struct error *e)
{
    if (grow(b, n, e) < 0)
        return NULL;
    char *at = b->data + b->size;
    memset(at, 0, n + 1);
    b->size += n;
    return at;
}

int buf_add(struct buf *b, const void *data, size_t n, struct error *e)
{
    if (grow(b, n, e) < 0)
        return -1;
    if (n)
        memcpy(b->data + b->size, data, n);
    b->size += n;
    b->data[b->size] = 0;
    return 0;
}

int buf_text(struct buf *b, const char *text, struct error *e) { return buf_add(b, text, strlen(text), e); }

int buf_printf(struct buf *b, struct error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = 1;
        return error_set(e, HASTEN_EFAIL, "a text cannot be formatted");
    }
    if (grow(b, (size_t)n, e) < 0)
        return -1;
    va_start(args, format);
    vsnprintf(b->data + b->size, (size_t)n + 1, format, args);
    va_end(args);
    b->size += (size_t)n;
    return 0;
}

int buf_escaped(struct buf *b, const char *s, size_t n, struct error *e)
{
    char text[2000]; /* no XML holds control characters or half a character of UTF-8 */
    int status = 0;
    snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : sizeof text - 1), s);
    text_mask(text);
    for (const char *c = text; *c && status == 0; c++) {
        const char *word = *c == '&'   ? "&amp;"
                           : *c == '<' ? "&lt;"
                           : *c == '>' ? "&gt;"
                           : *c == '"' ? "&quot;"
                                       : NULL;
        status = word ? buf_text(b, word, e) : buf_add(b, c, 1, e);
    }
    return status;
}

void buf_free(struct buf *b)
{
    mem_free(b->data);
    *b = (struct buf){.max = b->max};
}
