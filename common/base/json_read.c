/* See json_read.h. RFC 8259, with the doors shut that it leaves ajar: no \u0000 and no lone surrogate (they
 * cannot be C strings or UTF-8), no number beyond a double, bounded depth and count. */
#include "common/base/json_read.h"
#include "common/base/json.h"
#include "common/base/num.h"

#include <math.h>
#include <string.h>

int json_bad(struct json_reader *r, const char *why)
{
    return error_set(r->e, HASTEN_EFILE, "not valid JSON at byte %zu: %s", r->at, why);
}

int json_start(struct json_reader *r, const char *text, size_t size, struct error *e)
{
    *r = (struct json_reader){.text = text, .size = size, .e = e};
    if (size > JSON_MAX_TEXT)
        return error_set(e, HASTEN_EFILE, "%zu bytes of JSON, at most %d are accepted", size, JSON_MAX_TEXT);
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3))
        return json_bad(r, "a byte order mark");
    return 0;
}

static void skip_blanks(struct json_reader *r)
{
    while (r->at < r->size) {
        char c = r->text[r->at];
        if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
            break;
        r->at++;
    }
}

/* The next byte that is no blank, 0 at the end (a NUL in the text is in no grammar rule either). */
static char look(struct json_reader *r)
{
    skip_blanks(r);
    return r->at < r->size ? r->text[r->at] : 0;
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

int json_peek(struct json_reader *r)
{
    char c = look(r);
    if (is_digit(c))
        c = '-';
    if (c && strchr("{[\"-tfn", c))
        return c;
    return json_bad(r, r->at < r->size ? "a value is expected" : "it ends where a value is expected");
}

/* Every value passes here once. */
static int count_value(struct json_reader *r)
{
    return ++r->values > JSON_MAX_VALUES ? json_bad(r, "too many values") : 0;
}

int json_enter(struct json_reader *r, char open, int *more)
{
    if (look(r) != open)
        return json_bad(r, open == '{' ? "an object is expected" : "a list is expected");
    if (count_value(r) < 0)
        return -1;
    if (++r->depth > JSON_MAX_DEPTH)
        return json_bad(r, "nested deeper than 32 levels");
    r->at++;
    *more = look(r) != (open == '{' ? '}' : ']');
    if (!*more) {
        r->at++;
        r->depth--;
    }
    return 0;
}

int json_next(struct json_reader *r, char close, int *more)
{
    char c = look(r);
    if (c != ',' && c != close)
        return json_bad(r, close == '}' ? "',' or '}' is expected" : "',' or ']' is expected");
    r->at++;
    *more = c == ',';
    if (!*more)
        r->depth--;
    else if (look(r) == close)
        return json_bad(r, "a comma without a value behind it");
    return 0;
}

size_t json_utf8(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char first, last, low, high; /* lead byte, range of the second byte */
        size_t size;
    } rule[] = {{0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
                {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
                {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
    for (size_t i = 0; i < sizeof rule / sizeof *rule; i++) {
        if (s[0] < rule[i].first || s[0] > rule[i].last)
            continue;
        if (rule[i].size > n || (rule[i].size > 1 && (s[1] < rule[i].low || s[1] > rule[i].high)))
            return 0;
        for (size_t k = 2; k < rule[i].size; k++)
            if ((s[k] & 0xC0) != 0x80)
                return 0;
        return rule[i].size;
    }
    return 0;
}

/* Four hexadecimal digits, or -1. */
static int hex4(const char *s, size_t n)
{
    int value = 0;
    if (n < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef",
                   lower = s[i] >= 'A' && s[i] <= 'F' ? (char)(s[i] + 32) : s[i];
        const char *at = lower ? strchr(digits, lower) : NULL;
        if (!at)
            return -1;
        value = value * 16 + (int)(at - digits);
    }
    return value;
}

/* Check the escape at r->at (behind the backslash) and step over it. */
static int check_escape(struct json_reader *r)
{
    char c = r->at < r->size ? r->text[r->at] : 0;
    if (c && c != 'u' && strchr("\"\\/bfnrt", c)) {
        r->at++;
        return 0;
    }
    int unit = c == 'u' ? hex4(r->text + r->at + 1, r->size - r->at - 1) : -1;
    if (unit < 0)
        return json_bad(r, "an unknown escape in a string");
    if (unit == 0)
        return json_bad(r, "\\u0000 in a string");
    size_t low = r->at + 5;
    r->at = low;
    if (unit < 0xD800 || unit > 0xDFFF)
        return 0;
    int second = unit < 0xDC00 && low + 2 < r->size && r->text[low] == '\\' && r->text[low + 1] == 'u'
                     ? hex4(r->text + low + 2, r->size - low - 2)
                     : -1;
    if (second < 0xDC00 || second > 0xDFFF)
        return json_bad(r, "half of a surrogate pair in a string");
    r->at = low + 6;
    return 0;
}

static int scan_string(struct json_reader *r, struct json_slice *s)
{
    if (look(r) != '"')
        return json_bad(r, "a string is expected");
    size_t begin = ++r->at;
    s->escaped = 0;
    for (;;) {
        while (r->at < r->size) {
            unsigned char c = (unsigned char)r->text[r->at];
            if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
                break;
            r->at++;
        }
        if (r->at == r->size)
            return json_bad(r, "it ends inside a string");
        unsigned char c = (unsigned char)r->text[r->at];
        if (c == '"')
            break;
        if (c == '\\') {
            s->escaped = 1;
            r->at++;
            if (check_escape(r) < 0)
                return -1;
            continue;
        }
        size_t n = c < 0x20 ? 0 : json_utf8((const unsigned char *)r->text + r->at, r->size - r->at);
        if (n == 0)
            return json_bad(r, c < 0x20 ? "a control byte in a string" : "a string that is not UTF-8");
        r->at += n;
    }
    s->raw = r->text + begin;
    s->size = r->at - begin;
    r->at++;
    return 0;
}

int json_text(struct json_reader *r, struct json_slice *s)
{
    return count_value(r) < 0 ? -1 : scan_string(r, s);
}

int json_key(struct json_reader *r, struct json_slice *key)
{
    if (look(r) != '"')
        return json_bad(r, "a key in quotes is expected");
    if (scan_string(r, key) < 0)
        return -1;
    if (look(r) != ':')
        return json_bad(r, "':' is expected behind a key");
    r->at++;
    return 0;
}

/* Length of the JSON number at s of at most n bytes, 0: none. */
static size_t number_length(const char *s, size_t n)
{
    size_t i = n && s[0] == '-', begin = i;
    while (i < n && is_digit(s[i]))
        i++;
    if (i == begin || (s[begin] == '0' && i > begin + 1))
        return 0;
    if (i < n && s[i] == '.') {
        begin = ++i;
        while (i < n && is_digit(s[i]))
            i++;
        if (i == begin)
            return 0;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (i < n && (s[i] == '-' || s[i] == '+'))
            i++;
        begin = i;
        while (i < n && is_digit(s[i]))
            i++;
        if (i == begin)
            return 0;
    }
    return i;
}

int json_number(struct json_reader *r, double *value)
{
    if (count_value(r) < 0)
        return -1;
    skip_blanks(r);
    const char *s = r->text + r->at;
    size_t n = number_length(s, r->size - r->at), digits = 0;
    if (n == 0)
        return json_bad(r, "a number is expected");
    if (n > 63)
        return json_bad(r, "a number of more than 63 characters");
    int64_t whole = 0;
    while (digits < n && n <= 15 && is_digit(s[digits]))
        whole = whole * 10 + (s[digits++] - '0');
    *value = digits == n ? (double)whole : num_strtod(s, n);
    if (!isfinite(*value))
        return json_bad(r, "a number that is too large");
    r->at += n;
    return 0;
}

int json_count(struct json_reader *r, int64_t *value)
{
    double number;
    skip_blanks(r);
    size_t begin = r->at;
    if (json_number(r, &number) < 0)
        return -1;
    for (size_t i = begin; i < r->at; i++)
        if (!is_digit(r->text[i]))
            number = -1;
    if (!(number >= 0 && number <= 9007199254740992.)) {
        r->at = begin;
        return json_bad(r, "an integer from 0 to 2^53 is expected");
    }
    *value = (int64_t)number;
    return 0;
}

int json_word(struct json_reader *r, const char *word)
{
    size_t n = strlen(word);
    if (count_value(r) < 0)
        return -1;
    skip_blanks(r);
    if (r->size - r->at < n || memcmp(r->text + r->at, word, n) != 0)
        return json_bad(r, "a value is expected");
    r->at += n;
    return 0;
}

int json_end(struct json_reader *r)
{
    skip_blanks(r);
    return r->at < r->size ? json_bad(r, "text behind the value") : 0;
}

static char *put_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
        *out++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *out++ = (char)(0xE0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    } else {
        *out++ = (char)(0xF0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 63));
        *out++ = (char)(0x80 | (code >> 6 & 63));
        *out++ = (char)(0x80 | (code & 63));
    }
    return out;
}

size_t json_decode(const struct json_slice *s, char *out)
{
    const char *in = s->raw, *end = in + s->size;
    char *begin = out;
    if (!s->escaped) {
        memcpy(out, in, s->size);
        out[s->size] = 0;
        return s->size;
    }
    while (in < end) {
        if (*in != '\\') {
            *out++ = *in++;
            continue;
        }
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        if (in[1] != 'u') {
            *out++ = to[strchr(from, in[1]) - from];
            in += 2;
            continue;
        }
        unsigned code = (unsigned)hex4(in + 2, 4);
        in += 6;
        if (code >= 0xD800 && code < 0xDC00) {
            code = 0x10000 + ((code - 0xD800) << 10) + ((unsigned)hex4(in + 2, 4) - 0xDC00);
            in += 6;
        }
        out = put_utf8(out, code);
    }
    *out = 0;
    return (size_t)(out - begin);
}

int json_slice_is(const struct json_slice *s, const char *word)
{
    size_t n = strlen(word);
    if (!s->escaped)
        return s->size == n && !memcmp(s->raw, word, n);
    if (s->size > 256)
        return 0;
    char text[257];
    return json_decode(s, text) == n && !memcmp(text, word, n);
}
