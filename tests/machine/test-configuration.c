/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration: its files, its effects, and its errors, which are not fatal. */

#include "base/message-ids.h"
#include "machine/machine.h"

#define NAME "tcpserversocket/tcpserversocketd.conf"
#define CONFIGURATION "MESSAGE_ID=" MESSAGE_CONFIGURATION_STR
#define NOT_CONTAINED "MESSAGE_ID=" MESSAGE_NOT_CONTAINED_STR
#define MAIN "/etc/" NAME

static char *get(const char *property) {
        return machine_run("busctl", "get-property", TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                           property);
}

static void assert_defaults(void) {
        static const struct {
                const char *property;
                const char *value;
        } defaults[] = {
                { "MaxChannels", "u 512" },
                { "MaxChannelsPerUser", "u 64" },
                { "MaxListeners", "u 16384" },
                { "MaxListenersPerUser", "u 1024" },
                { "MaxPendingRequestsPerUser", "u 64" },
                { "MaxUnacknowledged", "u 56" },
                { "MaxUnacknowledgedPerClient", "u 20" },
                { "IdleTimeoutUSec", "t 30000000" },
                { "AllowSocketDelivery", "b true" },
                { "RequireContainment", "b false" },
        };
        g_autofree char *ports = get("AllowedPorts"), *addresses = get("AllowedAddresses");

        for (size_t i = 0; i < ELEMENTS(defaults); i++) {
                g_autofree char *value = get(defaults[i].property);

                g_assert_cmpstr(value, ==, defaults[i].value);
        }
        g_assert_true(g_str_has_suffix(ports, " 0"));
        g_assert_true(g_str_has_suffix(addresses, " 0"));
}

MACHINE_TEST("the defaults apply without a file") {
        g_autofree char *end = machine_journal_end();

        assert_defaults();
        g_assert_cmpuint(machine_journal_count(end, CONFIGURATION, NULL), ==, 0);
}

/* The lines that are commented out in the installed file have the defaults. */
MACHINE_TEST("the installed file has the defaults as comments") {
        g_autofree char *end = machine_journal_end(), *content = NULL;
        g_auto(GStrv) lines = NULL;
        unsigned n = 0;

        content = test_read_file(MAIN);
        lines = g_strsplit(content, "\n", -1);
        for (char **line = lines; *line; line++)
                if ((*line)[0] == '#' && g_ascii_isupper((*line)[1]) && strchr(*line, '=')) {
                        (*line)[0] = ' ';
                        g_strchug(*line);
                        n++;
                }
        g_assert_cmpuint(n, ==, 12);

        g_autofree char *changed = g_strjoinv("\n", lines);

        machine_write(MAIN, changed);
        assert_defaults();
        g_assert_cmpuint(machine_journal_count(end, CONFIGURATION, NULL), ==, 0);
}

MACHINE_TEST("drop-ins take precedence") {
        machine_write(MAIN, "[TCPServerSocket]\nMaxListeners=11\nMaxListenersPerUser=11\n"
                            "MaxPendingRequestsPerUser=11\n");
        /* Of one name, that in etc, then run, then usr/lib is read; all of them by their names. */
        machine_write("/usr/lib/" NAME ".d/10-a.conf", "[TCPServerSocket]\nMaxListeners=12\n");
        machine_write("/run/" NAME ".d/10-a.conf", "[TCPServerSocket]\nMaxListeners=13\n");
        machine_write("/usr/lib/" NAME ".d/30-c.conf", "[TCPServerSocket]\nMaxListenersPerUser=14\n");
        machine_write("/etc/" NAME ".d/20-b.conf", "[TCPServerSocket]\nMaxListenersPerUser=15\n");
        machine_write("/run/" NAME ".d/40-d.conf", "[TCPServerSocket]\nMaxPendingRequestsPerUser=16\n");
        machine_link("/dev/null", "/etc/" NAME ".d/40-d.conf");
        /* Not one of them. */
        machine_write("/etc/" NAME ".d/50-e.conf.disabled", "[TCPServerSocket]\nMaxListeners=17\n");

        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners"), ==, 13);
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListenersPerUser"), ==, 14);
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxPendingRequestsPerUser"), ==, 11);
}

MACHINE_TEST("no file is needed") {
        g_autofree char *end = machine_journal_end();

        machine_remove(MAIN);
        assert_defaults();
        g_assert_cmpuint(machine_journal_count(end, CONFIGURATION, NULL), ==, 0);
}

