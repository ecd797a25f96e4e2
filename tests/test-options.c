/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The options of Listen, without a bus: their values, ranges, contradictions, and copies. */

#include <fcntl.h>

#include "base/channel.h"
#include "base/error.h"
#include "base/macros.h"
#include "daemon/policy/options.h"
#include "daemon/policy/prefix.h"
#include "register.h"

#define VALUE(...) ((OptionValue) { __VA_ARGS__ })

static ListenOptions *new_options(void) {
        _cleanup_(error_done) Error problem = {};
        ListenOptions *o = NULL;

        g_assert_cmpint(listen_options_new(-1, -1, &o, &problem), ==, 0);
        g_assert_false(error_is_set(&problem));
        return o;
}

static void assert_set(ListenOptions *o, const char *key, OptionValue value) {
        _cleanup_(error_done) Error problem = {};

        g_assert_cmpint(listen_options_set(o, key, value, &problem), ==, 0);
        g_assert_false(error_is_set(&problem));
}

static void assert_finished(ListenOptions *o) {
        _cleanup_(error_done) Error problem = {};

        g_assert_cmpint(listen_options_finish(o, &problem), ==, 0);
        g_assert_false(error_is_set(&problem));
}

static void assert_names(const Error *problem, const char *word) {
        g_autofree char *text = NULL;

        g_assert_true(error_is_set(problem));
        text = error_format(problem, problem->info->text);
        if (!strstr(text, word))
                g_error("\"%s\" does not name %s", text, word);
}

static void assert_identity(const Error *problem, ErrorId id) {
        g_assert_true(error_is_set(problem));
        g_assert_cmpstr(problem->info->identifier, ==, error_get_info(id)->identifier);
}

/* As the only option. */
static void assert_refused(const char *key, OptionValue value, ErrorId id) {
        ListenOptions *o = new_options();
        _cleanup_(error_done) Error problem = {};

        g_assert_cmpint(listen_options_set(o, key, value, &problem), ==, -EINVAL);
        assert_identity(&problem, id);
        assert_names(&problem, key);
        g_assert_null(listen_options_free(o));
}

static void assert_taken(const char *key, OptionValue value) {
        ListenOptions *o = new_options();

        assert_set(o, key, value);
        assert_finished(o);
        g_assert_null(listen_options_free(o));
}

TEST_ALONE("have their defaults") {
        ListenOptions *o = new_options();

        assert_finished(o);
        g_assert_cmpint(o->port, ==, 0);
        g_assert_cmpint(o->backlog, ==, -1);
        g_assert_cmpstr(o->binary_type, ==, "string");
        g_assert_cmpint(o->address.sa.sa_family, ==, AF_INET6);
        g_assert_true(address_is_any(&o->address));
        g_assert_false(o->address_given);
        g_assert_false(o->ipv6_only);
        g_assert_false(o->free_bind);
        g_assert_null(o->interface);
        g_assert_cmpint(o->delivery, ==, DELIVERY_SIGNAL);
        g_assert_false(o->acknowledge);
        g_assert_false(o->paused);
        g_assert_false(o->persistent);
        g_assert_false(o->non_blocking);
        g_assert_false(o->no_delay);
        g_assert_false(o->keep_alive);
        g_assert_cmpuint(o->defer_accept, ==, 0);
        g_assert_cmpuint(o->fast_open, ==, 0);
        g_assert_cmpuint(o->n_allow_from, ==, 0);
        g_assert_cmpuint(o->accept_rate, ==, 0);
        g_assert_cmpuint(o->channel_batch, ==, 0);
        g_assert_cmpstr(o->name, ==, "");
        listen_options_free(o);

        o = new_options();
        assert_set(o, "delivery", VALUE(.s = "channel"));
        assert_finished(o);
        g_assert_cmpuint(o->channel_batch, ==, 1);
        listen_options_free(o);

        g_assert_null(listen_options_free(NULL));
}

