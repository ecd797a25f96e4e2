/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Compares the interface description with the service. */

#include <gio/gio.h>

#include "bus/fixture.h"

#define INTROSPECTABLE "org.freedesktop.DBus.Introspectable"
#define PROPERTIES "org.freedesktop.DBus.Properties"
#define PREFIX TEST_MANAGER_PATH "/listener"

/* A file of the project. */
typedef struct Description {
        char *path;
        char *text; /* its content */
        GDBusNodeInfo *node;
} Description;

typedef struct Interface {
        Fixture base;
        Description service; /* the interfaces of the service */
        Description client;  /* the interface that a client exports */
        char *listener;
} Interface;

static void description_read(Description *d, const char *name) {
        const char *root = g_getenv("TEST_SOURCE_ROOT");
        g_autoptr(GError) error = NULL;

        g_assert_nonnull(root);
        d->path = g_build_filename(root, "data", name, NULL);
        (void) g_file_get_contents(d->path, &d->text, NULL, &error);
        g_assert_no_error(error);
        d->node = g_dbus_node_info_new_for_xml(d->text, &error);
        g_assert_no_error(error);
}

static void description_done(Description *d) {
        g_dbus_node_info_unref(d->node);
        g_free(d->text);
        g_free(d->path);
}

static void set_up(Interface *i, const void *data) {
        description_read(&i->service, TEST_BUS_NAME ".xml");
        description_read(&i->client, TEST_CLIENT_INTERFACE ".xml");
        fixture_set_up(&i->base, NULL);
        i->listener = test_listen(i->base.client, 0, -1, NULL);
}

static void tear_down(Interface *i, const void *data) {
        fixture_tear_down(&i->base, NULL);
        g_free(i->listener);
        description_done(&i->client);
        description_done(&i->service);
}

/* Annotations for code generators do not concern the service. */
static void list_annotations(GPtrArray *lines, const char *of, GDBusAnnotationInfo *const *annotations) {
        for (; annotations && *annotations; annotations++)
                if (!g_str_has_prefix((*annotations)->key, "org.gtk."))
                        g_ptr_array_add(lines, g_strdup_printf("%s: %s=%s", of, (*annotations)->key,
                                                               (*annotations)->value));
}

static void list_arguments(GPtrArray *lines,
                           const char *of,
                           const char *direction,
                           GDBusArgInfo *const *arguments) {
        for (unsigned n = 0; arguments && arguments[n]; n++) {
                g_autofree char *line = g_strdup_printf("%s: %s %u: %s %s", of, direction, n,
                                                        arguments[n]->signature,
                                                        arguments[n]->name ?: "without a name");

                list_annotations(lines, line, arguments[n]->annotations);
                g_ptr_array_add(lines, g_steal_pointer(&line));
        }
}

