/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/tool.h"

#include <grp.h>
#include <pty.h>
#include <pwd.h>
#include <sys/ioctl.h>

typedef struct SetUp {
        int in, out, err;
        bool terminal;
        const struct passwd *user; /* NULL: as it is */
} SetUp;

static TestChildSetup set_up_more;

void tool_set_up_with(TestChildSetup more) {
        set_up_more = more;
}

/* In the child. */
static void set_up(void *data) {
        const SetUp *s = data;

        if (s->terminal) {
                g_assert_no_errno(setsid());
                g_assert_no_errno(ioctl(s->in, TIOCSCTTY, 0));
        }
        g_assert_no_errno(dup2(s->in, STDIN_FILENO));
        g_assert_no_errno(dup2(s->out, STDOUT_FILENO));
        g_assert_no_errno(dup2(s->err, STDERR_FILENO));
        if (s->user) {
                g_assert_no_errno(initgroups(s->user->pw_name, s->user->pw_gid));
                g_assert_no_errno(setgid(s->user->pw_gid));
                g_assert_no_errno(setuid(s->user->pw_uid));
        }
        if (set_up_more)
                set_up_more(NULL);
}

/* Another user may not be allowed to enter the build directory, and so runs a copy. */
static const char *find_tool(bool for_another_user) {
        static char *copy;
        const char *tool = g_getenv("TEST_CTL");

        if (!tool)
                g_error("TEST_CTL must name the tool; tests/README.md");
        if (!for_another_user)
                return tool;

        if (!copy) {
                g_autofree char *directory = test_make_directory("copy");

                copy = g_build_filename(directory, "tcpserversocketctl", NULL);
                test_run_command("install", tool, copy);
        }
        return copy;
}

static TestChild *start(TestBus *bus, const char *const *environment, const char *const *argv, SetUp *how) {
        static const char *const unset[] = { "COLUMNS",
                                             "DBUS_SESSION_BUS_ADDRESS",
                                             "LANG",
                                             "LANGUAGE",
                                             "LESS",
                                             "NO_COLOR",
                                             "PAGER",
                                             "SYSTEMD_COLORS",
                                             "SYSTEMD_LESS",
                                             "SYSTEMD_PAGER",
                                             "SUDO_UID",
                                             "SYSTEMD_PAGERSECURE",
                                             "XDG_RUNTIME_DIR",
                                             "LC_ALL=C.UTF-8",
                                             "TERM=xterm" };
        g_autofree char *address = bus ? g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(bus))
                                       : NULL;
        g_autoptr(GPtrArray) variables = g_ptr_array_new(), words = g_ptr_array_new();
        TestSpawn options = { .setup = set_up, .data = how };

        for (size_t i = 0; i < ELEMENTS(unset); i++)
                g_ptr_array_add(variables, (char *) unset[i]);
        if (address)
                g_ptr_array_add(variables, address);
        for (; environment && *environment; environment++)
                g_ptr_array_add(variables, (char *) *environment);
        g_ptr_array_add(variables, NULL);
        options.environment = (const char *const *) variables->pdata;

        g_ptr_array_add(words, (char *) find_tool(how->user));
        for (; *argv; argv++)
                g_ptr_array_add(words, (char *) *argv);
        g_ptr_array_add(words, NULL);

        return test_child_new((const char *const *) words->pdata, &options);
}

TestChild *tool_spawn(TestBus *bus, const char *log, const char *const *argv) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(bus));

        return test_child_new(argv, &(TestSpawn) { .log = log, .environment = WORDS(address) });
}

static int open_output(const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);

        g_assert_no_errno(fd);
        return fd;
}

Tool *tool_start(TestBus *bus, const char *const *environment, uid_t uid, const char *const *argv) {
        g_autofree char *directory = test_make_directory("tool");
        _cleanup_close_ int in = open("/dev/null", O_RDONLY | O_CLOEXEC), out = -EBADF, err = -EBADF;
        Tool *tool = g_new0(Tool, 1);
        SetUp how;

        tool->out = g_build_filename(directory, "out", NULL);
        tool->err = g_build_filename(directory, "err", NULL);
        out = open_output(tool->out);
        err = open_output(tool->err);
        how = (SetUp) { .in = in, .out = out, .err = err, .user = uid > 0 ? getpwuid(uid) : NULL };
        tool->child = start(bus, environment, argv, &how);
        return tool;
}

void tool_free(Tool *tool) {
        if (!tool)
                return;

        /* SIGTERM ends it in every state, and lets it write its coverage. */
        if (!test_child_has_exited(tool->child)) {
                test_child_signal(tool->child, SIGTERM);
                (void) test_child_wait(tool->child);
        }
        test_child_free(tool->child);
        g_free(tool->out);
        g_free(tool->err);
        g_free(tool);
}

bool tool_has_written(Tool *tool, const char *text) {
        return test_file_contains(tool->out, text);
}

bool tool_has_complained(Tool *tool, const char *text) {
        return test_file_contains(tool->err, text);
}

ToolResult *tool_finish(Tool *tool) {
        ToolResult *result = g_new0(ToolResult, 1);

        result->status = test_child_wait(tool->child);
        result->out = test_read_file(tool->out);
        result->err = test_read_file(tool->err);
        tool_free(tool);
        return result;
}

