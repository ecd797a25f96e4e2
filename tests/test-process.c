/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the tool names processes and applications. */

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "ctl/service/process.h"
#include "register.h"

static void assert_application(const char *unit, const char *expected) {
        g_autofree char *application = NULL;

        g_test_message("%s", unit);
        g_assert_cmpint(process_parse_application(unit, &application), ==, 0);
        g_assert_cmpstr(application, ==, expected);
}

TEST_ALONE("the unit of a Flatpak has the name of its application") {
        assert_application("app-flatpak-org.example.Maps-4711.scope", "org.example.Maps");
        assert_application("app-flatpak-org.example.Maps\\x2dBeta-4711.scope", "org.example.Maps-Beta");
}

TEST_ALONE("the unit of a snap has its name") {
        assert_application("snap.maps.maps-0a1b2c3d-1.scope", "maps");
        assert_application("snap.maps-beta_two.daemon.service", "maps-beta_two");
        assert_application("snap.maps.hook.configure-0a1b.scope", "maps");
}

TEST_ALONE("the unit of a desktop's program has its name") {
        assert_application("app-gnome-org.example.Maps-4711.scope", "org.example.Maps");
        assert_application("app-org.example.Maps-4711.scope", "org.example.Maps");
        assert_application("app-org.example.Maps@0a1b.service", "org.example.Maps");
        assert_application("app-kde-org.example.Maps.service", "org.example.Maps");
}

TEST_ALONE("other units are not of an application") {
        static const char *const units[] = {
                "",
                "ssh.service",
                "session-3.scope",
                "user@1000.service",
                "app.slice",
                "app-flatpak.slice",
                "app-",
                "app-.scope",
                "app--.scope",
                "app-maps",
                "app-@1.service",
                "apps-maps-1.scope",
                "snap.",
                "snap.maps",
                "snap..maps.service",
                "snapd.service",
        };

        for (size_t i = 0; i < ELEMENTS(units); i++)
                assert_application(units[i], NULL);
        /* Neither a NUL nor half an escape sequence. */
        assert_application("app-a\\x00b-1.scope", "a\\x00b");
        assert_application("app-a\\x2-1.scope", "a\\x2");
        assert_application("app-a\\x 2b-1.scope", "a\\x 2b");
}

TEST_ALONE("a process has a command") {
        char name[16];
        Process p = {};

        g_assert_cmpint(prctl(PR_GET_NAME, name), ==, 0);
        g_assert_cmpint(process_query(getpid(), getuid(), &p), ==, 0);
        g_assert_cmpstr(p.command, ==, name);
        g_assert_nonnull(strstr(p.command_line, "test-process"));
        process_done(&p);

        /* The longest, and one with a line break. */
        g_assert_cmpint(prctl(PR_SET_NAME, "123456789012\n45"), ==, 0);
        g_assert_cmpint(process_query(getpid(), getuid(), &p), ==, 0);
        g_assert_cmpstr(p.command, ==, "123456789012\n45");
        process_done(&p);
        g_assert_cmpint(prctl(PR_SET_NAME, name), ==, 0);
}

TEST_ALONE("a process of another user, which has got the ID of one that has ended, is not described") {
        _cleanup_(process_done) Process p = {}, same = {};

        g_assert_cmpint(process_query(getpid(), getuid() + 1, &p), ==, 0);
        g_assert_null(p.command);
        g_assert_null(p.command_line);
        g_assert_null(p.unit);
        g_assert_null(p.application);
        g_assert_cmpint(process_query(getpid(), (uid_t) -1, &same), ==, 0);
        g_assert_nonnull(same.command);
}

TEST_ALONE("a process that has ended has no command") {
        Process p = {};
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        g_assert_cmpint(process_query(pid, getuid(), &p), ==, 0);
        g_assert_null(p.command);
        g_assert_null(p.command_line);
        g_assert_null(p.unit);
        g_assert_null(p.application);
}
