/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The options of Listen on the command line: each exists, and arrives with its type. */

#include "ctl/tool.h"

/* A service that only has the method Listen. */

typedef struct Recorder {
        TestBus *bus;
        TestClient *service;
        sd_bus_slot *slot;
        int port;
        int backlog;
        GHashTable *options; /* "key" → "type value" */
        bool interactive;
} Recorder;

static char *read_variant(sd_bus_message *m) {
        const char *contents, *s;
        uint32_t u;
        char *text;
        int b;

        g_assert_cmpint(sd_bus_message_peek_type(m, NULL, &contents), >, 0);
        g_assert_cmpint(sd_bus_message_enter_container(m, 'v', contents), >, 0);
        if (streq(contents, "as")) {
                g_auto(GStrv) strings = NULL;

                must(sd_bus_message_read_strv(m, &strings));
                g_autofree char *joined = g_strjoinv(" ", strings);
                text = g_strdup_printf("as %s", joined);
        } else if (streq(contents, "s")) {
                g_assert_cmpint(sd_bus_message_read_basic(m, 's', &s), >, 0);
                text = g_strdup_printf("s %s", s);
        } else if (streq(contents, "u")) {
                g_assert_cmpint(sd_bus_message_read_basic(m, 'u', &u), >, 0);
                text = g_strdup_printf("u %u", u);
        } else if (streq(contents, "b")) {
                g_assert_cmpint(sd_bus_message_read_basic(m, 'b', &b), >, 0);
                text = g_strdup(b ? "b yes" : "b no");
        } else {
                g_assert_cmpstr(contents, ==, "h");
                g_assert_cmpint(sd_bus_message_read_basic(m, 'h', &b), >, 0);
                text = g_strdup("h");
        }
        must(sd_bus_message_exit_container(m));
        return text;
}

static int on_listen(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Recorder *r = userdata;
        const char *key;

        if (sd_bus_message_is_method_call(m, TEST_MANAGER_INTERFACE, "Listen") <= 0)
                return 0;

        g_hash_table_remove_all(r->options);
        r->interactive = sd_bus_message_get_allow_interactive_authorization(m) > 0;
        g_assert_cmpint(sd_bus_message_read_basic(m, 'i', &r->port), >, 0);
        must(sd_bus_message_enter_container(m, 'a', "{sv}"));
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                g_assert_cmpint(sd_bus_message_read_basic(m, 's', &key), >, 0);
                g_assert_true(g_hash_table_insert(r->options, g_strdup(key), read_variant(m)));
                must(sd_bus_message_exit_container(m));
        }
        must(sd_bus_message_exit_container(m));
        g_assert_cmpint(sd_bus_message_read_basic(m, 'i', &r->backlog), >, 0);
        return sd_bus_error_set(error, SD_BUS_ERROR_ADDRESS_IN_USE, "Heard");
}

static void set_up(Recorder *r, const void *data) {
        r->bus = test_bus_new(NULL);
        r->service = test_client_new(r->bus, (uid_t) -1);
        r->options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        must(sd_bus_add_object(test_client_bus(r->service), &r->slot, TEST_MANAGER_PATH, on_listen, r));
        test_call_driver(r->service, "RequestName", "su", TEST_BUS_NAME, 0);
}

static void tear_down(Recorder *r, const void *data) {
        sd_bus_slot_unref(r->slot);
        g_hash_table_unref(r->options);
        test_client_free(r->service);
        test_bus_free(r->bus);
}

static void assert_option(Recorder *r, const char *key, const char *value) {
        g_assert_cmpstr(g_hash_table_lookup(r->options, key), ==, value);
}

static void run(Recorder *r, const char *const *argv) {
        tool_assert_fails(tool_run_full(r->bus, NULL, 0, argv), 1, "Failed to listen on port 8080: Heard",
                          "\"ss -tanp\" shows");
        g_assert_cmpint(r->port, ==, 8080);
}

#define RECORDER_TEST(sentence) TEST_OF(sentence, Recorder, r, set_up, tear_down, NULL)

