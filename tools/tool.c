/* See tool.h. */
#include "tools/tool.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/num.h"
#include "common/file/output.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_OPTIONS = 64, BACKEND_AUTO = 0, BACKEND_CPU, BACKEND_CUDA, PROGRESS_AUTO = 0, PROGRESS_NEVER, PROGRESS_JSON };

/* The options that many tools have, with the flag that asks for them (0: all). */
static int common_options(struct tool_run *t, int flags, struct tool_option *out)
{
    const struct {
        int flag;
        struct tool_option o;
    } all[] = {
        {TOOL_OUTPUT, {"output", 'o', "FILE", OPTION_TEXT, &t->output, .help = "where to write (default: standard output)"}},
        {TOOL_COMPUTES, {"threads", 'j', "N", OPTION_INT, &t->threads, .min = 1, .max = 1024,
                         .help = "threads (default: cores allowed); results do not depend on it"}},
        {TOOL_COMPUTES, {"backend", 0, "NAME", OPTION_CHOICE, &t->backend, .choices = "auto cpu cuda",
                         .help = "auto, cpu or cuda"}},
        {TOOL_COMPUTES, {"cpu-level", 0, "LEVEL", OPTION_CHOICE, &t->level,
                         .choices = "ref avx2 avx512 avx512-vnni avx512-bf16", .help = "instructions to use at most"}},
        {TOOL_COMPUTES, {"memory", 0, "SIZE", OPTION_SIZE, &t->memory, .help = "refuse what is predicted to need more"}},
        {TOOL_SEED, {"seed", 0, "K", OPTION_SEED, &t->seed, .help = "everything random in this tool"}},
        {TOOL_FORCE, {"force", 0, NULL, OPTION_FLAG, &t->force, .help = "go on where the tool warns and stops"}},
        {0, {"json", 0, NULL, OPTION_FLAG, &t->json, .help = "the report as JSON on standard output"}},
        {0, {"report", 0, "FILE", OPTION_TEXT, &t->report, .help = "the report as JSON into FILE"}},
        {0, {"progress", 0, "WHEN", OPTION_CHOICE, &t->progress, .choices = "auto never jsonl",
             .help = "auto (on a terminal), never or jsonl"}},
        {0, {"quiet", 'q', NULL, OPTION_FLAG, &t->quiet, .help = "no warnings"}},
        {0, {"verbose", 'v', NULL, OPTION_FLAG, &t->verbose, .help = "say more"}},
    };
    int n = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!all[i].flag || flags & all[i].flag)
            out[n++] = all[i].o;
    return n;
}

struct table {
    struct tool_option option[MOST_OPTIONS];
    int count, own;
};

static struct table make_table(struct tool_run *t)
{
    struct table x = {0};
    for (const struct tool_option *o = t->tool->options; o && o->name; o++)
        x.option[x.count++] = *o;
    x.own = x.count;
    x.count += common_options(t, t->tool->flags, x.option + x.count);
    return x;
}

/* ---- help ---- */

static void print_option(const struct tool_option *o)
{
    char left[64];
    snprintf(left, sizeof left, "  %c%c%s --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? "," : " ",
             o->name, o->argument ? " " : "", o->argument ? o->argument : "");
    printf(strlen(left) > 30 ? "%s\n%32s%s\n" : "%-30s%s  %s\n", left, "", o->help);
}

static void print_help(const struct tool_run *t, const struct table *x)
{
    printf("usage: %s [OPTION]...%s%s%s\n%s\n\n", t->program, t->tool->operand ? " " : "", t->tool->operand ? t->tool->operand : "",
           t->tool->flags & TOOL_OUTPUT ? " [-o FILE]" : "", t->tool->summary);
    for (int i = 0; i < x->own; i++)
        print_option(&x->option[i]);
    printf("%s", x->own ? "\n" : "");
    for (int i = x->own; i < x->count; i++)
        print_option(&x->option[i]);
    printf("  -h, --help                    this text\n  -V, --version                 version\n");
    if (t->tool->example)
        printf("\nexample: %s\n", t->tool->example);
    printf("\nexit status: 0 ok, 1 failed, 2 usage, 3 a gate or budget is not met,\n"
           "             4 bad or mismatched file, 5 out of memory\n");
}

static void print_completion(const struct table *x)
{
    for (int i = 0; i < x->count; i++)
        printf("--%s\t%s\n", x->option[i].name, x->option[i].argument ? x->option[i].argument : "");
    printf("--help\t\n--version\t\n");
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
    return error_set(e, HASTEN_EUSAGE, "--%s: '%s' is none of: %s", o->name, text, o->choices);
}

