/* Command lines: getopt_long fed from a table, values checked as a whole. See tool.h. */
#include "tools/options.h"
#include "common/base/num.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* ---- the table ---- */

/* The options that many tools have, behind the flag that asks for them (0: every tool). */
static int common_options(struct tool_run *t, int flags, struct tool_option *out)
{
    const struct {
        int flag;
        struct tool_option o;
    } all[] = {
        {TOOL_OUTPUT,
         {"output", 'o', "FILE", OPTION_OUTPUT, &t->output,
          .help = "where to write (default: standard output, unless that is a terminal)"}},
        {TOOL_COMPUTES,
         {"threads", 'j', "N", OPTION_INT, &t->threads, .min = 1, .max = 1024,
          .help = "threads (default: the cores allowed); results do not depend on it"}},
        {TOOL_COMPUTES,
         {"backend", 0, "NAME", OPTION_CHOICE, &t->backend_choice, .choices = "auto cpu cuda",
          .help = "where to compute: auto, cpu or cuda"}},
        {TOOL_COMPUTES,
         {"cpu-level", 0, "LEVEL", OPTION_CHOICE, &t->level,
          .choices = "ref avx2 avx512 avx512-vnni avx512-bf16",
          .help = "instructions to use: ref, avx2, avx512, avx512-vnni or avx512-bf16 "
                  "(default: the best of this machine)"}},
        {TOOL_COMPUTES,
         {"memory", 0, "SIZE", OPTION_SIZE, &t->memory,
          .help = "refuse what is predicted to need more, as 512M or 1.5G"}},
        {0, {"seed", 0, "K", OPTION_SEED, &t->seed, .help = "of everything random here (default 0)"}},
        {0, {"force", 0, NULL, OPTION_FLAG, &t->force, .help = "go on where the tool warns and stops"}},
        {0, {"json", 0, NULL, OPTION_FLAG, &t->json, .help = "the report as JSON on standard output"}},
        {0, {"report", 0, "FILE", OPTION_OUTPUT, &t->report, .help = "the report as JSON into FILE"}},
        {0,
         {"progress", 0, "WHEN", OPTION_CHOICE, &t->progress, .choices = "auto never jsonl",
          .help = "on standard error: auto (on a terminal), never, or jsonl"}},
        {0, {"quiet", 'q', NULL, OPTION_FLAG, &t->quiet, .help = "no warnings, no progress"}},
        {0, {"verbose", 'v', NULL, OPTION_FLAG, &t->verbose, .help = "say more"}},
    };
    int n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].flag || flags & all[i].flag)
            out[n++] = all[i].o;
    return n;
}

struct option_table option_table(struct tool_run *t)
{
    struct option_table x = {0};
    for (const struct tool_option *o = t->tool->options; o && o->name; o++)
        x.option[x.own++] = *o;
    x.count = x.own + common_options(t, t->tool->flags, x.option + x.own);
    return x;
}

/* ---- values ---- */

static int set_choice(const struct tool_option *o, const char *text, struct error *e)
{
    size_t length = strlen(text);
    int index = 0;
    for (const char *c = o->choices; c; index++) {
        size_t n = strcspn(c, " ");
        if (n == length && !memcmp(c, text, n)) {
            *(int *)o->value = index;
            return 0;
        }
        c = c[n] ? c + n + 1 : NULL;
    }
    return error_set(e, HASTEN_EUSAGE, "--%s: '%.60s' is none of: %s", o->name, text, o->choices);
}

static int set_value(const struct tool_option *o, const char *text, struct error *e)
{
    char what[48];
    struct tool_list *list = o->value;
    snprintf(what, sizeof what, "--%s", o->name);
    if (o->type != OPTION_FLAG && !*text)
        return error_set(e, HASTEN_EUSAGE, "%s: the value is empty", what);
    switch (o->type) {
    case OPTION_FLAG:
        *(int *)o->value = 1;
        return 0;
    case OPTION_TEXT:
    case OPTION_OUTPUT:
        *(const char **)o->value = text;
        return 0;
    case OPTION_INT:
        return num_int(what, text, (int64_t)o->min, (int64_t)o->max, o->value, e);
    case OPTION_DOUBLE:
        return num_double(what, text, o->min, o->max, o->value, e);
    case OPTION_SIZE:
        if (num_size(what, text, o->value, e) < 0)
            return -1;
        return *(size_t *)o->value ? 0 : error_set(e, HASTEN_EUSAGE, "%s: 0 is no size", what);
    case OPTION_SEED:
        return num_u64(what, text, o->value, e);
    case OPTION_CHOICE:
        return set_choice(o, text, e);
    case OPTION_LIST:
        if (list->count == TOOL_LIST_MAX)
            return error_set(e, HASTEN_EUSAGE, "%s: given more than %d times", what, TOOL_LIST_MAX);
        list->item[list->count++] = text;
        return 0;
    }
    return -1;
}

/* ---- getopt_long ---- */

enum { HELP, VERSION, COMPLETE, QUESTIONS, FIRST_LONG = 1000 };