TEST_ALONE("have their types") {
        static const char *const signatures[][2] = {
                { "binaryType", "s" },   { "localAddress", "s" }, { "ipv6Only", "b" },
                { "interface", "s" },    { "delivery", "s" },     { "acknowledge", "b" },
                { "paused", "b" },       { "persistent", "b" },   { "nonBlocking", "b" },
                { "noDelay", "b" },      { "keepAlive", "b" },    { "deferAccept", "u" },
                { "fastOpen", "u" },     { "allowFrom", "as" },   { "acceptRate", "u" },
                { "name", "s" },         { "Name", NULL },        { "", NULL },
                { "nam", NULL },         { "backlog", NULL },     { "localPort", NULL },
                { "binaryType ", NULL }, { "channelBatch", "u" }, { "freeBind", "b" },
                { "adopt", "b" },
        };

        for (size_t i = 0; i < ELEMENTS(signatures); i++)
                g_assert_cmpstr(option_get_signature(signatures[i][0]), ==, signatures[i][1]);
}

TEST_ALONE("port and backlog have their ranges") {
        static const int32_t ports[] = { -2, 65536, INT32_MIN, INT32_MAX };
        static const int32_t backlogs[] = { -2, INT32_MIN };
        ListenOptions untouched, *o = &untouched;

        for (size_t i = 0; i < ELEMENTS(ports); i++) {
                _cleanup_(error_done) Error problem = {};

                g_assert_cmpint(listen_options_new(ports[i], -1, &o, &problem), ==, -EINVAL);
                assert_names(&problem, "localPort");
        }
        for (size_t i = 0; i < ELEMENTS(backlogs); i++) {
                _cleanup_(error_done) Error problem = {};

                g_assert_cmpint(listen_options_new(0, backlogs[i], &o, &problem), ==, -EINVAL);
                assert_names(&problem, "backlog");
        }
        g_assert_true(o == &untouched);

        g_assert_cmpint(listen_options_new(65535, INT32_MAX, &o, NULL), ==, 0);
        assert_finished(o);
        g_assert_cmpint(o->port, ==, 65535);
        g_assert_cmpint(o->backlog, ==, INT32_MAX);
        g_assert_cmpuint(address_get_port(&o->address), ==, 65535);
        listen_options_free(o);

        g_assert_cmpint(listen_options_new(0, 0, &o, NULL), ==, 0);
        assert_finished(o);
        g_assert_cmpint(o->backlog, ==, 0);
        listen_options_free(o);
}

TEST_ALONE("values are copied") {
        ListenOptions *o = new_options();
        char text[] = "arraybuffer", name[] = "shop", interface[] = "eth0";
        char *prefixes[] = { (char *) "192.0.2.0/24", (char *) "2001:db8::/32", NULL };

        assert_set(o, "binaryType", VALUE(.s = text));
        assert_set(o, "name", VALUE(.s = name));
        assert_set(o, "interface", VALUE(.s = interface));
        assert_set(o, "delivery", VALUE(.s = "signal"));
        assert_set(o, "localAddress", VALUE(.s = "2001:db8::1"));
        assert_set(o, "ipv6Only", VALUE(.b = true));
        assert_set(o, "acknowledge", VALUE(.b = true));
        assert_set(o, "paused", VALUE(.b = true));
        assert_set(o, "persistent", VALUE(.b = true));
        assert_set(o, "nonBlocking", VALUE(.b = true));
        assert_set(o, "noDelay", VALUE(.b = true));
        assert_set(o, "keepAlive", VALUE(.b = true));
        assert_set(o, "deferAccept", VALUE(.u = 7));
        assert_set(o, "fastOpen", VALUE(.u = 8));
        assert_set(o, "acceptRate", VALUE(.u = UINT32_MAX));
        assert_set(o, "allowFrom", VALUE(.as = prefixes));
        /* The values are copies. */
        memset(text, 'x', sizeof(text) - 1);
        memset(name, 'x', sizeof(name) - 1);
        memset(interface, 'x', sizeof(interface) - 1);
        assert_finished(o);

        g_assert_cmpstr(o->binary_type, ==, "arraybuffer");
        g_assert_cmpstr(o->name, ==, "shop");
        g_assert_cmpstr(o->interface, ==, "eth0");
        g_assert_true(o->address_given);
        g_assert_false(address_is_any(&o->address));
        g_assert_true(o->ipv6_only && o->acknowledge && o->paused && o->persistent);
        g_assert_true(o->non_blocking && o->no_delay && o->keep_alive);
        g_assert_cmpuint(o->defer_accept, ==, 7);
        g_assert_cmpuint(o->fast_open, ==, 8);
        g_assert_cmpuint(o->accept_rate, ==, UINT32_MAX);
        g_assert_cmpuint(o->n_allow_from, ==, 2);
        g_assert_cmpint(o->allow_from[0].family, ==, AF_INET);
        g_assert_cmpint(o->allow_from[1].family, ==, AF_INET6);
        listen_options_free(o);
}

