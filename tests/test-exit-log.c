/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Failures of COMMAND: the first one is printed at once, and the others after a minute. */

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/exit-log.h"
#include "register.h"

__typeof__(clock_gettime) __real_clock_gettime, __wrap_clock_gettime;

/* How much later it is for the tool. */
static time_t elapsed_sec;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        int r = __real_clock_gettime(clock, ret);

        ret->tv_sec += elapsed_sec;
        return r;
}

typedef struct Fixture {
        sd_event *event;
        ExitLog *log;
        int err;        /* the test's own */
        FILE *messages; /* standard error meanwhile */
} Fixture;

static void set_up(Fixture *f, const void *data) {
        fflush(NULL);
        elapsed_sec = 0;
        f->err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
        g_assert_no_errno(f->err);
        f->messages = tmpfile();
        g_assert_nonnull(f->messages);
        g_assert_no_errno(dup2(fileno(f->messages), STDERR_FILENO));
        must(sd_event_new(&f->event));
        must(exit_log_new(f->event, &f->log));
}

static void tear_down(Fixture *f, const void *data) {
        f->log = exit_log_free(f->log);
        sd_event_unref(f->event);
        message_set_level(MESSAGE_NORMAL);
        fflush(NULL);
        g_assert_no_errno(dup2(f->err, STDERR_FILENO));
        close(f->err);
        fclose(f->messages);
}

static void end(Fixture *f, int code, int status, const char *what) {
        siginfo_t info = { .si_signo = SIGCHLD };

        info.si_code = code;
        info.si_status = status;
        exit_log_add_end(f->log, &info, 0, what);
}

/* Since the last call. */
static void assert_has_said(Fixture *f, const char *expected) {
        char text[1024] = "";

        fflush(NULL);
        g_assert_no_errno(pread(fileno(f->messages), text, sizeof(text) - 1, 0));
        g_assert_no_errno(ftruncate(fileno(f->messages), 0));
        g_assert_no_errno(lseek(fileno(f->messages), 0, SEEK_SET));
        g_assert_cmpstr(text, ==, expected);
}

#define LOG_TEST(sentence) TEST_OF(sentence, Fixture, f, set_up, tear_down, NULL)

LOG_TEST("failures are printed at once, and then once a minute with their number") {
        end(f, CLD_EXITED, 3, "A");
        assert_has_said(f, "COMMAND for A failed with status 3.\n");
        for (unsigned i = 0; i < 5; i++)
                end(f, CLD_EXITED, 4, "B");
        end(f, CLD_DUMPED, SIGSEGV, "C");
        g_assert_cmpint(sd_event_run(f->event, 0), ==, 0);
        assert_has_said(f, "");
        end(f, CLD_EXITED, 0, "D");
        exit_log_free(f->log);
        f->log = NULL;
        assert_has_said(f, "COMMAND failed 6 times, last by signal SEGV for C.\n");
}

/* The tool has read a clock that was a minute late: its timer elapses at once. */
LOG_TEST("the last failures of a burst are printed after a minute") {
        elapsed_sec = -60;
        end(f, CLD_EXITED, 3, "A");
        assert_has_said(f, "COMMAND for A failed with status 3.\n");
        end(f, CLD_EXITED, 4, "B");
        end(f, CLD_EXITED, 5, "C");
        assert_has_said(f, "");
        elapsed_sec = 0;
        g_assert_cmpint(sd_event_run(f->event, UINT64_MAX), >, 0);
        assert_has_said(f, "COMMAND failed 2 times, last with status 5 for C.\n");

        /* The next minute has begun. */
        end(f, CLD_KILLED, SIGKILL, "D");
        g_assert_cmpint(sd_event_run(f->event, 0), ==, 0);
        assert_has_said(f, "");
        exit_log_finish(f->log);
        assert_has_said(f, "COMMAND for D was terminated by signal KILL.\n");
}

LOG_TEST("after a minute without failures, the next one is printed at once") {
        elapsed_sec = -60;
        end(f, CLD_EXITED, 3, "A");
        g_assert_cmpint(sd_event_run(f->event, UINT64_MAX), >, 0);
        end(f, CLD_EXITED, 4, "B");
        assert_has_said(f, "COMMAND for A failed with status 3.\nCOMMAND for B failed with status 4.\n");
}

LOG_TEST("an end that is no failure is not printed") {
        end(f, CLD_EXITED, 0, "A");
        end(f, CLD_KILLED, SIGTERM, "A");
        end(f, CLD_KILLED, SIGPIPE, "A");
        exit_log_finish(f->log);
        end(f, CLD_EXITED, 143, "A");
        f->log = exit_log_free(f->log);
        assert_has_said(f, "");
}
