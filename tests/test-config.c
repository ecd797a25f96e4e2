/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration files: which are read, in what order, what they set, and what is said of what is wrong.
 */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/address.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "daemon/settings.h"

#define MAIN "etc/tcpserversocket/tcpserversocketd.conf"
#define DROP_IN(place, name) place "/tcpserversocket/tcpserversocketd.conf.d/" name

/* A root directory of our own. */
typedef struct Fixture {
        char *root;
        Settings *settings; /* what was loaded last */
        char *log;          /* what was said about it, the root left out */
        int incomplete; /* settings_load() said that not everything could be read */
} Fixture;

static void set_up(Fixture *f, const void *data) {
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

static void tear_down(Fixture *f, const void *data) {
        remove_tree(f->root);
        g_free(f->root);
        g_free(f->log);
        f->settings = settings_free(f->settings);
}

static char *make_path(Fixture *f, const char *name) {
        g_autofree char *directory = NULL;
        char *path;

        path = g_build_filename(f->root, name, NULL);
        directory = g_path_get_dirname(path);
        g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
        return path;
}

static void write_file(Fixture *f, const char *name, const char *text, gssize length) {
        g_autofree char *path = make_path(f, name);

        g_assert_true(g_file_set_contents(path, text, length, NULL));
}

/* Of a configuration file, all but the section's name. */
static void write_settings(Fixture *f, const char *name, const char *text) {
        g_autofree char *all = g_strdup_printf("[TCPServerSocket]\n%s", text);

        write_file(f, name, all, -1);
}

static char *leave_out(const char *text, const char *part) {
        g_auto(GStrv) parts = g_strsplit(text, part, 0);

        return g_strjoinv("", parts);
}

static void load(Fixture *f) {
        int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        g_autofree char *log = NULL;
        FILE *file = tmpfile();
        gsize length;

        g_assert_nonnull(file);
        g_assert_cmpint(copy, >=, 0);
        g_assert_cmpint(dup2(fileno(file), STDERR_FILENO), ==, STDERR_FILENO);
        f->settings = settings_free(f->settings);
        f->incomplete = settings_load(f->root, &f->settings);
        g_assert_cmpint(f->incomplete, >=, 0);
        g_assert_cmpint(dup2(copy, STDERR_FILENO), ==, STDERR_FILENO);
        close(copy);

        g_assert_cmpint(fseek(file, 0, SEEK_END), ==, 0);
        length = (gsize) ftell(file);
        rewind(file);
        log = g_malloc0(length + 1);
        g_assert_cmpint(fread(log, 1, length, file), ==, length);
        fclose(file);

        g_free(f->log);
        f->log = leave_out(log, f->root);
}

static void assert_defaults(Fixture *f) {
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
        g_assert_null(s->allowed_ports);
        g_assert_null(s->allowed_addresses);
        g_assert_cmpint(s->n_prefixes, ==, 0);
        g_assert_true(settings_allow_port(s, 0));
        g_assert_true(settings_allow_port(s, 1));
        g_assert_true(settings_allow_port(s, 65535));
}

static void test_nothing(Fixture *f, const void *data) {
        load(f);
        assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");

        write_file(f, MAIN, "", 0);
        load(f);
        assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");

        /* As it is installed. */
        write_settings(f, MAIN, "#MaxListeners=1\n  ; a comment\n\n\t\n[TCPServerSocket]\n");
        load(f);
        assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");
}

#define EVERYTHING                           \
        "MaxListeners=10\n"                  \
        "  MaxListenersPerUser = 11  \n"     \
        "MaxPendingRequestsPerUser=12\r\n"   \
        "MaxUnacknowledged=13\n"             \
        "MaxUnacknowledgedPerClient=14\n"    \
        "IdleTimeoutSec=1min 5s\n"           \
        "AllowedPorts=80 443\t1024-2047\n"   \
        "AllowedPorts=  8080\n"              \
        "AllowedAddresses=127.0.0.0/8 ::1\n" \
        "AllowedAddresses=2001:db8::/32\n"   \
        "AllowSocketDelivery=no" /* the last line may have no end */

static void test_everything(Fixture *f, const void *data) {
        Settings *s;

        write_settings(f, MAIN, EVERYTHING);
        load(f);
        g_assert_cmpstr(f->log, ==, "");

        s = f->settings;
        g_assert_cmpint(s->limits.listeners, ==, 10);
        g_assert_cmpint(s->limits.listeners_per_user, ==, 11);
        g_assert_cmpint(s->limits.pending_requests_per_user, ==, 12);
        g_assert_cmpint(s->limits.unacknowledged, ==, 13);
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

static void test_reset(Fixture *f, const void *data) {
        write_settings(f, MAIN, EVERYTHING);
        write_settings(f, DROP_IN("etc", "reset.conf"),
                       "MaxListeners=\nMaxListenersPerUser=\nMaxPendingRequestsPerUser=\nMaxUnacknowledged=\n"
                       "MaxUnacknowledgedPerClient=\nIdleTimeoutSec=\nAllowedPorts=\nAllowedAddresses=  \n"
                       "AllowSocketDelivery=\n");
        load(f);
        assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");

        /* A list starts anew. */
        write_settings(f, MAIN, "AllowedPorts=80\nAllowedPorts=\nAllowedPorts=81\n");
        write_file(f, DROP_IN("etc", "reset.conf"), "", 0);
        load(f);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_true(settings_allow_port(f->settings, 81));
}

static void test_precedence(Fixture *f, const void *data) {
        static const char *const places[] = { "usr/lib", "usr/local/lib", "run", "etc" };

        /* By place, for one name. */
        write_settings(f, MAIN, "MaxListeners=1\nMaxListenersPerUser=100\n");
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
                g_autofree char *name = g_strdup_printf(DROP_IN("%s", "50-same.conf"), places[i]);
                g_autofree char *text = g_strdup_printf("MaxListeners=%zu\n", i + 2);

                write_settings(f, name, text);
                load(f);
                g_assert_cmpint(f->settings->limits.listeners, ==, i + 2);
                g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 100);
        }

        /* The one that is overridden is not read at all. */
        write_settings(f, DROP_IN("usr/lib", "50-same.conf"), "MaxListenersPerUser=7\n");
        load(f);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 100);

        /* By name, wherever they are. */
        write_settings(f, DROP_IN("usr/lib", "60-later.conf"), "MaxListeners=60\n");
        write_settings(f, DROP_IN("etc", "40-earlier.conf"), "MaxListeners=40\nMaxListenersPerUser=40\n");
        load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 60);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 40);
        g_assert_cmpstr(f->log, ==, "");
}

