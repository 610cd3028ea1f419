/* Start and end of a tool, its messages and its report. See tool.h; options.c has the command line. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/shard.h"
#include "common/file/output.h"
#include "common/run/backend_cuda.h"
#include "kernels/cuda/plugin/plugin.h"
#include "tools/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Descriptors 0 to 2 must exist, or a file of ours would become one of them. What was closed is opened the
 * wrong way round: data that has nowhere to go is then an error and not lost in silence. */
static void open_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
            _exit(HASTEN_EFAIL);
}

/* Where the plugin is: in $HASTEN_PLUGIN_PATH, beside the program, or in the lib/hasten beside its folder.
 * NULL: $HASTEN_PLUGIN_PATH says "none", or an error. */
static char *find_plugin(struct error *e)
{
    const char *set = getenv("HASTEN_PLUGIN_PATH");
    char self[3000];
    if (set && *set)
        return strcmp(set, "none") ? mem_strdup(set, e) : NULL;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    char *beside = mem_printf(e, "%s/%s", self, HASTEN_CUDA_PLUGIN_FILE);
    if (!beside || access(beside, F_OK) == 0)
        return beside;
    char *installed = mem_printf(e, "%s/../lib/hasten/%s", self, HASTEN_CUDA_PLUGIN_FILE);
    int there = installed && access(installed, F_OK) == 0;
    mem_free(there ? beside : installed);
    return there ? installed : beside;
}

/* --backend auto, and the device is too full for the weights. */
static int give_way(struct backend *b, const struct error *why)
{
    struct tool_run *t = (struct tool_run *)((char *)b - offsetof(struct tool_run, backend));
    if (!backend_cuda_give_way(b))
        return 0;
    tool_warn(t, "runs on the CPU, since the device is full: %s", why->text);
    return 1;
}

const char *tool_environment(const char *name, void *context)
{
    (void)context;
    return getenv(name);
}

/* 0: the device is there. Its absence is an error when it was asked for, else a note. */
static int open_cuda(struct tool_run *t, struct error *e)
{
    struct error why = {0};
    char text[400];
    char *plugin = find_plugin(&why);
    if (!plugin && !why.code)
        error_set(&why, HASTEN_EFAIL,
                  "CUDA is switched off by HASTEN_PLUGIN_PATH=none; use --backend cpu or auto");
    int status = plugin ? backend_cuda_open(&t->backend, plugin, getenv("HASTEN_CUDA_LIBRARIES"),
                                            shard_local(tool_environment, NULL), t->kernels, t->team, &why)
                        : -1;
    mem_free(plugin);
    if (status < 0 && t->backend_choice == BACKEND_AUTO) {
        if (why.code == HASTEN_ENOMEM)
            tool_warn(t, "runs on the CPU, since the device is full: %s", why.text);
        else
            tool_note(t, "runs on the CPU: %s", why.text);
        t->backend = backend_cpu(t->kernels, t->team);
        return 0;
    }
    if (status < 0)
        return error_set(e, why.code, "%s", why.text);
    t->backend.give_way = t->backend_choice == BACKEND_AUTO ? give_way : NULL;
    if (t->verbose) {
        backend_cuda_describe(&t->backend, text, sizeof text);
        tool_note(t, "runs on %s", text);
    }
    return 0;
}

/* The first part of the team runs on our own stack, which grows as far as the limit says now. */
static int check_stack(struct error *e)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_STACK, &r) < 0 || r.rlim_cur >= TEAM_STACK)
        return 0;
    r.rlim_cur = r.rlim_max < TEAM_STACK ? r.rlim_max : TEAM_STACK;
    if (r.rlim_cur == TEAM_STACK && setrlimit(RLIMIT_STACK, &r) == 0)
        return 0;
    return error_set(e, HASTEN_EFAIL, "the limit of the stack is %ld KiB, %d are needed: ulimit -s %d",
                     (long)(r.rlim_cur >> 10), TEAM_STACK >> 10, TEAM_STACK >> 10);
}

static int open_backend(struct tool_run *t, struct error *e)
{
    if (t->level > (int)cpu_best_level())
        return error_set(e, HASTEN_EFAIL, "this machine does not run CPU level %s, its best is %s",
                         cpu_level_name((enum cpu_level)t->level), cpu_level_name(cpu_best_level()));
    int runs = (t->tool->flags & TOOL_RUNS) == TOOL_RUNS;
    if (runs && check_stack(e) < 0)
        return -1;
    t->kernels = cpu_kernels((enum cpu_level)t->level);
    t->team = team_open((int)t->threads, e);
    mem_limit(t->memory);
    if (!t->team)
        return -1;
    t->backend = backend_cpu(t->kernels, t->team);
    return runs && t->backend_choice != BACKEND_CPU ? open_cuda(t, e) : 0;
}

/* A folder that is there, or whose name a file could have. */
static int check_folder(const char *path, struct error *e)
{
    struct stat s;
    if (output_is_stdout(path))
        return 0;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode))
        return access(path, W_OK | X_OK) < 0 ? error_errno(e, HASTEN_EFAIL, "cannot write into '%s'", path)
                                             : 0;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    char *name = mem_printf(e, "%.*s", (int)n, path);
    int status = name ? output_check(name, e) : -1;
    mem_free(name);
    return status;
}

static const char *output_of(const struct option_table *x, int i)
{
    return x->option[i].type == OPTION_OUTPUT ? *(const char **)x->option[i].value : NULL;
}