static int compare_lines(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* A line for everything that one can rely on, in an order of its own. */
static char *list_members(GDBusInterfaceInfo *interface) {
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

        g_assert_nonnull(interface);
        list_annotations(lines, "interface", interface->annotations);
        for (GDBusMethodInfo **m = interface->methods; m && *m; m++) {
                g_autofree char *line = g_strdup_printf("method %s", (*m)->name);

                list_annotations(lines, line, (*m)->annotations);
                list_arguments(lines, line, "in", (*m)->in_args);
                list_arguments(lines, line, "out", (*m)->out_args);
                g_ptr_array_add(lines, g_steal_pointer(&line));
        }
        for (GDBusSignalInfo **s = interface->signals; s && *s; s++) {
                g_autofree char *line = g_strdup_printf("signal %s", (*s)->name);

                list_annotations(lines, line, (*s)->annotations);
                list_arguments(lines, line, "out", (*s)->args);
                g_ptr_array_add(lines, g_steal_pointer(&line));
        }
        for (GDBusPropertyInfo **p = interface->properties; p && *p; p++) {
                g_autofree char *line = g_strdup_printf("property %s %s %x", (*p)->name, (*p)->signature,
                                                        (*p)->flags);

                list_annotations(lines, line, (*p)->annotations);
                g_ptr_array_add(lines, g_steal_pointer(&line));
        }

        g_ptr_array_sort(lines, compare_lines);
        g_ptr_array_add(lines, NULL);
        return g_strjoinv("\n", (char **) lines->pdata);
}

static GDBusNodeInfo *introspect(Interface *i, const char *path) {
        g_autoptr(sd_bus_message) reply = test_call(i->base.client, path, INTROSPECTABLE, "Introspect", "");
        g_autoptr(GError) error = NULL;
        GDBusNodeInfo *info;
        const char *xml;

        g_assert_cmpint(sd_bus_message_read(reply, "s", &xml), >, 0);
        info = g_dbus_node_info_new_for_xml(xml, &error);
        g_assert_no_error(error);
        return info;
}

static void assert_as_described(Interface *i,
                                const char *path,
                                const char *interface,
                                const char *must_have) {
        GDBusNodeInfo *live = introspect(i, path);
        g_autofree char *described = list_members(
                        g_dbus_node_info_lookup_interface(i->service.node, interface));
        g_autofree char *found = list_members(g_dbus_node_info_lookup_interface(live, interface));

        g_assert_cmpstr(found, ==, described);
        g_assert_nonnull(strstr(found, must_have));
        g_dbus_node_info_unref(live);
}

#define TEST_HERE(sentence) TEST_OF(sentence, Interface, i, set_up, tear_down, NULL)

TEST_HERE("the manager matches its description") {
        assert_as_described(i, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                            "method Listen: in 1: a{sv} options");
        assert_as_described(i, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                            "signal AcceptSocket: out 1: h socket");
}

TEST_HERE("a listener matches its description") {
        g_autofree char *persistent = test_listen(i->base.client, 0, -1, TEST_PERSISTENT, TEST_ACKNOWLEDGE,
                                                  NULL);

        assert_as_described(i, i->listener, TEST_LISTENER_INTERFACE, "property LocalPort q");
        assert_as_described(i, persistent, TEST_LISTENER_INTERFACE, "method Acknowledge: in 0: t serial");
}

static bool is_standard(const char *interface) {
        return g_str_has_prefix(interface, "org.freedesktop.DBus.");
}

/* Nothing is offered that is not described, and the other way round. */
TEST_HERE("all interfaces are described") {
        const char *const paths[] = { TEST_MANAGER_PATH, i->listener };
        const char *const interfaces[] = { TEST_MANAGER_INTERFACE, TEST_LISTENER_INTERFACE };

        for (size_t n = 0; n < ELEMENTS(paths); n++) {
                GDBusNodeInfo *live = introspect(i, paths[n]);
                unsigned own = 0;

                for (GDBusInterfaceInfo **one = live->interfaces; *one; one++)
                        if (!is_standard((*one)->name)) {
                                g_assert_cmpstr((*one)->name, ==, interfaces[n]);
                                own++;
                        }
                g_assert_cmpuint(own, ==, 1);
                g_dbus_node_info_unref(live);
        }
        for (GDBusInterfaceInfo **one = i->service.node->interfaces; *one; one++)
                g_assert_true(g_strv_contains(WORDS(interfaces[0], interfaces[1]), (*one)->name));
}

/* All described properties exist, and their values have the described types. Enters and leaves "a{sv}". */
static void assert_properties(sd_bus_message *message, GDBusInterfaceInfo *interface) {
        unsigned n = 0, n_described = 0;
        const char *name, *contents;

        while (interface->properties[n_described])
                n_described++;

        g_assert_cmpint(sd_bus_message_enter_container(message, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
                GDBusPropertyInfo *property;

                g_assert_cmpint(sd_bus_message_read(message, "s", &name), >, 0);
                property = g_dbus_interface_info_lookup_property(interface, name);
                g_assert_nonnull(property);
                g_assert_cmpint(sd_bus_message_peek_type(message, NULL, &contents), >, 0);
                g_assert_cmpstr(contents, ==, property->signature);
                must(sd_bus_message_skip(message, "v"));
                must(sd_bus_message_exit_container(message));
                n++;
        }
        must(sd_bus_message_exit_container(message));
        g_assert_cmpuint(n, ==, n_described);
}

TEST_HERE("properties have the described types") {
        static const char *const interfaces[] = { TEST_MANAGER_INTERFACE, TEST_LISTENER_INTERFACE };
        const char *const paths[] = { TEST_MANAGER_PATH, i->listener };
        const char *path;

        for (size_t n = 0; n < ELEMENTS(paths); n++) {
                GDBusInterfaceInfo *described = g_dbus_node_info_lookup_interface(i->service.node,
                                                                                  interfaces[n]);
                g_autoptr(sd_bus_message) all = test_call(i->base.client, paths[n], PROPERTIES, "GetAll", "s",
                                                          interfaces[n]);

                assert_properties(all, described);
                for (GDBusPropertyInfo **p = described->properties; *p; p++) {
                        g_autoptr(sd_bus_message) one = test_call(i->base.client, paths[n], PROPERTIES, "Get",
                                                                  "ss", interfaces[n], (*p)->name);
                        const char *contents;

                        g_assert_cmpint(sd_bus_message_peek_type(one, NULL, &contents), >, 0);
                        g_assert_cmpstr(contents, ==, (*p)->signature);
                }
        }

        g_autoptr(sd_bus_message) list = test_call(i->base.client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                   "ListListeners", "");
        g_assert_cmpint(sd_bus_message_enter_container(list, 'a', "(oa{sv})"), >, 0);
        g_assert_cmpint(sd_bus_message_enter_container(list, 'r', "oa{sv}"), >, 0);
        g_assert_cmpint(sd_bus_message_read(list, "o", &path), >, 0);
        g_assert_cmpstr(path, ==, i->listener);
        assert_properties(list, g_dbus_node_info_lookup_interface(i->service.node, TEST_LISTENER_INTERFACE));
}

static void assert_set_fails(Interface *i,
                             const char *path,
                             const char *interface,
                             const char *property,
                             const char *type) {
        sd_bus_message *message = test_message_new(i->base.client, path, PROPERTIES, "Set");
        g_autoptr(TestCall) call = NULL;

        must(sd_bus_message_append(message, "ss", interface, property));
        switch (*type) {
        case 's':
                must(sd_bus_message_append(message, "v", type, "x"));
                break;
        case 't':
                must(sd_bus_message_append(message, "v", type, UINT64_C(1)));
                break;
        case 'b':
        case 'q':
        case 'u':
                must(sd_bus_message_append(message, "v", type, 1));
                break;
        case 'a': /* without elements */
                must(sd_bus_message_append(message, "v", type, 0));
                break;
        default:
                g_error("%s has the type %s, of which this test knows no value", property, type);
        }
        call = test_call_start(i->base.client, message);
        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_PROPERTY_READ_ONLY);
}

TEST_HERE("properties cannot be set") {
        static const char *const interfaces[] = { TEST_MANAGER_INTERFACE, TEST_LISTENER_INTERFACE };
        const char *const paths[] = { TEST_MANAGER_PATH, i->listener };

        for (size_t n = 0; n < ELEMENTS(paths); n++) {
                GDBusInterfaceInfo *described = g_dbus_node_info_lookup_interface(i->service.node,
                                                                                  interfaces[n]);

                for (GDBusPropertyInfo **p = described->properties; *p; p++)
                        assert_set_fails(i, paths[n], interfaces[n], (*p)->name, (*p)->signature);
        }
        g_assert_false(test_get_bool(i->base.client, i->listener, "Paused"));
}

static void assert_call_fails(Interface *i,
                              const char *expected,
                              const char *path,
                              const char *interface,
                              const char *member,
                              const char *argument,
                              const char *second) {
        g_autofree char *message = NULL, *error = NULL;

        if (second)
                error = test_call_fails(i->base.client, &message, path, interface, member, "ss", argument,
                                        second);
        else if (argument)
                error = test_call_fails(i->base.client, &message, path, interface, member, "s", argument);
        else
                error = test_call_fails(i->base.client, &message, path, interface, member, "");
        g_assert_cmpstr(error, ==, expected);
        g_assert_cmpstr(message, !=, "");
}

TEST_HERE("unknown members fail with the right error") {
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_PROPERTY, TEST_MANAGER_PATH, PROPERTIES, "Get",
                          TEST_MANAGER_INTERFACE, "NoSuchOne");
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_PROPERTY, i->listener, PROPERTIES, "Get",
                          TEST_LISTENER_INTERFACE, "NoSuchOne");
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_PROPERTY, i->listener, PROPERTIES, "Get",
                          TEST_LISTENER_INTERFACE, "Close");
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_METHOD, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                          "NoSuchOne", NULL, NULL);
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_METHOD, i->listener, TEST_LISTENER_INTERFACE, "NoSuchOne",
                          NULL, NULL);
        assert_call_fails(i, SD_BUS_ERROR_INVALID_ARGS, i->listener, TEST_LISTENER_INTERFACE, "Close", "s",
                          NULL);
}

