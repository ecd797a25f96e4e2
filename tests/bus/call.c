/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/call.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#include "base/macros.h"
#include "bus/loop.h"
#include "bus/process.h"

struct TestCall {
        TestClient *client;
        sd_bus_slot *slot;
        sd_bus_message *reply;
        unsigned order;
};

static int on_reply(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TestCall *call = userdata;

        call->reply = sd_bus_message_ref(message);
        call->order = test_client_next_order(call->client);
        return 1;
}

sd_bus_message *test_message_new(TestClient *client,
                                 const char *path,
                                 const char *interface,
                                 const char *member) {
        sd_bus_message *message = NULL;

        must(sd_bus_message_new_method_call(test_client_bus(client), &message, TEST_BUS_NAME, path, interface,
                                            member));
        return message;
}

TestCall *test_call_start(TestClient *client, sd_bus_message *message) {
        TestCall *call = g_new0(TestCall, 1);

        call->client = client;
        /* Waiting has its own deadline. */
        must(sd_bus_call_async(test_client_bus(client), &call->slot, message, on_reply, call, UINT64_MAX));
        sd_bus_message_unref(message);
        return call;
}

bool test_call_is_done(TestCall *call) {
        return call->reply != NULL;
}

sd_bus_message *test_call_wait(TestCall *call) {
        test_wait_for(call->reply != NULL);
        return call->reply;
}

/* An error has an identity at the end of its message, unless it is made by the bus, by the client's own
 * library, or by the library of the service for what it finds in its tables of members. */
static void assert_identity(sd_bus_message *reply, const sd_bus_error *error) {
        const char *sender = sd_bus_message_get_sender(reply);

        if (!sender || streq(sender, "org.freedesktop.DBus") ||
            g_strv_contains(WORDS(SD_BUS_ERROR_INVALID_ARGS, SD_BUS_ERROR_UNKNOWN_OBJECT,
                                  SD_BUS_ERROR_UNKNOWN_INTERFACE, SD_BUS_ERROR_UNKNOWN_METHOD,
                                  SD_BUS_ERROR_UNKNOWN_PROPERTY, SD_BUS_ERROR_PROPERTY_READ_ONLY),
                            error->name))
                return;

        if (!g_regex_match_simple("^[^\\[].* \\[[a-z0-9-]+( [A-Za-z]+=[^] []*)*\\]$", error->message,
                                  G_REGEX_DOLLAR_ENDONLY, 0))
                g_error("the error %s has no identity: %s", error->name, error->message);
}

const char *test_call_error(TestCall *call) {
        sd_bus_message *reply = test_call_wait(call);
        const sd_bus_error *error = sd_bus_message_get_error(reply);

        if (!error)
                return NULL;

        assert_identity(reply, error);
        return error->name;
}

const char *test_call_error_message(TestCall *call) {
        const sd_bus_error *error = sd_bus_message_get_error(test_call_wait(call));

        return error ? error->message : NULL;
}

unsigned test_call_order(TestCall *call) {
        g_assert_true(test_call_is_done(call));
        return call->order;
}

void test_call_free(TestCall *call) {
        if (!call)
                return;
        sd_bus_slot_unref(call->slot);
        sd_bus_message_unref(call->reply);
        g_free(call);
}

/* Consumes the message. */
static sd_bus_message *finish(TestClient *client, sd_bus_message *message) {
        g_autoptr(TestCall) call = test_call_start(client, message);

        if (test_call_error(call))
                g_error("the call failed: %s: %s", test_call_error(call), test_call_error_message(call));
        return sd_bus_message_ref(call->reply);
}

static char *finish_failing(TestClient *client, sd_bus_message *message, char **ret_message) {
        g_autofree char *member = g_strdup(sd_bus_message_get_member(message));
        g_autoptr(TestCall) call = test_call_start(client, message);

        if (!test_call_error(call))
                g_error("%s succeeded and should not have", member);
        if (ret_message)
                *ret_message = g_strdup(test_call_error_message(call));
        return g_strdup(test_call_error(call));
}