static void test_no_main_file_elsewhere(Fixture *f, const void *data) {
        write_settings(f, "usr/lib/tcpserversocket/tcpserversocketd.conf", "MaxListeners=1\n");
        write_settings(f, "run/tcpserversocket/tcpserversocketd.conf", "MaxListeners=1\n");
        load(f);
        assert_defaults(f);
}

static void link_to_null(Fixture *f, const char *name) {
        g_autofree char *path = make_path(f, name);

        g_assert_cmpint(symlink("/dev/null", path), ==, 0);
}

static void test_masks(Fixture *f, const void *data) {
        write_settings(f, DROP_IN("usr/lib", "a.conf"), "MaxListeners=1\n");
        write_settings(f, DROP_IN("usr/lib", "b.conf"), "MaxListenersPerUser=1\n");
        link_to_null(f, DROP_IN("etc", "a.conf"));
        write_file(f, DROP_IN("run", "b.conf"), "", 0);
        link_to_null(f, MAIN);
        load(f);
        assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");
}

static void test_other_files(Fixture *f, const void *data) {
        write_settings(f, DROP_IN("etc", "README"), "MaxListeners=1\n");
        write_settings(f, DROP_IN("etc", "a.conf~"), "MaxListeners=1\n");
        write_settings(f, DROP_IN("etc", "a.conf.dpkg-new"), "MaxListeners=1\n");
        write_settings(f, DROP_IN("etc", ".a.conf"), "MaxListeners=1\n");
        load(f);
        assert_defaults(f);
        g_assert_cmpstr(f->log, ==, "");
}

