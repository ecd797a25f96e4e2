/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine/session.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <glob.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define LOGIND "systemd-logind.service"
#define BUS_SOCKET "/run/dbus/system_bus_socket"
/* Where a child has its connection. */
#define CONNECTION_FD 3

struct MachineSession {
        char *unit, *id;
        pid_t pid;
};

static bool logind_is_started;

bool machine_require_logind(void) {
        glob_t found;
        bool has_module = glob("/{usr/,}lib{,64}/{*/,}security/pam_systemd.so", GLOB_BRACE, NULL, &found) ==
                          0;

        globfree(&found);
        if (!has_module)
                g_test_skip("needs pam_systemd");
        return has_module;
}

void machine_start_logind(void) {
        /* The user of a session is known until then. */
        machine_write("/run/systemd/logind.conf.d/50-test.conf", "[Login]\nUserStopDelaySec=0\n");
        g_free(machine_run("systemctl", "unmask", LOGIND));
        g_free(machine_run("systemctl", "start", LOGIND));
        /* pam_nologin refuses users while it is there. */
        (void) g_unlink("/run/nologin");
        logind_is_started = true;
}

void machine_stop_logind(void) {
        if (!logind_is_started)
                return;
        g_free(machine_run("sh", "-c", "rm -f /var/lib/systemd/linger/*"));
        g_free(machine_run("systemctl", "stop", "guest-*.service", LOGIND, "user.slice"));
        g_free(machine_run("systemctl", "mask", LOGIND));
        logind_is_started = false;
}

pid_t machine_start_unit_words(const char *name, const char *const *options) {
        g_autofree char *unit = g_strdup_printf("--unit=guest-%s", name), *pid = NULL;
        g_autofree char *file = g_strdup_printf("/run/guest-%s.output", name);
        g_autofree char *output = g_strdup_printf("--property=StandardOutput=file:%s", file);
        g_autoptr(GPtrArray) command = g_ptr_array_new();

        (void) g_unlink(file);
        for (const char *const *s = WORDS("systemd-run", "--quiet", "--collect", unit, output); *s; s++)
                g_ptr_array_add(command, (char *) *s);
        for (; *options; options++)
                g_ptr_array_add(command, (char *) *options);
        for (const char *const *s = WORDS("sh", "-c", "echo ready; exec sleep infinity"); *s; s++)
                g_ptr_array_add(command, (char *) *s);
        g_ptr_array_add(command, NULL);
        g_free(machine_run_words((const char *const *) command->pdata));

        /* It has its session, its user and its sandbox then. Type=exec does not wait for that with PAM. */
        test_wait_for(test_file_contains(file, "ready"));
        pid = machine_run("systemctl", "show", "--property=MainPID", "--value", unit + strlen("--unit="));
        return (pid_t) g_ascii_strtoll(pid, NULL, 10);
}

void machine_stop_unit(const char *name) {
        g_autofree char *unit = g_strdup_printf("guest-%s", name);

        g_free(machine_run("systemctl", "stop", unit));
}

/* -------------------------------------------------------------------------------------------- sessions */

MachineSession *machine_session_new(const char *user, MachineSessionKind kind) {
        static const struct {
                const char *pam_options, *environment;
        } kinds[_MACHINE_SESSION_KIND_MAX] = {
                [MACHINE_SESSION_REMOTE] = { "class=user type=tty", "XDG_SEAT=" },
                [MACHINE_SESSION_SEAT] = { "class=user type=wayland", "XDG_SEAT=seat0" },
                [MACHINE_SESSION_BACKGROUND] = { "class=background", "XDG_SEAT=" },
        };
        static unsigned number;
        MachineSession *session = g_new0(MachineSession, 1);
        g_autofree char *service = g_strdup_printf("test-%i", (int) kind);
        g_autofree char *path = g_strdup_printf("/etc/pam.d/%s", service);
        g_autofree char *configuration = g_strdup_printf("account required pam_permit.so\n"
                                                         "session required pam_systemd.so %s\n",
                                                         kinds[kind].pam_options);
        g_autofree char *pam_name = g_strdup_printf("--property=PAMName=%s", service);
        g_autofree char *user_name = g_strdup_printf("--property=User=%s", user);
        g_autofree char *environment = g_strdup_printf("--setenv=%s", kinds[kind].environment);
        g_autofree char *sought = NULL;

        machine_write(path, configuration);
        session->unit = g_strdup_printf("session-%u", number++);
        session->pid = machine_start_unit(session->unit, pam_name, user_name, environment);

        sought = g_strdup_printf("sed -n 's/^0::.*session-\\(.*\\)\\.scope$/\\1/p' /proc/%i/cgroup",
                                 (int) session->pid);
        session->id = machine_run("sh", "-c", sought);
        g_assert_cmpstr(session->id, !=, "");
        return session;
}

