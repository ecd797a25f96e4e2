/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration: files and their order, values, errors in the log. */

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/address.h"
#include "base/macros.h"
#include "daemon/policy/settings.h"
#include "register.h"

#define MAIN "etc/tcpserversocket/tcpserversocketd.conf"
#define DROP_IN(place, name) place "/tcpserversocket/tcpserversocketd.conf.d/" name

typedef struct Root {
        char *root;
        Settings *settings; /* of the last root_load() */
        char *log;          /* of the last root_load(), without the root in paths */
        int incomplete;     /* the return value of settings_load() */
} Root;

#define TEST(sentence) TEST_OF(sentence, Root, f, root_set_up, root_tear_down, NULL)

static void root_set_up(Root *f, const void *data) {
        f->root = g_dir_make_tmp("test-config-XXXXXX", NULL);
        g_assert_nonnull(f->root);
}

static void remove_tree(const char *path) {
        GDir *dir;
        const char *name;

        if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK) && (dir = g_dir_open(path, 0, NULL))) {
                while ((name = g_dir_read_name(dir))) {
                        g_autofree char *inner = g_build_filename(path, name, NULL);

                        remove_tree(inner);
                }
                g_dir_close(dir);
        }
        g_assert_cmpint(g_remove(path), ==, 0);
}

static void root_tear_down(Root *f, const void *data) {
        remove_tree(f->root);
        g_free(f->root);
        g_free(f->log);
        f->settings = settings_free(f->settings);
}

static char *root_make_path(Root *f, const char *name) {
        char *path = g_build_filename(f->root, name, NULL);
        g_autofree char *directory = g_path_get_dirname(path);
        g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
        return path;
}

static void root_write_file(Root *f, const char *name, const char *text, gssize length) {
        g_autofree char *path = root_make_path(f, name);

        g_assert_true(g_file_set_contents(path, text, length, NULL));
}

static void root_write_settings(Root *f, const char *name, const char *text) {
        g_autofree char *all = g_strdup_printf("[TCPServerSocket]\n%s", text);

        root_write_file(f, name, all, -1);
}

static char *leave_out(const char *text, const char *part) {
        g_auto(GStrv) parts = g_strsplit(text, part, 0);

        return g_strjoinv("", parts);
}

static void root_load(Root *f) {
        int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        FILE *file = tmpfile();
        gsize length;

        g_assert_nonnull(file);
        must(copy);
        g_assert_cmpint(dup2(fileno(file), STDERR_FILENO), ==, STDERR_FILENO);
        f->settings = settings_free(f->settings);
        f->incomplete = settings_load(f->root, &f->settings);
        must(f->incomplete);
        g_assert_cmpint(dup2(copy, STDERR_FILENO), ==, STDERR_FILENO);
        close(copy);

        g_assert_cmpint(fseek(file, 0, SEEK_END), ==, 0);
        length = (gsize) ftell(file);
        rewind(file);
        g_autofree char *log = g_malloc0(length + 1);
        g_assert_cmpint(fread(log, 1, length, file), ==, length);
        fclose(file);

        g_free(f->log);
        f->log = leave_out(log, f->root);
}

/* With this main file. */
static void root_load_settings(Root *f, const char *text) {
        root_write_settings(f, MAIN, text);
        root_load(f);
}

/* Loads the configuration, which has all defaults, with this log. */
static void root_expect_defaults(Root *f, const char *log) {
        root_load(f);
        g_assert_cmpstr(f->log, ==, log);

        Settings *s = f->settings;

        g_assert_cmpint(s->limits.listeners, ==, 16384);
        g_assert_cmpint(s->limits.listeners_per_user, ==, 1024);
        g_assert_cmpint(s->limits.channels, ==, 512);
        g_assert_cmpint(s->limits.channels_per_user, ==, 64);
        g_assert_cmpint(s->limits.pending_requests_per_user, ==, 64);
        g_assert_cmpint(s->limits.unacknowledged, ==, 56);
        g_assert_cmpint(s->limits.unacknowledged_per_client, ==, 20);
        g_assert_cmpint(s->idle_timeout_usec, ==, 30 * G_USEC_PER_SEC);
        g_assert_true(s->allow_socket_delivery);
        g_assert_false(s->require_containment);
        g_assert_null(s->allowed_ports);
        g_assert_null(s->allowed_addresses);
        g_assert_cmpint(s->n_prefixes, ==, 0);
        g_assert_true(settings_allow_port(s, 0));
        g_assert_true(settings_allow_port(s, 1));
        g_assert_true(settings_allow_port(s, 65535));
}

