/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <systemd/sd-login.h>

#include "base/macros.h"
#include "base/parse.h"

/* TASK_COMM_LEN of the kernel, with the line break in the place of the NUL. */
#define COMMAND_SIZE 16
/* What the kernel stores of "tcpserversocketctl". */
#define TOOL_COMMAND "tcpserversocket"
/* More says little, and a process can have megabytes. */
#define COMMAND_LINE_SIZE 1024

/* Returns the number of bytes; 0 if there is no such process or it cannot be read. */
static size_t read_file(pid_t pid, const char *name, char *buffer, size_t size) {
        _cleanup_close_ int fd = -EBADF;
        char path[64];
        ssize_t n;

        (void) snprintf(path, sizeof(path), "/proc/%u/%s", (unsigned) pid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        n = fd < 0 ? -1 : read(fd, buffer, size);
        return n < 0 ? 0 : (size_t) n;
}

static int read_command(pid_t pid, char **ret) {
        char text[COMMAND_SIZE];
        size_t n;

        n = read_file(pid, "comm", text, sizeof(text));
        if (n == 0)
                return 0;

        *ret = strndup(text, text[n - 1] == '\n' ? n - 1 : n);
        return *ret ? 0 : -ENOMEM;
}

/* As one of its real, effective and saved user. */
static bool runs_as(pid_t pid, uid_t uid) {
        char text[COMMAND_LINE_SIZE + 1];
        unsigned real, effective, saved;
        const char *line;

        text[read_file(pid, "status", text, sizeof(text) - 1)] = '\0';
        line = strstr(text, "\nUid:");
        return line && sscanf(line, "\nUid: %u %u %u", &real, &effective, &saved) == 3 &&
               (uid == real || uid == effective || uid == saved);
}

/* Returns the program of "listen … -- PROGRAM" or "run [--] PROGRAM", without its directory, or NULL. The
 * value of an option that is a word of its own, as in "run --port 80 PROGRAM", is mistaken for the program.
 */
static const char *find_server(const char *arguments, size_t size) {
        bool is_next = false, runs = false;

        for (const char *s = arguments; s < arguments + size; s += strlen(s) + 1) {
                const char *slash = strrchr(s, '/');

                if (is_next || (runs && *s != '-'))
                        return slash && slash[1] != '\0' ? slash + 1 : s;
                /* As in "relay -- PORT TARGET". */
                if (streq(s, "relay"))
                        return NULL;
                is_next = streq(s, "--");
                runs = runs || streq(s, "run");
        }

        return NULL;
}

static int read_command_line(pid_t pid, Process *p) {
        char text[COMMAND_LINE_SIZE + 1];
        const char *server;
        size_t n;

        n = read_file(pid, "cmdline", text, sizeof(text) - 1);
        while (n > 0 && text[n - 1] == '\0')
                n--;
        /* A kernel thread and a zombie have none. */
        if (n == 0)
                return 0;
        text[n] = '\0';

        server = p->command && streq(p->command, TOOL_COMMAND) ? find_server(text, n) : NULL;
        if (server) {
                p->server = strdup(server);
                if (!p->server)
                        return -ENOMEM;
        }

        for (size_t i = 0; i < n; i++)
                if (text[i] == '\0')
                        text[i] = ' ';
        p->command_line = strndup(text, n);
        return p->command_line ? 0 : -ENOMEM;
}

/* Decodes "\x2d" in the name of a unit, in place. */
static void unescape(char *s) {
        char *to = s;
        unsigned byte;

        while (*s)
                if (sscanf(s, "\\x%2x", &byte) == 1 && strspn(s + 2, "0123456789abcdef") >= 2 && byte != 0) {
                        *to++ = (char) byte;
                        s += 4;
                } else
                        *to++ = *s++;
        *to = '\0';
}

/* "snap.NAME.APP-UUID.scope", "snap.NAME.APP.service". */
static int parse_snap(const char *unit, char **ret) {
        const char *name = unit + strlen("snap.");
        size_t length = strcspn(name, ".");

        if (length == 0 || name[length] == '\0')
                return 0;

        *ret = strndup(name, length);
        return *ret ? 0 : -ENOMEM;
}

/* https://systemd.io/DESKTOP_ENVIRONMENTS: "app[-LAUNCHER]-ID-RANDOM.scope",
 * "app[-LAUNCHER]-ID[@RANDOM].service". Hyphens of ID are escaped. */
static int parse_app(const char *unit, char **ret) {
        _cleanup_free_ char *name = NULL;
        char *dot, *end, *hyphen;

        name = strdup(unit + strlen("app-"));
        if (!name)
                return -ENOMEM;

        dot = strrchr(name, '.');
        if (!dot)
                return 0;
        if (streq(dot, ".scope"))
                end = memrchr(name, '-', (size_t) (dot - name));
        else if (streq(dot, ".service"))
                end = memrchr(name, '@', (size_t) (dot - name)) ?: dot;
        else
                return 0;
        if (!end)
                return 0;

        *end = '\0';
        hyphen = strrchr(name, '-');
        *ret = strdup(hyphen ? hyphen + 1 : name);
        if (!*ret)
                return -ENOMEM;

        unescape(*ret);
        return 0;
}

int process_parse_application(const char *unit, char **ret) {
        _cleanup_free_ char *name = NULL;
        int r = 0;

        if (strncmp(unit, "app-", strlen("app-")) == 0)
                r = parse_app(unit, &name);
        else if (strncmp(unit, "snap.", strlen("snap.")) == 0)
                r = parse_snap(unit, &name);
        if (r < 0)
                return r;

        *ret = name && *name ? TAKE_PTR(name) : NULL;
        return 0;
}

int process_query(pid_t pid, uid_t uid, Process *ret) {
        _cleanup_(process_done) Process p = {};
        int r;

        if (uid != 0 && uid != (uid_t) -1 && !runs_as(pid, uid))
                return 0;

        r = read_command(pid, &p.command);
        if (r >= 0)
                r = read_command_line(pid, &p);
        if (r < 0)
                return r;

        /* A process of a user's manager also has the unit of that manager, which says less. */
        r = sd_pid_get_user_unit(pid, &p.unit);
        if (r < 0 && r != -ENOMEM)
                r = sd_pid_get_unit(pid, &p.unit);
        if (r == -ENOMEM)
                return r;

        r = p.unit ? process_parse_application(p.unit, &p.application) : 0;
        if (r < 0)
                return r;

        *ret = TAKE(p, (Process) {});
        return 0;
}

void process_done(Process *p) {
        free(TAKE_PTR(p->command));
        free(TAKE_PTR(p->server));
        free(TAKE_PTR(p->command_line));
        free(TAKE_PTR(p->unit));
        free(TAKE_PTR(p->application));
}

/* Sets nothing for a process that has ended and was waited for. */
static void read_stat(pid_t pid, char *state, int *parent) {
        char text[512];
        const char *end;

        text[read_file(pid, "stat", text, sizeof(text) - 1)] = '\0';
        /* The name of the program, before it, may contain parentheses. */
        end = strrchr(text, ')');
        if (end)
                (void) sscanf(end, ") %c %i", state, parent);
}

/* Returns 0 for a process without a parent that is visible here, or that has ended. */
static pid_t get_parent(pid_t pid) {
        int parent = 0;
        char state;

        read_stat(pid, &state, &parent);
        return (pid_t) parent;
}

bool process_thread_has_ended(pid_t thread) {
        char state = 'X';
        int parent;

        read_stat(thread, &state, &parent);
        return state == 'X' || state == 'Z';
}

bool process_descends_from(pid_t pid, pid_t ancestor) {
        do
                pid = get_parent(pid);
        while (pid > 0 && pid != ancestor);

        return pid == ancestor;
}

int process_list_descendants(pid_t ancestor, pid_t **ret) {
        _cleanup_free_ pid_t *pids = NULL;
        struct dirent *entry;
        uint32_t pid;
        int n = 0, r = 0;
        DIR *proc;

        proc = opendir("/proc");
        if (!proc)
                return -errno;

        while (r >= 0 && (entry = readdir(proc))) {
                pid_t *more;

                if (parse_uint32(entry->d_name, 1, INT32_MAX, &pid) < 0 ||
                    !process_descends_from((pid_t) pid, ancestor))
                        continue;

                more = reallocarray(pids, (size_t) n + 1, sizeof(*pids));
                if (more) {
                        pids = more;
                        pids[n++] = (pid_t) pid;
                } else
                        r = -ENOMEM;
        }
        (void) closedir(proc);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(pids);
        return n;
}