static void assert_goes_together(const char *key, OptionValue value, const char *delivery) {
        ListenOptions *o = new_options();

        assert_set(o, key, value);
        assert_set(o, "delivery", VALUE(.s = delivery));
        assert_finished(o);
        g_assert_cmpstr(delivery_kind_to_string(o->delivery), ==, delivery);
        listen_options_free(o);
}

TEST_ALONE("values have their limits") {
        g_autofree char *longest = g_strnfill(OPTION_NAME_MAX, 'n');
        g_autofree char *too_long = g_strnfill(OPTION_NAME_MAX + 1, 'n');
        char *prefixes[OPTION_ALLOW_FROM_MAX + 2] = {}, *none[] = { NULL };
        char *broken[] = { (char *) "192.0.2.0/24", (char *) "192.0.2.0/33", NULL };

        assert_taken("name", VALUE(.s = longest));
        assert_taken("name", VALUE(.s = ""));
        assert_taken("name", VALUE(.s = "Büro, 端口"));
        assert_refused("name", VALUE(.s = too_long), ERROR_INVALID_NAME);
        assert_refused("name", VALUE(.s = "a\nb"), ERROR_INVALID_NAME);
        assert_refused("name", VALUE(.s = "\x7f"), ERROR_INVALID_NAME);
        assert_refused("name", VALUE(.s = "\xe2\x80\xae"), ERROR_INVALID_NAME);
        assert_refused("name", VALUE(.s = "\xff"), ERROR_INVALID_NAME);
        assert_refused("name", VALUE(.s = "we\u200bb"), ERROR_INVALID_NAME);
        assert_refused("name", VALUE(.s = "Z\u0300\u0301\u0302\u0303\u0304"), ERROR_INVALID_NAME);
        assert_refused("interface", VALUE(.s = "lo\u00ad"), ERROR_INVALID_INTERFACE);

        assert_taken("interface", VALUE(.s = "fifteen-letters"));
        assert_refused("interface", VALUE(.s = "sixteen-letters-"), ERROR_INVALID_INTERFACE);
        assert_refused("interface", VALUE(.s = ""), ERROR_INVALID_INTERFACE);
        assert_refused("interface", VALUE(.s = "a/b"), ERROR_INVALID_INTERFACE);
        assert_refused("interface", VALUE(.s = "lo:1"), ERROR_INVALID_INTERFACE);
        assert_refused("interface", VALUE(.s = "a\tb"), ERROR_INVALID_INTERFACE);

        assert_refused("channelBatch", VALUE(.u = 0), ERROR_OPTION_OUT_OF_RANGE);
        assert_refused("channelBatch", VALUE(.u = CHANNEL_BATCH_MAX + 1), ERROR_OPTION_OUT_OF_RANGE);

        assert_taken("deferAccept", VALUE(.u = 0));
        assert_refused("handler", VALUE(.s = "no/path"), ERROR_INVALID_HANDLER);
        longest[0] = '/';
        too_long[0] = '/';
        assert_goes_together("handler", VALUE(.s = longest), "call");
        assert_refused("handler", VALUE(.s = too_long), ERROR_INVALID_HANDLER);

        assert_taken("deferAccept", VALUE(.u = OPTION_DEFER_ACCEPT_MAX));
        assert_refused("deferAccept", VALUE(.u = OPTION_DEFER_ACCEPT_MAX + 1), ERROR_OPTION_OUT_OF_RANGE);
        assert_taken("fastOpen", VALUE(.u = 0));
        assert_taken("fastOpen", VALUE(.u = INT32_MAX));
        assert_refused("fastOpen", VALUE(.u = INT64_C(1) << 31), ERROR_OPTION_OUT_OF_RANGE);

        for (size_t i = 0; i < OPTION_ALLOW_FROM_MAX; i++)
                prefixes[i] = (char *) "::1";
        assert_taken("allowFrom", VALUE(.as = prefixes));
        assert_taken("allowFrom", VALUE(.as = none));
        prefixes[OPTION_ALLOW_FROM_MAX] = (char *) "::1";
        assert_refused("allowFrom", VALUE(.as = prefixes), ERROR_TOO_MANY_PREFIXES);
        assert_refused("allowFrom", VALUE(.as = broken), ERROR_INVALID_PREFIX);
}

