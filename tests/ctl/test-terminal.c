/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Output on a terminal: colours, the pager, lines that fit. */

#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "ctl/tool.h"

#define ESCAPE "\033["
#define NO_PAGER "SYSTEMD_PAGER="

static char *list_on_terminal(Fixture *f, const char *const *environment) {
        g_autoptr(Terminal) t = terminal_new(f->bus, environment, 200, WORDS("list"));

        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_nonnull(strstr(t->shown->str, "1 listener listed."));
        return g_strdup(t->shown->str);
}

static char *list_in_pipe(Fixture *f, const char *const *environment) {
        g_autoptr(ToolResult) result = tool_run_full(f->bus, environment, 0, WORDS("list"));

        g_assert_cmpint(result->status, ==, 0);
        return g_steal_pointer(&result->out);
}

TEST("colours, on a terminal only") {
        static const struct {
                const char *environment[4];
                bool terminal, pipe;
        } cases[] = {
                { { NO_PAGER }, true, false },
                { { NO_PAGER, "NO_COLOR=" }, false, false },
                { { NO_PAGER, "NO_COLOR=1" }, false, false },
                { { NO_PAGER, "TERM=dumb" }, false, false },
                { { NO_PAGER, "TERM" }, false, false },
                { { NO_PAGER, "SYSTEMD_COLORS=no" }, false, false },
                { { NO_PAGER, "SYSTEMD_COLORS=1" }, true, true },
                { { NO_PAGER, "SYSTEMD_COLORS=256", "NO_COLOR=1" }, true, true },
                { { NO_PAGER, "SYSTEMD_COLORS=auto-16" }, true, false },
        };
        g_free(test_listen(f->client, 0, -1, NULL));
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *terminal = list_on_terminal(f, cases[i].environment);
                g_autofree char *pipe = list_in_pipe(f, cases[i].environment);

                g_test_message("case %zu", i);
                g_assert_cmpint(strstr(terminal, ESCAPE) != NULL, ==, cases[i].terminal);
                g_assert_cmpint(strstr(pipe, ESCAPE) != NULL, ==, cases[i].pipe);
        }
}

TEST("errors are red") {
        g_autoptr(Terminal) t = terminal_new(f->bus, NULL, 80, WORDS("close", "9"));

        g_assert_cmpint(terminal_wait(t), ==, 1);
        /* The agent that asks for passwords, which is not started for root, may complain before that. */
        g_assert_nonnull(strstr(t->shown->str, "\033[1;31mFailed to close listener 9"));
}

static char *widest_line(const char *text) {
        g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
        char *widest = lines[0];

        for (char **line = lines; *line; line++)
                if (g_utf8_strlen(*line, -1) > g_utf8_strlen(widest, -1))
                        widest = *line;
        return g_strdup(widest);
}

static char *list_at_width(Fixture *f, unsigned columns, const char *option) {
        g_autoptr(Terminal) t = terminal_new(f->bus, WORDS(NO_PAGER, "NO_COLOR=1"), columns,
                                             WORDS("list", option));

        g_assert_cmpint(terminal_wait(t), ==, 0);
        return widest_line(t->shown->str);
}

TEST("lines fit") {
        static const char name[] = "a name of such a length that it fits no terminal of eighty columns, ever";
        g_autofree char *listener = test_listen(f->client, 0, -1, "name", "s", name, NULL),
                        *port = g_strdup_printf(" %u ", test_get_port(f->client, listener)), *narrow = NULL,
                        *narrower = NULL, *full = NULL, *wide = NULL;
        static const char *const columns[] = { "COLUMNS=70", NULL };

        narrow = list_at_width(f, 80, NULL);
        narrower = list_at_width(f, 40, "--no-legend");
        full = list_at_width(f, 80, "--full");
        wide = list_at_width(f, 200, NULL);
        g_autoptr(ToolResult) piped = tool_run(f->bus, "list");
        g_autoptr(ToolResult) told = tool_run_full(f->bus, columns, 0, WORDS("list", "--no-legend"));

        g_assert_cmpint(g_utf8_strlen(narrow, -1), ==, 80);
        g_assert_true(g_str_has_suffix(narrow, "…"));
        /* Only the name is cut. */
        g_assert_nonnull(strstr(narrower, port));
        g_assert_true(g_str_has_suffix(full, name));
        g_assert_true(g_str_has_suffix(wide, name));
        g_assert_nonnull(strstr(piped->out, name));
        /* Also without a terminal. */
        g_assert_cmpint(g_utf8_strlen(told->out, -1), ==, 70 + 1);
}

static bool list_has(Fixture *f, unsigned columns, const char *option, const char *word) {
        g_autoptr(Terminal) t = terminal_new(f->bus, WORDS(NO_PAGER, "NO_COLOR=1"), columns,
                                             WORDS("list", option));

        g_assert_cmpint(terminal_wait(t), ==, 0);
        return strstr(t->shown->str, word);
}

#define HINT "Use -l to see all columns in full."

