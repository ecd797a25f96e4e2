/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The user units, with the commands of the section "At every login, at every boot" in tcpserversocketctl(1),
 * with a session and with lingering. */

#include <pwd.h>

#include "machine/session.h"

#define PAGE "data/man/tcpserversocketctl.1.scd"
#define SECTION "\n# AT EVERY LOGIN, AT EVERY BOOT\n"
#define FENCE "\n```\n"

#define RELAY_UNIT "tcpserversocket-relay@8080.service"
#define RUN_UNIT "tcpserversocket-run@web.service"
#define RELAY_PORT 8080
#define RUN_PORT 80
#define TARGET_PORT 3000
#define REFUSAL "Failed to listen on port 8080"

/* The literal blocks of the section, in their order. */
typedef enum Block {
        BLOCK_RELAY,
        BLOCK_RUN,
        BLOCK_ESCAPE,
        BLOCK_RULE,
        BLOCK_LINGER,
        BLOCK_STATUS,
        _BLOCK_MAX,
} Block;

static char *get_block(Block block) {
        g_autofree char *file = g_build_filename(g_getenv("TEST_SOURCE_ROOT"), PAGE, NULL);
        g_autofree char *page = test_read_file(file);
        char *start = strstr(page, SECTION), *end;

        g_assert_nonnull(start);
        start += strlen(SECTION);
        end = strstr(start, "\n# ");
        g_assert_nonnull(end);
        *end = '\0';
        g_auto(GStrv) parts = g_strsplit(start, FENCE, -1);
        g_assert_cmpuint(g_strv_length(parts), ==, 2 * _BLOCK_MAX + 1);
        g_assert_null(strchr(parts[2 * block + 1], '\\'));
        return g_strdup(parts[2 * block + 1]);
}

static char *run_as_user_full(int *ret_status, const char *script) {
        const struct passwd *user = machine_find_user(MACHINE_USER);
        g_autofree char *directory = g_strdup_printf("XDG_RUNTIME_DIR=/run/user/%u", (unsigned) user->pw_uid);
        g_autofree char *home = g_strdup_printf("HOME=%s", user->pw_dir);

        return machine_run_as(MACHINE_USER, ret_status, "env", "PATH=/usr/local/bin:/usr/bin:/bin", directory,
                              home, "sh", "-e", "-c", script);
}

/* In a shell of the user, as after the login. */
static char *run_as_user(const char *script) {
        int status;
        char *output = run_as_user_full(&status, script);

        if (status != 0)
                g_error("this script failed with status %d: %s\n%s", status, script, output);
        return output;
}

static void type_block(Block block) {
        g_autofree char *script = get_block(block);

        g_free(run_as_user(script));
}

static void wait_for_manager(void) {
        g_autofree char *socket = g_strdup_printf("/run/user/%u/systemd/private",
                                                  (unsigned) machine_uid(MACHINE_USER));

        test_wait_for(access(socket, F_OK) == 0);
}

static void restart_manager(void) {
        g_autofree char *unit = g_strdup_printf("user@%u.service", (unsigned) machine_uid(MACHINE_USER));

        g_free(machine_run("systemctl", "restart", unit));
        wait_for_manager();
}

static bool is_listening(int port) {
        return test_is_listening(getpid(), port);
}

static void set_up(Machine *m, const void *data) {
        g_free(machine_run("rm", "-rf", "/home/" MACHINE_USER "/.config"));
        machine_set_up(m, data);
        machine_start_logind();
        machine_use_installed_rules();
}

#define UNIT_TEST(sentence) \
        TEST_OF_IF(machine_require_logind(), sentence, Machine, m, set_up, machine_tear_down, NULL)

static int listen_as_target(void) {
        const struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(TARGET_PORT),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

        g_assert_no_errno(fd);
        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
        g_assert_no_errno(bind(fd, (const struct sockaddr *) &address, sizeof(address)));
        g_assert_no_errno(listen(fd, 16));
        return fd;
}

