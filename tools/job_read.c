/* One job from a line of JSON. See jobs.h. */
#include "common/base/json.h"
#include "common/base/num.h"
#include "common/file/lines.h"
#include "tools/jobs.h"

#include <string.h>

static const char *const keys[] = {"class",    "guidance", "negative", "out",  "sampler",
                                   "schedule", "seed",     "size",     "steps"};

static int check_keys(const cJSON *o, struct error *e)
{
    if (!cJSON_IsObject(o))
        return error_set(e, HASTEN_EFILE, "a job is an object, as {\"class\":3,\"out\":\"3.png\"}");
    for (const cJSON *x = o->child; x; x = x->next) {
        size_t i = 0;
        while (i < sizeof keys / sizeof *keys && strcmp(x->string, keys[i]))
            i++;
        if (!strcmp(x->string, "prompt"))
            return error_set(e, HASTEN_EFILE, "'prompt': this version reads no text; give 'class'");
        if (i == sizeof keys / sizeof *keys)
            return error_set(
                e, HASTEN_EFILE,
                "unknown key '%.60s'; known are class, guidance, negative, out, sampler, schedule, "
                "seed, size and steps",
                x->string);
    }
    return 0;
}

/* A copy of a string, NULL when the key is absent. */
static int take_text(const cJSON *o, const char *key, char **out, struct error *e)
{
    const char *text;
    if (json_string_or(o, key, NULL, &text, e) < 0)
        return -1;
    if (text && !*text)
        return error_set(e, HASTEN_EFILE, "'%s' is empty", key);
    return text && !(*out = mem_strdup(text, e)) ? -1 : 0;
}

/* Numbers to 2^53, larger ones as strings. */
static int read_seed(const cJSON *o, uint64_t *seed, struct error *e)
{
    int64_t number;
    const cJSON *x = json_get(o, "seed");
    if (cJSON_IsString(x))
        return num_u64("'seed'", x->valuestring, seed, e);
    if (json_int_or(o, "seed", 0, (int64_t)1 << 53, (int64_t)(*seed & INT64_MAX), &number, e) < 0)
        return -1;
    if (x && !cJSON_IsNull(x))
        *seed = (uint64_t)number;
    return 0;
}

static int read_class(struct job *x, const cJSON *o, const struct jobs_options *all, const struct model *m,
                      struct error *e)
{
    const struct model_sampler *s = &m->sampler;
    int64_t most = s->classes + (s->null_class == s->classes) - 1, value;
    int64_t own = all->class_count ? all->classes[(size_t)x->number % all->class_count]
                  : s->classes     ? x->number % s->classes
                                   : 0;
    const char *given = json_get(o, "class") ? "class" : "negative";
    if (json_get(o, given) && !s->classes)
        return error_set(e, HASTEN_EFILE, "'%s': the model is not conditional", given);
    if (cJSON_IsString(json_get(o, "negative")))
        return error_set(e, HASTEN_EFILE, "'negative': this version reads no text; it is a class");
    if (json_int_or(o, "class", 0, most, own, &value, e) < 0)
        return -1;
    x->image.label = (int)value;
    if (json_int_or(o, "negative", 0, most, -1, &value, e) < 0)
        return -1;
    x->image.has_negative = value >= 0;
    x->image.negative = value >= 0 ? (int)value : 0;
    return 0;
}

static int read_wish(struct job *x, const cJSON *o, const struct jobs_options *all, struct error *e)
{
    x->wish = all->wish;
    x->wish.dash = "";
    if (take_text(o, "schedule", &x->schedule, e) < 0 || take_text(o, "size", &x->size, e) < 0 ||
        take_text(o, "sampler", &x->sampler, e) < 0 ||
        json_int_or(o, "steps", 1, 100000, all->wish.steps, &x->wish.steps, e) < 0 ||
        json_double_or(o, "guidance", -1000, 1000, all->wish.guidance, &x->wish.guidance, e) < 0)
        return -1;
    x->wish.has_guidance |= cJSON_IsNumber(json_get(o, "guidance"));
    x->wish.schedule = x->schedule ? x->schedule : all->wish.schedule;
    x->wish.size = x->size ? x->size : all->wish.size;
    x->wish.sampler = x->sampler ? x->sampler : all->wish.sampler;
    return 0;
}

/* The output: 'out' below the folder, or a file of the folder by number. */
static int read_out(struct job *x, const cJSON *o, const char *folder, struct error *e)
{
    if (take_text(o, "out", &x->out, e) < 0)
        return -1;
    if (!x->out && !folder)
        return error_set(e, HASTEN_EFILE, "'out' is missing; without it the command needs a folder, -o DIR");
    if (!x->out && !(x->out = mem_printf(e, "%06lld.png", (long long)x->number)))
        return -1;
    size_t n = strlen(x->out);
    if (n < 5 || strcmp(x->out + n - 4, ".png"))
        return error_set(e, HASTEN_EFILE, "'out' is '%.200s', it must end in .png", x->out);
    const char *plain = x->out;
    while (!strncmp(plain, "./", 2))
        plain += 2;
    x->path = folder && *plain != '/' ? mem_printf(e, "%s/%s", folder, plain) : mem_strdup(plain, e);
    return x->path ? 0 : -1;
}

int job_read(struct job *x, const struct line *text, const struct jobs_options *o, const struct model *m,
             uint64_t seed, struct error *e)
{
    if (text->too_long)
        return error_set(e, HASTEN_EFILE, "more than %d bytes", JOB_LINE_MOST);
    cJSON *j = json_parse(text->text, text->size, e);
    x->image.seed = seed + (uint64_t)x->number;
    int status = !j || check_keys(j, e) < 0 || read_out(x, j, o->folder, e) < 0 ||
                         read_seed(j, &x->image.seed, e) < 0 || read_class(x, j, o, m, e) < 0 ||
                         read_wish(x, j, o, e) < 0
                     ? -1
                     : 0;
    cJSON_Delete(j);
    return status;
}

void job_free(struct job *x)
{
    mem_free(x->schedule);
    mem_free(x->size);
    mem_free(x->sampler);
    mem_free(x->out);
    mem_free(x->path);
    *x = (struct job){0};
}

static int same_text(const char *a, const char *b) { return a == b || (a && b && !strcmp(a, b)); }

int job_fits(const struct recipe_wish *a, const struct recipe_wish *b)
{
    return a->steps == b->steps && a->has_guidance == b->has_guidance &&
           (!a->has_guidance || a->guidance == b->guidance) && same_text(a->schedule, b->schedule) &&
           same_text(a->size, b->size) && same_text(a->sampler, b->sampler);
}
