/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The targets of the log, the format of messages, and the rate limit. */

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "base/journal.h"
#include "base/log.h"
#include "base/rate-limit.h"
#include "register.h"

/* stderr is a pipe, and the journal a socket of the test. */
typedef struct Fixture {
        int stderr_copy;
        int pipe[2];

        char *directory;
        char *socket_path;
        int journal;
        struct stat stream;
} Fixture;

#define TEST(sentence) TEST_OF(sentence, Fixture, f, set_up, tear_down, NULL)

static int make_journal(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        g_assert_cmpint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                        sizeof(address.sun_path));
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        must(fd);
        g_assert_cmpint(bind(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
        return fd;
}

static void set_up(Fixture *f, const void *data) {
        g_assert_cmpint(pipe2(f->pipe, O_CLOEXEC), ==, 0);
        g_assert_cmpint(fcntl(f->pipe[0], F_SETFL, O_NONBLOCK), ==, 0);
        f->stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        must(f->stderr_copy);
        g_assert_cmpint(dup2(f->pipe[1], STDERR_FILENO), ==, STDERR_FILENO);

        f->directory = g_dir_make_tmp("test-log-XXXXXX", NULL);
        g_assert_nonnull(f->directory);
        f->socket_path = g_build_filename(f->directory, "socket", NULL);
        f->journal = make_journal(f->socket_path);
}

static void tear_down(Fixture *f, const void *data) {
        log_close();
        log_set_level(LOG_INFO);
        log_set_target(LOG_TARGET_AUTO);
        g_unsetenv("JOURNAL_STREAM");

        g_assert_cmpint(dup2(f->stderr_copy, STDERR_FILENO), ==, STDERR_FILENO);
        close(f->stderr_copy);
        close(f->pipe[0]);
        close(f->pipe[1]);
        close(f->journal);
        (void) g_unlink(f->socket_path);
        (void) g_rmdir(f->directory);
        g_free(f->socket_path);
        g_free(f->directory);
}

/* Returns all that was written to stderr since the last call. */
static char *take_lines(Fixture *f) {
        g_autoptr(GString) lines = g_string_new(NULL);
        char buffer[4096];
        ssize_t n;

        while ((n = read(f->pipe[0], buffer, sizeof(buffer))) > 0)
                g_string_append_len(lines, buffer, n);

        return g_string_free(TAKE_PTR(lines), false);
}

/* Returns the next entry of the journal, or NULL. A newline is put in front, so that each field matches
 * "\nFIELD=value\n". */
static char *take_entry(Fixture *f) {
        char buffer[8192] = "\n";

        ssize_t n = recv(f->journal, buffer + 1, sizeof(buffer) - 2, 0);
        if (n < 0)
                return NULL;

        buffer[n + 1] = '\0';
        g_assert_cmpint(strlen(buffer), ==, n + 1);
        return g_strdup(buffer);
}

#define assert_lines(f, expected)                        \
        do {                                             \
                g_autofree char *_lines = take_lines(f); \
                g_assert_cmpstr(_lines, ==, expected);   \
        } while (0)

/* The entry has all of these lines, or none that begins like one of them. */
static void assert_lines_of(const char *entry, const char *const *fields, bool expected) {
        g_assert_nonnull(entry);
        for (; *fields; fields++) {
                g_autofree char *line = g_strdup_printf("\n%s%s", *fields, expected ? "\n" : "");

                if (!strstr(entry, line) == expected)
                        g_error("%s: %s is %s", entry, *fields, expected ? "missing" : "there");
        }
}

#define assert_has(entry, ...) assert_lines_of(entry, (const char *const[]) { __VA_ARGS__, NULL }, true)
#define assert_has_not(entry, ...) assert_lines_of(entry, (const char *const[]) { __VA_ARGS__, NULL }, false)

TEST("writes lines with their levels") {
        log_error("one %i", 1);
        log_warning("two");
        log_notice("three");
        log_info("four");
        log_debug("five");
        assert_lines(f, "<3>one 1\n<4>two\n<5>three\n<6>four\n");

        log_set_level(LOG_DEBUG);
        log_debug("six");
        log_set_level(LOG_EMERG);
        log_error("seven");
        assert_lines(f, "<7>six\n");
}

TEST("writes plain lines to a terminal, which may be stopped") {
        char buffer[256] = "";

        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        must(master);
        g_assert_cmpint(grantpt(master), ==, 0);
        g_assert_cmpint(unlockpt(master), ==, 0);
        int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        must(terminal);
        g_assert_cmpint(dup2(terminal, STDERR_FILENO), ==, STDERR_FILENO);

        log_error("plain");
        g_assert_cmpint(read(master, buffer, sizeof(buffer) - 1), ==, strlen("plain\r\n"));
        g_assert_cmpstr(buffer, ==, "plain\r\n");

        /* As after Ctrl-S. */
        g_assert_cmpint(tcflow(terminal, TCOOFF), ==, 0);
        log_error("does not wait");
        g_assert_cmpint(tcflow(terminal, TCOON), ==, 0);

        close(terminal);
        close(master);
}

TEST("writes a message as one printable line") {
        log_error("a\nb\tc\x1b[31m\x7f");
        log_error("caf\xc3\xa9");
        log_error("reversed \xe2\x80\xae, and \xc3\xa9"); /* a bidirectional override */
        log_error("cut \xc3");
        assert_lines(f, "<3>a?b?c?[31m?\n<3>caf\xc3\xa9\n<3>reversed ???, and ??\n<3>cut ?\n");

        log_open_journal(f->socket_path);
        log_event(LOG_ERR, NULL, &(LogFields) { .peer = "x\nMESSAGE_ID=fake" }, "a\nPRIORITY=0");
        g_autofree char *entry = take_entry(f);
        assert_has(entry, "MESSAGE=a?PRIORITY=0", "PEER=x?MESSAGE_ID=fake");
        assert_has_not(entry, "MESSAGE_ID=");
}

TEST("cuts a long message") {
        g_autofree char *text = g_strnfill(100000, 'x'), *line = NULL, *entry = NULL;

        log_error("%s", text);
        line = take_lines(f);
        g_assert_cmpint(strlen(line), >, 1000);
        g_assert_cmpint(strlen(line), <, 4096); /* writing up to this size to a pipe is atomic */
        g_assert_true(g_str_has_suffix(line, "x\n"));

        log_open_journal(f->socket_path);
        log_event(LOG_ERR, NULL, &(LogFields) { .listener = text, .peer = "still there" }, "%s", text);
        entry = take_entry(f);
        assert_has(entry, "PEER=still there");
        assert_has_not(entry, "LISTENER=");
}

TEST("preserves errno") {
        errno = ENODEV;
        log_error("%m");
        g_assert_cmpint(errno, ==, ENODEV);

        /* Without a reader, there is no SIGPIPE, and errno is preserved. */
        close(TAKE_FD(f->pipe[0]));
        f->pipe[0] = fcntl(f->stderr_copy, F_DUPFD_CLOEXEC, 3);
        log_error("there is no reader");
        g_assert_cmpint(errno, ==, ENODEV);
}

TEST("does not block on stderr") {
        char page[4096] = "";

        g_assert_cmpint(fcntl(f->pipe[1], F_SETFL, O_NONBLOCK), ==, 0);
        while (write(f->pipe[1], page, sizeof(page)) > 0)
                ;
        g_assert_cmpint(fcntl(f->pipe[1], F_SETFL, 0), ==, 0);

        log_error("this does not block");
}

TEST("writes fields to the journal") {
        log_open_journal(f->socket_path);

        log_event_at(LOG_WARNING, "73f256fae4c64df1a4db4fd1db8b54e8", "place.c", 12,
                     &(LogFields) {
                                     .listener = "/org/example/TCPServerSocket/listener/7",
                                     .owner = ":1.23",
                                     .has_owner_uid = true,
                                     .owner_uid = 0,
                                     .owner_pid = 4711,
                                     .owner_unit = "x.service",
                                     .port = 65535,
                                     .address = "::1",
                                     .interface = "",
                                     .delivery = "socket",
                                     .persistent = true,
                                     .caller = ":1.24",
                                     .caller_uid = 0,
                                     .caller_pid = 4712,
                                     .peer = "2001:db8::1",
                                     .limit = "MaxListeners",
                                     .action = "",
                                     .config_file = "/etc/x",
                                     .error = ENOBUFS,
                     },
                     "Lost %i", 1);
        g_autofree char *entry = take_entry(f);
        assert_has(entry, "MESSAGE=Lost 1", "PRIORITY=4", "SYSLOG_FACILITY=3",
                   "SYSLOG_IDENTIFIER=tcpserversocketd", "MESSAGE_ID=73f256fae4c64df1a4db4fd1db8b54e8",
                   "CODE_FILE=place.c", "CODE_LINE=12", "LISTENER=/org/example/TCPServerSocket/listener/7",
                   "OWNER=:1.23", "OWNER_UID=0", "OWNER_PID=4711", "OWNER_UNIT=x.service", "PORT=65535",
                   "ADDRESS=::1", "INTERFACE=", "DELIVERY=socket", "PERSISTENT=yes", "CALLER=:1.24",
                   "CALLER_UID=0", "CALLER_PID=4712", "PEER=2001:db8::1", "LIMIT=MaxListeners",
                   "ACTION=", "CONFIG_FILE=/etc/x", "CONFIG_LINE=0", "ERRNO=105");

        log_info("Nothing more");
        g_autofree char *bare = take_entry(f);
        assert_has(bare, "MESSAGE=Nothing more", "CODE_FILE=test-log.c");
        assert_has_not(bare, "MESSAGE_ID=", "LISTENER=", "OWNER",
                       "PORT=", "ADDRESS=", "INTERFACE=", "DELIVERY=", "PERSISTENT=", "CALLER",
                       "ACTION=", "CONFIG_", "ERRNO=");

        assert_lines(f, "");
}

TEST("writes to the selected target") {
        log_open_journal(f->socket_path);
        log_info("auto");
        g_autofree char *entry = take_entry(f);
        assert_has(entry, "MESSAGE=auto");

        log_set_target(LOG_TARGET_CONSOLE);
        log_info("console");
        g_assert_null(take_entry(f));
        assert_lines(f, "<6>console\n");

        log_set_target(LOG_TARGET_JOURNAL);
        log_info("journal");
        g_autofree char *again = take_entry(f);
        assert_has(again, "MESSAGE=journal");

        /* Without a journal, messages go to stderr. */
        (void) g_unlink(f->socket_path);
        log_info("elsewhere");
        assert_lines(f, "<6>elsewhere\n");
}

TEST("does not block on the journal") {
        g_autofree char *entry = NULL;
        unsigned n = 0;

        log_open_journal(f->socket_path);

        /* More than fits into its queue. */
        for (int i = 0; i < 10000; i++)
                log_info("%i", i);
        while ((entry = take_entry(f))) {
                g_clear_pointer(&entry, g_free);
                n++;
        }
        g_assert_cmpint(n, >, 0);
        g_assert_cmpint(n, <, 10000);
        assert_lines(f, "");

        log_info("It reads again");
        entry = take_entry(f);
        assert_has(entry, "MESSAGE=It reads again");
        g_clear_pointer(&entry, g_free);

        g_autofree char *lost = g_strdup_printf(
                        "\nMESSAGE=Dropped %u messages, the journal's queue was full\n", 10000 - n);
        entry = take_entry(f);
        g_assert_nonnull(strstr(entry, lost));
        g_assert_null(take_entry(f));
}

static void set_stream(const struct stat *st, const char *suffix) {
        g_autofree char *stream = g_strdup_printf("%llu:%llu%s", (unsigned long long) st->st_dev,
                                                  (unsigned long long) st->st_ino, suffix);

        g_setenv("JOURNAL_STREAM", stream, true);
}

TEST("recognizes the journal's stream") {
        struct stat st;

        g_assert_cmpint(fstat(STDERR_FILENO, &st), ==, 0);

        g_unsetenv("JOURNAL_STREAM");
        g_assert_false(journal_has_stream(STDERR_FILENO));
        set_stream(&st, "");
        g_assert_true(journal_has_stream(STDERR_FILENO));
        g_assert_false(journal_has_stream(STDIN_FILENO));
        set_stream(&st, "0");
        g_assert_false(journal_has_stream(STDERR_FILENO));
        set_stream(&st, "x");
        g_assert_false(journal_has_stream(STDERR_FILENO));
        st.st_dev++;
        set_stream(&st, "");
        g_assert_false(journal_has_stream(STDERR_FILENO));
        g_setenv("JOURNAL_STREAM", "", true);
        g_assert_false(journal_has_stream(STDERR_FILENO));

        log_open("test-log");
        g_assert_cmpstr(log_get_identifier(), ==, "test-log");
        log_info("not the journal's");
        assert_lines(f, "<6>not the journal's\n");
        log_open("tcpserversocketd");
}

TEST_ALONE("converts names of levels and targets") {
        static const char *const levels[] = { "emerg",   "alert",  "crit", "err",
                                              "warning", "notice", "info", "debug" };
        static const char *const targets[] = { "auto", "journal", "console" };

        for (int i = 0; i < (int) G_N_ELEMENTS(levels); i++) {
                g_assert_cmpint(log_level_from_string(levels[i]), ==, i);
                g_assert_cmpstr(log_level_to_string(i), ==, levels[i]);
        }
        for (int i = 0; i < (int) G_N_ELEMENTS(targets); i++) {
                g_assert_cmpint(log_target_from_string(targets[i]), ==, i);
                g_assert_cmpstr(log_target_to_string((LogTarget) i), ==, targets[i]);
        }

        g_assert_cmpint(log_level_from_string(""), ==, -EINVAL);
        g_assert_cmpint(log_level_from_string("Debug"), ==, -EINVAL);
        g_assert_cmpint(log_level_from_string("7"), ==, -EINVAL);
        g_assert_cmpint(log_target_from_string("kmsg"), ==, -EINVAL);
}

static unsigned count_lines(const char *lines, const char *prefix) {
        g_auto(GStrv) list = g_strsplit(lines, "\n", 0);
        unsigned n = 0;

        for (char **line = list; *line; line++)
                n += g_str_has_prefix(*line, prefix);

        return n;
}

TEST("limits the messages of a user") {
        const LogFields alice = { .has_owner_uid = true, .owner_uid = 1000 };
        const LogFields bob = { .has_owner_uid = true, .owner_uid = 1001 };

        for (int i = 0; i < 500; i++)
                log_event(LOG_WARNING, NULL, &alice, "alice %i", i);
        log_event(LOG_WARNING, NULL, &bob, "bob");
        for (int i = 0; i < 100; i++)
                log_event(LOG_WARNING, NULL, NULL, "service");
        g_autofree char *lines = take_lines(f);
        g_assert_cmpint(count_lines(lines, "<4>alice"), ==, RATE_LIMIT_BURST);
        g_assert_cmpint(count_lines(lines, "<4>bob"), ==, 1);
        g_assert_cmpint(count_lines(lines, "<4>service"), ==, 100);

        /* Dropped debug messages do not count, and others are not limited. */
        log_event(LOG_DEBUG, NULL, &alice, "not seen");
        log_set_level(LOG_DEBUG);
        for (int i = 0; i < 100; i++)
                log_event(LOG_DEBUG, NULL, &alice, "debug");
        g_autofree char *debug = take_lines(f);
        g_assert_cmpint(count_lines(debug, "<7>debug"), ==, 100);

        log_close();
        g_free(lines);
        lines = take_lines(f);
        g_assert_cmpint(count_lines(lines, "<5>"), ==, 1);
        g_assert_nonnull(strstr(lines, "Suppressed 470 messages about user 1000"));

        log_event(LOG_WARNING, NULL, &alice, "alice again");
        assert_lines(f, "<4>alice again\n");
}

TEST("each kind of messages has a rate limit of its own") {
        LogFields alice = { .has_owner_uid = true, .owner_uid = 1000 }, audit = alice, privileged = alice;

        audit.kind = LOG_KIND_LISTENER;
        privileged.kind = LOG_KIND_PRIVILEGED;
        for (unsigned i = 0; i < 2 * RATE_LIMIT_BURST; i++)
                log_event(LOG_NOTICE, NULL, &alice, "refused");
        for (unsigned i = 0; i < 2 * RATE_LIMIT_BURST; i++)
                log_event(LOG_NOTICE, NULL, &audit, "granted");
        for (unsigned i = 0; i < 2 * RATE_LIMIT_BURST; i++)
                log_event(LOG_NOTICE, NULL, &privileged, "privileged");
        g_autofree char *lines = take_lines(f);
        g_assert_cmpint(count_lines(lines, "<5>refused"), ==, RATE_LIMIT_BURST);
        g_assert_cmpint(count_lines(lines, "<5>granted"), ==, RATE_LIMIT_BURST);
        g_assert_cmpint(count_lines(lines, "<5>privileged"), ==, RATE_LIMIT_BURST);

        log_close();
        g_free(lines);
        lines = take_lines(f);
        g_assert_cmpint(count_lines(lines, "<5>Suppressed 30 messages about user 1000"), ==, 3);
}

#define START_USEC UINT64_C(1000000)

static unsigned admit(RateLimit *limit, uid_t uid, unsigned n, uint64_t now) {
        unsigned admitted = 0;

        for (unsigned i = 0; i < n; i++)
                admitted += rate_limit_admit(limit, uid, now);

        return admitted;
}

TEST_ALONE("the rate limit allows a burst in a window") {
        RateLimit limit = {};
        RateLimitReport report;
        uint64_t now = START_USEC, end = START_USEC + RATE_LIMIT_WINDOW_USEC;

        g_assert_cmpint(admit(&limit, 1, RATE_LIMIT_BURST - 1, now), ==, RATE_LIMIT_BURST - 1);
        g_assert_cmpint(admit(&limit, 1, 5, now + 1), ==, 1);
        g_assert_cmpint(admit(&limit, 2, 5, now + 2), ==, 5);

        g_assert_false(rate_limit_take_report(&limit, end - 1, &report));
        g_assert_cmpint(admit(&limit, 1, 5, end - 1), ==, 0);

        g_assert_true(rate_limit_take_report(&limit, end, &report));
        g_assert_false(report.others);
        g_assert_cmpint(report.uid, ==, 1);
        g_assert_cmpint(report.n_suppressed, ==, 9);
        g_assert_false(rate_limit_take_report(&limit, end, &report));

        g_assert_cmpint(admit(&limit, 1, 100, end), ==, RATE_LIMIT_BURST);
        g_assert_true(rate_limit_take_report(&limit, UINT64_MAX, &report));
        g_assert_cmpint(report.n_suppressed, ==, 100 - RATE_LIMIT_BURST);
        g_assert_false(rate_limit_take_report(&limit, UINT64_MAX, &report));
        g_assert_cmpint(limit.n_users, ==, 0);
}

TEST_ALONE("the rate limit lets further users share a window") {
        RateLimit limit = {};
        RateLimitReport report;
        uint64_t now = START_USEC, end = START_USEC + RATE_LIMIT_WINDOW_USEC;
        unsigned n = 0;

        g_assert_cmpint(admit(&limit, 0, 100, now), ==, RATE_LIMIT_BURST);

        /* Any number of further uids share one window. */
        for (uid_t uid = 100000; uid < 165536; uid++)
                n += admit(&limit, uid, RATE_LIMIT_BURST, now);
        g_assert_cmpint(n, ==, RATE_LIMIT_USERS * RATE_LIMIT_BURST);
        g_assert_cmpint(admit(&limit, 0, 1, now), ==, 0);

        g_assert_true(rate_limit_take_report(&limit, end, &report));
        g_assert_false(report.others);
        g_assert_cmpint(report.uid, ==, 0);
        g_assert_cmpint(report.n_suppressed, ==, 101 - RATE_LIMIT_BURST);
        g_assert_true(rate_limit_take_report(&limit, end, &report));
        g_assert_true(report.others);
        g_assert_cmpint(report.n_suppressed, ==, (65536 - RATE_LIMIT_USERS) * RATE_LIMIT_BURST);
        g_assert_false(rate_limit_take_report(&limit, end, &report));

        g_assert_cmpint(admit(&limit, 200000, 100, end), ==, RATE_LIMIT_BURST);
}
