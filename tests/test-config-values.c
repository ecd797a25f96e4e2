/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the configuration files set, and what is said of what is wrong in them. */

#include <glib.h>
#include <string.h>

#include "base/address.h"
#include "base/macros.h"
#include "config-root.h"

static void test_wrong_values(ConfigRoot *f, const void *data) {
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
                NUMBER_FROM("MaxUnacknowledged", "14", "56", "57"),
                NUMBER_FROM("MaxUnacknowledged", "14", "56", "13"),
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

                config_root_write_settings(f, MAIN, text);
                config_root_load(f);
                config_root_assert_defaults(f);
                g_assert_cmpstr(f->log, ==, expected);
        }
}

static void test_keeps_what_was_right(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, MAIN,
                                   "MaxListeners=5\nMaxListeners=x\nIdleTimeoutSec=5\nIdleTimeoutSec=x\n"
                                   "AllowedPorts=80 http 443\nAllowedAddresses=10.0.0.0/8 here\n");
        config_root_load(f);
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
static void test_lists_of_errors_allow_nothing(ConfigRoot *f, const void *data) {
        Address address;

        config_root_write_settings(f, MAIN, "AllowedPorts=http\nAllowedAddresses=localhost\n");
        config_root_load(f);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_false(settings_allow_port(f->settings, 0));
        g_assert_cmpint(address_parse("127.0.0.1", &address), ==, 0);
        g_assert_false(settings_allow_address(f->settings, &address, false));
}

static void test_sections(ConfigRoot *f, const void *data) {
        config_root_write_file(f, MAIN,
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
        config_root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 1024);
        g_assert_cmpint(f->settings->limits.unacknowledged, ==, 14);
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

static void test_strange_lines(ConfigRoot *f, const void *data) {
        static const char zero[] = "[TCPServerSocket]\nMaxListeners=1\0\nMaxListeners=2\n";
        g_autofree char *spaces = g_strnfill(150, ' '), *comment = g_strnfill(5000, '#');
        g_autofree char *text = NULL, *fits = NULL;

        config_root_write_file(f, MAIN, zero, sizeof(zero) - 1);
        config_root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 2);
        g_assert_cmpstr(f->log, ==, "<4>/" MAIN ":2: there is a zero byte in the line, ignoring\n");

        config_root_write_file(f, MAIN, "\xef\xbb\xbf[TCPServerSocket]\nMaxListeners=3\n", -1);
        config_root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 3);
        g_assert_cmpstr(f->log, ==, "");

        fits = g_strdup_printf("AllowedPorts=80%s81\n%s\n", spaces, comment);
        config_root_write_settings(f, MAIN, fits);
        config_root_load(f);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 2);
        g_assert_cmpstr(f->log, ==, "");

        /* Not even half of it may be taken for a line of its own, whatever the size of inih's buffer is. */
        text = g_strdup_printf("AllowedPorts=80%s%s%s81\nMaxListeners=4\n[%s]\nMaxListeners=5\n", spaces,
                               spaces, comment, comment);
        config_root_write_settings(f, MAIN, text);
        config_root_load(f);
        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_cmpint(f->settings->limits.listeners, ==, 4);
        g_assert_true(g_str_has_prefix(f->log, "<4>/" MAIN ":2: the line is longer than "));
        g_assert_nonnull(strstr(f->log, MAIN ":4: the line is longer than "));
        g_assert_nonnull(strstr(f->log, MAIN ":5: the assignment is outside of the section"));
}

static void test_idle_timeout(ConfigRoot *f, const void *data) {
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
                config_root_write_settings(f, MAIN, cases[i].text);
                config_root_load(f);
                g_assert_cmpuint(f->settings->idle_timeout_usec, ==, cases[i].usec);
                g_assert_cmpstr(f->log, ==, "");
        }
}

static void test_allowed_ports(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, MAIN, "AllowedPorts=80 8000-8002 65535\n");
        config_root_load(f);
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

static void test_chosen_port(ConfigRoot *f, const void *data) {
        config_root_write_file(f, "proc/sys/net/ipv4/ip_local_port_range", "40000\t40009\n", -1);

        config_root_write_settings(f, MAIN, "AllowedPorts=40005-40009 40000-40004\n");
        config_root_load(f);
        g_assert_cmpint(f->settings->ephemeral_ports.last, ==, 40009);
        g_assert_true(settings_allow_port(f->settings, 0));

        config_root_write_settings(f, MAIN, "AllowedPorts=40006-40009 40000-40004\n");
        config_root_load(f);
        g_assert_false(settings_allow_port(f->settings, 0));

        config_root_write_file(f, "proc/sys/net/ipv4/ip_local_port_range", "nonsense", -1);
        config_root_write_settings(f, MAIN, "AllowedPorts=1024-65535\n");
        config_root_load(f);
        g_assert_cmpint(f->settings->ephemeral_ports.first, ==, 32768);
        g_assert_true(settings_allow_port(f->settings, 0));
}

static bool allows(ConfigRoot *f, const char *text, bool ipv6_only) {
        Address address;

        g_assert_cmpint(address_parse(text, &address), ==, 0);
        return settings_allow_address(f->settings, &address, ipv6_only);
}

static void test_allowed_addresses(ConfigRoot *f, const void *data) {
        config_root_load(f);
        g_assert_true(allows(f, "::", false));
        g_assert_true(allows(f, "192.0.2.1", false));

        config_root_write_settings(f, MAIN,
                                   "AllowedAddresses=127.0.0.0/8 192.0.2.1 2001:db8::/32 fe80::/10\n");
        config_root_load(f);
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

static void test_allowed_any_address(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, MAIN, "AllowedAddresses=0.0.0.0/0\n");
        config_root_load(f);
        g_assert_true(allows(f, "0.0.0.0", false));
        g_assert_true(allows(f, "192.0.2.1", false));
        g_assert_false(allows(f, "::", false));

        /* Without ipv6Only, :: takes IPv4 as well, which is not allowed. */
        config_root_write_settings(f, MAIN, "AllowedAddresses=::/0\n");
        config_root_load(f);
        g_assert_false(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::", false));
        g_assert_true(allows(f, "::", true));
        g_assert_true(allows(f, "2001:db8::5", false));

        config_root_write_settings(f, MAIN, "AllowedAddresses=:: 0.0.0.0\n");
        config_root_load(f);
        g_assert_true(allows(f, "::", false));
        g_assert_true(allows(f, "0.0.0.0", false));
        g_assert_false(allows(f, "::1", false));
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

#define add(path, function) \
        g_test_add(path, ConfigRoot, NULL, config_root_set_up, function, config_root_tear_down)
        add("/config-values/every wrong value is told with its line", test_wrong_values);
        add("/config-values/a list of nothing but errors allows nothing", test_lists_of_errors_allow_nothing);
        add("/config-values/what is right stands", test_keeps_what_was_right);
        add("/config-values/sections", test_sections);
        add("/config-values/strange lines", test_strange_lines);
        add("/config-values/the idle time", test_idle_timeout);
        add("/config-values/allowed ports", test_allowed_ports);
        add("/config-values/a port that the kernel chooses", test_chosen_port);
        add("/config-values/allowed addresses", test_allowed_addresses);
        add("/config-values/the unspecified address stands for all", test_allowed_any_address);

        return g_test_run();
}
