/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "bus/call.h"
#include "bus/random-call.h"
#include "register.h"

#define LISTENER TEST_MANAGER_PATH "/listener"

static unsigned pick(unsigned n) {
        return (unsigned) g_test_rand_int_range(0, (int) n);
}

static const char *pick_string(void) {
        static const char *const strings[] = { "",
                                               "signal",
                                               "call",
                                               "pull",
                                               "channel",
                                               "socket",
                                               "string",
                                               "arraybuffer",
                                               "127.0.0.1",
                                               "::",
                                               "::1",
                                               "lo",
                                               "fe80::1%lo",
                                               "192.0.2.0/24",
                                               "LogLevel",
                                               "debug",
                                               "LocalPort",
                                               TEST_MANAGER_INTERFACE,
                                               TEST_LISTENER_INTERFACE,
                                               "org.freedesktop.LogControl1",
                                               "\xc3\xa4\xe2\x82\xac",
                                               "%s%n%s",
                                               "\x1b[2J" };

        return strings[pick(G_N_ELEMENTS(strings))];
}

static const char *pick_key(void) {
        static const char *const keys[] = {
                "binaryType",  "localAddress", "ipv6Only",   "interface",   "delivery",
                "acknowledge", "paused",       "persistent", "nonBlocking", "noDelay",
                "keepAlive",   "deferAccept",  "fastOpen",   "allowFrom",   "acceptRate",
                "name",        "channelBatch", "adopt",      "colour",
        };

        return keys[pick(G_N_ELEMENTS(keys))];
}

static const char *pick_type(void) {
        static const char *const types[] = { "s", "b", "u", "i", "as", "y",  "n",     "q",    "x",  "t",
                                             "d", "o", "g", "v", "ay", "av", "a{sv}", "(ss)", "au", "a(ot)" };

        return types[pick(G_N_ELEMENTS(types))];
}

static void append_random(sd_bus_message *m, const char *type, unsigned *budget);

static void append_basic(sd_bus_message *m, char type) {
        uint64_t number = pick(4) > 0 ? pick(20)
                                      : (uint64_t) g_test_rand_int() << 32 | (uint32_t) g_test_rand_int();
        double real = g_test_rand_double();
        int flag = (int) pick(2);

        switch (type) {
        case 's':
                must(sd_bus_message_append_basic(m, 's', pick_string()));
                break;
        case 'o':
                must(sd_bus_message_append_basic(m, 'o', LISTENER "/1"));
                break;
        case 'g':
                must(sd_bus_message_append_basic(m, 'g', "a{sv}"));
                break;
        case 'b':
                must(sd_bus_message_append_basic(m, 'b', &flag));
                break;
        case 'd':
                must(sd_bus_message_append_basic(m, 'd', &real));
                break;
        default:
                must(sd_bus_message_append_basic(m, type, &number));
                break;
        }
}

static void append_array(sd_bus_message *m, const char *contents, unsigned *budget) {
        unsigned n = pick(8) > 0 ? pick(4) : pick(64);

        must(sd_bus_message_open_container(m, 'a', contents));
        for (; n > 0 && *budget > 0; n--) {
                (*budget)--;
                append_random(m, contents, budget);
        }
        must(sd_bus_message_close_container(m));
}

/* Right for the key, as often as not. */
static void append_option(sd_bus_message *m, unsigned *budget) {
        static const struct {
                const char *key, *type;
        } right[] = { { "delivery", "s" },    { "localAddress", "s" }, { "persistent", "b" },
                      { "paused", "b" },      { "allowFrom", "as" },   { "acceptRate", "u" },
                      { "name", "s" },        { "noDelay", "b" },      { "binaryType", "s" },
                      { "acknowledge", "b" }, { "fastOpen", "u" } };
        unsigned n = pick(G_N_ELEMENTS(right));
        bool wrong = pick(6) == 0;
        const char *type = wrong ? "u" : right[n].type;

        must(sd_bus_message_append_basic(m, 's', wrong ? pick_key() : right[n].key));
        must(sd_bus_message_open_container(m, 'v', type));
        append_random(m, type, budget);
        must(sd_bus_message_close_container(m));
}

/* One complete type. */
static void append_random(sd_bus_message *m, const char *type, unsigned *budget) {
        const char *inner;

        if (streq(type, "{sv}")) {
                must(sd_bus_message_open_container(m, 'e', "sv"));
                append_option(m, budget);
                must(sd_bus_message_close_container(m));
        } else if (streq(type, "(ss)") || streq(type, "(ot)")) {
                must(sd_bus_message_open_container(m, 'r', type[1] == 's' ? "ss" : "ot"));
                append_basic(m, type[1]);
                append_basic(m, type[2]);
                must(sd_bus_message_close_container(m));
        } else if (type[0] == 'a')
                append_array(m, type + 1, budget);
        else if (type[0] == 'v') {
                inner = pick_type();
                must(sd_bus_message_open_container(m, 'v', inner));
                append_random(m, inner, budget);
                must(sd_bus_message_close_container(m));
        } else
                append_basic(m, type[0]);
}

static const char *pick_path(void) {
        static char path[64];

        switch (pick(8)) {
        case 0:
                return "/org/freedesktop/LogControl1";
        case 1:
                return LISTENER;
        case 2:
                return LISTENER "/18446744073709551616";
        default:
                (void) snprintf(path, sizeof(path), LISTENER "/%u", 1 + pick(40));
                return path;
        }
}

sd_bus_message *random_call_new(TestClient *caller) {
        static const struct {
                const char *interface, *member;
                const char *types[4];
        } methods[] = {
                { TEST_MANAGER_INTERFACE, "Listen", { "i", "a{sv}", "i" } },
                { TEST_MANAGER_INTERFACE, "Listen", { "i", "a{sv}", "i" } },
                { TEST_MANAGER_INTERFACE, "ListListeners", {} },
                { TEST_LISTENER_INTERFACE, "Close", {} },
                { TEST_LISTENER_INTERFACE, "Adopt", {} },
                { TEST_LISTENER_INTERFACE, "Pause", {} },
                { TEST_LISTENER_INTERFACE, "Resume", {} },
                { TEST_LISTENER_INTERFACE, "Acknowledge", { "t" } },
                { TEST_LISTENER_INTERFACE, "Accept", { "u", "u" } },
                { TEST_LISTENER_INTERFACE, "OpenLifeline", {} },
                { TEST_LISTENER_INTERFACE, "OpenChannel", {} },
                { TEST_LISTENER_INTERFACE, "TakeSocket", {} },
                { "org.freedesktop.DBus.Properties", "Get", { "s", "s" } },
                { "org.freedesktop.DBus.Properties", "GetAll", { "s" } },
                { "org.freedesktop.DBus.Properties", "Set", { "s", "s", "v" } },
                { "org.freedesktop.DBus.Introspectable", "Introspect", {} },
                { "org.freedesktop.DBus.Peer", "GetMachineId", {} },
        };
        unsigned n = pick(G_N_ELEMENTS(methods));
        bool of_manager = streq(methods[n].interface, TEST_MANAGER_INTERFACE) || pick(10) == 0;
        unsigned budget = 200; /* values */
        sd_bus_message *m = test_message_new(caller, of_manager ? TEST_MANAGER_PATH : pick_path(),
                                             methods[n].interface, methods[n].member);

        if (pick(4) == 0)
                for (unsigned i = pick(4); i > 0; i--)
                        append_random(m, pick_type(), &budget);
        else
                for (const char *const *type = methods[n].types; *type; type++)
                        append_random(m, *type, &budget);
        return m;
}