static void test_unreadable(Fixture *f, const void *data) {
        g_autofree char *fifo = make_path(f, DROP_IN("etc", "2-fifo.conf"));
        g_autofree char *dangling = make_path(f, DROP_IN("etc", "3-dangling.conf"));
        g_autofree char *huge = make_path(f, DROP_IN("etc", "4-huge.conf"));

        /* A directory stands for every read that fails: root may read everything else. */
        write_file(f, DROP_IN("etc", "1-directory.conf/x"), "", 0);
        g_assert_cmpint(mkfifo(fifo, 0644), ==, 0);
        g_assert_cmpint(symlink("nowhere", dangling), ==, 0);
        write_settings(f, DROP_IN("etc", "4-huge.conf"), "MaxListeners=3\n");
        g_assert_cmpint(truncate(huge, 2 * 1024 * 1024), ==, 0);
        write_settings(f, DROP_IN("etc", "5-good.conf"), "MaxListeners=5\n");
        write_file(f, "usr/lib/tcpserversocket/tcpserversocketd.conf.d", "not a directory", -1);
        write_settings(f, MAIN, "MaxListenersPerUser=4\n");
        load(f);

        g_assert_cmpint(f->settings->limits.listeners, ==, 5);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 4);
        /* What could not be read may have been a restriction. */
        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_cmpstr(f->log, ==,
                        "<4>/usr/lib/tcpserversocket/tcpserversocketd.conf.d: cannot read the directory: "
                        "Not a directory, ignoring\n"
                        "<4>/" DROP_IN("etc",
                                       "1-directory.conf") ": cannot read the file: Is a directory, ignoring\n"
                                                           "<4>/" DROP_IN("etc",
                                                                          "2-fifo.conf") ": cannot read the file: Operation not supported, ignoring\n"
                                                                                         "<4>/" DROP_IN("etc",
                                                                                                        "3-dangling.conf") ": cannot read the file: No such file or directory, ignoring\n"
                                                                                                                           "<4>/" DROP_IN("etc",
                                                                                                                                          "4-huge.conf") ": cannot read the file: File too large, ignoring\n");
}

static void test_no_permission(Fixture *f, const void *data) {
        g_autofree char *path = make_path(f, MAIN);
        bool root = geteuid() == 0;

        write_settings(f, MAIN, "MaxListeners=1\nAllowedPorts=8000\n");
        g_assert_cmpint(chmod(path, 0), ==, 0);

        /* Root may read everything. */
        if (root) {
                g_assert_cmpint(chmod(f->root, 0755), ==, 0);
                g_assert_cmpint(seteuid(65534), ==, 0);
        }
        load(f);
        if (root)
                g_assert_cmpint(seteuid(0), ==, 0);

        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_false(settings_allow_port(f->settings, 8000));
        g_assert_false(settings_allow_port(f->settings, 9000));
        g_assert_cmpstr(f->log, ==, "<4>/" MAIN ": cannot read the file: Permission denied, ignoring\n");
}

