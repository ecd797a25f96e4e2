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
        g_assert_nonnull(strstr(f->log, MAIN ":6: Invalid port or range of ports in AllowedPorts: \"http\""));
        g_assert_nonnull(strstr(f->log, MAIN ":7: Invalid address or prefix in AllowedAddresses: \"here\""));
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
                        "<4>/" MAIN ":1: Assignment outside of section [TCPServerSocket], ignoring\n"
                        "<4>/" MAIN ":2: Unknown section [Elsewhere], ignoring\n"
                        "<4>/" MAIN ":7: Missing \"]\" after the name of the section, ignoring\n"
                        "<4>/" MAIN ":8: Assignment outside of section [TCPServerSocket], ignoring\n"
                        "<4>/" MAIN ":9: Unknown section [TCPServer;Socket], ignoring\n");
}

static void test_comments(ConfigRoot *f, const void *data) {
        config_root_write_settings(f, MAIN,
                                   "; MaxListeners=1\n\t# MaxListeners=2\nMaxListenersPerUser=3 ; and why\n"
                                   "AllowedPorts=80 ;81\nAllowedPorts=\t; none\nAllowedPorts=82\n");
        config_root_load(f);
        g_assert_cmpstr(f->log, ==, "");
        g_assert_cmpint(f->settings->limits.listeners, ==, 16384);
        g_assert_cmpint(f->settings->limits.listeners_per_user, ==, 3);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 1);
        g_assert_true(settings_allow_port(f->settings, 82));

        /* Only after white space is it a comment. */
        config_root_write_settings(f, MAIN, "MaxListeners=1;2\nMaxListeners ;=3\n");
        config_root_load(f);
        g_assert_cmpstr(f->log, ==,
                        "<4>/" MAIN
                        ":2: MaxListeners must be a number from 1 to 1000000, not \"1;2\", ignoring\n"
                        "<4>/" MAIN ":3: Missing \"=\", ignoring\n");
}

static void test_strange_lines(ConfigRoot *f, const void *data) {
        static const char zero[] = "[TCPServerSocket]\nMaxListeners=1\nMaxListeners=2\0\nMaxListeners=3\n";
        g_autofree char *spaces = g_strnfill(5000, ' '), *comment = g_strnfill(20000, '#'), *text = NULL;

        config_root_write_file(f, MAIN, zero, sizeof(zero) - 1);
        config_root_load(f);
        g_assert_cmpint(f->incomplete, ==, 1);
        g_assert_cmpint(f->settings->limits.listeners, ==, 1);
        g_assert_false(settings_allow_port(f->settings, 80));
        g_assert_cmpstr(f->log, ==,
                        "<4>/" MAIN ":3: Zero byte: the rest of the file is not read, ignoring\n");

        config_root_write_file(f, MAIN, "\xef\xbb\xbf[TCPServerSocket]\nMaxListeners=3\n", -1);
        config_root_load(f);
        g_assert_cmpint(f->settings->limits.listeners, ==, 3);
        g_assert_cmpstr(f->log, ==, "");

        /* However long a line is. */
        text = g_strdup_printf("AllowedPorts=80%s81\n%s\nMaxListeners=4\n", spaces, comment);
        config_root_write_settings(f, MAIN, text);
        config_root_load(f);
        g_assert_cmpint(f->incomplete, ==, 0);
        g_assert_cmpint(g_strv_length(f->settings->allowed_ports), ==, 2);
        g_assert_cmpint(f->settings->limits.listeners, ==, 4);
        g_assert_cmpstr(f->log, ==, "");
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
        add("/config-values/comments", test_comments);
        add("/config-values/strange lines", test_strange_lines);
        add("/config-values/the idle time", test_idle_timeout);
        add("/config-values/allowed ports", test_allowed_ports);
        add("/config-values/a port that the kernel chooses", test_chosen_port);
        add("/config-values/allowed addresses", test_allowed_addresses);
        add("/config-values/the unspecified address stands for all", test_allowed_any_address);

        return g_test_run();
}