ToolResult *tool_run_full(TestBus *bus, const char *const *environment, uid_t uid, const char *const *argv) {
        return tool_finish(tool_start(bus, environment, uid, argv));
}

void tool_result_free(ToolResult *result) {
        if (!result)
                return;

        g_free(result->out);
        g_free(result->err);
        g_free(result);
}

void tool_assert_quiet(ToolResult *result) {
        g_assert_cmpstr(result->out, ==, "");
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpint(result->status, ==, 0);
        tool_result_free(result);
}

json_object *tool_parse_json(ToolResult *result) {
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpint(result->status, ==, 0);
        json_object *o = json_tokener_parse(result->out);
        if (!o)
                g_error("this is no JSON: %s", result->out);
        tool_result_free(result);
        return o;
}

void tool_assert_error(ToolResult *result, int status, const char *const *texts) {
        g_test_message("%s", result->err);
        g_assert_cmpint(result->status, ==, status);
        g_assert_cmpstr(result->out, ==, "");
        for (; *texts; texts++)
                if (!strstr(result->err, *texts))
                        g_error("there is no \"%s\" in: %s", *texts, result->err);
        /* One line, and an end to it. */
        g_assert_nonnull(strchr(result->err, '\n'));
        g_assert_cmpstr(strchr(result->err, '\n'), ==, "\n");
        tool_result_free(result);
}

/* ---------------------------------------------------------------------------------------------- terminals */

Terminal *terminal_new_full(TestBus *bus,
                            const char *const *environment,
                            unsigned columns,
                            const char *user,
                            const char *const *argv) {
        struct winsize size = { .ws_row = 24, .ws_col = (unsigned short) columns };
        Terminal *t = g_new0(Terminal, 1);
        _cleanup_close_ int line = -EBADF;
        SetUp how;

        g_assert_no_errno(openpty(&t->fd, &line, NULL, NULL, &size));
        g_assert_no_errno(fcntl(t->fd, F_SETFD, FD_CLOEXEC));
        g_assert_no_errno(fcntl(line, F_SETFD, FD_CLOEXEC));
        g_assert_no_errno(fcntl(t->fd, F_SETFL, O_NONBLOCK));
        if (user)
                /* The agent, which asks for passwords, opens it again by its name. */
                g_assert_no_errno(fchown(line, getpwnam(user)->pw_uid, (gid_t) -1));
        t->shown = g_string_new(NULL);
        how = (SetUp) {
                .in = line, .out = line, .err = line, .terminal = true, .user = user ? getpwnam(user) : NULL
        };
        t->child = start(bus, environment, argv, &how);
        return t;
}

Terminal *terminal_new(TestBus *bus,
                       const char *const *environment,
                       unsigned columns,
                       const char *const *argv) {
        return terminal_new_full(bus, environment, columns, NULL, argv);
}

void terminal_free(Terminal *t) {
        if (!t)
                return;

        test_child_free(t->child);
        close(t->fd);
        g_string_free(t->shown, true);
        g_free(t);
}

bool terminal_shows(Terminal *t, const char *text) {
        char buffer[512];
        ssize_t n;

        while ((n = read(t->fd, buffer, sizeof(buffer))) > 0)
                g_string_append_len(t->shown, buffer, n);
        return strstr(t->shown->str, text);
}

void terminal_type(Terminal *t, const char *text) {
        g_assert_cmpint(write(t->fd, text, strlen(text)), ==, strlen(text));
}

void terminal_type_password(Terminal *t, const char *password) {
        test_wait_for(terminal_shows(t, TERMINAL_PROMPT));
        test_wait_for(!test_has_echo(t->fd));
        terminal_type(t, password);
        terminal_type(t, "\n");
}

int terminal_wait(Terminal *t) {
        /* A process that writes to a terminal waits until its output is read. */
        test_wait_for(!terminal_shows(t, "\377") && test_child_has_exited(t->child));
        (void) terminal_shows(t, "");
        return t->child->status;
}

/* --------------------------------------------------------------------------------------------------- JSON */

static json_object *get_member(json_object *o, const char *key, json_type type) {
        json_object *value;

        if (!json_object_object_get_ex(o, key, &value))
                g_error("there is no \"%s\" in: %s", key, json_object_to_json_string(o));
        g_assert_cmpstr(json_type_to_name(json_object_get_type(value)), ==, json_type_to_name(type));
        return value;
}

const char *json_get_string(json_object *o, const char *key) {
        return json_object_get_string(get_member(o, key, json_type_string));
}

uint64_t json_get_number(json_object *o, const char *key) {
        return json_object_get_uint64(get_member(o, key, json_type_int));
}

void json_assert_members(json_object *o, ...) {
        const char *key, *type;
        va_list members;
        int n = 0;

        g_assert_true(json_object_is_type(o, json_type_object));
        va_start(members, o);
        for (; (key = va_arg(members, const char *)); n++) {
                json_object *value;

                type = va_arg(members, const char *);
                if (!json_object_object_get_ex(o, key, &value))
                        g_error("there is no \"%s\" in: %s", key, json_object_to_json_string(o));
                g_assert_cmpstr(json_type_to_name(json_object_get_type(value)), ==, type);
        }
        va_end(members);
        g_assert_cmpint(json_object_object_length(o), ==, n);
}