static int set_value(const struct tool_option *o, const char *text, struct error *e)
{
    char what[48];
    struct tool_list *list = o->value;
    snprintf(what, sizeof what, "--%s", o->name);
    switch (o->type) {
    case OPTION_FLAG:
        *(int *)o->value = 1;
        return 0;
    case OPTION_TEXT:
        if (!*text)
            return error_set(e, HASTEN_EUSAGE, "%s: the value is empty", what);
        *(const char **)o->value = text;
        return 0;
    case OPTION_INT:
        return num_int(what, text, (int64_t)o->min, (int64_t)o->max, o->value, e);
    case OPTION_DOUBLE:
        return num_double(what, text, o->min, o->max, o->value, e);
    case OPTION_SIZE:
        return num_size(what, text, o->value, e);
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

/* getopt_long takes unambiguous beginnings of long options; scripts should not. Refuse them before it sees them. */
static int refuse_abbreviations(const struct table *x, int argc, char **argv, struct error *e)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        const struct tool_option *found = NULL;
        size_t length = strcspn(argv[i], "=");
        int is_long = !strncmp(argv[i], "--", 2), known = !is_long;
        for (int k = 0; k < x->count; k++) {
            const struct tool_option *o = &x->option[k];
            if (is_long ? strlen(o->name) == length - 2 && !strncmp(argv[i] + 2, o->name, length - 2)
                        : argv[i][0] == '-' && argv[i][1] == o->letter && o->letter && !argv[i][2])
                found = o;
        }
        known |= found || !strcmp(argv[i], "--help") || !strcmp(argv[i], "--version") || !strcmp(argv[i], "--complete");
        if (!known)
            return error_set(e, HASTEN_EUSAGE, "unknown option '%s'", argv[i]);
        if (found && found->argument && !strchr(argv[i], '='))
            i++;
    }
    return 0;
}

enum { HELP = 1000, VERSION, COMPLETE };

struct getopt_arrays {
    struct option longs[MOST_OPTIONS + 4];
    char letters[2 * MOST_OPTIONS + 8];
};

static struct getopt_arrays make_arrays(const struct table *x)
{
    struct getopt_arrays a = {0};
    char *l = a.letters;
    *l++ = ':';
    for (int i = 0; i < x->count; i++) {
        const struct tool_option *o = &x->option[i];
        a.longs[i] = (struct option){o->name, o->argument ? required_argument : no_argument, NULL, 2000 + i};
        if (o->letter) {
            *l++ = o->letter;
            if (o->argument)
                *l++ = ':';
        }
    }
    a.longs[x->count] = (struct option){"help", no_argument, NULL, HELP};
    a.longs[x->count + 1] = (struct option){"version", no_argument, NULL, VERSION};
    a.longs[x->count + 2] = (struct option){"complete", no_argument, NULL, COMPLETE};
    memcpy(l, "hV", 3);
    return a;
}

static int index_of(const struct table *x, int code)
{
    if (code >= 2000)
        return code - 2000;
    for (int i = 0; i < x->count; i++)
        if (x->option[i].letter == code)
            return i;
    return -1;
}

static int parse(struct tool_run *t, struct table *x, int argc, char **argv, struct error *e)
{
    struct getopt_arrays a = make_arrays(x);
    opterr = 0;
    if (refuse_abbreviations(x, argc, argv, e) < 0)
        return -1;
    for (;;) {
        int code = getopt_long(argc, argv, a.letters, a.longs, NULL);
        if (code == -1)
            break;
        if (code == '?')
            return error_set(e, HASTEN_EUSAGE, "unknown option '%s'", optopt && optopt < 256 ? (char[]){'-', (char)optopt, 0} : argv[optind - 1]);
        if (code == ':')
            return error_set(e, HASTEN_EUSAGE, "option '%s' needs a value", argv[optind - 1]);
        if (code == 'h' || code == HELP || code == 'V' || code == VERSION || code == COMPLETE) {
            if (code == COMPLETE)
                print_completion(x);
            else if (code == 'V' || code == VERSION)
                printf("%s (hasten) %s, CPU level %s\n", t->program, HASTEN_VERSION, cpu_level_name(cpu_best_level()));
            else
                print_help(t, x);
            t->done = 1;
            return -1;
        }
        int i = index_of(x, code);
        if (x->option[i].given++ && x->option[i].type != OPTION_LIST && x->option[i].type != OPTION_FLAG)
            return error_set(e, HASTEN_EUSAGE, "--%s is given twice", x->option[i].name);
        if (set_value(&x->option[i], optarg, e) < 0)
            return -1;
        if (i < x->own)
            t->given[i] = 1;
    }
    int most = t->tool->flags & TOOL_NO_OPERAND ? 0 : t->tool->flags & TOOL_TWO_OPERANDS ? 2 : 1;
    for (; optind < argc; optind++) {
        if (t->operands == most)
            return error_set(e, HASTEN_EUSAGE, "'%s': %s", argv[optind], most ? "one operand too many" : "no operand is expected");
        if (!*argv[optind])
            return error_set(e, HASTEN_EUSAGE, "an operand is empty");
        t->operand[t->operands++] = argv[optind];
    }
    return 0;
}

/* Descriptors 0 to 2 must exist, or a file of ours would become one of them. */
static void open_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) != fd)
            _exit(HASTEN_EFAIL);
}