static sd_bus_message *new_call(TestClient *client,
                                const char *path,
                                const char *interface,
                                const char *member,
                                const char *types,
                                va_list values) {
        sd_bus_message *message = test_message_new(client, path, interface, member);

        if (types[0] != '\0')
                must(sd_bus_message_appendv(message, types, values));
        return message;
}

sd_bus_message *test_call(TestClient *client,
                          const char *path,
                          const char *interface,
                          const char *member,
                          const char *types,
                          ...) {
        va_list values;

        va_start(values, types);
        sd_bus_message *message = new_call(client, path, interface, member, types, values);
        va_end(values);
        return finish(client, message);
}

char *test_call_fails(TestClient *client,
                      char **ret_message,
                      const char *path,
                      const char *interface,
                      const char *member,
                      const char *types,
                      ...) {
        va_list values;

        va_start(values, types);
        sd_bus_message *message = new_call(client, path, interface, member, types, values);
        va_end(values);
        return finish_failing(client, message, ret_message);
}

void test_call_driver(TestClient *client, const char *member, const char *types, ...) {
        sd_bus_message *message = NULL;
        va_list values;

        must(sd_bus_message_new_method_call(test_client_bus(client), &message, "org.freedesktop.DBus",
                                            "/org/freedesktop/DBus", "org.freedesktop.DBus", member));
        va_start(values, types);
        if (types[0] != '\0')
                must(sd_bus_message_appendv(message, types, values));
        va_end(values);
        sd_bus_message_unref(finish(client, message));
}

/* Leaves in values what comes after this option. */
static void append_variant(sd_bus_message *message, const char *type, va_list *values) {
        int r;

        must(sd_bus_message_open_container(message, 'v', type));
        if (streq(type, "as"))
                r = sd_bus_message_append_strv(message, va_arg(*values, char **));
        else if (streq(type, "s") || streq(type, "o"))
                r = sd_bus_message_append(message, type, va_arg(*values, const char *));
        else if (streq(type, "t") || streq(type, "x"))
                r = sd_bus_message_append(message, type, va_arg(*values, uint64_t));
        else if (strlen(type) == 1 && strchr("biuqnyh", type[0]))
                r = sd_bus_message_append(message, type, va_arg(*values, int));
        else
                g_error("no such type of an option: %s", type);
        must(r);
        must(sd_bus_message_close_container(message));
}

static void append_options(sd_bus_message *message, va_list *values) {
        const char *key;

        must(sd_bus_message_open_container(message, 'a', "{sv}"));
        while ((key = va_arg(*values, const char *))) {
                must(sd_bus_message_open_container(message, 'e', "sv"));
                must(sd_bus_message_append(message, "s", key));
                append_variant(message, va_arg(*values, const char *), values);
                must(sd_bus_message_close_container(message));
        }
        must(sd_bus_message_close_container(message));
}

void test_message_append_options(sd_bus_message *message, ...) {
        va_list values;

        va_start(values, message);
        append_options(message, &values);
        va_end(values);
}

static sd_bus_message *new_listen(TestClient *client, int port, int backlog, va_list *options) {
        sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                   "Listen");

        must(sd_bus_message_append(message, "i", port));
        append_options(message, options);
        must(sd_bus_message_append(message, "i", backlog));
        return message;
}

char *test_listen(TestClient *client, int port, int backlog, ...) {
        const char *listener;
        va_list options;

        va_start(options, backlog);
        sd_bus_message *message = new_listen(client, port, backlog, &options);
        va_end(options);
        g_autoptr(sd_bus_message) reply = finish(client, message);
        must(sd_bus_message_read(reply, "o", &listener));
        return g_strdup(listener);
}

char *test_listen_fails(TestClient *client, char **ret_message, int port, int backlog, ...) {
        va_list options;

        va_start(options, backlog);
        sd_bus_message *message = new_listen(client, port, backlog, &options);
        va_end(options);
        return finish_failing(client, message, ret_message);
}

void test_listener_call(TestClient *client, const char *listener, const char *member) {
        sd_bus_message_unref(test_call(client, listener, TEST_LISTENER_INTERFACE, member, ""));
}

char *test_listener_call_fails(TestClient *client, const char *listener, const char *member) {
        return test_call_fails(client, NULL, listener, TEST_LISTENER_INTERFACE, member, "");
}

