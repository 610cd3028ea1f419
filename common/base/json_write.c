/* See json.h: the canonical writer, and one for people. */
#include "common/base/json.h"
#include "common/base/json_read.h"
#include "common/base/mem.h"
#include "common/base/num.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    struct buf *b;
    const char *skip; /* key of the outermost object to leave out */
    int pretty;
    int depth;
    struct error *e;
};

int json_write_string(struct buf *b, const char *s, struct error *e)
{
    buf_add(b, "\"", 1, e);
    for (size_t left = strlen(s); left;) {
        const unsigned char *u = (const unsigned char *)s;
        size_t plain = 0;
        while (plain < left && u[plain] >= 0x20 && u[plain] != '"' && u[plain] != '\\') {
            size_t n = json_utf8(u + plain, left - plain);
            if (n == 0)
                return error_set(e, HASTEN_EFAIL, "a string for JSON is not UTF-8: '%.100s'", s);
            plain += n;
        }
        buf_add(b, s, plain, e);
        s += plain;
        left -= plain;
        if (!left)
            break;
        const char *at = strchr("\"\\\b\f\n\r\t", *s);
        if (at)
            buf_add(b, (char[]){'\\', "\"\\bfnrt"[at - "\"\\\b\f\n\r\t"]}, 2, e);
        else
            buf_printf(b, e, "\\u%04x", (unsigned char)*s);
        s++;
        left--;
    }
    return buf_add(b, "\"", 1, e);
}

static int write_value(struct writer *w, const cJSON *j);

static int new_line(struct writer *w)
{
    static const char blanks[2 * JSON_MAX_DEPTH + 1] =
        "                                                                ";
    buf_add(w->b, "\n", 1, w->e);
    return buf_add(w->b, blanks, 2 * (size_t)w->depth, w->e);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static int write_member(struct writer *w, const cJSON *j, int first)
{
    if (!first)
        buf_add(w->b, ",", 1, w->e);
    if (w->pretty)
        new_line(w);
    if (json_write_string(w->b, j->string, w->e) < 0)
        return -1;
    buf_add(w->b, ": ", w->pretty ? 2 : 1, w->e);
    return write_value(w, j);
}

static int write_object(struct writer *w, const cJSON *o)
{
    size_t n = 0, i = 0;
    int result = 0, first = 1, top = w->depth == 1;
    for (const cJSON *c = o->child; c; c = c->next) {
        if (!c->string)
            return error_set(w->e, HASTEN_EFAIL, "a JSON object has a member without a key");
        n++;
    }
    const cJSON **member = mem_array(n, sizeof *member, w->e);
    if (!member)
        return -1;
    for (const cJSON *c = o->child; c; c = c->next)
        member[i++] = c;
    if (!w->pretty)
        qsort(member, n, sizeof *member, by_key);
    buf_add(w->b, "{", 1, w->e);
    for (i = 0; i < n && result == 0; i++) {
        if (!w->pretty && i && !strcmp(member[i - 1]->string, member[i]->string))
            result = error_set(w->e, HASTEN_EFAIL, "the key '%.100s' is twice in a JSON object",
                               member[i]->string);
        else if (!top || !w->skip || strcmp(member[i]->string, w->skip) != 0) {
            result = write_member(w, member[i], first);
            first = 0;
        }
    }
    mem_free(member);
    if (w->pretty && n) {
        w->depth--;
        new_line(w);
        w->depth++;
    }
    return result < 0 ? -1 : buf_add(w->b, "}", 1, w->e);
}

static int write_array(struct writer *w, const cJSON *a)
{
    int lines = 0;
    for (const cJSON *c = a->child; c && w->pretty; c = c->next)
        lines |= cJSON_IsObject(c) || cJSON_IsArray(c);
    buf_add(w->b, "[", 1, w->e);
    for (const cJSON *c = a->child; c; c = c->next) {
        if (c != a->child)
            buf_add(w->b, ", ", w->pretty && !lines ? 2 : 1, w->e);
        if (lines)
            new_line(w);
        if (write_value(w, c) < 0)
            return -1;
    }
    if (lines) {
        w->depth--;
        new_line(w);
        w->depth++;
    }
    return buf_add(w->b, "]", 1, w->e);
}

static int write_value(struct writer *w, const cJSON *j)
{
    if (cJSON_IsObject(j) || cJSON_IsArray(j)) {
        if (w->depth == JSON_MAX_DEPTH)
            return error_set(w->e, HASTEN_EFAIL, "JSON nested deeper than %d levels", JSON_MAX_DEPTH);
        w->depth++;
        int result = cJSON_IsObject(j) ? write_object(w, j) : write_array(w, j);
        w->depth--;
        return result;
    }
    if (cJSON_IsString(j))
        return json_write_string(w->b, j->valuestring, w->e);
    if (cJSON_IsNumber(j)) {
        char text[NUM_TEXT];
        if (!isfinite(j->valuedouble))
            return error_set(w->e, HASTEN_EFAIL, "'%.100s' is not a finite number and cannot be JSON",
                             j->string ? j->string : "an entry");
        return buf_add(w->b, text, (size_t)num_text(j->valuedouble, text), w->e);
    }
    return buf_text(w->b, cJSON_IsTrue(j) ? "true" : cJSON_IsFalse(j) ? "false" : "null", w->e);
}

int json_write_without(struct buf *b, const cJSON *j, const char *skip, struct error *e)
{
    struct writer w = {.b = b, .skip = skip, .e = e};
    return write_value(&w, j);
}

int json_write(struct buf *b, const cJSON *j, struct error *e) { return json_write_without(b, j, NULL, e); }

int json_write_pretty(struct buf *b, const cJSON *j, struct error *e)
{
    struct writer w = {.b = b, .pretty = 1, .e = e};
    return write_value(&w, j) < 0 ? -1 : buf_add(b, "\n", 1, e);
}