static int open_backend(struct tool_run *t, struct error *e)
{
    if (t->backend == BACKEND_CUDA)
        return error_set(e, HASTEN_EFAIL, "this build has no CUDA plugin; use --backend cpu or auto");
    if (t->level > (int)cpu_best_level())
        return error_set(e, HASTEN_EFAIL, "this machine does not run CPU level %s, its best is %s",
                         cpu_level_name((enum cpu_level)t->level), cpu_level_name(cpu_best_level()));
    t->kernels = cpu_kernels((enum cpu_level)t->level);
    t->team = team_open((int)t->threads, e);
    mem_limit(t->memory);
    return t->team ? 0 : -1;
}

int tool_start(struct tool_run *t, const struct tool *tool, int argc, char **argv, struct error *e)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    *t = (struct tool_run){.tool = tool, .program = slash ? slash + 1 : argc > 0 ? argv[0] : tool->name};
    t->level = (int)cpu_best_level();
    open_standard_descriptors();
    struct table x = make_table(t);
    if (parse(t, &x, argc, argv, e) < 0)
        return -1;
    return tool->flags & TOOL_COMPUTES ? open_backend(t, e) : 0;
}

int tool_finish(struct tool_run *t, struct error *e)
{
    tool_progress_end(t);
    team_close(t->team);
    if (fflush(stdout) != 0 || ferror(stdout) || (close(STDOUT_FILENO) != 0 && errno != EBADF))
        error_errno(e, HASTEN_EFAIL, "cannot write to standard output");
    if (!e->code)
        return HASTEN_OK;
    char line[1200];
    int n = snprintf(line, sizeof line, "%s: %s%s%s%s\n", t->program, e->text, e->code == HASTEN_EUSAGE ? "; try '" : "",
                     e->code == HASTEN_EUSAGE ? t->program : "", e->code == HASTEN_EUSAGE ? " --help'" : "");
    if (write(STDERR_FILENO, line, (size_t)(n < (int)sizeof line ? n : (int)sizeof line - 1)) < 0)
        return e->code;
    return e->code;
}

int tool_given(const struct tool_run *t, const char *option)
{
    for (int i = 0; t->tool->options && t->tool->options[i].name; i++)
        if (!strcmp(t->tool->options[i].name, option))
            return t->given[i];
    return 0;
}

/* ---- messages ---- */

static void say(const struct tool_run *t, const char *format, va_list args)
{
    char text[1024], line[1200];
    vsnprintf(text, sizeof text, format, args);
    text_mask(text);
    int n = snprintf(line, sizeof line, "%s: %s\n", t->program, text);
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return;
}

void tool_warn(const struct tool_run *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!t->quiet)
        say(t, format, args);
    va_end(args);
}

void tool_note(const struct tool_run *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (t->verbose)
        say(t, format, args);
    va_end(args);
}

const char *tool_input(const struct tool_run *t, struct error *e)
{
    if (t->operands)
        return t->operand[0];
    if (isatty(STDIN_FILENO)) {
        error_set(e, HASTEN_EUSAGE, "no %s is given and standard input is a terminal", t->tool->operand);
        return NULL;
    }
    return "-";
}

int tool_report(const struct tool_run *t, const char *text, const cJSON *json, int data_on_stdout, struct error *e)
{
    if (t->json && data_on_stdout)
        return error_set(e, HASTEN_EUSAGE, "--json and the data both want standard output: name a file with -o");
    struct buf b = {0};
    int status = 0;
    if (json && (t->json || t->report)) {
        status = json_write(&b, json, e) < 0 || buf_text(&b, "\n", e) < 0 ? -1 : 0;
        if (status == 0 && t->json)
            fwrite(b.data, 1, b.size, stdout);
        if (status == 0 && t->report)
            status = output_whole(t->report, 0, b.data, b.size, e);
    }
    if (text && !t->json && !(t->quiet && data_on_stdout))
        fputs(text, data_on_stdout ? stderr : stdout);
    buf_free(&b);
    return status;
}

/* ---- progress ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void tool_progress(struct tool_run *t, const char *what, double done, double total)
{
    if (t->progress == PROGRESS_NEVER || (t->progress == PROGRESS_AUTO && (!isatty(STDERR_FILENO) || t->quiet)))
        return;
    double at = now();
    if (t->progress_start == 0)
        t->progress_start = at;
    if (at - t->progress_shown < 0.2 && done < total)
        return;
    t->progress_shown = at;
    double spent = at - t->progress_start, left = done > 0 ? spent * (total - done) / done : 0;
    if (t->progress == PROGRESS_JSON) {
        fprintf(stderr, "{\"done\":%.9g,\"eta_s\":%.3f,\"total\":%.9g,\"what\":\"%s\"}\n", done, left, total, what);
    } else {
        fprintf(stderr, "\r%s %3.0f %%  %.0f of %.0f, %.0f s left \033[K", what, 100 * done / total, done, total, left);
        t->progress_drawn = 1;
    }
}

void tool_progress_end(struct tool_run *t)
{
    if (t->progress_drawn)
        fputs("\r\033[K", stderr);
    t->progress_drawn = 0;
    t->progress_start = t->progress_shown = 0;
}
