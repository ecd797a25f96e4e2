/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration files: which are read, and in what order. */

#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "config-root.h"

static void test_nothing(ConfigRoot *f, const void *data) {
        config_root_load(f);
        config_root_assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");

        config_root_write_file(f, MAIN, "", 0);
        config_root_load(f);
        config_root_assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");

        /* As it is installed. */
        config_root_write_settings(f, MAIN, "#MaxListeners=1\n  ; a comment\n\n\t\n[TCPServerSocket]\n");
        config_root_load(f);
        config_root_assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");
}

#define EVERYTHING                           \
        "MaxListeners=10\n"                  \
        "  MaxListenersPerUser = 11  \n"     \
        "MaxPendingRequestsPerUser=12\r\n"   \
        "MaxUnacknowledged=15\n"             \
        "MaxUnacknowledgedPerClient=14\n"    \
        "IdleTimeoutSec=1min 5s\n"           \
        "AllowedPorts=80 443\t1024-2047\n"   \
        "AllowedPorts=  8080\n"              \
        "AllowedAddresses=127.0.0.0/8 ::1\n" \
        "AllowedAddresses=2001:db8::/32\n"   \
        "AllowSocketDelivery=no" /* the last line may have no end */

static void test_everything(ConfigRoot *f, const void *data) {
        Settings *s;

        config_root_write_settings(f, MAIN, EVERYTHING);
        config_root_load(f);
        g_assert_cmpstr(f->log, ==, "");

        s = f->settings;
        g_assert_cmpint(s->limits.listeners, ==, 10);
        g_assert_cmpint(s->limits.listeners_per_user, ==, 11);
        g_assert_cmpint(s->limits.pending_requests_per_user, ==, 12);
        g_assert_cmpint(s->limits.unacknowledged, ==, 15);
        g_assert_cmpint(s->limits.unacknowledged_per_client, ==, 14);
        g_assert_cmpint(s->idle_timeout_usec, ==, 65 * G_USEC_PER_SEC);
        g_assert_false(s->allow_socket_delivery);
        g_assert_cmpint(g_strv_length(s->allowed_ports), ==, 4);
        g_assert_cmpstr(s->allowed_ports[2], ==, "1024-2047");
        g_assert_cmpstr(s->allowed_ports[3], ==, "8080");
        g_assert_cmpint(g_strv_length(s->allowed_addresses), ==, 3);
        g_assert_cmpstr(s->allowed_addresses[0], ==, "127.0.0.0/8");
        g_assert_cmpstr(s->allowed_addresses[2], ==, "2001:db8::/32");
}

static void test_reset(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, MAIN, EVERYTHING);
        config_root_write_settings(
                        f, DROP_IN("etc", "reset.conf"),
                        "MaxListeners=\nMaxListenersPerUser=\nMaxPendingRequestsPerUser=\nMaxUnacknowledged=\n"
                        "MaxUnacknowledgedPerClient=\nIdleTimeoutSec=\nAllowedPorts=\nAllowedAddresses=  \n"
                        "AllowSocketDelivery=\n");
        config_root_load(f);
        config_root_assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");

        /* A list starts anew. */
        config_root_write_settings(f, MAIN, "AllowedPorts=80\nAllowedPorts=\nAllowedPorts=81\n");
        config_root_write_file(f, DROP_IN("etc", "reset.conf"), "", 0);
        config_root_load(f);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_true(settings_allow_port(f->settings, 81));
}

static void test_precedence(ConfigRoot *f, const void *data) {
        static const char *const places[] = { "usr/lib", "usr/local/lib", "run", "etc" };

        /* By place, for one name. */
        config_root_write_settings(f, MAIN, "MaxListeners=1\nMaxListenersPerUser=100\n");
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
                g_autofree char *name = g_strdup_printf(DROP_IN("%s", "50-same.conf"), places[i]);
                g_autofree char *text = g_strdup_printf("MaxListeners=%zu\n", i + 2);

                config_root_write_settings(f, name, text);
                config_root_load(f);
                g_assert_cmpint(f->settings->limits.listeners, ==, i + 2);
                g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 100);
        }

        /* The one that is overridden is not read at all. */
        config_root_write_settings(f, DROP_IN("usr/lib", "50-same.conf"), "MaxListenersPerUser=7\n");
        config_root_load(f);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 100);

        /* By name, wherever they are. */
        config_root_write_settings(f, DROP_IN("usr/lib", "60-later.conf"), "MaxListeners=60\n");
        config_root_write_settings(f, DROP_IN("etc", "40-earlier.conf"),
                                   "MaxListeners=40\nMaxListenersPerUser=40\n");
        config_root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 60);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 40);
        g_assert_cmpstr(f->log, ==, "");
}

static void test_no_main_file_elsewhere(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, "usr/lib/tcpserversocket/tcpserversocketd.conf", "MaxListeners=1\n");
        config_root_write_settings(f, "run/tcpserversocket/tcpserversocketd.conf", "MaxListeners=1\n");
        config_root_load(f);
        config_root_assert_defaults(f);
}

