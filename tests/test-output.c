/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "ctl/show/output.h"
#include "register.h"

/* The queue and a pipe hold some of them, but not all. */
#define LINE_SIZE ((size_t) 32 * 1024)
#define N_LINES 100

typedef struct Fixture {
        sd_event *event;
        Output *output;
        int reader;     /* of the pipe that is standard output meanwhile, or -1 */
        int out, err;   /* the test's own */
        FILE *messages; /* standard error meanwhile */
} Fixture;

static int save(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

        g_assert_no_errno(copy);
        return copy;
}

static void write_to(Fixture *f, int out) {
        fflush(NULL);
        f->out = save(STDOUT_FILENO);
        f->err = save(STDERR_FILENO);
        f->messages = tmpfile();
        g_assert_nonnull(f->messages);
        g_assert_no_errno(dup2(out, STDOUT_FILENO));
        g_assert_no_errno(dup2(fileno(f->messages), STDERR_FILENO));
        close(out);

        must(sd_event_new(&f->event));
        g_assert_cmpint(output_new(f->event, &f->output), ==, 0);
}

static void set_up(Fixture *f, const void *data) {
        int ends[2];

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        g_assert_no_errno(fcntl(ends[0], F_SETFL, O_NONBLOCK));
        f->reader = ends[0];
        write_to(f, ends[1]);
}

static void set_up_full(Fixture *f, const void *data) {
        int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

        g_assert_no_errno(full);
        f->reader = -EBADF;
        write_to(f, full);
}

static void tear_down(Fixture *f, const void *data) {
        (void) output_free(f->output);
        sd_event_unref(f->event);
        fflush(NULL);
        g_assert_no_errno(dup2(f->out, STDOUT_FILENO));
        g_assert_no_errno(dup2(f->err, STDERR_FILENO));
        close(f->out);
        close(f->err);
        close_fd(f->reader);
        fclose(f->messages);
}

static void assert_has_said(Fixture *f, const char *expected) {
        char text[256] = "";

        g_assert_no_errno(pread(fileno(f->messages), text, sizeof(text) - 1, 0));
        g_assert_cmpstr(text, ==, expected);
}

/* The number of a line is in its first letter. */
static void put_line(Fixture *f, unsigned number) {
        g_autofree char *line = g_strnfill(LINE_SIZE - 1, 'x');

        line[0] = (char) ('0' + number % 10);
        output_line(f->output, line);
}

/* Reads all lines, which count from this number. Returns how many there were. */
static unsigned read_lines(Fixture *f, unsigned number) {
        static char buffer[LINE_SIZE];
        unsigned n = 0;
        size_t column = 0;

        for (;;) {
                bool is_idle = sd_event_run(f->event, 0) == 0;
                ssize_t size = read(f->reader, buffer, sizeof(buffer));

                if (size < 0 && is_idle)
                        break;
                for (ssize_t i = 0; i < size; i++) {
                        if (column++ == 0)
                                g_assert_cmpint(buffer[i], ==, '0' + (char) ((number + n) % 10));
                        if (buffer[i] != '\n')
                                continue;
                        g_assert_cmpuint(column, ==, LINE_SIZE);
                        column = 0;
                        n++;
                }
        }

        g_assert_cmpuint(column, ==, 0);
        return n;
}

TEST_OF("lines are kept up to a limit, and counted beyond it", Fixture, f, set_up, tear_down, NULL) {
        for (unsigned i = 0; i < N_LINES; i++)
                put_line(f, i);
        assert_has_said(f, "");
        unsigned n = read_lines(f, 0);
        g_assert_cmpuint(n, >=, 1024 * 1024 / LINE_SIZE);
        g_assert_cmpuint(n, <, N_LINES);
        g_autofree char *expected = g_strdup_printf(
                        "%u lines were dropped, because the output was read too slowly.\n", N_LINES - n);
        assert_has_said(f, expected);

        /* There is room again, and the message is not repeated. */
        put_line(f, 7);
        g_assert_cmpuint(read_lines(f, 7), ==, 1);
        assert_has_said(f, expected);
}

static void assert_ends(Fixture *f, int expected) {
        int code;

        g_assert_cmpint(sd_event_loop(f->event), ==, expected);
        must(sd_event_get_exit_code(f->event, &code));
        g_assert_cmpint(code, ==, expected);
}

TEST_OF("a reader that exits is no error", Fixture, f, set_up, tear_down, NULL) {
        for (unsigned i = 0; i < N_LINES; i++)
                put_line(f, i);
        f->reader = close_fd(f->reader);
        assert_ends(f, EXIT_SUCCESS);
        assert_has_said(f, "");
}

TEST_OF("a full disk is an error", Fixture, f, set_up_full, tear_down, NULL) {
        output_line(f->output, "a line");
        assert_ends(f, EXIT_FAILURE);
        assert_has_said(f, "Failed to write output: No space left on device.\n");
}