TEST("nothing is configured") {
        root_expect_defaults(f, "");

        root_write_file(f, MAIN, "", 0);
        root_expect_defaults(f, "");

        /* Like the installed file. */
        root_write_settings(f, MAIN, "#MaxListeners=1\n  ; a comment\n\n\t\n[TCPServerSocket]\n");
        root_expect_defaults(f, "");
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
        "RequireContainment=yes\n"           \
        "AllowSocketDelivery=no" /* without a newline at the end */

TEST("everything is configured") {
        Settings *s;

        root_load_settings(f, EVERYTHING);
        g_assert_cmpstr(f->log, ==, "");

        s = f->settings;
        g_assert_cmpint(s->limits.listeners, ==, 10);
        g_assert_cmpint(s->limits.listeners_per_user, ==, 11);
        g_assert_cmpint(s->limits.pending_requests_per_user, ==, 12);
        g_assert_cmpint(s->limits.unacknowledged, ==, 15);
        g_assert_cmpint(s->limits.unacknowledged_per_client, ==, 14);
        g_assert_cmpint(s->idle_timeout_usec, ==, 65 * G_USEC_PER_SEC);
        g_assert_false(s->allow_socket_delivery);
        g_assert_true(s->require_containment);
        g_assert_cmpint(g_strv_length(s->allowed_ports), ==, 4);
        g_assert_cmpstr(s->allowed_ports[2], ==, "1024-2047");
        g_assert_cmpstr(s->allowed_ports[3], ==, "8080");
        g_assert_cmpint(g_strv_length(s->allowed_addresses), ==, 3);
        g_assert_cmpstr(s->allowed_addresses[0], ==, "127.0.0.0/8");
        g_assert_cmpstr(s->allowed_addresses[2], ==, "2001:db8::/32");
}

TEST("an empty value restores the default") {
        root_write_settings(f, MAIN, EVERYTHING);
        root_write_settings(
                        f, DROP_IN("etc", "reset.conf"),
                        "MaxListeners=\nMaxListenersPerUser=\nMaxPendingRequestsPerUser=\nMaxUnacknowledged=\n"
                        "MaxUnacknowledgedPerClient=\nIdleTimeoutSec=\nAllowedPorts=\nAllowedAddresses=  \n"
                        "AllowSocketDelivery=\nRequireContainment=\n");
        root_expect_defaults(f, "");

        /* An empty assignment starts a new list. */
        root_write_settings(f, MAIN, "AllowedPorts=80\nAllowedPorts=\nAllowedPorts=81\n");
        root_write_file(f, DROP_IN("etc", "reset.conf"), "", 0);
        root_load(f);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_true(settings_allow_port(f->settings, 81));
}

TEST("drop-ins are read by name, and masked by directory") {
        static const char *const places[] = { "usr/lib", "usr/local/lib", "run", "etc" };

        /* Of one name, by directory. */
        root_write_settings(f, MAIN, "MaxListeners=1\nMaxListenersPerUser=100\n");
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
                g_autofree char *name = g_strdup_printf(DROP_IN("%s", "50-same.conf"), places[i]);
                g_autofree char *text = g_strdup_printf("MaxListeners=%zu\n", i + 2);

                root_write_settings(f, name, text);
                root_load(f);
                g_assert_cmpint(f->settings->limits.listeners, ==, i + 2);
                g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 100);
        }

        /* A masked file is not read at all. */
        root_write_settings(f, DROP_IN("usr/lib", "50-same.conf"), "MaxListenersPerUser=7\n");
        root_load(f);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 100);

        /* Of several names, by name, across directories. */
        root_write_settings(f, DROP_IN("usr/lib", "60-later.conf"), "MaxListeners=60\n");
        root_write_settings(f, DROP_IN("etc", "40-earlier.conf"),
                            "MaxListeners=40\nMaxListenersPerUser=40\n");
        root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 60);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 40);
        g_assert_cmpstr(f->log, ==, "");
}