TEST_ALONE("words and addresses are checked") {
        assert_taken("binaryType", VALUE(.s = "string"));
        assert_refused("binaryType", VALUE(.s = ""), ERROR_INVALID_BINARY_TYPE);
        assert_refused("binaryType", VALUE(.s = "String"), ERROR_INVALID_BINARY_TYPE);
        assert_refused("binaryType", VALUE(.s = "blob"), ERROR_INVALID_BINARY_TYPE);

        assert_taken("delivery", VALUE(.s = "signal"));
        assert_taken("delivery", VALUE(.s = "call"));
        assert_taken("delivery", VALUE(.s = "pull"));
        assert_taken("delivery", VALUE(.s = "channel"));
        assert_taken("delivery", VALUE(.s = "socket"));
        assert_refused("delivery", VALUE(.s = ""), ERROR_INVALID_DELIVERY);
        assert_refused("delivery", VALUE(.s = "signals"), ERROR_INVALID_DELIVERY);

        assert_refused("localAddress", VALUE(.s = "localhost"), ERROR_INVALID_LOCAL_ADDRESS);
        assert_refused("localAddress", VALUE(.s = ""), ERROR_INVALID_LOCAL_ADDRESS);
        assert_refused("localAddress", VALUE(.s = "::1%lo"), ERROR_INVALID_LOCAL_ADDRESS);
        assert_refused("localAddress", VALUE(.s = "fe80::1%lo:1"), ERROR_INVALID_LOCAL_ADDRESS);
        assert_refused("localAddress", VALUE(.s = "fe80::1%no-such-one"), ERROR_NO_SUCH_SCOPE);
}

TEST_ALONE("unknown options are refused") {
        static const char *const keys[] = { "", "Paused", "noDeley", "port" };
        ListenOptions *o = new_options();
        g_autofree char *long_key = g_strnfill(5000, 'k');
        _cleanup_(error_done) Error problem = {};

        for (size_t i = 0; i < ELEMENTS(keys); i++)
                assert_refused(keys[i], VALUE(.b = true), ERROR_UNKNOWN_OPTION);

        /* The error goes over the bus and into a log, so it does not repeat a long name. */
        g_assert_cmpint(listen_options_set(o, long_key, VALUE(.b = true), &problem), ==, -EINVAL);
        assert_identity(&problem, ERROR_INVALID_OPTION_NAME);
        error_done(&problem);
        g_assert_cmpint(listen_options_set(o, "\x1b[2J", VALUE(.b = true), &problem), ==, -EINVAL);
        assert_identity(&problem, ERROR_INVALID_OPTION_NAME);
        listen_options_free(o);
}

TEST_ALONE("an option may be given once") {
        ListenOptions *o = new_options();
        _cleanup_(error_done) Error problem = {}, again = {};

        assert_set(o, "name", VALUE(.s = "first"));
        assert_set(o, "paused", VALUE(.b = true));
        g_assert_cmpint(listen_options_set(o, "name", VALUE(.s = "second"), &problem), ==, -EINVAL);
        assert_names(&problem, "name");
        g_assert_cmpint(listen_options_set(o, "paused", VALUE(.b = true), &again), ==, -EINVAL);
        assert_names(&again, "paused");
        g_assert_cmpstr(o->name, ==, "first");
        listen_options_free(o);
}

static void assert_contradictory(const char *key,
                                 OptionValue value,
                                 const char *other,
                                 OptionValue other_value) {
        for (int swapped = 0; swapped < 2; swapped++) {
                ListenOptions *o = new_options();
                _cleanup_(error_done) Error problem = {};

                if (!swapped)
                        assert_set(o, key, value);
                assert_set(o, other, other_value);
                if (swapped)
                        assert_set(o, key, value);
                g_assert_cmpint(listen_options_finish(o, &problem), ==, -EINVAL);
                assert_names(&problem, key);
                assert_names(&problem, other);
                listen_options_free(o);
        }
}