TEST("columns that say little are hidden first") {
        g_autofree G_GNUC_UNUSED char *first = test_listen(f->client, 0, -1, NULL),
                                      *second = test_listen(f->client, 0, -1, TEST_PULL, NULL);

        g_assert_true(list_has(f, 200, NULL, "INTERFACE"));
        g_assert_false(list_has(f, 200, NULL, HINT));

        /* All interfaces are "-", and all counters 0. */
        g_assert_false(list_has(f, 80, NULL, "INTERFACE"));
        g_assert_false(list_has(f, 80, NULL, "ACCEPTED"));
        g_assert_true(list_has(f, 80, NULL, "COMMAND"));
        g_assert_true(list_has(f, 80, NULL, "STATE"));
        g_assert_true(list_has(f, 80, NULL, HINT));
        g_assert_false(list_has(f, 80, "--quiet", HINT));
        g_assert_true(list_has(f, 80, "-l", "INTERFACE"));
        g_assert_false(list_has(f, 80, "-l", HINT));

        /* Even the narrowest terminal has these. */
        g_assert_true(list_has(f, 10, NULL, "PORT USER"));
        g_assert_true(list_has(f, 10, NULL, "NAME"));
        g_assert_false(list_has(f, 10, NULL, "STATE"));

        /* A value that says something keeps its column. */
        g_autofree G_GNUC_UNUSED char *third = test_listen(f->client, 0, -1, "interface", "s", "lo", NULL);
        g_assert_true(list_has(f, 100, NULL, "INTERFACE"));
}

/* Shows that it was used, and its options. */
#define PAGER "echo \"<pager $LESS>\"; cat; echo '</pager>'"

/* Replaces the session, which the tool would look for. */
#define IN_SESSION "SYSTEMD_PAGERSECURE=0"

static bool goes_through_pager(Fixture *f, const char *const *environment, const char *const *argv) {
        g_autoptr(Terminal) t = terminal_new(f->bus, environment, 80, argv);

        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_nonnull(strstr(t->shown->str, "LISTENER"));
        return strstr(t->shown->str, "<pager ") && strstr(t->shown->str, "</pager>");
}

TEST("the pager, on a terminal only") {
        static const struct {
                const char *environment[5];
                bool used;
        } cases[] = {
                { { "SYSTEMD_PAGER=" PAGER, IN_SESSION }, true },
                { { "PAGER=" PAGER, IN_SESSION }, true },
                { { "PAGER=cat", "SYSTEMD_PAGER=" PAGER, IN_SESSION }, true },
                { { "PAGER=" PAGER, "SYSTEMD_PAGER=", IN_SESSION }, false },
                { { "PAGER=" PAGER, "SYSTEMD_PAGER=cat", IN_SESSION }, false },
                { { "PAGER=" PAGER, "TERM=dumb", IN_SESSION }, false },
                /* After sudo, a pager that may not be secure is used only if the user allows it. */
                { { "PAGER=" PAGER, "SUDO_UID=1000" }, false },
                { { "PAGER=" PAGER, "SUDO_UID=1000", "SYSTEMD_PAGERSECURE=1" }, true },
        };
        g_free(test_listen(f->client, 0, -1, NULL));
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_test_message("case %zu", i);
                g_assert_cmpint(goes_through_pager(f, cases[i].environment, WORDS("list")), ==,
                                cases[i].used);
        }

        g_assert_false(goes_through_pager(f, cases[0].environment, WORDS("list", "--no-pager")));
        /* In a pipe, there is no pager. */
        g_autoptr(ToolResult) result = tool_run_full(f->bus, cases[0].environment, 0, WORDS("list"));
        g_assert_null(strstr(result->out, "<pager"));
}

TEST("the options of the pager") {
        g_autoptr(Terminal)
                        usual = terminal_new(f->bus, WORDS("PAGER=" PAGER, IN_SESSION), 80, WORDS("list")),
                        ours = terminal_new(f->bus,
                                            WORDS("SYSTEMD_PAGER=" PAGER, IN_SESSION, "SYSTEMD_LESS=FRX"), 80,
                                            WORDS("list")),
                        safe = terminal_new(f->bus,
                                            WORDS("SYSTEMD_PAGER=echo \"<$LESSSECURE>\"; cat",
                                                  "SYSTEMD_PAGERSECURE=1"),
                                            80, WORDS("list"));

        g_assert_cmpint(terminal_wait(usual), ==, 0);
        g_assert_nonnull(strstr(usual->shown->str, "<pager FRSXMK>"));
        g_assert_cmpint(terminal_wait(ours), ==, 0);
        g_assert_nonnull(strstr(ours->shown->str, "<pager FRX>"));
        g_assert_cmpint(terminal_wait(safe), ==, 0);
        g_assert_nonnull(strstr(safe->shown->str, "<1>"));
}

TEST("a pager changes neither colours nor width") {
        g_autofree char *name = g_strnfill(100, 'x');

        g_free(test_listen(f->client, 0, -1, "name", "s", name, NULL));
        g_autoptr(Terminal) t = terminal_new(f->bus, WORDS("PAGER=" PAGER, IN_SESSION), 80, WORDS("list"));
        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_nonnull(strstr(t->shown->str, ESCAPE));
        g_assert_nonnull(strstr(t->shown->str, "…"));
        g_assert_null(strstr(t->shown->str, name));
}

