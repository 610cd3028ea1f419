/* See error.h. */
#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at s, 0 if there is none (Unicode 15, table 3-7). */
static int utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    int n = s[0] >= 0xC2 && s[0] <= 0xDF   ? 2
            : s[0] >= 0xE0 && s[0] <= 0xEF ? 3
            : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                           : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF0 && s[1] < 0x90) ||
        (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

void text_mask(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        int n = utf8_length(s);
        if (n == 0 || *s < 0x20 || *s == 0x7F || (n == 2 && s[0] == 0xC2 && s[1] < 0xA0)) {
            *s++ = '?';
            continue;
        }
        /* U+200E, U+200F, U+202A..U+202E, U+2066..U+2069 reorder what a terminal shows. */
        if (n == 3 && s[0] == 0xE2 &&
            ((s[1] == 0x80 && (s[2] == 0x8E || s[2] == 0x8F || (s[2] >= 0xAA && s[2] <= 0xAE))) ||
             (s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9)))
            s[0] = s[1] = s[2] = '?';
        s += n;
    }
}

HASTEN_PRINTF(4, 0)
static int record(struct error *e, int code, const char *suffix, const char *format, va_list args)
{
    if (!e || e->code)
        return -1;
    e->code = code;
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    if (suffix && n >= 0 && (size_t)n < sizeof e->text)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", suffix);
    text_mask(e->text);
    return -1;
}

int error_set(struct error *e, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    record(e, code, NULL, format, args);
    va_end(args);
    return -1;
}

int error_errno(struct error *e, int code, const char *format, ...)
{
    int number = errno, first = e && !e->code;
    va_list args;
    va_start(args, format);
    record(e, code, strerror(number), format, args);
    va_end(args);
    if (first)
        e->system = number;
    return -1;
}

int error_under(struct error *e, const char *format, ...)
{
    if (!e || !e->code)
        return -1;
    char old[sizeof e->text];
    memcpy(old, e->text, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof e->text)
        snprintf(e->text + n, sizeof e->text - (size_t)n, ": %.900s", old);
    text_mask(e->text);
    return -1;
}

int error_in(struct error *e, const char *path)
{
    const char *at = e ? strstr(e->text, path) : NULL;
    size_t n = strlen(path);
    int named = at && ((at == e->text && at[n] == ':') || (at > e->text && at[-1] == '\'' && at[n] == '\''));
    return named ? -1 : error_under(e, "%s", path);
}