static void test_wrong_values(Fixture *f, const void *data) {
        static const struct {
                const char *line;
                const char *complaint;
        } cases[] = {
#define NUMBER(key, max, value) \
        { key "=" value, key " must be a number from 1 to " max ", not \"" value "\"" }
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
                NUMBER("MaxUnacknowledged", "56", "57"),
                NUMBER("MaxUnacknowledgedPerClient", "56", "57"),
#define TIME(value)                \
        { "IdleTimeoutSec=" value, \
          "IdleTimeoutSec must be a time span such as \"30s\" or \"5min\", not \"" value "\"" }
                TIME("soon"),
                TIME("-1"),
                TIME("5 parsecs"),
                TIME("99999999y"),
                { "AllowSocketDelivery=maybe", "AllowSocketDelivery must be yes or no, not \"maybe\"" },
                { "AllowSocketDelivery=2", "AllowSocketDelivery must be yes or no, not \"2\"" },
#define PORT(value) \
        { "AllowedPorts=" value, "in AllowedPorts, \"" value "\" is neither a port nor a range of ports" }
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
        { "AllowedAddresses=" value, "in AllowedAddresses, \"" value "\" is neither an address nor a prefix" }
                ADDRESS("localhost"),
                ADDRESS("10.0.0.0/33"),
                ADDRESS("::/129"),
                ADDRESS("10.0.0/8"),
                ADDRESS("fe80::1%lo"),
                { "maxlisteners=1", "the setting maxlisteners is unknown in [TCPServerSocket]" },
                { "Colour=blue", "the setting Colour is unknown in [TCPServerSocket]" },
                { "=blue", "the setting  is unknown in [TCPServerSocket]" },
                { "MaxListeners", "this is neither a section nor an assignment" },
                { "\xff\x01", "this is neither a section nor an assignment" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = g_strdup_printf("\n# comment\n%s\nMaxListeners=7\nMaxListeners=\n"
                                                        "AllowedPorts=\nAllowedAddresses=\n",
                                                        cases[i].line);
                g_autofree char *expected = g_strdup_printf("<4>/" MAIN ":4: %s, ignoring\n",
                                                            cases[i].complaint);

                write_settings(f, MAIN, text);
                load(f);
                assert_defaults(f);
                g_assert_cmpstr(f->log, ==, expected);
        }
}

static void test_keeps_what_was_right(Fixture *f, const void *data) {
        write_settings(f, MAIN,
                       "MaxListeners=5\nMaxListeners=x\nIdleTimeoutSec=5\nIdleTimeoutSec=x\n"
                       "AllowedPorts=80 http 443\nAllowedAddresses=10.0.0.0/8 here\n");
        load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 5);
        g_assert_cmpint(f->settings->idle_timeout_usec, ==, 5 * G_USEC_PER_SEC);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 2);
        g_assert_true(settings_allow_port(f->settings, 443));
        g_assert_false(settings_allow_port(f->settings, 81));
        g_assert_cmpint(f->settings->n_prefixes, ==, 1);
        g_assert_nonnull(strstr(f->log, MAIN ":3: "));
        g_assert_nonnull(strstr(f->log, MAIN ":5: "));
        g_assert_nonnull(strstr(f->log, MAIN ":6: in AllowedPorts, \"http\" is"));
        g_assert_nonnull(strstr(f->log, MAIN ":7: in AllowedAddresses, \"here\" is"));
}

/* A typing error must not open to all what was to be restricted. */
static void test_lists_of_errors_allow_nothing(Fixture *f, const void *data) {
        Address address;

        write_settings(f, MAIN, "AllowedPorts=http\nAllowedAddresses=localhost\n");
        load(f);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_false(settings_allow_port(f->settings, 0));
        g_assert_cmpint(address_parse("127.0.0.1", &address), ==, 0);
        g_assert_false(settings_allow_address(f->settings, &address, false));
}

static void test_sections(Fixture *f, const void *data) {
        write_file(f, MAIN,
                   "MaxListeners=1\n"
                   "[Elsewhere]\n"
                   "MaxListeners=1\n"
                   "MaxListenersPerUser=1\n"
                   "[TCPServerSocket]\n"
                   "MaxUnacknowledged=3\n"
                   "[TCPServerSocket\n"
                   "MaxListeners=1\n"
                   "[TCPServer;Socket]\n"
                   "[TCPServerSocket] ; that is one\n"
                   "MaxPendingRequestsPerUser=4\n",
                   -1);
        load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 1024);
        g_assert_cmpint(f->settings->limits.unacknowledged, ==, 3);
        g_assert_cmpint(f->settings->limits.pending_requests_per_user, ==, 4);
        g_assert_cmpstr(f->log, ==,
                        "<4>/" MAIN
                        ":1: the assignment is outside of the section [TCPServerSocket], ignoring\n"
                        "<4>/" MAIN ":2: the section [Elsewhere] is unknown, ignoring\n"
                        "<4>/" MAIN ":7: the name of the section has no end, ignoring\n"
                        "<4>/" MAIN
                        ":8: the assignment is outside of the section [TCPServerSocket], ignoring\n"
                        "<4>/" MAIN ":9: the name of the section has no end, ignoring\n");
}

