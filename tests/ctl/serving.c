/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/serving.h"

#include <linux/seccomp.h>
#include <sys/syscall.h>

static bool find_port(Tool *tool, uint16_t *ret) {
        g_autofree char *text = NULL;

        if (!g_file_get_contents(tool->err, &text, NULL, NULL))
                return false;
        char *place = strstr(text, "Listening on ");
        char *end = place ? strchr(place, '\n') : NULL;
        if (!end)
                return false;
        *end = '\0';
        char *colon = strrchr(place, ':');
        g_assert_nonnull(colon);
        *ret = (uint16_t) atoi(colon + 1);
        return true;
}

Tool *serving_start(TestBus *bus, uint16_t *ret_port, const char *const *argv) {
        Tool *tool = tool_start(bus, NULL, 0, argv);

        test_wait_for(find_port(tool, ret_port) || test_child_has_exited(tool->child));
        g_assert_true(find_port(tool, ret_port));
        return tool;
}

static unsigned count_lines(const char *path, const char *line) {
        g_auto(GStrv) lines = NULL;
        unsigned n = 0;

        g_autofree char *text = test_read_file(path);
        lines = g_strsplit(text, "\n", -1);
        for (char **l = lines; *l; l++)
                n += streq(*l, line);
        return n;
}

unsigned serving_count_lines(Tool *tool, const char *line) {
        return count_lines(tool->out, line);
}

unsigned serving_count_complaints(Tool *tool, const char *line) {
        return count_lines(tool->err, line);
}

int serving_end(Tool *tool, int signal_number) {
        test_child_signal(tool->child, signal_number);
        return test_child_wait(tool->child);
}

static GArray *list_children(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int) pid, (int) pid),
                        *text = NULL;
        GArray *children = g_array_new(false, false, sizeof(pid_t));
        g_auto(GStrv) words = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return children;
        words = g_strsplit(text, " ", -1);
        for (char **w = words; *w; w++)
                if (**w != '\0') {
                        pid_t child = (pid_t) atoi(*w);

                        g_array_append_val(children, child);
                }
        return children;
}

unsigned serving_count_children(pid_t pid) {
        g_autoptr(GArray) children = list_children(pid);

        return children->len;
}

pid_t serving_get_child(pid_t pid) {
        g_autoptr(GArray) children = list_children(pid);

        g_assert_cmpuint(children->len, ==, 1);
        return g_array_index(children, pid_t, 0);
}

char serving_get_state(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid), *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return 0;
        return strrchr(text, ')')[2];
}

bool serving_is_waiting(pid_t pid) {
        static const long waits[] = {
                SYS_epoll_pwait,
                SYS_epoll_pwait2,
#ifdef SYS_epoll_wait
                SYS_epoll_wait,
#endif
        };
        g_autofree char *path = g_strdup_printf("/proc/%d/syscall", (int) pid), *text = NULL;
        char *end;
        long number;

        if (serving_get_state(pid) != 'S' || !g_file_get_contents(path, &text, NULL, NULL))
                return false;
        number = strtol(text, &end, 10);
        if (end == text) /* it runs */
                return false;
        for (size_t i = 0; i < ELEMENTS(waits); i++)
                if (waits[i] == number)
                        return true;
        return false;
}

unsigned serving_count_rests(pid_t pid) {
        static const char key[] = "\nvoluntary_ctxt_switches:";
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid), *text = NULL;

        text = test_read_file(path);
        const char *place = strstr(text, key);
        g_assert_nonnull(place);
        return (unsigned) atoi(place + strlen(key));
}

unsigned serving_count_queued(uint16_t port) {
        static const char *const files[] = { "/proc/self/net/tcp", "/proc/self/net/tcp6" };
        unsigned n = 0;

        for (size_t i = 0; i < ELEMENTS(files); i++) {
                g_autofree char *text = NULL;
                g_auto(GStrv) lines = NULL;

                if (!g_file_get_contents(files[i], &text, NULL, NULL))
                        continue;
                lines = g_strsplit(text, "\n", -1);
                for (char **l = lines + 1; *l; l++) {
                        unsigned local, state, queued;

                        /* Of a socket that listens (0A), the queue to be received is that of connections. */
                        if (sscanf(*l, "%*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%x", &local, &state,
                                   &queued) == 3 &&
                            local == port && state == 0x0A)
                                n += queued;
                }
        }
        return n;
}

unsigned serving_count_inherited(void) {
        g_autofree char *directory = test_make_directory("inherited"), *text = NULL;
        g_autofree char *path = g_build_filename(directory, "out", NULL);
        g_autoptr(TestChild) child = test_child_new(WORDS("sh", "-c", "ls /proc/self/fd | wc -l"),
                                                    &(TestSpawn) { .log = path });

        g_assert_cmpint(test_child_wait(child), ==, 0);
        text = test_read_file(path);
        /* One is the directory that ls reads. */
        return (unsigned) atoi(text) - 1;
}

static int forbidden_call, forbidden_error;

static void forbid(void *data) {
        g_assert_cmpint(test_filter_call(forbidden_call, SECCOMP_RET_ERRNO | (unsigned) forbidden_error, 0),
                        ==, 0);
}

void serving_forbid(int call, int error) {
        forbidden_call = call;
        forbidden_error = error;
        tool_set_up_with(forbid);
}

void serving_assert_echoes(int peer) {
        test_send(peer, "echo", 4);
        test_expect(peer, "echo");
}