static void assert_absent(Interface *i, const char *path) {
        static const char *const members[] = { "Close", "Adopt", "Pause", "Resume" };

        for (size_t n = 0; n < ELEMENTS(members); n++)
                assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_OBJECT, path, TEST_LISTENER_INTERFACE, members[n],
                                  NULL, NULL);
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_OBJECT, path, PROPERTIES, "Get", TEST_LISTENER_INTERFACE,
                          "LocalPort");
        assert_call_fails(i, SD_BUS_ERROR_UNKNOWN_OBJECT, path, PROPERTIES, "GetAll", TEST_LISTENER_INTERFACE,
                          NULL);
}

TEST_HERE("an absent listener is an unknown object") {
        static const char *const absent[] = {
                PREFIX "/2",
                PREFIX "/0",
                PREFIX "/01",
                PREFIX "/1x",
                PREFIX "/x",
                PREFIX "/1/1",
                PREFIX "/_",
                PREFIX "/18446744073709551616",
                PREFIX "/18446744073709551617",
        };

        g_assert_cmpstr(i->listener, ==, PREFIX "/1");
        for (size_t n = 0; n < ELEMENTS(absent); n++)
                assert_absent(i, absent[n]);
        g_assert_cmpuint(test_get_port(i->base.client, i->listener), >, 0);

        test_listener_call(i->base.client, i->listener, "Close");
        assert_absent(i, i->listener);
}