static void assert_relayed(const char *address, int target) {
        test_wait_for(is_listening(RELAY_PORT));
        _cleanup_close_ int peer = test_connect(address, RELAY_PORT);
        test_send(peer, "Hello", 5);
        _cleanup_close_ int connection = accept4(target, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(connection);
        test_expect(connection, "Hello");
        test_send(connection, "Goodbye", 7);
        test_expect(peer, "Goodbye");
}

static void assert_served(void) {
        test_wait_for(is_listening(RUN_PORT));
        g_autofree char *got = machine_run("curl", "--silent", "--show-error", "--fail", "--max-time", "10",
                                           "http://127.0.0.1/served");
        g_assert_cmpstr(got, ==, "by run");
}

static char *show_unit(const char *unit, const char *property) {
        g_autofree char *script = g_strdup_printf("systemctl --user show --property=%s --value '%s'",
                                                  property, unit);

        return run_as_user(script);
}

UNIT_TEST("systemd finds no mistake in the units") {
        g_free(machine_run("loginctl", "enable-linger", MACHINE_USER));
        wait_for_manager();
        test_assert_text(run_as_user("systemd-analyze --user verify " RELAY_UNIT " " RUN_UNIT), "");
}

UNIT_TEST("a relay runs while its user is logged in at a seat") {
        _cleanup_close_ int target = listen_as_target();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);

        wait_for_manager();
        type_block(BLOCK_RELAY);
        /* systemctl waits for that. */
        g_assert_true(is_listening(RELAY_PORT));
        assert_relayed("127.0.0.1", target);
        type_block(BLOCK_STATUS);

        g_clear_pointer(&session, machine_session_free);
        test_wait_for(!machine_user_is_known(MACHINE_USER));
        test_wait_for(!is_listening(RELAY_PORT));

        session = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);
        assert_relayed("127.0.0.1", target);
}

UNIT_TEST("a server runs from the boot on for a lingering user, if a rule allows the port") {
        g_autofree char *linger = get_block(BLOCK_LINGER), *rule = get_block(BLOCK_RULE);

        if (!test_require_program("curl"))
                return;
        machine_set_rule(rule);
        g_free(machine_run("sh", "-c", linger));
        wait_for_manager();
        g_free(run_as_user("cd; echo 'by run' >served"));
        type_block(BLOCK_RUN);
        assert_served();

        restart_manager();
        assert_served();
        g_free(run_as_user("systemctl --user stop " RUN_UNIT));
        g_assert_false(is_listening(RUN_PORT));
        test_assert_text(show_unit(RUN_UNIT, "Result"), "success");
}

UNIT_TEST("a unit that may not have its port says so, and starts when a rule allows it") {
        g_autofree char *rule = get_block(BLOCK_RULE), *relay = get_block(BLOCK_RELAY);
        g_auto(GStrv) parts = g_strsplit(rule, "\"" G_STRINGIFY(RUN_PORT) "\"", -1);
        g_autofree char *other_rule = g_strjoinv("\"" G_STRINGIFY(RELAY_PORT) "\"", parts);
        _cleanup_close_ int target = listen_as_target();
        int status;

        g_free(machine_run("loginctl", "enable-linger", MACHINE_USER));
        wait_for_manager();
        g_free(run_as_user_full(&status, relay));
        test_wait_for(machine_count_logged(REFUSAL) > 0);
        g_assert_false(is_listening(RELAY_PORT));

        g_assert_cmpstr(other_rule, !=, rule);
        machine_set_rule(other_rule);
        assert_relayed("127.0.0.1", target);
}

UNIT_TEST("the name of a unit can have an address, and the target a name") {
        g_autofree char *escape = get_block(BLOCK_ESCAPE), *unit = NULL, *start = NULL;
        _cleanup_close_ int target = listen_as_target();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);

        wait_for_manager();
        unit = run_as_user(escape);
        start = g_strdup_printf(
                        "systemctl --user set-environment TARGET=localhost:%u; systemctl --user start '%s'",
                        TARGET_PORT, unit);
        g_free(run_as_user(start));
        assert_relayed("::1", target);
        g_assert_cmpint(test_connect_fails("127.0.0.1", RELAY_PORT), ==, ECONNREFUSED);
}
