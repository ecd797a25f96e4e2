/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* org.freedesktop.LogControl1: what is logged, and where, is changed while the service runs. */

#include "base/macros.h"
#include "bus/fixture.h"

#define PATH "/org/freedesktop/LogControl1"
#define INTERFACE "org.freedesktop.LogControl1"
#define PROPERTIES "org.freedesktop.DBus.Properties"

static char *get(TestClient *client, const char *property) {
        g_autoptr(sd_bus_message)
                        reply = test_call(client, PATH, PROPERTIES, "Get", "ss", INTERFACE, property);
        const char *value;

        g_assert_cmpint(sd_bus_message_read(reply, "v", "s", &value), >=, 0);
        return g_strdup(value);
}

static void set(TestClient *client, const char *property, const char *value) {
        sd_bus_message_unref(
                        test_call(client, PATH, PROPERTIES, "Set", "ssv", INTERFACE, property, "s", value));
}

static void assert_is(TestClient *client, const char *property, const char *value) {
        g_autofree char *now = get(client, property);

        g_assert_cmpstr(now, ==, value);
}

static void assert_refuses(TestClient *client,
                           const char *property,
                           const char *value,
                           const char *error,
                           const char *part) {
        g_autofree char *message = NULL, *name = test_call_fails(client, &message, PATH, PROPERTIES, "Set",
                                                                 "ssv", INTERFACE, property, "s", value);

        g_assert_cmpstr(name, ==, error);
        if (part)
                g_assert_nonnull(strstr(message, part));
}

TEST("the level can be changed") {
        set(f->client, "LogLevel", "debug");
        assert_is(f->client, "LogLevel", "debug");
        g_free(test_listen(f->client, 0, -1, NULL));
        test_wait_for(test_service_has_logged(f->service, "has set LogLevel to debug"));

        set(f->client, "LogLevel", "err");
        assert_is(f->client, "LogLevel", "err");
}

TEST("the target can be changed") {
        set(f->client, "LogTarget", "console");
        assert_is(f->client, "LogTarget", "console");
        set(f->client, "LogTarget", "journal");
        assert_is(f->client, "LogTarget", "journal");
        set(f->client, "LogTarget", "auto");
        assert_is(f->client, "LogTarget", "auto");
}

TEST("wrong values and unknown properties are refused") {
        static const char invalid[] = "org.freedesktop.DBus.Error.InvalidArgs";
        g_autofree char *level = get(f->client, "LogLevel"), *target = get(f->client, "LogTarget");
        g_autofree char *error = NULL, *message = NULL;

        assert_refuses(f->client, "LogLevel", "loud", invalid, "\"loud\"");
        assert_refuses(f->client, "LogTarget", "nowhere", invalid, "\"nowhere\"");
        assert_refuses(f->client, "SyslogIdentifier", "me", "org.freedesktop.DBus.Error.PropertyReadOnly",
                       "SyslogIdentifier");
        assert_refuses(f->client, "LogColour", "red", "org.freedesktop.DBus.Error.UnknownProperty",
                       "unknown-property");
        error = test_call_fails(f->client, &message, PATH, PROPERTIES, "Set", "ssv", INTERFACE, "LogLevel",
                                "u", 7);
        g_assert_cmpstr(error, ==, invalid);
        assert_is(f->client, "LogLevel", level);
        assert_is(f->client, "LogTarget", target);
        assert_is(f->client, "SyslogIdentifier", "tcpserversocketd");
}

static void assert_others_may_not(Fixture *f) {
        g_autofree char *level = get(f->client, "LogLevel");
        g_autoptr(TestClient) other = NULL;

        if (!test_require_root())
                return;

        other = test_client_new(f->bus, test_other_uid(0));
        assert_refuses(other, "LogLevel", "debug", "org.freedesktop.DBus.Error.AccessDenied", NULL);
        assert_is(f->client, "LogLevel", level);
}

TEST("only the administrator may change properties") {
        assert_others_may_not(f);
}

/* The service does not choose the bus that it runs on. */
static const FixtureOptions careless_bus = {
        .bus_xml = "<policy context='mandatory'>"
                   "<allow send_destination='" TEST_BUS_NAME "' send_path='" PATH "'/>"
                   "</policy>",
};

TEST_ON("only the administrator may change properties on a careless bus, too", &careless_bus) {
        assert_others_may_not(f);
}
