/* See num.h. Grammar is checked by hand first, so that strtod sees only what is meant to be a number. */
#include "common/base/num.h"
#include "common/base/mem.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit(char c) { return c >= '0' && c <= '9'; }

/* Decimal digits at s up to 2^64 - 1. 0 when there is none, -1 when it is too large, else their number. */
static int digits(const char *s, uint64_t *value)
{
    int n = 0;
    *value = 0;
    for (; digit(s[n]); n++)
        if (__builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (unsigned)(s[n] - '0'), value))
            return -1;
    return n;
}

/* A signed integer at *s, which moves behind it. 1 done, 0 no number there, -1 too large. */
static int integer(const char **s, int64_t *value)
{
    int minus = **s == '-';
    uint64_t u;
    int n = digits(*s + minus, &u);
    if (n <= 0)
        return n;
    if (u > (uint64_t)INT64_MAX)
        return -1;
    *s += minus + n;
    *value = minus ? -(int64_t)u : (int64_t)u;
    return 1;
}

static int out_of_range(const char *what, const char *text, int64_t min, int64_t max, struct error *e)
{
    return error_set(e, HASTEN_EUSAGE, "%s: %.60s is out of range, it must be from %lld to %lld", what, text,
                     (long long)min, (long long)max);
}

int num_int(const char *what, const char *text, int64_t min, int64_t max, int64_t *out, struct error *e)
{
    const char *s = text;
    int64_t value = 0;
    int found = integer(&s, &value);
    if (found == 0 || (found == 1 && *s))
        return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is not an integer", what, text);
    if (found < 0 || value < min || value > max)
        return out_of_range(what, text, min, max, e);
    *out = value;
    return 0;
}

int num_u64(const char *what, const char *text, uint64_t *out, struct error *e)
{
    uint64_t value;
    int n = digits(text, &value);
    if (n < 0)
        return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is larger than 18446744073709551615", what, text);
    if (n == 0 || text[n])
        return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is not an integer from 0 upwards", what, text);
    *out = value;
    return 0;
}

/* Length of a decimal number at s: [-] digits [. digits] [e [+-] digits]; 0 when there is none. */
static size_t decimal(const char *s, int exponent)
{
    size_t n = s[0] == '-', whole = n;
    while (digit(s[n]))
        n++;
    if (n == whole)
        return 0;
    if (s[n] == '.' && digit(s[n + 1]))
        for (n++; digit(s[n]);)
            n++;
    if (exponent && (s[n] == 'e' || s[n] == 'E')) {
        size_t sign = n + 1 + (s[n + 1] == '-' || s[n + 1] == '+');
        if (digit(s[sign]))
            for (n = sign; digit(s[n]);)
                n++;
    }
    return n;
}

double num_strtod(const char *text, size_t n)
{
    char copy[64];
    if (n >= sizeof copy)
        return (double)NAN;
    memcpy(copy, text, n);
    copy[n] = 0;
    /* The C locale needs no memory and cannot fail; uselocale concerns this thread only. */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = strtod_l(copy, NULL, c);
    freelocale(c);
    return value;
}

int num_double(const char *what, const char *text, double min, double max, double *out, struct error *e)
{
    size_t n = decimal(text, 1);
    if (n == 0 || text[n] || n > 60)
        return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is not a number", what, text);
    double value = num_strtod(text, n);
    if (!isfinite(value))
        return error_set(e, HASTEN_EUSAGE, "%s: %.60s is too large", what, text);
    if (value < min || value > max)
        return error_set(e, HASTEN_EUSAGE, "%s: %.60s is out of range, it must be from %g to %g", what, text,
                         min, max);
    *out = value;
    return 0;
}

int num_size(const char *what, const char *text, size_t *out, struct error *e)
{
    size_t n = decimal(text, 0);
    double unit = 1;
    const char *suffix = n && text[n] ? strchr("kKmMgG", text[n]) : NULL;
    if (suffix)
        unit = suffix[0] == 'k' || suffix[0] == 'K'   ? 1024.
               : suffix[0] == 'm' || suffix[0] == 'M' ? 1048576.
                                                      : 1073741824.;
    if (n == 0 || text[0] == '-' || n > 60 || text[n + !!suffix])
        return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is not a size (a number and perhaps K, M or G)", what,
                         text);
    double value = num_strtod(text, n) * unit;
    if (!(value < (double)(SIZE_MAX / 2)))
        return error_set(e, HASTEN_EUSAGE, "%s: %.60s is too large", what, text);
    *out = (size_t)value;
    return 0;
}

int num_pair(const char *what, const char *text, int max, int *width, int *height, struct error *e)
{
    const char *s = text;
    int64_t w = 0, h = 0;
    int first = integer(&s, &w);
    if (first == 1 && *s == 'x') {
        s++;
        int second = integer(&s, &h);
        if (second == 1 && !*s && w >= 1 && w <= max && h >= 1 && h <= max) {
            *width = (int)w;
            *height = (int)h;
            return 0;
        }
    }
    return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is not WIDTHxHEIGHT with numbers from 1 to %d", what,
                     text, max);
}

/* One pass over the list: counts, and stores where out is not NULL. */
static int list_pass(const char *what, const char *text, int64_t min, int64_t max, size_t limit, int64_t *out,
                     size_t *count, struct error *e)
{
    const char *s = text;
    size_t n = 0;
    for (;;) {
        int64_t first = 0, last;
        int found = integer(&s, &first);
        last = first;
        if (found == 1 && *s == '-') {
            s++;
            found = integer(&s, &last);
        }
        if (found == 0 || (found == 1 && ((*s && *s != ',') || last < first)))
            return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' is not a list such as 207, 0,3,5 or 0-9", what,
                             text);
        if (found < 0 || first < min || last > max)
            return out_of_range(what, text, min, max, e);
        if ((uint64_t)last - (uint64_t)first >= limit - n)
            return error_set(e, HASTEN_EUSAGE, "%s: '%.60s' has more than %zu numbers", what, text, limit);
        for (size_t more = (size_t)(last - first) + 1; more; more--, n++)
            if (out)
                out[n] = last - (int64_t)(more - 1);
        if (!*s++)
            break;
    }
    *count = n;
    return 0;
}

int num_list(const char *what, const char *text, int64_t min, int64_t max, size_t limit, int64_t **out,
             size_t *count, struct error *e)
{
    if (list_pass(what, text, min, max, limit, NULL, count, e) < 0)
        return -1;
    int64_t *list = mem_array(*count, sizeof *list, e);
    if (!list)
        return -1;
    *out = list;
    return list_pass(what, text, min, max, limit, list, count, e);
}

int num_text(double value, char out[NUM_TEXT])
{
    if (value == trunc(value) && fabs(value) <= 9007199254740992.)
        return snprintf(out, NUM_TEXT, "%lld", (long long)value);
    int n = snprintf(out, NUM_TEXT, "%.9g", value);
    /* A locale may have put another decimal point, of one or two bytes; nothing else is foreign to a C
     * number. */
    int length = 0;
    for (int i = 0; i < n; i++) {
        int own = digit(out[i]) || out[i] == '-' || out[i] == '+' || out[i] == 'e';
        if (own || length == 0 || out[length - 1] != '.')
            out[length++] = own ? out[i] : '.';
    }
    out[length] = 0;
    return length;
}