/* To leave the pager early is no error. The output is larger than a pipe. */
TEST("a pager that exits early") {
        g_autofree char *name = g_strnfill(255, 'x');

        for (unsigned i = 0; i < 250; i++)
                g_free(test_listen(f->client, 0, -1, "name", "s", name, NULL));
        g_autoptr(Terminal) t = terminal_new(f->bus, WORDS("PAGER=read line; echo \"<$line>\"", IN_SESSION),
                                             80, WORDS("list", "--full"));
        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_nonnull(strstr(t->shown->str, "<"));
        g_assert_null(strstr(t->shown->str, "Failed to write"));
}

static void allow_few_descriptors(void *data) {
        struct rlimit limit;

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = 234;
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
}

/* The tool raises its limit of descriptors; the agent that asks for passwords does not inherit that. */
TEST_IF(test_require_root(), "the agent is started as the tool was") {
        g_autofree char *directory = test_make_directory("agent"),
                        *agent = g_build_filename(directory, "pkttyagent", NULL),
                        *path = g_strdup_printf("PATH=%s:%s", directory, g_getenv("PATH"));
        const struct passwd *user;

        user = getpwuid(test_other_uid(0));
        g_assert_true(g_file_set_contents(agent, "#!/bin/sh\necho \"<$(ulimit -Sn)>\"\n", -1, NULL));
        g_assert_no_errno(chmod(agent, 0755));
        g_assert_no_errno(chmod(directory, 0755));

        tool_set_up_with(allow_few_descriptors);
        g_autoptr(Terminal) t = terminal_new_full(f->bus, WORDS(path), 80, user->pw_name,
                                                  WORDS("listen", "0", "--", "true"));
        tool_set_up_with(NULL);
        /* There is no polkit here, so that it is denied. */
        g_assert_cmpint(terminal_wait(t), ==, 1);
        g_assert_nonnull(strstr(t->shown->str, "<234>"));
}

/* Whether no line is longer, and this one, which has no room in 40 columns, goes on below the beginning of
 * its text. */
static void assert_wrapped(Fixture *f, const char *verb, const char *lines, const char *line) {
        const char *const environment[] = { NO_PAGER, "NO_COLOR=1", NULL };
        g_autoptr(Terminal) narrow = terminal_new(f->bus, environment, 40, WORDS(verb)),
                            wide = terminal_new(f->bus, environment, 200, WORDS(verb));
        g_autofree char *widest = NULL;

        g_assert_cmpint(terminal_wait(narrow), ==, 0);
        widest = widest_line(narrow->shown->str);
        g_assert_cmpint(g_utf8_strlen(widest, -1), <=, 40);
        g_assert_nonnull(strstr(narrow->shown->str, lines));
        g_assert_cmpint(terminal_wait(wide), ==, 0);
        g_assert_nonnull(strstr(wide->shown->str, line));
}

TEST("texts are wrapped between words") {
        assert_wrapped(f, "--help",
                       "\r\n  run [--] COMMAND…\r\n"
                       "        Run an unmodified server that\r\n"
                       "        binds privileged ports\r\n",
                       "Run an unmodified server that binds privileged ports\r\n");
        assert_wrapped(f, "--help", "\r\norg.example.TCPServerSocket, and manage\r\nits listeners.\r\n",
                       "\r\nServe on TCP ports of org.example.TCPServerSocket, and manage its listeners.\r\n");
        assert_wrapped(f, "status",
                       "\r\n    Requests: at most 64 for each user\r\n"
                       "              that wait for\r\n"
                       "              authorization\r\n",
                       "\r\n    Requests: at most 64 for each user that wait for authorization\r\n");
}

TEST("help") {
        g_autoptr(Terminal) t = terminal_new(f->bus, WORDS("PAGER=" PAGER, IN_SESSION), 80, WORDS("--help"));
        g_autoptr(Terminal) narrow = terminal_new(f->bus, WORDS(NO_PAGER, "NO_COLOR=1"), 80, WORDS("--help"));
        g_autoptr(ToolResult) plain = tool_run(f->bus, "list", "-h"), verb = tool_run(f->bus, "help"),
                              version = tool_run(f->bus, "--version");

        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_nonnull(strstr(t->shown->str, "<pager "));
        g_assert_cmpint(plain->status, ==, 0);
        g_assert_cmpstr(plain->err, ==, "");
        g_assert_cmpstr(verb->out, ==, plain->out);
        g_assert_cmpint(terminal_wait(narrow), ==, 0);
        g_autofree char *widest = widest_line(narrow->shown->str);
        g_assert_cmpint(g_utf8_strlen(widest, -1), <=, 80);
        g_assert_true(g_str_has_prefix(plain->out, "tcpserversocketctl [OPTIONS…] VERB …\n"));
        g_assert_null(strchr(plain->out, '\033'));
        g_assert_cmpint(version->status, ==, 0);
        g_assert_true(g_str_has_prefix(version->out, "tcpserversocketctl "));
}