static void test_strange_lines(Fixture *f, const void *data) {
        static const char zero[] = "[TCPServerSocket]\nMaxListeners=1\0\nMaxListeners=2\n";
        g_autofree char *spaces = g_strnfill(150, ' '), *comment = g_strnfill(5000, '#');
        g_autofree char *text = NULL, *fits = NULL;

        write_file(f, MAIN, zero, sizeof(zero) - 1);
        load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 2);
        g_assert_cmpstr(f->log, ==, "<4>/" MAIN ":2: there is a zero byte in the line, ignoring\n");

        write_file(f, MAIN, "\xef\xbb\xbf[TCPServerSocket]\nMaxListeners=3\n", -1);
        load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 3);
        g_assert_cmpstr(f->log, ==, "");

        fits = g_strdup_printf("AllowedPorts=80%s81\n%s\n", spaces, comment);
        write_settings(f, MAIN, fits);
        load(f);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 2);
        g_assert_cmpstr(f->log, ==, "");

        /* Not even half of it may be taken for a line of its own, whatever the size of inih's buffer is. */
        text = g_strdup_printf("AllowedPorts=80%s%s%s81\nMaxListeners=4\n[%s]\nMaxListeners=5\n", spaces,
                               spaces, comment, comment);
        write_settings(f, MAIN, text);
        load(f);
        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_cmpint(f->settings->limits.listeners, ==, 4);
        g_assert_true(g_str_has_prefix(f->log, "<4>/" MAIN ":2: the line is longer than "));
        g_assert_nonnull(strstr(f->log, MAIN ":4: the line is longer than "));
        g_assert_nonnull(strstr(f->log, MAIN ":5: the assignment is outside of the section"));
}

static void test_idle_timeout(Fixture *f, const void *data) {
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
                write_settings(f, MAIN, cases[i].text);
                load(f);
                g_assert_cmpuint(f->settings->idle_timeout_usec, ==, cases[i].usec);
                g_assert_cmpstr(f->log, ==, "");
        }
}