TEST("the main file is only read in etc") {
        root_write_settings(f, "usr/lib/tcpserversocket/tcpserversocketd.conf", "MaxListeners=1\n");
        root_write_settings(f, "run/tcpserversocket/tcpserversocketd.conf", "MaxListeners=1\n");
        root_expect_defaults(f, "");
}

static void link_to_null(Root *f, const char *name) {
        g_autofree char *path = root_make_path(f, name);

        g_assert_cmpint(symlink("/dev/null", path), ==, 0);
}

TEST("an empty file or a link to null masks another") {
        root_write_settings(f, DROP_IN("usr/lib", "a.conf"), "MaxListeners=1\n");
        root_write_settings(f, DROP_IN("usr/lib", "b.conf"), "MaxListenersPerUser=1\n");
        link_to_null(f, DROP_IN("etc", "a.conf"));
        root_write_file(f, DROP_IN("run", "b.conf"), "", 0);
        link_to_null(f, MAIN);
        root_expect_defaults(f, "");
}

TEST("files without the suffix conf are not read") {
        root_write_settings(f, DROP_IN("etc", "README"), "MaxListeners=1\n");
        root_write_settings(f, DROP_IN("etc", "a.conf~"), "MaxListeners=1\n");
        root_write_settings(f, DROP_IN("etc", "a.conf.dpkg-new"), "MaxListeners=1\n");
        root_write_settings(f, DROP_IN("etc", ".a.conf"), "MaxListeners=1\n");
        root_expect_defaults(f, "");
}

TEST("an unreadable file is skipped and restricts") {
        g_autofree char *fifo = root_make_path(f, DROP_IN("etc", "2-fifo.conf"));
        g_autofree char *dangling = root_make_path(f, DROP_IN("etc", "3-dangling.conf"));
        g_autofree char *huge = root_make_path(f, DROP_IN("etc", "4-huge.conf"));

        /* A directory fails to be read by root, too. */
        root_write_file(f, DROP_IN("etc", "1-directory.conf/x"), "", 0);
        g_assert_cmpint(mkfifo(fifo, 0644), ==, 0);
        g_assert_cmpint(symlink("nowhere", dangling), ==, 0);
        root_write_settings(f, DROP_IN("etc", "4-huge.conf"), "MaxListeners=3\n");
        g_assert_cmpint(truncate(huge, 2 * 1024 * 1024), ==, 0);
        root_write_settings(f, DROP_IN("etc", "5-good.conf"), "MaxListeners=5\n");
        root_write_file(f, "usr/lib/tcpserversocket/tcpserversocketd.conf.d", "not a directory", -1);
        root_load_settings(f, "MaxListenersPerUser=4\n");

        g_assert_cmpint(f->settings->limits.listeners, ==, 5);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 4);
        /* The unread files may have had restrictions. */
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

TEST("a file without permission is skipped and restricts") {
        g_autofree char *path = root_make_path(f, MAIN);
        bool root = geteuid() == 0;

        root_write_settings(f, MAIN, "MaxListeners=1\nAllowedPorts=8000\n");
        g_assert_cmpint(chmod(path, 0), ==, 0);

        /* Root can read a file of mode 0. */
        if (root) {
                g_assert_cmpint(chmod(f->root, 0755), ==, 0);
                g_assert_cmpint(seteuid(65534), ==, 0);
        }
        root_load(f);
        if (root)
                g_assert_cmpint(seteuid(0), ==, 0);

        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_false(settings_allow_port(f->settings, 8000));
        g_assert_false(settings_allow_port(f->settings, 9000));
        g_assert_cmpstr(f->log, ==, "<4>/" MAIN ": Failed to read file: Permission denied, ignoring\n");
}