RECORDER_TEST("all options arrive") {
        run(r, WORDS("--accept-rate=7", "listen", "--binary-type", "arraybuffer", "8080",
                     "--local-address=192.0.2.1", "--ipv6-only=no", "--free-bind", "--interface=lo",
                     "--paused", "--persistent=yes", "--non-blocking=true", "--no-delay=1",
                     "--keep-alive=off", "--defer-accept=3", "--fast-open=4", "--allow-from=192.0.2.0/24,::1",
                     "--allow-from=10.0.0.1", "--name=a name", "--backlog=5", "--accept", "--", "true",
                     "--name=not ours"));

        assert_option(r, "binaryType", "s arraybuffer");
        assert_option(r, "localAddress", "s 192.0.2.1");
        assert_option(r, "ipv6Only", "b no");
        assert_option(r, "freeBind", "b yes");
        assert_option(r, "interface", "s lo");
        assert_option(r, "paused", "b yes");
        assert_option(r, "persistent", "b yes");
        assert_option(r, "adopt", "b yes");
        assert_option(r, "nonBlocking", "b yes");
        assert_option(r, "noDelay", "b yes");
        assert_option(r, "keepAlive", "b no");
        assert_option(r, "deferAccept", "u 3");
        assert_option(r, "fastOpen", "u 4");
        assert_option(r, "allowFrom", "as 192.0.2.0/24 ::1 10.0.0.1");
        assert_option(r, "acceptRate", "u 7");
        assert_option(r, "name", "s a name");
        g_assert_cmpint(r->backlog, ==, 5);
        g_assert_true(r->interactive);
}

RECORDER_TEST("no options are sent by default") {
        run(r, WORDS("listen", "8080", "--no-ask-password", "--", "true"));

        g_hash_table_remove(r->options, "delivery"); /* the verb's choice */
        assert_option(r, "name", "s true");
        g_hash_table_remove(r->options, "name");
        g_assert_cmpuint(g_hash_table_size(r->options), ==, 0);
        g_assert_cmpint(r->backlog, ==, -1);
        g_assert_false(r->interactive);
}

RECORDER_TEST("an address before the port") {
        run(r, WORDS("listen", "[fe80::1%lo]:8080", "--", "true"));
        assert_option(r, "localAddress", "s fe80::1%lo");
        run(r, WORDS("listen", "192.0.2.1:8080", "--", "true"));
        assert_option(r, "localAddress", "s 192.0.2.1");
        /* The address before the port wins. */
        run(r, WORDS("listen", "192.0.2.1:8080", "--local-address=192.0.2.9", "--", "true"));
        assert_option(r, "localAddress", "s 192.0.2.1");
}

RECORDER_TEST("wrong ports") {
        static const char *const ports[] = {
                "no-service", "65536", "-1",         "+80",    " 80",   "80x",
                "",           ":",     "127.0.0.1:", "::1:80", "[]:80", "99999999999999999999",
        };

        for (size_t i = 0; i < ELEMENTS(ports); i++) {
                g_autoptr(ToolResult) result = tool_run(r->bus, "listen", "--", ports[i]);

                /* After "--", all is the command. */
                g_assert_cmpint(result->status, ==, 1);
        }
        for (size_t i = 0; i < ELEMENTS(ports); i++) {
                g_autofree char *quoted = g_strdup_printf("\"%s\"", ports[i]);

                if (ports[i][0] == '-')
                        continue; /* would be an option */
                g_test_message("%s", ports[i]);
                tool_assert_fails(tool_run(r->bus, "listen", ports[i], "--", "true"), 1, quoted);
        }
}

/* The interface description has a table of them. The tool itself decides how it receives connections. */
RECORDER_TEST("each option of Listen is one of the tool") {
        g_autofree char *path = g_build_filename(g_getenv("TEST_SOURCE_ROOT"), "data", TEST_BUS_NAME ".xml",
                                                 NULL);
        g_autoptr(GRegex) row = g_regex_new(
                        "<row><entry><literal>([A-Za-z0-9]+)</literal>(?:, <literal>([A-Za-z0-9]+)<)?", 0, 0,
                        NULL);
        g_autoptr(GRegex) hump = g_regex_new("[A-Z]", 0, 0, NULL);
        g_autoptr(ToolResult) help = tool_run(r->bus, "--help");
        g_autoptr(GMatchInfo) match = NULL;
        unsigned n = 0;

        g_autofree char *xml = test_read_file(path);
        *strstr(xml, "</informaltable>") = '\0';
        for (g_regex_match(row, xml, 0, &match); g_match_info_matches(match);
             g_match_info_next(match, NULL), n++) {
                g_autofree char *key = g_match_info_fetch(match, 1);
                if (streq(key, "channelBatch") || streq(key, "handler") || streq(key, "adopt"))
                        continue;

                g_autofree char *hyphens = g_regex_replace(hump, key, -1, 0, "-\\0", 0, NULL);
                g_autofree char *lower = g_ascii_strdown(hyphens, -1),
                                *option = g_strdup_printf("     --%s", lower);

                g_test_message("%s", option);
                g_assert_nonnull(strstr(help->out, option));
        }
        g_assert_cmpuint(n, >=, 16);
}
