/* Progress on standard error. See tool.h. */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "tools/options.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SIGUSR1 asks for one line wherever standard error goes, as dd has it. */
static volatile sig_atomic_t asked;

static void on_question(int number)
{
    (void)number;
    asked = 1;
}

static double now(void) { return clock_ms() * 1e-3; }

/* A terminal that knows "clear to the end of the line", with this process in its foreground. */
static int is_live_terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") &&
           tcgetpgrp(STDERR_FILENO) == getpgrp();
}

void progress_begin(struct tool_run *t)
{
    struct sigaction old, fresh = {.sa_handler = on_question, .sa_flags = SA_RESTART};
    sigemptyset(&fresh.sa_mask);
    if (sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        sigaction(SIGUSR1, &fresh, NULL);
    t->progress_draws = t->progress == PROGRESS_AUTO && !t->quiet && is_live_terminal();
}

static void duration_text(double seconds, char *out, size_t size)
{
    long s = (long)(seconds + 0.5);
    if (s < 60)
        snprintf(out, size, "%ld s", s);
    else if (s < 3600)
        snprintf(out, size, "%ld min %ld s", s / 60, s % 60);
    else
        snprintf(out, size, "%ld h %ld min", s / 3600, s / 60 % 60);
}

static void write_event(const char *what, double done, double total, double left)
{
    struct buf b = {0};
    buf_printf(&b, NULL, "{\"done\":%.9g,\"eta_s\":%.3f,\"total\":%.9g,\"what\":", done, left, total);
    json_write_string(&b, what, NULL);
    if (buf_text(&b, "}\n", NULL) == 0)
        fwrite(b.data, 1, b.size, stderr);
    buf_free(&b);
}

static void write_line(const char *what, double done, double total, double left, const char *before,
                       const char *after)
{
    char text[32];
    duration_text(left, text, sizeof text);
    double percent = total > 0 ? 100 * done / total : 100;
    fprintf(stderr, "%s%s %3.0f %%, %.0f of %.0f, %s left%s", before, what, percent, done, total, text,
            after);
}

void tool_progress(struct tool_run *t, const char *what, double done, double total)
{
    if (!t->progress_draws && t->progress != PROGRESS_JSONL && !asked)
        return;
    double at = now();
    if (!t->progress_what || strcmp(t->progress_what, what)) {
        t->progress_what = what;
        t->progress_start = at;
        t->progress_from = done;
        t->progress_shown = 0;
    }
    double gone = at - t->progress_start, made = done - t->progress_from;
    double left = made > 0 && done < total ? gone * (total - done) / made : 0;
    if (asked) {
        asked = 0;
        write_line(what, done, total, left, t->progress_drawn ? "\r\033[K" : "", "\n");
    }
    if (at - t->progress_shown < 0.2 && done < total)
        return;
    t->progress_shown = at;
    if (t->progress == PROGRESS_JSONL) {
        write_event(what, done, total, left);
    } else if (t->progress_draws && gone >= 1) {
        write_line(what, done, total, left, "\r", "\033[K");
        t->progress_drawn = 1;
    }
}

void tool_progress_end(struct tool_run *t)
{
    if (t->progress_drawn)
        fputs("\r\033[K", stderr);
    t->progress_drawn = 0;
    t->progress_what = NULL;
}