void machine_session_log_out(MachineSession *session) {
        if (session->pid != 0)
                machine_stop_unit(session->unit);
        session->pid = 0;
}

void machine_session_free(MachineSession *session) {
        g_autofree char *file = g_strdup_printf("/run/systemd/sessions/%s", session->id);

        machine_session_log_out(session);
        test_wait_for(access(file, F_OK) < 0);
        g_free(session->unit);
        g_free(session->id);
        g_free(session);
}

const char *machine_session_id(MachineSession *session) {
        return session->id;
}

pid_t machine_session_pid(MachineSession *session) {
        return session->pid;
}

bool machine_user_is_known(const char *user) {
        g_autofree char *file = g_strdup_printf("/run/systemd/users/%u", (unsigned) machine_uid(user));

        return access(file, F_OK) == 0;
}

/* --------------------------------------------------------------------------------------------- clients */

typedef struct Place {
        const struct passwd *user;
        char *group; /* cgroup.procs */
        int ready;
} Place;

static void enter_place(void *data) {
        const Place *place = data;
        _cleanup_close_ int fd = open(place->group, O_WRONLY | O_CLOEXEC);

        g_assert_no_errno(fd);
        g_assert_no_errno(write(fd, "0", 1));
        machine_become((void *) place->user);
}

static void enter_place_and_connect(void *data) {
        const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = BUS_SOCKET };
        const Place *place = data;
        int ready, fd;

        enter_place(data);
        /* Not among the numbers that it gets next. */
        ready = fcntl(place->ready, F_DUPFD_CLOEXEC, 100);
        g_assert_no_errno(ready);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(fd);
        g_assert_no_errno(connect(fd, (const struct sockaddr *) &address, sizeof(address)));
        if (fd != CONNECTION_FD)
                g_assert_no_errno(dup2(fd, CONNECTION_FD));
        g_assert_no_errno(write(ready, "", 1));
        /* Until the parent has its copy. */
        g_assert_no_errno(read(ready, &fd, 1));
}

static char *find_group(pid_t pid) {
        g_autofree char *file = g_strdup_printf("/proc/%i/cgroup", (int) pid);
        g_autofree char *content = test_read_file(file);
        const char *path = g_str_has_prefix(content, "0::") ? content : strstr(content, "\n0::") + 1;

        g_assert_nonnull(path);
        return g_strdup_printf("/sys/fs/cgroup%.*s/cgroup.procs", (int) strcspn(path + 3, "\n"), path + 3);
}

static TestClient *client_new(const struct passwd *user, pid_t pid) {
        g_autofree char *group = find_group(pid);
        Place place = { .user = user, .group = group };
        TestSpawn options = { .setup = enter_place_and_connect, .data = &place };
        TestChild *child;
        int pair[2], fd;

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
        place.ready = pair[1];
        child = test_child_new(WORDS("sleep", "infinity"), &options);
        close_fd(pair[1]);
        g_assert_cmpint(read(pair[0], &fd, 1), ==, 1);
        fd = (int) syscall(SYS_pidfd_getfd, child->pidfd, CONNECTION_FD, 0);
        g_assert_no_errno(fd);
        close_fd(pair[0]);
        return test_client_new_of_child(fd, child);
}

TestClient *machine_client_new_in(const char *user, pid_t pid) {
        return client_new(machine_find_user(user), pid);
}

TestClient *machine_client_new_of_uid_in(uid_t uid, pid_t pid) {
        const struct passwd user = { .pw_name = (char *) "", .pw_uid = uid, .pw_gid = (gid_t) uid };

        return client_new(&user, pid);
}

TestChild *machine_start_in(const char *user, pid_t pid, const char *log, const char *const *argv) {
        const struct passwd *entry = machine_find_user(user);
        g_autofree char *group = find_group(pid);
        g_autofree char *home = g_strdup_printf("HOME=%s", entry->pw_dir),
                        *runtime = g_strdup_printf("XDG_RUNTIME_DIR=/run/user/%u", (unsigned) entry->pw_uid);
        const char *const environment[] = { home, runtime, "LC_ALL=C.UTF-8", NULL };
        Place place = { .user = entry, .group = group };
        TestSpawn options = { .environment = environment, .log = log, .setup = enter_place, .data = &place };

        return test_child_new(argv, &options);
}