int test_reply_read_fd(sd_bus_message *reply) {
        int fd;

        must(sd_bus_message_read(reply, "h", &fd));
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        g_assert_no_errno(fd);
        return fd;
}

int test_listener_call_fd(TestClient *client, const char *listener, const char *member) {
        g_autoptr(sd_bus_message) reply = test_call(client, listener, TEST_LISTENER_INTERFACE, member, "");

        return test_reply_read_fd(reply);
}

/* Returns the reply, entered into its variant, and the type of its value. */
static sd_bus_message *get(TestClient *client, const char *path, const char *property, char *ret_type) {
        const char *interface = streq(path, TEST_MANAGER_PATH) ? TEST_MANAGER_INTERFACE
                                                               : TEST_LISTENER_INTERFACE;
        sd_bus_message *reply = test_call(client, path, "org.freedesktop.DBus.Properties", "Get", "ss",
                                          interface, property);
        const char *contents;

        g_assert_cmpint(sd_bus_message_peek_type(reply, NULL, &contents), >, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'v', contents), >, 0);
        *ret_type = contents[0];
        return reply;
}

uint64_t test_get_u64(TestClient *client, const char *listener, const char *property) {
        char type;
        g_autoptr(sd_bus_message) reply = get(client, listener, property, &type);
        union {
                uint16_t q;
                uint32_t u;
                uint64_t t;
        } value;

        g_assert_cmpint(sd_bus_message_read_basic(reply, type, &value), >, 0);
        switch (type) {
        case 'q':
                return value.q;
        case 'u':
                return value.u;
        case 't':
                return value.t;
        default:
                g_error("%s is of type %c", property, type);
        }
}

bool test_get_bool(TestClient *client, const char *listener, const char *property) {
        char type;
        g_autoptr(sd_bus_message) reply = get(client, listener, property, &type);
        int value;

        g_assert_cmpint(sd_bus_message_read(reply, "b", &value), >, 0);
        return value;
}

char *test_get_string(TestClient *client, const char *listener, const char *property) {
        char type;
        g_autoptr(sd_bus_message) reply = get(client, listener, property, &type);
        const char *value;

        g_assert_cmpint(sd_bus_message_read(reply, "s", &value), >, 0);
        return g_strdup(value);
}

uint16_t test_get_port(TestClient *client, const char *listener) {
        return (uint16_t) test_get_u64(client, listener, "LocalPort");
}

bool test_has_owner(TestClient *client, const char *listener) {
        g_autofree char *owner = test_get_string(client, listener, "Owner");

        return owner[0] != '\0';
}

TestCall *test_accept_start(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms) {
        sd_bus_message *message = test_message_new(client, listener, TEST_LISTENER_INTERFACE, "Accept");

        must(sd_bus_message_append(message, "uu", maximum, timeout_ms));
        return test_call_start(client, message);
}

TestAccepted *test_accept_read_first(sd_bus_message *reply) {
        must(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"));
        return sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") > 0 ? test_accepted_read(reply) : NULL;
}

GPtrArray *test_accept_finish(TestCall *call) {
        GPtrArray *batch = g_ptr_array_new_with_free_func((GDestroyNotify) test_accepted_free);
        sd_bus_message *reply = test_call_wait(call);

        if (test_call_error(call))
                g_error("Accept failed: %s: %s", test_call_error(call), test_call_error_message(call));
        g_assert_cmpstr(sd_bus_message_get_signature(reply, true), ==, "a(hsqa{sv})");
        must(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"));
        while (sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") > 0) {
                g_ptr_array_add(batch, test_accepted_read(reply));
                must(sd_bus_message_exit_container(reply));
        }
        test_call_free(call);
        return batch;
}

GPtrArray *test_accept(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms) {
        return test_accept_finish(test_accept_start(client, listener, maximum, timeout_ms));
}

TestCall *test_listen_start(TestClient *client, int port, bool interactive) {
        sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                   "Listen");

        must(sd_bus_message_set_allow_interactive_authorization(message, interactive));
        must(sd_bus_message_append(message, "ia{sv}i", port, 0, -1));
        return test_call_start(client, message);
}