MACHINE_TEST("a reload applies the configuration") {
        machine_configure("MaxListeners=20");
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners"), ==, 20);
        pid_t pid = machine_service_pid();
        for (unsigned i = 21; i < 25; i++) {
                g_autofree char *line = g_strdup_printf("MaxListeners=%u", i);

                machine_reconfigure(line);
                test_wait_for(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners") == i);
        }
        g_assert_cmpint(machine_service_pid(), ==, pid);
        test_wait_for(machine_unit_is("active"));
}

MACHINE_TEST("MaxListenersPerUser limits each user") {
        g_autoptr(TestClient) other = machine_client_new(m, MACHINE_WEB_USER);
        g_autofree char *message = NULL;

        machine_configure("MaxListenersPerUser=2");
        g_autofree char *first = test_listen(m->user, 0, -1, NULL);
        g_autofree char *second = test_listen(m->user, 0, -1, NULL);
        test_assert_text(test_listen_fails(m->user, &message, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_nonnull(strstr(message, "MaxListenersPerUser"));
        g_assert_nonnull(strstr(message, "2"));
        g_free(test_listen(other, 0, -1, NULL));

        /* Less than is there already: that stays. */
        machine_reconfigure("MaxListenersPerUser=1");
        test_wait_for(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListenersPerUser") == 1);
        g_assert_cmpuint(test_get_port(m->user, first), >, 0);
        test_listener_call(m->user, second, "Close");
        g_free(test_listen_fails(m->user, NULL, 0, -1, NULL));

        machine_reconfigure("MaxListenersPerUser=3");
        test_wait_for(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListenersPerUser") == 3);
        g_free(test_listen(m->user, 0, -1, NULL));
        g_free(test_listen(m->user, 0, -1, NULL));
}

MACHINE_TEST("MaxListeners limits all users") {
        g_autofree char *message = NULL;

        machine_configure("MaxListeners=2");
        g_free(test_listen(m->user, 0, -1, NULL));
        g_free(test_listen(m->root, 0, -1, NULL));
        test_assert_text(test_listen_fails(m->user, &message, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_nonnull(strstr(message, "MaxListeners"));
        g_clear_pointer(&m->root, test_client_free);
        test_client_sync(m->user);
        test_client_sync_service(m->user);
        g_free(test_listen(m->user, 0, -1, NULL));
}

static void assert_denied(TestClient *client, int port, const char *address) {
        test_assert_text(test_listen_fails(client, NULL, port, -1, "localAddress", "s", address, NULL),
                         SD_BUS_ERROR_ACCESS_DENIED);
}

static void assert_allowed(TestClient *client, int port, const char *address) {
        g_autofree char *listener = test_listen(client, port, -1, "localAddress", "s", address, NULL);

        test_listener_call(client, listener, "Close");
}

static unsigned port_count(void) {
        g_autofree char *ports = get("AllowedPorts");
        unsigned n = 0;

        g_assert_cmpint(sscanf(ports, "%*s %u", &n), ==, 1);
        return n;
}

MACHINE_TEST("AllowedPorts applies to all users") {
        machine_configure("AllowedPorts=8000-8010 9000\nAllowedPorts=80");
        assert_allowed(m->user, 8000, "::");
        assert_allowed(m->user, 8010, "::");
        assert_allowed(m->user, 9000, "::");
        assert_allowed(m->root, 80, "::");
        assert_denied(m->user, 7999, "::");
        assert_denied(m->user, 8011, "::");
        assert_denied(m->user, 0, "::");
        /* It applies to root as well. */
        assert_denied(m->root, 8011, "::");

        machine_reconfigure("AllowedPorts=80\nAllowedPorts=\nAllowedPorts=1024-65535");
        test_wait_for(port_count() == 1);
        assert_allowed(m->user, 7999, "::");
        assert_allowed(m->user, 0, "::");
        assert_denied(m->root, 80, "::");
}

MACHINE_TEST("AllowedAddresses applies to all users") {
        machine_configure("AllowedAddresses=127.0.0.0/8 ::1");
        assert_allowed(m->user, 0, "127.0.0.1");
        assert_allowed(m->user, 0, "127.1.2.3");
        assert_allowed(m->user, 0, "::1");
        assert_denied(m->user, 0, "::");
        assert_denied(m->user, 0, "0.0.0.0");
        assert_denied(m->root, 0, "::");
}

static void assert_reported(const char *since, const char *file, unsigned line) {
        g_autofree char *file_field = g_strdup_printf("CONFIG_FILE=%s", file);
        g_autofree char *line_field = g_strdup_printf("CONFIG_LINE=%u", line);
        g_autofree char *place = NULL;

        g_autofree char *text = machine_journal_get(since, "MESSAGE", CONFIGURATION, file_field, line_field,
                                                    NULL);
        g_assert_true(g_str_has_prefix(text, file));
        if (line > 0) {
                place = g_strdup_printf("%s:%u: ", file, line);
                g_assert_true(g_str_has_prefix(text, place));
        }
}

MACHINE_TEST("wrong lines are reported and skipped") {
        static const char file[] = "/etc/" NAME ".d/50-wrong.conf";
        g_autofree char *end = machine_journal_end();

        machine_write(file, "MaxListeners=1\n"         /* 1: in no section */
                            "[TCPServerSocket]\n"      /* 2 */
                            "MaxListeners=many\n"      /* 3 */
                            "MaxListenersPerUser=77\n" /* 4: right */
                            "MaxUnacknowledged=13\n"   /* 5: too few */
                            "Nonsense=yes\n"           /* 6 */
                            "no assignment\n"          /* 7 */
                            "AllowedPorts=70000 80\n"  /* 8: one word of it */
                            "AllowedAddresses=all\n"   /* 9 */
                            "IdleTimeoutSec=soon\n"    /* 10 */
                            "AllowSocketDelivery=ja\n" /* 11 */
                            "[Other]\n"                /* 12: with all that follows */
                            "MaxListeners=2\n");

        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListenersPerUser"), ==, 77);
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners"), ==, 16384);
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxUnacknowledged"), ==, 56);
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "IdleTimeoutUSec"), ==, 30000000);
        g_assert_true(test_get_bool(m->user, TEST_MANAGER_PATH, "AllowSocketDelivery"));
        assert_denied(m->root, 81, "::1");

        for (unsigned line = 1; line <= 13; line++)
                if (line != 2 && line != 4 && line != 13)
                        assert_reported(end, file, line);
        g_assert_cmpuint(machine_journal_count(end, CONFIGURATION, "CONFIG_LINE=4", NULL), ==, 0);
}

MACHINE_TEST("a directory instead of a file is reported") {
        static const char path[] = "/run/" NAME ".d/50-directory.conf";
        g_autofree char *end = machine_journal_end();

        test_run_command("mkdir", "-p", path);
        /* It may have been a restriction. */
        assert_denied(m->root, 8000, "::1");
        assert_reported(end, path, 0);
        test_run_command("rmdir", path);
}

MACHINE_TEST("a reload applies only valid lines") {
        g_autofree char *listener = test_listen(m->user, 0, -1, NULL);

        machine_reconfigure("MaxListeners=\x01\xff\nMaxListenersPerUser=5\n[[[\n=\n=x\nMaxListeners");
        test_wait_for(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListenersPerUser") == 5);
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners"), ==, 16384);
        g_assert_cmpuint(test_get_port(m->user, listener), >, 0);
}

MACHINE_TEST("RequireContainment refuses ports without the guard") {
        g_autofree char *end = machine_journal_end();

        machine_configure_unit("ExecStartPre=");
        machine_configure("RequireContainment=yes");
        test_assert_text(test_listen_fails(m->user, NULL, 0, -1, NULL), SD_BUS_ERROR_ACCESS_DENIED);
        g_free(test_listen(m->root, 0, -1, NULL));
        /* The start, and the refusal. */
        test_wait_for(machine_journal_count(end, NOT_CONTAINED, "PRIORITY=4", NULL) == 1);
        test_wait_for(machine_journal_count(end, NOT_CONTAINED, "PRIORITY=5", NULL) == 1);

        machine_reconfigure("RequireContainment=no");
        test_wait_for(!test_get_bool(m->user, TEST_MANAGER_PATH, "RequireContainment"));
        g_free(test_listen(m->user, 0, -1, NULL));
}

/* What a drop-in takes away. */
MACHINE_TEST("the journal names resources that the unit does not give") {
        static const struct {
                const char *unit, *settings, *text;
        } cases[] = {
                { "FileDescriptorStoreMax=0", "", "The unit has FileDescriptorStoreMax=0: each restart" },
                { "FileDescriptorStoreMax=500", "", "The unit has FileDescriptorStoreMax=500: a restart" },
                { "LimitNOFILE=1024", "",
                  "The limit of 1024 descriptors is too small for MaxListeners=16384" },
                { "", "MaxUnacknowledged=14", "MaxUnacknowledged=14 is small: programs of 8 users" },
        };
        g_autofree char *end = machine_journal_end(), *path = NULL, *limits = NULL;
        unsigned limit;

        /* The unit as it is, although the machine may not be allowed to raise the limit of descriptors. */
        test_client_sync_service(m->user);
        path = g_strdup_printf("/proc/%d/limits", (int) machine_service_pid());
        limits = test_read_file(path);
        g_assert_cmpint(sscanf(strstr(limits, "Max open files"), "Max open files %u", &limit), ==, 1);
        machine_stop_service();
        g_assert_cmpuint(machine_journal_count(end, "PRIORITY=4", NULL), ==, limit < 131072);

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                /* On dbus-broker it has no meaning. */
                if (*cases[i].settings && !streq(g_getenv("TEST_BUS"), "daemon"))
                        continue;

                machine_configure_unit(cases[i].unit);
                machine_configure(cases[i].settings);
                test_client_sync_service(m->user);
                test_wait_for(machine_count_logged(cases[i].text) == 1);
                machine_stop_service();
        }
}

/* The last of eight is root's, and the two before it are for users that have none. */
MACHINE_TEST("MaxListeners leaves listeners for other users and for root") {
        g_autoptr(TestClient) web = machine_client_new(m, MACHINE_WEB_USER);

        machine_configure("MaxListeners=8");
        for (unsigned i = 0; i < 5; i++)
                g_free(test_listen(m->user, 0, -1, NULL));
        test_assert_text(test_listen_fails(m->user, NULL, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);

        g_free(test_listen(web, 0, -1, NULL));
        test_assert_text(test_listen_fails(web, NULL, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);

        g_free(test_listen(m->root, 0, -1, NULL));
        g_free(test_listen(m->root, 0, -1, NULL));
        test_assert_text(test_listen_fails(m->root, NULL, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);
}