TEST("every invalid value is logged with its line") {
        static const struct {
                const char *line;
                const char *complaint;
        } cases[] = {
#define NUMBER_FROM(key, min, max, value) \
        { key "=" value, key " must be a number from " min " to " max ", not \"" value "\"" }
#define NUMBER(key, max, value) NUMBER_FROM(key, "1", max, value)
                NUMBER("MaxListeners", "1000000", "0"),
                NUMBER("MaxListeners", "1000000", "1000001"),
                NUMBER("MaxListeners", "1000000", "4294967297"),
                NUMBER("MaxListeners", "1000000", "99999999999999999999999"),
                NUMBER("MaxListeners", "1000000", "-1"),
                NUMBER("MaxListeners", "1000000", "+1"),
                NUMBER("MaxListeners", "1000000", "0x10"),
                NUMBER("MaxListeners", "1000000", "10k"),
                NUMBER("MaxListeners", "1000000", "1 2"),
                NUMBER("MaxListeners", "1000000", "many"),
                NUMBER("MaxListeners", "1000000", "infinity"),
                NUMBER("MaxListenersPerUser", "1000000", "0"),
                NUMBER("MaxChannels", "1000000", "0"),
                NUMBER("MaxChannelsPerUser", "1000000", "0"),
                NUMBER("MaxPendingRequestsPerUser", "10000", "10001"),
                NUMBER_FROM("MaxUnacknowledged", "14", "10000", "10001"),
                NUMBER_FROM("MaxUnacknowledged", "14", "10000", "13"),
                NUMBER("MaxUnacknowledgedPerClient", "10000", "10001"),
#define TIME(value)                \
        { "IdleTimeoutSec=" value, \
          "IdleTimeoutSec must be a time span such as \"30s\" or \"5min\", not \"" value "\"" }
                TIME("soon"),
                TIME("-1"),
                TIME("5 parsecs"),
                TIME("99999999y"),
                { "AllowSocketDelivery=maybe", "AllowSocketDelivery must be yes or no, not \"maybe\"" },
                { "RequireContainment=maybe", "RequireContainment must be yes or no, not \"maybe\"" },
                { "AllowSocketDelivery=2", "AllowSocketDelivery must be yes or no, not \"2\"" },
#define PORT(value) { "AllowedPorts=" value, "Invalid port or range of ports in AllowedPorts: \"" value "\"" }
                PORT("http"),
                PORT("0"),
                PORT("65536"),
                PORT("0-10"),
                PORT("10-5"),
                PORT("10-"),
                PORT("-10"),
                PORT("10-20-30"),
                PORT("80,443"),
#define ADDRESS(value) \
        { "AllowedAddresses=" value, "Invalid address or prefix in AllowedAddresses: \"" value "\"" }
                ADDRESS("localhost"),
                ADDRESS("10.0.0.0/33"),
                ADDRESS("::/129"),
                ADDRESS("10.0.0/8"),
                ADDRESS("fe80::1%lo"),
                { "maxlisteners=1", "Unknown setting maxlisteners in section [TCPServerSocket]" },
                { "Colour=blue", "Unknown setting Colour in section [TCPServerSocket]" },
                { "=blue", "Unknown setting  in section [TCPServerSocket]" },
                { "MaxListeners", "Missing \"=\"" },
                { "\xff\x01", "Missing \"=\"" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = g_strdup_printf("\n# comment\n%s\nMaxListeners=7\nMaxListeners=\n"
                                                        "AllowedPorts=\nAllowedAddresses=\n",
                                                        cases[i].line);
                g_autofree char *expected = g_strdup_printf("<4>/" MAIN ":4: %s, ignoring\n",
                                                            cases[i].complaint);

                root_write_settings(f, MAIN, text);
                root_expect_defaults(f, expected);
        }
}

TEST("valid values and words next to invalid ones are kept") {
        root_load_settings(f, "MaxListeners=5\nMaxListeners=x\nIdleTimeoutSec=5\nIdleTimeoutSec=x\n"
                              "AllowedPorts=80 http 443\nAllowedAddresses=10.0.0.0/8 here\n");
        g_assert_cmpint(f->settings->limits.listeners, ==, 5);
        g_assert_cmpint(f->settings->idle_timeout_usec, ==, 5 * G_USEC_PER_SEC);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 2);
        g_assert_true(settings_allow_port(f->settings, 443));
        g_assert_false(settings_allow_port(f->settings, 81));
        g_assert_cmpint(f->settings->n_prefixes, ==, 1);
        g_assert_nonnull(strstr(f->log, MAIN ":3: "));
        g_assert_nonnull(strstr(f->log, MAIN ":5: "));
        g_assert_nonnull(strstr(f->log, MAIN ":6: Invalid port or range of ports in AllowedPorts: \"http\""));
        g_assert_nonnull(strstr(f->log, MAIN ":7: Invalid address or prefix in AllowedAddresses: \"here\""));
}

