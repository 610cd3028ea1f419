/* --help, --version and --complete. */
#include "tools/options.h"

#include <png.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

enum { COLUMN = 28, WIDTH = 80 };

/* Words of `text` from column `at` on, later lines indented to COLUMN. */
static void print_wrapped(int at, const char *text)
{
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > COLUMN && at + 1 + n > WIDTH) {
            printf("\n%*s", COLUMN, "");
            at = COLUMN;
        } else if (at > COLUMN) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, text);
        at += n;
        text += n + (text[n] == ' ');
    }
    putchar('\n');
}

static void print_option(char letter, const char *name, const char *argument, const char *help)
{
    int n = letter ? printf("  -%c, --%s", letter, name) : printf("      --%s", name);
    if (argument)
        n += printf(" %s", argument);
    if (n + 2 > COLUMN) {
        putchar('\n');
        n = 0;
    }
    printf("%*s", COLUMN - n, "");
    print_wrapped(COLUMN, help);
}

void print_help(const struct tool_run *t, const struct option_table *x)
{
    const struct tool *tool = t->tool;
    const char *group = NULL;
    printf("usage: %s [OPTION]...", t->program);
    if (tool->operand)
        printf(tool->flags & TOOL_NEEDS_OPERAND ? " %s" : " [%s]", tool->operand);
    printf("%s\n%s\n", tool->flags & TOOL_OUTPUT ? " [-o FILE]" : "", tool->summary);
    for (int i = 0; i < x->count; i++) {
        const struct tool_option *o = &x->option[i];
        const char *mine = i >= x->own ? "Common options" : o->group ? o->group : "Options";
        if (!group || strcmp(group, mine))
            printf("\n%s:\n", mine);
        group = mine;
        print_option(o->letter, o->name, o->argument, o->help);
    }
    print_option('h', "help", NULL, "this text");
    print_option('V', "version", NULL, "versions of hasten and of the libraries it uses");
    printf("\nExit status: 0 done, 1 failed, 2 wrong usage, 3 a gate or budget is not met,\n"
           "4 bad or mismatched file content, 5 out of memory.\n");
    if (tool->example)
        printf("\nExample:\n  %s\n", tool->example);
}

void print_version(const struct tool_run *t)
{
    printf("%s (hasten) " HASTEN_VERSION "\nzstd %s, cJSON %s, libpng %s; CPU level %s; no CUDA plugin\n",
           t->program, ZSTD_versionString(), cJSON_Version(), png_get_libpng_ver(NULL),
           cpu_level_name(cpu_best_level()));
}

void print_completion(const struct option_table *x)
{
    static const char *const types[] = {
        [OPTION_FLAG] = "flag",     [OPTION_TEXT] = "text",     [OPTION_OUTPUT] = "text",
        [OPTION_INT] = "int",       [OPTION_DOUBLE] = "double", [OPTION_SIZE] = "size",
        [OPTION_CHOICE] = "choice", [OPTION_LIST] = "list",     [OPTION_SEED] = "seed"};
    for (int i = 0; i < x->count; i++) {
        const struct tool_option *o = &x->option[i];
        printf("--%s\t%s\t%s\t", o->name, o->argument ? o->argument : "", types[o->type]);
        if (o->type == OPTION_INT || o->type == OPTION_DOUBLE)
            printf("%.9g %.9g", o->min, o->max);
        printf("%s\n", o->choices ? o->choices : "");
    }
    printf("--help\t\tflag\t\n--version\t\tflag\t\n");
}