static void test_allowed_ports(Fixture *f, const void *data) {
        write_settings(f, MAIN, "AllowedPorts=80 8000-8002 65535\n");
        load(f);
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

static void test_chosen_port(Fixture *f, const void *data) {
        write_file(f, "proc/sys/net/ipv4/ip_local_port_range", "40000\t40009\n", -1);

        write_settings(f, MAIN, "AllowedPorts=40005-40009 40000-40004\n");
        load(f);
        g_assert_cmpint(f->settings->ephemeral_ports.last, ==, 40009);
        g_assert_true(settings_allow_port(f->settings, 0));

        write_settings(f, MAIN, "AllowedPorts=40006-40009 40000-40004\n");
        load(f);
        g_assert_false(settings_allow_port(f->settings, 0));

        write_file(f, "proc/sys/net/ipv4/ip_local_port_range", "nonsense", -1);
        write_settings(f, MAIN, "AllowedPorts=1024-65535\n");
        load(f);
        g_assert_cmpint(f->settings->ephemeral_ports.first, ==, 32768);
        g_assert_true(settings_allow_port(f->settings, 0));
}

static bool allows(Fixture *f, const char *text, bool ipv6_only) {
        Address address;

        g_assert_cmpint(address_parse(text, &address), ==, 0);
        return settings_allow_address(f->settings, &address, ipv6_only);
}

static void test_allowed_addresses(Fixture *f, const void *data) {
        load(f);
        g_assert_true(allows(f, "::", false));
        g_assert_true(allows(f, "192.0.2.1", false));

        write_settings(f, MAIN, "AllowedAddresses=127.0.0.0/8 192.0.2.1 2001:db8::/32 fe80::/10\n");
        load(f);
        g_assert_true(allows(f, "127.1.2.3", false));
        g_assert_true(allows(f, "192.0.2.1", false));
        g_assert_false(allows(f, "192.0.2.2", false));
        g_assert_true(allows(f, "2001:db8::5", false));
        g_assert_false(allows(f, "2001:db9::5", false));
        g_assert_true(allows(f, "::ffff:127.0.0.1", false));
        g_assert_true(allows(f, "fe80::1%lo", false));

        /* These would listen on all addresses. */
        g_assert_false(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::", false));
        g_assert_false(allows(f, "::", true));
}

static void test_allowed_any_address(Fixture *f, const void *data) {
        write_settings(f, MAIN, "AllowedAddresses=0.0.0.0/0\n");
        load(f);
        g_assert_true(allows(f, "0.0.0.0", false));
        g_assert_true(allows(f, "192.0.2.1", false));
        g_assert_false(allows(f, "::", false));

        /* Without ipv6Only, :: takes IPv4 as well, which is not allowed. */
        write_settings(f, MAIN, "AllowedAddresses=::/0\n");
        load(f);
        g_assert_false(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::", false));
        g_assert_true(allows(f, "::", true));
        g_assert_true(allows(f, "2001:db8::5", false));

        write_settings(f, MAIN, "AllowedAddresses=:: 0.0.0.0\n");
        load(f);
        g_assert_true(allows(f, "::", false));
        g_assert_true(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::1", false));
}

static void test_booleans(void) {
        static const char *const yes[] = { "1", "yes", "Yes", "y", "true", "T", "ON" };
        static const char *const no[] = { "0", "no", "N", "false", "F", "off" };
        static const char *const neither[] = { "", "2", "yess", " yes", "enable" };
        bool value;

        for (size_t i = 0; i < G_N_ELEMENTS(yes); i++) {
                value = false;
                g_assert_cmpint(parse_boolean(yes[i], &value), ==, 0);
                g_assert_true(value);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(no); i++) {
                value = true;
                g_assert_cmpint(parse_boolean(no[i], &value), ==, 0);
                g_assert_false(value);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(neither); i++)
                g_assert_cmpint(parse_boolean(neither[i], &value), ==, -EINVAL);
}

static void test_time_spans(void) {
        static const struct {
                const char *text;
                uint64_t usec;
        } right[] = {
                { "0", 0 },
                { "30", 30000000 },
                { "30s", 30000000 },
                { "30 sec", 30000000 },
                { " 5min ", 300000000 },
                { "5m 20", 320000000 },
                { "1h1min1s", 3661000000 },
                { "1.5h", 5400000000 },
                { "0.25", 250000 },
                { "2.5us", 2 },
                { "250ms", 250000 },
                { "7\xc2\xb5s", 7 },
                { "1d", UINT64_C(86400000000) },
                { "1w", UINT64_C(604800000000) },
                { "1M", UINT64_C(2629800000000) },
                { "1y", UINT64_C(31557600000000) },
                { "18446744073709551614us", UINT64_MAX - 1 },
                { "infinity", UINT64_MAX },
        };
        static const char *const wrong[] = {
                "",
                " ",
                "s",
                "-1",
                "1.",
                ".5",
                "1..5",
                "1,5",
                "5 minuten",
                "1e3",
                "infinite",
                "infinity 1",
                "5s!",
                "18446744073709551615us",
                "18446744073709551616",
                "584543y",
                "18446744073709551614us 1us",
        };
        uint64_t usec;

        for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
                g_test_message("%s", right[i].text);
                g_assert_cmpint(parse_time_span(right[i].text, &usec), ==, 0);
                g_assert_cmpuint(usec, ==, right[i].usec);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_test_message("%s", wrong[i]);
                usec = 42;
                g_assert_cmpint(parse_time_span(wrong[i], &usec), <, 0);
                g_assert_cmpuint(usec, ==, 42);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

#define add(path, function) g_test_add(path, Fixture, NULL, set_up, function, tear_down)
        add("/config/nothing is configured", test_nothing);
        add("/config/everything is configured", test_everything);
        add("/config/an empty value is the default", test_reset);
        add("/config/which file wins", test_precedence);
        add("/config/the main file is in etc", test_no_main_file_elsewhere);
        add("/config/an empty file or a link to null hides another", test_masks);
        add("/config/files of other names are left alone", test_other_files);
        add("/config/a file that cannot be read is left out", test_unreadable);
        add("/config/a file that may not be read is left out", test_no_permission);
        add("/config/every wrong value is told with its line", test_wrong_values);
        add("/config/a list of nothing but errors allows nothing", test_lists_of_errors_allow_nothing);
        add("/config/what is right stands", test_keeps_what_was_right);
        add("/config/sections", test_sections);
        add("/config/strange lines", test_strange_lines);
        add("/config/the idle time", test_idle_timeout);
        add("/config/allowed ports", test_allowed_ports);
        add("/config/a port that the kernel chooses", test_chosen_port);
        add("/config/allowed addresses", test_allowed_addresses);
        add("/config/the unspecified address stands for all", test_allowed_any_address);
        g_test_add_func("/parse/booleans", test_booleans);
        g_test_add_func("/parse/time spans", test_time_spans);

        return g_test_run();
}