/* Is there a file, or nothing? Devices and pipes may have several writers. */
static int holds_one(const char *path)
{
    struct stat s;
    return !output_is_stdout(path) && (stat(path, &s) < 0 || S_ISREG(s.st_mode));
}

/* Mistakes that would otherwise show after the work is done. */
static int check_outputs(const struct tool_run *t, const struct option_table *x, struct error *e)
{
    if (t->report && output_is_stdout(t->report))
        return error_set(e, HASTEN_EUSAGE,
                         "--report names a file; --json writes the report to standard output");
    for (int i = 0; i < x->count; i++) {
        const char *path = output_of(x, i), *other;
        int folder = path == t->output && (t->tool->flags & TOOL_FOLDER) == TOOL_FOLDER;
        for (int k = 0; path && k < i; k++)
            if ((other = output_of(x, k)) && !strcmp(other, path) && holds_one(path))
                return error_set(e, HASTEN_EUSAGE, "--%s and --%s are the same file", x->option[k].name,
                                 x->option[i].name);
        if (path && (folder ? check_folder(path, e) : output_check(path, e)) < 0)
            return -1;
    }
    return (t->tool->flags & TOOL_DATA) == TOOL_DATA && tool_stdout_is_data(t) ? tool_claim_stdout(t, 1, e)
                                                                               : 0;
}

int tool_start(struct tool_run *t, const struct tool *tool, int argc, char **argv, struct error *e)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    *t = (struct tool_run){.tool = tool, .program = slash ? slash + 1 : argc > 0 ? argv[0] : tool->name};
    t->level = (int)cpu_best_level();
    open_standard_descriptors();
    struct option_table x = option_table(t);
    if (options_parse(t, &x, argc, argv, e) < 0)
        return -1;
    if (tool->flags & TOOL_NEEDS_OPERAND && !t->operands)
        return error_set(e, HASTEN_EUSAGE, "no %s is given", tool->operand);
    if (check_outputs(t, &x, e) < 0)
        return -1;
    progress_begin(t);
    return tool->flags & TOOL_COMPUTES ? open_backend(t, e) : 0;
}

int tool_finish(struct tool_run *t, struct error *e)
{
    tool_progress_end(t);
    backend_close(&t->backend);
    team_close(t->team);
    int failed = fflush(stdout) != 0 || ferror(stdout);
    if ((close(STDOUT_FILENO) != 0 && errno != EBADF) || failed)
        error_errno(e, HASTEN_EFAIL, "cannot write to standard output");
    if (!e->code)
        return HASTEN_OK;
    char line[1400];
    snprintf(line, sizeof line, e->code == HASTEN_EUSAGE ? "%.99s: %s; try '%.99s --help'\n" : "%.99s: %s\n",
             t->program, e->text, t->program);
    fputs(line, stderr); /* unbuffered: one write */
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

/* One write, so that lines of programs in a pipeline do not mix. Later lines of a text are indented. */
static void say(const struct tool_run *t, const char *format, va_list args)
{
    struct buf b = {0};
    char text[4000];
    vsnprintf(text, sizeof text, format, args);
    buf_printf(&b, NULL, "%s%.100s: ", t->progress_drawn ? "\r\033[K" : "", t->program);
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        text_mask(line);
        if (line == text || *line)
            buf_printf(&b, NULL, "%s%s\n", line == text ? "" : "  ", line);
    }
    if (!b.failed)
        fwrite(b.data, 1, b.size, stderr);
    buf_free(&b);
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
    if (t->verbose && !t->quiet)
        say(t, format, args);
    va_end(args);
}

/* ---- input, output, report ---- */

const char *tool_input(const struct tool_run *t, struct error *e)
{
    if (t->operands)
        return t->operand[0];
    if (isatty(STDIN_FILENO)) {
        error_set(e, HASTEN_EUSAGE,
                  "no %s is given, and standard input is a terminal: name a file or send one into a pipe",
                  t->tool->operand);
        return NULL;
    }
    return "-";
}

int tool_stdout_is_data(const struct tool_run *t) { return output_is_stdout(t->output); }

int tool_claim_stdout(const struct tool_run *t, int binary, struct error *e)
{
    if (t->json)
        return error_set(
            e, HASTEN_EUSAGE,
            "--json and the data both want standard output: name a file with -o, or use --report FILE");
    if (binary && isatty(STDOUT_FILENO))
        return error_set(
            e, HASTEN_EUSAGE,
            "standard output is a terminal: name a file with -o, or send the output into a pipe");
    return 0;
}

int tool_report(const struct tool_run *t, const char *text, const cJSON *json, int data_on_stdout,
                struct error *e)
{
    struct buf b = {0};
    int status = data_on_stdout ? tool_claim_stdout(t, 0, e) : 0;
    if (status == 0 && json && (t->json || t->report)) {
        status = json_write(&b, json, e) < 0 || buf_text(&b, "\n", e) < 0 ? -1 : 0;
        if (status == 0 && t->json)
            fwrite(b.data, 1, b.size, stdout);
        if (status == 0 && t->report)
            status = output_whole(t->report, 0, b.data, b.size, e);
    }
    if (status == 0 && text && !t->json && !(t->quiet && data_on_stdout))
        fputs(text, data_on_stdout ? stderr : stdout);
    buf_free(&b);
    return status;
}