/* Long options have the codes FIRST_LONG + index: the table's, then the questions. */
struct getopt_arrays {
    struct option longs[OPTIONS_MOST + QUESTIONS + 1];
    char letters[2 * OPTIONS_MOST + 8];
};

static struct getopt_arrays make_arrays(const struct option_table *x)
{
    static const char *const questions[QUESTIONS] = {"help", "version", "complete"};
    struct getopt_arrays a = {0};
    char *l = a.letters;
    *l++ = ':'; /* tell a missing value from an unknown option */
    for (int i = 0; i < x->count; i++) {
        const struct tool_option *o = &x->option[i];
        int has = o->argument ? required_argument : no_argument;
        a.longs[i] = (struct option){o->name, has, NULL, FIRST_LONG + i};
        if (o->letter) {
            *l++ = o->letter;
            if (o->argument)
                *l++ = ':';
        }
    }
    for (int i = 0; i < QUESTIONS; i++)
        a.longs[x->count + i] = (struct option){questions[i], no_argument, NULL, FIRST_LONG + x->count + i};
    memcpy(l, "hV", 3);
    return a;
}

/* The index of what getopt_long found: in the table, or x->count + HELP and so on. */
static int index_of(const struct option_table *x, int code)
{
    if (code >= FIRST_LONG)
        return code - FIRST_LONG;
    for (int i = 0; i < x->count; i++)
        if (x->option[i].letter == code)
            return i;
    return x->count + (code == 'h' ? HELP : VERSION);
}

/* The word that getopt_long took the last option from: before optind, or before a value that stands apart. */
static const char *word_read(char **argv)
{
    return argv[optind - 1 - (optarg && optarg == argv[optind - 1])];
}

/* getopt_long takes unambiguous beginnings of long options. Scripts that use them break when an option is
 * added, so they are refused. */
static int is_whole(const char *name, const char *word)
{
    size_t length = strcspn(word, "=");
    return length == strlen(name) + 2 && !strncmp(word + 2, name, length - 2);
}

static int refuse(const struct getopt_arrays *a, int code, char **argv, struct error *e)
{
    char letter[3] = {'-', (char)optopt, 0};
    const char *word = optopt > 0 && optopt < FIRST_LONG ? letter : argv[optind - 1];
    if (code == ':' && optopt >= FIRST_LONG)
        return error_set(e, HASTEN_EUSAGE, "--%s needs a value", a->longs[optopt - FIRST_LONG].name);
    if (code == ':')
        return error_set(e, HASTEN_EUSAGE, "%s needs a value", word);
    if (optopt >= FIRST_LONG)
        return error_set(e, HASTEN_EUSAGE, "--%s takes no value", a->longs[optopt - FIRST_LONG].name);
    return error_set(e, HASTEN_EUSAGE, "unknown option '%.60s'", word);
}

static void answer(struct tool_run *t, const struct option_table *x, int question)
{
    if (question == COMPLETE)
        print_completion(x);
    else if (question == VERSION)
        print_version(t);
    else
        print_help(t, x);
    t->done = 1;
}

static int take_operands(struct tool_run *t, int argc, char **argv, struct error *e)
{
    const char *word = t->tool->operand;
    int flags = t->tool->flags, many = word && strstr(word, "...");
    int most = flags & TOOL_NO_OPERAND ? 0 : many ? TOOL_LIST_MAX : flags & TOOL_TWO_OPERANDS ? 2 : 1;
    for (; optind < argc; optind++) {
        if (t->operands == most)
            return error_set(e, HASTEN_EUSAGE, "'%.200s': %s", argv[optind],
                             most ? "one operand too many" : "no operand is expected");
        if (!*argv[optind])
            return error_set(e, HASTEN_EUSAGE, "an operand is empty");
        t->operand[t->operands++] = argv[optind];
    }
    return 0;
}

int options_parse(struct tool_run *t, struct option_table *x, int argc, char **argv, struct error *e)
{
    struct getopt_arrays a = make_arrays(x);
    opterr = 0;
    for (int code; (code = getopt_long(argc, argv, a.letters, a.longs, NULL)) != -1;) {
        if (code == '?' || code == ':')
            return refuse(&a, code, argv, e);
        int i = index_of(x, code);
        if (code >= FIRST_LONG && !is_whole(a.longs[i].name, word_read(argv)))
            return error_set(e, HASTEN_EUSAGE, "unknown option '%.60s' (is --%s meant?)", word_read(argv),
                             a.longs[i].name);
        if (i >= x->count) {
            answer(t, x, i - x->count);
            return -1;
        }
        enum option_type type = x->option[i].type;
        if (x->given[i]++ && type != OPTION_LIST && type != OPTION_FLAG)
            return error_set(e, HASTEN_EUSAGE, "--%s is given twice", x->option[i].name);
        if (set_value(&x->option[i], optarg, e) < 0)
            return -1;
        if (i < x->own)
            t->given[i] = 1;
    }
    return take_operands(t, argc, argv, e);
}