TEST_HERE("introspection lists the listeners") {
        GDBusNodeInfo *node = introspect(i, PREFIX);

        g_assert_nonnull(node->nodes[0]);
        g_assert_cmpstr(node->nodes[0]->path, ==, "1");
        g_assert_null(node->nodes[1]);
        g_dbus_node_info_unref(node);
}

/* gdbus-codegen takes the documentation from a comment in front of each member, in a form of its own. */
static void assert_documented(const Description *d, const char *name, GDBusArgInfo *const *arguments) {
        g_autofree char *heading = g_strdup_printf("\n        %s:\n", name);
        const char *start = strstr(d->text, heading), *end;

        if (!start)
                g_error("%s is not documented", name);
        end = strstr(start, "-->");
        g_assert_nonnull(end);
        for (; arguments && *arguments; arguments++) {
                g_autofree char *argument = g_strdup_printf("\n        @%s: ", (*arguments)->name);

                if (!g_strstr_len(start, end - start, argument))
                        g_error("%s of %s is not documented", (*arguments)->name, name);
        }
}

static void assert_all_documented(const Description *d) {
        for (GDBusInterfaceInfo **one = d->node->interfaces; *one; one++) {
                for (GDBusMethodInfo **m = (*one)->methods; m && *m; m++) {
                        assert_documented(d, (*m)->name, (*m)->in_args);
                        assert_documented(d, (*m)->name, (*m)->out_args);
                }
                for (GDBusSignalInfo **s = (*one)->signals; s && *s; s++)
                        assert_documented(d, (*s)->name, (*s)->args);
                for (GDBusPropertyInfo **p = (*one)->properties; p && *p; p++)
                        assert_documented(d, (*p)->name, NULL);
        }
}