/* A typing error in a restriction must not lift it. */
TEST("a list without a valid word allows nothing") {
        Address address;

        root_load_settings(f, "AllowedPorts=http\nAllowedAddresses=localhost\n");
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_false(settings_allow_port(f->settings, 0));
        g_assert_cmpint(address_parse("127.0.0.1", &address), ==, 0);
        g_assert_false(settings_allow_address(f->settings, &address, false));
}

TEST("sections and headers") {
        root_write_file(f, MAIN,
                        "MaxListeners=1\n"
                        "[Elsewhere]\n"
                        "MaxListeners=1\n"
                        "MaxListenersPerUser=1\n"
                        "[TCPServerSocket]\n"
                        "MaxUnacknowledged=14\n"
                        "[TCPServerSocket\n"
                        "MaxListeners=1\n"
                        "[TCPServer;Socket]\n"
                        "[TCPServerSocket] ; that is one\n"
                        "MaxPendingRequestsPerUser=4\n",
                        -1);
        root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 1024);
        g_assert_cmpint(f->settings->limits.unacknowledged, ==, 14);
        g_assert_cmpint(f->settings->limits.pending_requests_per_user, ==, 4);
        g_assert_cmpstr(f->log, ==,
                        "<4>/" MAIN ":1: Assignment outside of section [TCPServerSocket], ignoring\n"
                        "<4>/" MAIN ":2: Unknown section [Elsewhere], ignoring\n"
                        "<4>/" MAIN ":7: Missing \"]\" after the name of the section, ignoring\n"
                        "<4>/" MAIN ":8: Assignment outside of section [TCPServerSocket], ignoring\n"
                        "<4>/" MAIN ":9: Unknown section [TCPServer;Socket], ignoring\n");
}

TEST("comments at the beginning and at the end of lines") {
        root_load_settings(f, "; MaxListeners=1\n\t# MaxListeners=2\nMaxListenersPerUser=3 ; and why\n"
                              "AllowedPorts=80 ;81\nAllowedPorts=\t; none\nAllowedPorts=82\n");
        g_assert_cmpstr(f->log, ==, "");
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 3);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 1);
        g_assert_true(settings_allow_port(f->settings, 82));

        /* A semicolon begins a comment only after white space. */
        root_load_settings(f, "MaxListeners=1;2\nMaxListeners ;=3\n");
        g_assert_cmpstr(f->log, ==,
                        "<4>/" MAIN
                        ":2: MaxListeners must be a number from 1 to 1000000, not \"1;2\", ignoring\n"
                        "<4>/" MAIN ":3: Missing \"=\", ignoring\n");
}

TEST("zero bytes, a byte order mark, and long lines") {
        static const char zero[] = "[TCPServerSocket]\nMaxListeners=1\nMaxListeners=2\0\nMaxListeners=3\n";
        g_autofree char *spaces = g_strnfill(5000, ' '), *comment = g_strnfill(20000, '#'), *text = NULL;

        root_write_file(f, MAIN, zero, sizeof(zero) - 1);
        root_load(f);
        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_cmpint(f->settings->limits.listeners, ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_cmpstr(f->log, ==,
                        "<4>/" MAIN ":3: Zero byte: the rest of the file is not read, ignoring\n");

        root_write_file(f, MAIN, "\xef\xbb\xbf[TCPServerSocket]\nMaxListeners=3\n", -1);
        root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 3);
        g_assert_cmpstr(f->log, ==, "");

        /* Lines of any length. */
        text = g_strdup_printf("AllowedPorts=80%s81\n%s\nMaxListeners=4\n", spaces, comment);
        root_load_settings(f, text);
        g_assert_cmpint(f->incomplete, ==, 0);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 2);
        g_assert_cmpint(f->settings->limits.listeners, ==, 4);
        g_assert_cmpstr(f->log, ==, "");
}