TEST_ALONE("contradictions are refused in any order") {
        ListenOptions *o;
        _cleanup_(error_done) Error problem = {}, unknown = {};

        assert_contradictory("ipv6Only", VALUE(.b = true), "localAddress", VALUE(.s = "192.0.2.1"));
        assert_contradictory("ipv6Only", VALUE(.b = true), "localAddress", VALUE(.s = "::ffff:192.0.2.1"));

        o = new_options();
        assert_set(o, "ipv6Only", VALUE(.b = false));
        assert_set(o, "localAddress", VALUE(.s = "192.0.2.1"));
        assert_finished(o);
        listen_options_free(o);

        o = new_options();
        assert_set(o, "localAddress", VALUE(.s = "fe80::1"));
        g_assert_cmpint(listen_options_resolve_interface(o, &problem), ==, -EINVAL);
        assert_names(&problem, "localAddress");
        listen_options_free(o);

        o = new_options();
        assert_set(o, "localAddress", VALUE(.s = "fe80::1"));
        assert_set(o, "interface", VALUE(.s = "no-such-one"));
        g_assert_cmpint(listen_options_resolve_interface(o, &unknown), ==, -EINVAL);
        assert_identity(&unknown, ERROR_NO_SUCH_INTERFACE);
        listen_options_free(o);

        if (if_nametoindex("lo") == 0)
                return;

        o = new_options();
        assert_set(o, "localAddress", VALUE(.s = "fe80::1"));
        assert_set(o, "interface", VALUE(.s = "lo"));
        g_assert_cmpint(listen_options_resolve_interface(o, &problem), ==, 0);
        assert_finished(o);
        g_assert_cmpuint(o->interface_index, ==, if_nametoindex("lo"));
        g_assert_cmpuint(o->address.in6.sin6_scope_id, ==, if_nametoindex("lo"));
        listen_options_free(o);
}

TEST_ALONE("each delivery refuses the options that it cannot implement") {
        static const char *const others[] = { "call", "pull", "channel", "socket" };
        char *prefixes[] = { (char *) "192.0.2.0/24", NULL }, *none[] = { NULL };

        assert_goes_together("acknowledge", VALUE(.b = true), "signal");
        assert_contradictory("handler", VALUE(.s = "/"), "delivery", VALUE(.s = "signal"));
        assert_goes_together("handler", VALUE(.s = "/a/b"), "call");
        for (size_t i = 0; i < ELEMENTS(others); i++) {
                assert_contradictory("acknowledge", VALUE(.b = true), "delivery", VALUE(.s = others[i]));
                assert_goes_together("acknowledge", VALUE(.b = false), others[i]);
                if (i > 0)
                        assert_contradictory("delivery", VALUE(.s = others[i]), "handler", VALUE(.s = "/"));
        }

        assert_goes_together("channelBatch", VALUE(.u = 1), "channel");
        assert_goes_together("channelBatch", VALUE(.u = CHANNEL_BATCH_MAX), "channel");
        assert_contradictory("channelBatch", VALUE(.u = 1), "delivery", VALUE(.s = "signal"));
        assert_contradictory("channelBatch", VALUE(.u = 16), "delivery", VALUE(.s = "pull"));
        assert_contradictory("channelBatch", VALUE(.u = 16), "delivery", VALUE(.s = "socket"));
        assert_contradictory("paused", VALUE(.b = true), "delivery", VALUE(.s = "socket"));
        assert_contradictory("allowFrom", VALUE(.as = prefixes), "delivery", VALUE(.s = "socket"));
        assert_contradictory("acceptRate", VALUE(.u = 1), "delivery", VALUE(.s = "socket"));
        assert_goes_together("paused", VALUE(.b = false), "socket");
        assert_goes_together("allowFrom", VALUE(.as = none), "socket");
        assert_goes_together("acceptRate", VALUE(.u = 0), "socket");
        assert_goes_together("nonBlocking", VALUE(.b = true), "socket");
        assert_goes_together("paused", VALUE(.b = true), "pull");
        assert_goes_together("allowFrom", VALUE(.as = prefixes), "channel");
        assert_goes_together("acceptRate", VALUE(.u = 1), "channel");
}