TEST_HERE("each member and each argument is documented") {
        assert_all_documented(&i->service);
        assert_all_documented(&i->client);
}

/* tests/bus/client.c checks the arguments of each call. Some functions of GJS read the first interface only.
 */
TEST_HERE("the method of clients has the arguments of the signal") {
        GDBusInterfaceInfo *client = i->client.node->interfaces[0];
        GDBusSignalInfo *signal = g_dbus_interface_info_lookup_signal(i->service.node->interfaces[0],
                                                                      "AcceptSocket");
        g_autoptr(GPtrArray) of_method = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GPtrArray) of_signal = g_ptr_array_new_with_free_func(g_free);

        g_assert_cmpstr(client->name, ==, TEST_CLIENT_INTERFACE);
        g_assert_null(i->client.node->interfaces[1]);
        g_assert_cmpstr(client->methods[0]->name, ==, "AcceptSocket");
        g_assert_null(client->methods[1]);
        g_assert_true(!client->methods[0]->out_args || !client->methods[0]->out_args[0]);

        list_arguments(of_method, "AcceptSocket", "in", client->methods[0]->in_args);
        list_arguments(of_signal, "AcceptSocket", "in", signal->args);
        g_assert_cmpuint(of_method->len, ==, of_signal->len);
        for (unsigned n = 0; n < of_method->len; n++)
                g_assert_cmpstr(of_method->pdata[n], ==, of_signal->pdata[n]);
}

static void assert_generated(const char *path) {
        if (!test_file_contains(path, "Listen"))
                g_error("%s was not generated", path);
}

TEST_HERE("gdbus-codegen generates code and documentation") {
        g_autofree char *directory = test_make_directory("generated");
        g_autofree char *header = g_build_filename(directory, "generated.h", NULL);
        g_autofree char *body = g_build_filename(directory, "generated.c", NULL);
        g_autofree char *book = g_build_filename(directory, "book", NULL);
        g_autofree char *chapter = g_strdup_printf("%s-%s.xml", book, TEST_MANAGER_INTERFACE);
        g_autofree char *next = g_strdup_printf("%s-%s.xml", book, TEST_LISTENER_INTERFACE);
        g_autofree char *last = g_strdup_printf("%s-%s.xml", book, TEST_CLIENT_INTERFACE);

        if (!test_require_program("gdbus-codegen"))
                return;
        test_run_command("gdbus-codegen", "--header", "--output", header, i->service.path, i->client.path);
        test_run_command("gdbus-codegen", "--body", "--output", body, i->service.path, i->client.path);
        test_run_command("gdbus-codegen", "--generate-docbook", book, i->service.path, i->client.path);
        assert_generated(header);
        assert_generated(body);
        assert_generated(chapter);
        assert_generated(next);
        assert_generated(last);

        if (!test_require_program("xmllint"))
                return;
        test_run_command("xmllint", "--noout", "--nonet", chapter, next, last);
}

TEST_HERE("xmllint finds no error") {
        if (test_require_program("xmllint"))
                test_run_command("xmllint", "--noout", "--nonet", i->service.path, i->client.path);
}