TEST("the idle timeout") {
        static const struct {
                const char *text;
                uint64_t usec;
        } cases[] = {
                { "IdleTimeoutSec=0", UINT64_MAX },
                { "IdleTimeoutSec=0s", UINT64_MAX },
                { "IdleTimeoutSec=infinity", UINT64_MAX },
                { "IdleTimeoutSec=10ms", 10000 },
                { "IdleTimeoutSec=1us", 1 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                root_load_settings(f, cases[i].text);
                g_assert_cmpuint(f->settings->idle_timeout_usec, ==, cases[i].usec);
                g_assert_cmpstr(f->log, ==, "");
        }
}

TEST("only allowed ports are allowed") {
        root_load_settings(f, "AllowedPorts=80 8000-8002 65535\n");
        g_assert_true(settings_allow_port(f->settings, 80));
        g_assert_false(settings_allow_port(f->settings, 79));
        g_assert_false(settings_allow_port(f->settings, 81));
        g_assert_false(settings_allow_port(f->settings, 7999));
        g_assert_true(settings_allow_port(f->settings, 8000));
        g_assert_true(settings_allow_port(f->settings, 8002));
        g_assert_false(settings_allow_port(f->settings, 8003));
        g_assert_true(settings_allow_port(f->settings, 65535));
        g_assert_false(settings_allow_port(f->settings, 0));
}

TEST("port 0 is allowed if all ephemeral ports are") {
        root_write_file(f, "proc/sys/net/ipv4/ip_local_port_range", "40000\t40009\n", -1);

        root_load_settings(f, "AllowedPorts=40005-40009 40000-40004\n");
        g_assert_cmpint(f->settings->ephemeral_ports.last, ==, 40009);
        g_assert_true(settings_allow_port(f->settings, 0));

        root_load_settings(f, "AllowedPorts=40006-40009 40000-40004\n");
        g_assert_false(settings_allow_port(f->settings, 0));

        root_write_file(f, "proc/sys/net/ipv4/ip_local_port_range", "nonsense", -1);
        root_load_settings(f, "AllowedPorts=1024-65535\n");
        g_assert_cmpint(f->settings->ephemeral_ports.first, ==, 32768);
        g_assert_true(settings_allow_port(f->settings, 0));
}

static bool allows(Root *f, const char *text, bool ipv6_only) {
        Address address;

        g_assert_cmpint(address_parse(text, &address), ==, 0);
        return settings_allow_address(f->settings, &address, ipv6_only);
}

TEST("only allowed addresses are allowed") {
        root_load(f);
        g_assert_true(allows(f, "::", false));
        g_assert_true(allows(f, "192.0.2.1", false));

        root_load_settings(f, "AllowedAddresses=127.0.0.0/8 192.0.2.1 2001:db8::/32 fe80::/10\n");
        g_assert_true(allows(f, "127.1.2.3", false));
        g_assert_true(allows(f, "192.0.2.1", false));
        g_assert_false(allows(f, "192.0.2.2", false));
        g_assert_true(allows(f, "2001:db8::5", false));
        g_assert_false(allows(f, "2001:db9::5", false));
        g_assert_true(allows(f, "::ffff:127.0.0.1", false));
        g_assert_true(allows(f, "fe80::1%lo", false));

        /* These stand for all addresses. */
        g_assert_false(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::", false));
        g_assert_false(allows(f, "::", true));
}

TEST("the unspecified address stands for all") {
        root_load_settings(f, "AllowedAddresses=0.0.0.0/0\n");
        g_assert_true(allows(f, "0.0.0.0", false));
        g_assert_true(allows(f, "192.0.2.1", false));
        g_assert_false(allows(f, "::", false));

        /* Without ipv6Only, :: takes IPv4, too, which is not allowed. */
        root_load_settings(f, "AllowedAddresses=::/0\n");
        g_assert_false(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::", false));
        g_assert_true(allows(f, "::", true));
        g_assert_true(allows(f, "2001:db8::5", false));

        root_load_settings(f, "AllowedAddresses=:: 0.0.0.0\n");
        g_assert_true(allows(f, "::", false));
        g_assert_true(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::1", false));
}