static void link_to_null(ConfigRoot *f, const char *name) {
        g_autofree char *path = config_root_make_path(f, name);

        g_assert_cmpint(symlink("/dev/null", path), ==, 0);
}

static void test_masks(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, DROP_IN("usr/lib", "a.conf"), "MaxListeners=1\n");
        config_root_write_settings(f, DROP_IN("usr/lib", "b.conf"), "MaxListenersPerUser=1\n");
        link_to_null(f, DROP_IN("etc", "a.conf"));
        config_root_write_file(f, DROP_IN("run", "b.conf"), "", 0);
        link_to_null(f, MAIN);
        config_root_load(f);
        config_root_assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");
}

static void test_other_files(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, DROP_IN("etc", "README"), "MaxListeners=1\n");
        config_root_write_settings(f, DROP_IN("etc", "a.conf~"), "MaxListeners=1\n");
        config_root_write_settings(f, DROP_IN("etc", "a.conf.dpkg-new"), "MaxListeners=1\n");
        config_root_write_settings(f, DROP_IN("etc", ".a.conf"), "MaxListeners=1\n");
        config_root_load(f);
        config_root_assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");
}

static void test_unreadable(ConfigRoot *f, const void *data) {
        g_autofree char *fifo = config_root_make_path(f, DROP_IN("etc", "2-fifo.conf"));
        g_autofree char *dangling = config_root_make_path(f, DROP_IN("etc", "3-dangling.conf"));
        g_autofree char *huge = config_root_make_path(f, DROP_IN("etc", "4-huge.conf"));

        /* A directory stands for every read that fails: root may read everything else. */
        config_root_write_file(f, DROP_IN("etc", "1-directory.conf/x"), "", 0);
        g_assert_cmpint(mkfifo(fifo, 0644), ==, 0);
        g_assert_cmpint(symlink("nowhere", dangling), ==, 0);
        config_root_write_settings(f, DROP_IN("etc", "4-huge.conf"), "MaxListeners=3\n");
        g_assert_cmpint(truncate(huge, 2 * 1024 * 1024), ==, 0);
        config_root_write_settings(f, DROP_IN("etc", "5-good.conf"), "MaxListeners=5\n");
        config_root_write_file(f, "usr/lib/tcpserversocket/tcpserversocketd.conf.d", "not a directory", -1);
        config_root_write_settings(f, MAIN, "MaxListenersPerUser=4\n");
        config_root_load(f);

        g_assert_cmpint(f->settings->limits.listeners, ==, 5);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 4);
        /* What could not be read may have been a restriction. */
        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
#define UNREADABLE(name, why) "<4>/" DROP_IN("etc", name) ": Failed to read file: " why ", ignoring\n"
        g_assert_cmpstr(f->log, ==,
                        "<4>/usr/lib/tcpserversocket/tcpserversocketd.conf.d: Failed to read directory: "
                        "Not a directory, ignoring\n" UNREADABLE("1-directory.conf", "Is a directory")
                                        UNREADABLE("2-fifo.conf", "Operation not supported") UNREADABLE(
                                                        "3-dangling.conf", "No such file or directory")
                                                        UNREADABLE("4-huge.conf", "File too large"));
}

static void test_no_permission(ConfigRoot *f, const void *data) {
        g_autofree char *path = config_root_make_path(f, MAIN);
        bool root = geteuid() == 0;

        config_root_write_settings(f, MAIN, "MaxListeners=1\nAllowedPorts=8000\n");
        g_assert_cmpint(chmod(path, 0), ==, 0);

        /* Root may read everything. */
        if (root) {
                g_assert_cmpint(chmod(f->root, 0755), ==, 0);
                g_assert_cmpint(seteuid(65534), ==, 0);
        }
        config_root_load(f);
        if (root)
                g_assert_cmpint(seteuid(0), ==, 0);

        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_false(settings_allow_port(f->settings, 8000));
        g_assert_false(settings_allow_port(f->settings, 9000));
        g_assert_cmpstr(f->log, ==, "<4>/" MAIN ": Failed to read file: Permission denied, ignoring\n");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

#define add(path, function) \
        g_test_add(path, ConfigRoot, NULL, config_root_set_up, function, config_root_tear_down)
        add("/config/nothing is configured", test_nothing);
        add("/config/everything is configured", test_everything);
        add("/config/an empty value is the default", test_reset);
        add("/config/which file wins", test_precedence);
        add("/config/the main file is in etc", test_no_main_file_elsewhere);
        add("/config/an empty file or a link to null hides another", test_masks);
        add("/config/files of other names are left alone", test_other_files);
        add("/config/a file that cannot be read is left out", test_unreadable);
        add("/config/a file that may not be read is left out", test_no_permission);

        return g_test_run();
}
