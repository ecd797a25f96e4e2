/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The client library: the ten scenarios that the bindings have, too (scenarios.py, .js, .vala), and faults.
 */

#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <libintl.h>
#include <locale.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "glib/listening.h"

/* ------------------------------------------------------------------------------------- the ten scenarios */

/* An active service has a reference to itself. */
static void service_stop(GSocketService **service) {
        g_socket_service_stop(*service);
        g_object_unref(*service);
}

static gboolean on_service_incoming(GSocketService *service,
                                    GSocketConnection *connection,
                                    GObject *source_object,
                                    gpointer user_data) {
        g_assert_true(source_object == user_data);
        serve(connection);
        return TRUE;
}

static void assert_attached_serves(void) {
        _cleanup_(service_stop) GSocketService *service = g_socket_service_new();
        g_autoptr(GObject) source_object = G_OBJECT(tss_options_new());
        g_autoptr(GError) error = NULL;
        TssListener *listener = listen_with(NULL);
        uint16_t port = tss_listener_get_port(listener);

        (void) g_signal_connect(service, "incoming", G_CALLBACK(on_service_incoming), source_object);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), source_object, &error));
        g_assert_no_error(error);
        for (unsigned n = 0; n < 3; n++) {
                _cleanup_close_ int peer = connect_peer(listener);

                expect_greeting(peer);
        }

        /* The service has a reference. */
        g_object_unref(listener);
        loop_drain();
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        test_send(peer, "?", 1);
        expect_greeting(peer);
}

TEST_LISTENING("an attached GSocketService gets the connections") {
        assert_attached_serves();
}

TEST_LISTENING_BY_CALL("an attached GSocketService does not notice that the service keeps its sockets") {
        assert_attached_serves();
}

static gboolean on_run(GThreadedSocketService *service,
                       GSocketConnection *connection,
                       GObject *source_object,
                       gpointer user_data) {
        serve(connection);
        return TRUE;
}

static void assert_threads_serve(void) {
        _cleanup_(service_stop) GSocketService *service = g_threaded_socket_service_new(2);
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GError) error = NULL;

        (void) g_signal_connect(service, "run", G_CALLBACK(on_run), NULL);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, &error));
        for (unsigned n = 0; n < 3; n++) {
                _cleanup_close_ int peer = connect_peer(listener);

                expect_greeting(peer);
        }
}

TEST_LISTENING("an attached GThreadedSocketService gets the connections") {
        assert_threads_serve();
}

TEST_LISTENING_BY_CALL(
                "an attached GThreadedSocketService does not notice that the service keeps its sockets") {
        assert_threads_serve();
}

static void assert_signal_serves(TssOptions *options) {
        g_autoptr(TssListener) listener = listen_with(options);
        _cleanup_close_ int early = connect_peer(listener);

        /* Connections wait until there is a handler. */
        loop_drain();
        gulong handler = g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        expect_greeting(early);
        for (unsigned n = 0; n < 20; n++) {
                _cleanup_close_ int peer = connect_peer(listener);

                expect_greeting(peer);
        }

        g_signal_handler_disconnect(listener, handler);
        _cleanup_close_ int late = connect_peer(listener);
        loop_drain();
        g_assert_false(test_has_input(late));

        /* GDBus can leak the descriptor of a call that it reads while the last reference is dropped. */
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
}

TEST_LISTENING("the signal gives connections") {
        assert_signal_serves(NULL);
}

TEST_LISTENING_BY_CALL("the signal gives connections from a service that keeps its sockets") {
        assert_signal_serves(NULL);
}

static void assert_accepts(TssOptions *options) {
        g_autoptr(TssListener) listener = listen_with(options);
        g_autoptr(GCancellable) cancellable = g_cancellable_new();
        GAsyncResult *results[3] = {}, *cancelled = NULL;
        g_autoptr(GError) error = NULL;
        int peers[3];

        tss_listener_accept_async(listener, cancellable, keep_result, &cancelled);
        for (unsigned i = 0; i < 3; i++)
                tss_listener_accept_async(listener, NULL, keep_result, &results[i]);
        g_cancellable_cancel(cancellable);
        loop_until(cancelled);
        g_assert_null(tss_listener_accept_finish(listener, cancelled, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        g_object_unref(cancelled);

        for (unsigned i = 0; i < 3; i++) {
                g_autoptr(GSocketConnection) connection = NULL;

                peers[i] = connect_peer(listener);
                loop_until(results[i]);
                connection = tss_listener_accept_finish(listener, results[i], NULL);
                g_assert_nonnull(connection);
                test_expect(g_socket_get_fd(g_socket_connection_get_socket(connection)), "?");
                test_assert_connected(peers[i], g_socket_get_fd(g_socket_connection_get_socket(connection)));
                close(peers[i]);
                g_object_unref(results[i]);
        }
}

TEST_LISTENING("accept gives connections, in the order of the calls") {
        assert_accepts(NULL);
}

TEST_LISTENING_BY_CALL("accept gives connections from a service that keeps its sockets") {
        assert_accepts(NULL);
}

TEST_LISTENING("a descriptor of the socket is for other servers") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GError) error = NULL;
        _cleanup_close_ int fd = tss_listener_dup_fd(listener, &error);
        g_assert_no_error(error);
        _cleanup_close_ int peer = connect_peer(listener);
        _cleanup_close_ int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        test_expect(accepted, "?");
        test_assert_connected(peer, accepted);
        g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);

        GSocket *socket = tss_listener_get_socket(listener, &error);
        g_assert_no_error(error);
        _cleanup_close_ int second = connect_peer(listener);
        g_autoptr(GSocket) connection = g_socket_accept(socket, NULL, &error);
        g_assert_no_error(error);
        test_expect(g_socket_get_fd(connection), "?");
        test_assert_connected(second, g_socket_get_fd(connection));
}

TEST_LISTENING_BY_CALL("a service that keeps its sockets gives no descriptor of one") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GSocketListener) plain = g_socket_listener_new();
        g_autoptr(GError) error = NULL, again = NULL, third = NULL;

        g_assert_cmpint(tss_listener_dup_fd(listener, &error), ==, -1);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
        g_assert_null(tss_listener_get_socket(listener, &again));
        g_assert_error(again, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
        g_assert_false(tss_listener_attach(listener, plain, NULL, &third));
        g_assert_error(third, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

TEST_LISTENING("options that the socket does not have are not noticed") {
        static const char *const all[] = { "127.0.0.0/8", NULL }, *const none[] = { "192.0.2.1", NULL };
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "name", "Photos", "allow-from", all,
                                                     "no-delay", TRUE, NULL);
        g_autoptr(TssListener) refusing = NULL;

        assert_signal_serves(options);
        assert_accepts(options);

        g_object_set(options, "allow-from", none, "local-address", "127.0.0.1", NULL);
        refusing = listen_with(options);
        g_assert_cmpstr(tss_listener_get_name(refusing), ==, "Photos");
        g_assert_cmpstr(tss_listener_get_address(refusing), ==, "127.0.0.1");
        (void) g_signal_connect(refusing, "incoming", G_CALLBACK(on_incoming), NULL);
        _cleanup_close_ int peer = test_connect("127.0.0.1", tss_listener_get_port(refusing));
        loop_until(test_has_ended(peer));
}

TEST_LISTENING("options that are changed after the call do not affect it") {
        static const char *const none[] = { "192.0.2.1", NULL };
        g_autoptr(TssOptions)
                        options = g_object_new(TSS_TYPE_OPTIONS, "name", "First", "no-delay", TRUE, NULL);
        g_autoptr(GAsyncResult) result = NULL;
        g_autoptr(TssListener) listener = NULL;
        g_autoptr(GError) error = NULL;

        tss_listen_async(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, keep_result, &result);
        g_object_set(options, "name", "Second", "local-address", "localhost", "allow-from", none,
                     "persistent", TRUE, NULL);
        loop_until(result);
        listener = tss_listen_finish(result, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(tss_listener_get_name(listener), ==, "First");
        g_assert_cmpstr(tss_listener_get_address(listener), ==, "::");
        g_assert_nonnull(tss_listener_get_socket(listener, &error));
        g_assert_no_error(error);
}

static void assert_pauses(TssOptions *options) {
        g_autoptr(TssListener) listener = listen_with(options);
        _cleanup_(service_stop) GSocketService *service = g_socket_service_new();

        (void) g_signal_connect(service, "incoming", G_CALLBACK(on_service_incoming), NULL);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, NULL));
        for (unsigned n = 0; n < 3; n++) {
                tss_listener_pause(listener);
                g_assert_cmpint(tss_listener_get_state(listener), ==, TSS_LISTENER_STATE_PAUSED);
                _cleanup_close_ int peer = connect_peer(listener);
                for (unsigned i = 0; i < 50; i++)
                        (void) g_main_context_iteration(NULL, FALSE);
                g_assert_false(test_has_input(peer));

                tss_listener_resume(listener);
                g_assert_cmpint(tss_listener_get_state(listener), ==, TSS_LISTENER_STATE_LISTENING);
                expect_greeting(peer);
        }
}

TEST_LISTENING("a paused listener keeps its connections") {
        assert_pauses(NULL);
}

TEST_LISTENING_BY_CALL("a paused listener of a service that keeps its sockets keeps its connections") {
        assert_pauses(NULL);
}

static void count_notify(GObject *object, GParamSpec *pspec, gpointer user_data) {
        ++*(unsigned *) user_data;
}

static void assert_closes(void) {
        _cleanup_(service_stop) GSocketService *service = g_socket_service_new();
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GAsyncResult) first = NULL, second = NULL, accept = NULL;
        g_autoptr(GError) error = NULL, closed_error = NULL;
        uint16_t port = tss_listener_get_port(listener);
        unsigned states = 0, reasons = 0;
        Closed closed = {};

        watch_closed(listener, &closed);
        (void) g_signal_connect(listener, "notify::state", G_CALLBACK(count_notify), &states);
        (void) g_signal_connect(listener, "notify::close-reason", G_CALLBACK(count_notify), &reasons);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, NULL));
        tss_listener_accept_async(listener, NULL, keep_result, &accept);
        tss_listener_close_async(listener, NULL, keep_result, &first);
        tss_listener_close_async(listener, NULL, keep_result, &second);
        if (!tss_listener_get_is_local(listener))
                g_assert_cmpint(tss_listener_get_state(listener), ==, TSS_LISTENER_STATE_CLOSING);
        loop_until(first && second && accept);
        g_assert_cmpint(test_connect_fails("127.0.0.1", port), ==, ECONNREFUSED);
        g_assert_true(tss_listener_close_finish(listener, first, &error));
        g_assert_true(tss_listener_close_finish(listener, second, &error));
        g_assert_null(tss_listener_accept_finish(listener, accept, &closed_error));
        g_assert_error(closed_error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        g_assert_cmpstr(closed_error->message, ==, "The program has closed the port");
        g_assert_true(tss_listener_close_sync(listener, NULL, &error));
        g_assert_no_error(error);
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 1);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_OWNER);
        g_assert_cmpuint(states, ==, 2);
        g_assert_cmpuint(reasons, ==, 1);
        g_assert_false(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        closed_done(&closed);
}

TEST_LISTENING("a closed listener frees its port, and says so once") {
        assert_closes();
}

TEST_LISTENING_BY_CALL("a closed listener of a service that keeps its sockets frees its port") {
        assert_closes();
}

TEST_LISTENING("close waits until the port is free") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GError) error = NULL;
        Closed closed = {};

        watch_closed(listener, &closed);
        g_assert_true(tss_listener_close_sync(listener, NULL, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(closed.n, ==, 1);
        g_assert_cmpint(test_connect_fails("127.0.0.1", tss_listener_get_port(listener)), ==, ECONNREFUSED);
        closed_done(&closed);
}

TEST_LISTENING("close waits for an earlier close") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GAsyncResult) earlier = NULL;
        g_autoptr(GError) error = NULL;
        Closed closed = {};

        watch_closed(listener, &closed);
        tss_listener_close_async(listener, NULL, keep_result, &earlier);
        g_assert_true(tss_listener_close_sync(listener, NULL, &error));
        g_assert_no_error(error);
        loop_until(earlier);
        g_assert_true(tss_listener_close_finish(listener, earlier, &error));
        g_assert_no_error(error);
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 1);
        closed_done(&closed);
}

TEST_LISTENING("the last reference is the port") {
        TssListener *listener = listen_with(NULL);
        uint16_t port = tss_listener_get_port(listener);

        g_object_unref(listener);
        loop_until(!test_service_is_listening(f->service, port));
}

G_STATIC_ASSERT(TSS_CHECK_VERSION(TSS_MAJOR_VERSION, TSS_MINOR_VERSION, TSS_MICRO_VERSION));
G_STATIC_ASSERT(TSS_CHECK_VERSION(0, 0, 99));
G_STATIC_ASSERT(!TSS_CHECK_VERSION(TSS_MAJOR_VERSION, TSS_MINOR_VERSION, TSS_MICRO_VERSION + 1));
G_STATIC_ASSERT(!TSS_CHECK_VERSION(TSS_MAJOR_VERSION + 1, 0, 0));

TEST_LISTENING("errors have the codes of GIO and texts for people") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autofree char *text = g_strdup_printf("Port %u of :: is in use", tss_listener_get_port(listener));
        g_autoptr(TssOptions) options = tss_options_new();
        GError *error = NULL;

        g_assert_null(tss_listen_sync(NULL, tss_listener_get_port(listener), TSS_LISTEN_FLAGS_NONE, NULL,
                                      &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
        g_assert_cmpstr(error->message, ==, text);
        g_clear_error(&error);

        g_object_set(options, "local-address", "198.51.100.1", NULL);
        g_assert_null(tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_ADDRESS_NOT_AVAILABLE);
        g_assert_cmpstr(error->message, ==, "This host does not have the address 198.51.100.1");
        g_clear_error(&error);

        g_object_set(options, "local-address", "localhost", NULL);
        g_assert_null(tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
        g_assert_cmpstr(error->message, ==, "The address \"localhost\" is not numeric");
        g_clear_error(&error);
}

/* An empty list that the program has computed must not let all peers in. */
TEST_LISTENING("an empty list of peers is an error") {
        static const char *const none[] = { NULL };
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "allow-from", none, NULL);

        for (unsigned i = 0; i < 2; i++) {
                g_autoptr(GAsyncResult) result = NULL;
                g_autoptr(GError) error = NULL;

                tss_listen_async(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, keep_result, &result);
                loop_until(result);
                g_assert_null(tss_listen_finish(result, &error));
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
                g_assert_cmpstr(error->message, ==, "The option allow-from is an empty list");
                /* Then without the service. */
                g_clear_pointer(&f->service, test_service_free);
        }
}

TEST_LISTENING("options that are not UTF-8 do no harm") {
        static const char *const prefixes[] = { "192.0.2.1\xff", NULL };
        static const char *const names[] = { "local-address", "interface" };
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "name", "Photos\xff", NULL);
        g_autoptr(TssListener) listener = listen_with(options);

        g_assert_cmpstr(tss_listener_get_name(listener), ==, "Photos\uFFFD");
        for (unsigned i = 0; i <= G_N_ELEMENTS(names); i++) {
                g_autoptr(TssOptions) invalid = tss_options_new();
                g_autoptr(GError) error = NULL;

                if (i < G_N_ELEMENTS(names))
                        g_object_set(invalid, names[i], "\xff", NULL);
                else
                        g_object_set(invalid, "allow-from", prefixes, NULL);
                g_assert_null(tss_listen_sync(invalid, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
                g_assert_true(g_utf8_validate(error->message, -1, NULL));
        }
}

/* A list is no TssListener. */
TEST_LISTENING("each result has its own function to finish") {
        GAsyncResult *listed = NULL, *listened = NULL;

        tss_list_listeners_async(NULL, keep_result, &listed);
        tss_listen_async(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, keep_result, &listened);
        loop_until(listed && listened);
        for (unsigned i = 0; i < 4; i++)
                g_test_expect_message("Tss", G_LOG_LEVEL_CRITICAL, "*g_async_result_is_tagged*failed");
        g_assert_null(tss_listen_finish(listed, NULL));
        g_assert_null(tss_listener_adopt_finish(listed, NULL));
        g_assert_null(tss_listener_adopt_finish(listened, NULL));
        g_assert_null(tss_list_listeners_finish(listened, NULL));
        g_test_assert_expected_messages();
        g_object_unref(listed);
        g_object_unref(listened);
}

/* The only listener, once no program uses it. */
static TssListenerInfo *wait_for_orphan(void) {
        TssListenerInfo *info;

        do {
                g_autoptr(GAsyncResult) listed = NULL;
                g_autoptr(GError) error = NULL;
                GList *list;

                tss_list_listeners_async(NULL, keep_result, &listed);
                loop_until(listed);
                list = tss_list_listeners_finish(listed, &error);
                g_assert_no_error(error);
                g_assert_cmpuint(g_list_length(list), ==, 1);
                info = g_object_ref(list->data);
                g_list_free_full(list, g_object_unref);
                if (tss_listener_info_get_has_owner(info))
                        g_clear_object(&info);
        } while (!info);

        return info;
}

TEST_LISTENING("a persistent listener is found and adopted") {
        g_autoptr(TssOptions)
                        options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, "name", "Share", NULL);
        g_autoptr(GAsyncResult) adopted = NULL, refused = NULL, late = NULL;
        g_autoptr(TssListener) again = NULL;
        g_autoptr(GError) error = NULL;
        TssListener *listener = listen_with(options);
        uint16_t port = tss_listener_get_port(listener);
        g_autofree char *owned = g_strdup_printf("Another program uses the persistent listener on port %u",
                                                 port);
        g_autofree char *closed = g_strdup_printf("The listener on port %u is closed", port);
        TssListenerInfo *info;

        g_clear_object(&listener);
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        test_send(peer, "?", 1);
        info = wait_for_orphan();
        g_assert_cmpuint(tss_listener_info_get_port(info), ==, port);
        g_assert_cmpuint(tss_listener_info_get_user(info), ==, geteuid());
        g_assert_cmpstr(tss_listener_info_get_name(info), ==, "Share");
        g_assert_true(tss_listener_info_get_persistent(info));

        tss_listener_adopt_async(info, NULL, keep_result, &adopted);
        loop_until(adopted);
        again = tss_listener_adopt_finish(adopted, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(tss_listener_get_port(again), ==, port);
        g_assert_cmpstr(tss_listener_get_name(again), ==, "Share");
        (void) g_signal_connect(again, "incoming", G_CALLBACK(on_incoming), NULL);
        expect_greeting(peer);

        g_assert_null(tss_listen_sync(options, port, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
        g_clear_error(&error);
        tss_listener_adopt_async(info, NULL, keep_result, &refused);
        loop_until(refused);
        g_assert_null(tss_listener_adopt_finish(refused, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_HAS_OWNER);
        g_assert_cmpstr(error->message, ==, owned);
        g_clear_error(&error);
        g_assert_true(tss_listener_close_sync(again, NULL, NULL));

        tss_listener_adopt_async(info, NULL, keep_result, &late);
        loop_until(late);
        g_assert_null(tss_listener_adopt_finish(late, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
        g_assert_cmpstr(error->message, ==, closed);
        g_object_unref(info);
}

TEST_LISTENING("the next run of a program with other options fails, and names them") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
        TssListener *listener = listen_with(options);
        uint16_t port = tss_listener_get_port(listener);

        g_clear_object(&listener);
        loop_until(!test_has_owner(other, TEST_MANAGER_PATH "/listener/1"));
        for (unsigned i = 0; i < 2; i++) {
                g_autofree char *text = g_strdup_printf(
                                "A persistent listener on port %u exists already, with other options (%s)",
                                port, i == 0 ? "ipv6-only" : "allow-from, accept-rate");
                g_autoptr(GError) error = NULL;

                g_object_set(options, "ipv6-only", i == 0, "accept-rate", i, NULL);
                g_assert_null(tss_listen_sync(options, port, TSS_LISTEN_FLAGS_NONE, NULL, &error));
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
                g_assert_cmpstr(error->message, ==, text);
        }
}

TEST_LISTENING("the next run of a program continues with its persistent listener") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);

        for (unsigned i = 0; i < 2; i++) {
                g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE,
                                                             "accept-rate", i * 1000, NULL);
                g_autofree char *path = g_strdup_printf(TEST_MANAGER_PATH "/listener/%u", i + 1);
                TssListener *listener = listen_with(options);
                uint16_t port = tss_listener_get_port(listener);
                g_autoptr(TssListener) again = NULL;

                tss_listener_pause(listener);
                g_clear_object(&listener);
                loop_until(!test_has_owner(other, path));
                again = tss_listen_sync(options, port, TSS_LISTEN_FLAGS_NONE, NULL, NULL);
                g_assert_nonnull(again);
                (void) g_signal_connect(again, "incoming", G_CALLBACK(on_incoming), NULL);
                _cleanup_close_ int peer = connect_peer(again);
                expect_greeting(peer);
                g_assert_true(tss_listener_close_sync(again, NULL, NULL));
        }
}

TEST_LISTENING("without the service, the program binds the port itself") {
        static const char *const none[] = { "192.0.2.1", NULL };
        g_autoptr(TssListener) listener = NULL, refusing = NULL;
        g_autoptr(TssOptions) options = tss_options_new();
        GError *error = NULL;
        Closed closed = {};

        g_clear_pointer(&f->service, test_service_free);
        g_assert_null(tss_listen_sync(NULL, 0, TSS_LISTEN_FLAGS_SERVICE_ONLY, NULL, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND);
        g_assert_cmpstr(error->message, ==, "The service tcpserversocket is not on the bus");
        g_clear_error(&error);
        g_object_set(options, "persistent", TRUE, NULL);
        g_assert_null(tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_cmpstr(error->message, ==,
                        "The program cannot create a persistent listener itself: The service tcpserversocket "
                        "is not on the bus");
        g_clear_error(&error);
        g_object_set(options, "persistent", FALSE, "local-address", "fe80::1%none", NULL);
        g_assert_null(tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_ADDRESS_NOT_AVAILABLE);
        g_assert_cmpstr(error->message, ==, "This host does not have the network interface none");
        g_clear_error(&error);
        g_object_set(options, "local-address", NULL, NULL);

        assert_attached_serves();
        assert_signal_serves(NULL);
        assert_accepts(NULL);
        assert_pauses(NULL);
        assert_closes();

        listener = listen_with(NULL);
        watch_closed(listener, &closed);
        g_assert_true(tss_listener_get_is_local(listener));
        g_assert_cmpstr(tss_listener_get_address(listener), ==, "::");
        g_assert_null(tss_listen_sync(NULL, tss_listener_get_port(listener), TSS_LISTEN_FLAGS_NONE, NULL,
                                      &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
        g_clear_error(&error);

        g_object_set(options, "allow-from", none, "accept-rate", 100, NULL);
        refusing = listen_with(options);
        g_assert_cmpint(tss_listener_dup_fd(refusing, &error), ==, -1);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
        g_clear_error(&error);
        (void) g_signal_connect(refusing, "incoming", G_CALLBACK(on_incoming), NULL);
        _cleanup_close_ int peer = test_connect("127.0.0.1", tss_listener_get_port(refusing));
        loop_until(test_has_ended(peer));

        g_object_set(options, "persistent", TRUE, NULL);
        g_assert_null(tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND);
        g_clear_error(&error);

        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        g_assert_cmpuint(closed.n, ==, 1);
        closed_done(&closed);
        f->service = keeper_start(f->keeper, f->bus);
}

TEST_LISTENING("an administrator's close is told once, and stops the servers") {
        _cleanup_(service_stop) GSocketService *service = g_socket_service_new();
        /* Only root may close a listener of another bus connection that is not persistent. */
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", geteuid() != 0, NULL);
        g_autoptr(TssListener) listener = listen_with(options), staying = listen_with(NULL);
        g_autoptr(TestClient) administrator = test_client_new(f->bus, (uid_t) -1);
        Closed closed = {};

        (void) g_signal_connect(service, "incoming", G_CALLBACK(on_service_incoming), NULL);
        watch_closed(listener, &closed);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, NULL));
        g_assert_true(tss_listener_attach(staying, G_SOCKET_LISTENER(service), NULL, NULL));
        uint64_t start = test_now();
        g_autoptr(TestCall) close = test_call_start(
                        administrator, test_message_new(administrator, TEST_MANAGER_PATH "/listener/1",
                                                        TEST_LISTENER_INTERFACE, "Close"));
        loop_until(closed.n > 0);
        loop_until(test_call_is_done(close));
        g_assert_null(test_call_error(close));
        /* Not a second, as the library stops at once. */
        g_assert_cmpuint(test_now() - start, <, 900 * 1000);
        g_assert_cmpuint(closed.n, ==, 1);
        g_assert_cmpint(closed.reason, ==,
                        geteuid() == 0 ? TSS_CLOSE_REASON_ADMINISTRATOR : TSS_CLOSE_REASON_OWNER);
        g_assert_cmpint(test_connect_fails("127.0.0.1", tss_listener_get_port(listener)), ==, ECONNREFUSED);

        /* The other socket of the same service is served. */
        _cleanup_close_ int peer = connect_peer(staying);
        expect_greeting(peer);
        closed_done(&closed);
}

/* ---------------------------------------------------------------------------------------------- the faults
 */

/* The service accepts: a connection that it has accepted but not saved is lost when it is killed. */
static void wait_until_saved(Listening *f, const char *path, uint64_t accepted) {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);

        test_wait_for(test_get_u64(other, path, "Accepted") == accepted);
}

static void assert_restarts(Listening *f, TssOptions *options) {
        g_autoptr(TssListener) listener = listen_with(options);
        Closed closed = {};

        watch_closed(listener, &closed);
        gulong handler = g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        for (unsigned n = 0; n < 3; n++) {
                _cleanup_close_ int before = connect_peer(listener);
                expect_greeting(before);
                g_signal_handler_block(listener, handler);
                _cleanup_close_ int waiting = connect_peer(listener);
                if (options)
                        wait_until_saved(f, TEST_MANAGER_PATH "/listener/1", 3 * n + 2);
                for (unsigned i = 0; i < 50; i++)
                        (void) g_main_context_iteration(NULL, FALSE);

                listening_restart_service(f);
                g_signal_handler_unblock(listener, handler);
                expect_greeting(waiting);
                _cleanup_close_ int after = connect_peer(listener);
                expect_greeting(after);
        }
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 0);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        g_assert_cmpuint(closed.n, ==, 1);
        closed_done(&closed);
}

TEST_LISTENING("a restart of the service is not noticed") {
        assert_restarts(f, NULL);
}

TEST_LISTENING("a restart of the service is not noticed with connections in calls") {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "accept-rate", 10000, NULL);

        assert_restarts(f, options);
}

/* Another program with the name of the service. It answers in the thread of GDBus. */
typedef struct Fake {
        GDBusConnection *bus;
        const char *error; /* the answer to the next calls of Listen, Pause and Resume, or NULL: success */
        const char *text;  /* of this error, or NULL */
        int errors;        /* the number of these calls */
        int calls;
        int interactive_calls;
        int pauses; /* answered */
        int resumes;
        gboolean is_mute;
        char *client; /* that has called it last */
} Fake;

static GVariant *fake_answer(Fake *fake, const char *member) {
        GVariantDict properties;

        if (g_str_equal(member, "Listen"))
                return g_variant_new("(o)", TEST_MANAGER_PATH "/listener/1");
        if (g_str_equal(member, "TakeSocket"))
                return g_variant_new("(h)", 0); /* without a descriptor */
        if (g_str_equal(member, "GetAll")) {
                g_variant_dict_init(&properties, NULL);
                g_variant_dict_insert(&properties, "LocalPort", "q", 1);
                return g_variant_new("(@a{sv})", g_variant_dict_end(&properties));
        }

        if (g_str_equal(member, "Pause"))
                g_atomic_int_inc(&fake->pauses);
        else if (g_str_equal(member, "Resume"))
                g_atomic_int_inc(&fake->resumes);
        return g_variant_new("()");
}

static gboolean fake_fails(Fake *fake, const char *member) {
        return (g_str_equal(member, "Listen") || g_str_equal(member, "Pause") ||
                g_str_equal(member, "Resume")) &&
               g_atomic_int_get(&fake->errors) > 0 && g_atomic_int_add(&fake->errors, -1) > 0;
}

static GDBusMessage *on_fake_message(GDBusConnection *bus,
                                     GDBusMessage *message,
                                     gboolean is_incoming,
                                     gpointer user_data) {
        const char *member = g_dbus_message_get_member(message);
        g_autoptr(GDBusMessage) reply = NULL;
        Fake *fake = user_data;

        if (!is_incoming || g_dbus_message_get_message_type(message) != G_DBUS_MESSAGE_TYPE_METHOD_CALL)
                return message;

        if (g_dbus_message_get_flags(message) & G_DBUS_MESSAGE_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION)
                g_atomic_int_inc(&fake->interactive_calls);
        g_free(fake->client);
        fake->client = g_strdup(g_dbus_message_get_sender(message));
        g_atomic_int_inc(&fake->calls);
        if (!fake->is_mute) {
                if (fake_fails(fake, member))
                        reply = g_dbus_message_new_method_error_literal(message, fake->error,
                                                                        fake->text ?: "No");
                else {
                        reply = g_dbus_message_new_method_reply(message);
                        g_dbus_message_set_body(reply, fake_answer(fake, member));
                }
                (void) g_dbus_connection_send_message(bus, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL);
        }
        g_object_unref(message);
        g_main_context_wakeup(NULL);
        return NULL;
}

/* Instead of the service. */
static Fake *fake_new(Listening *f) {
        Fake *fake = g_new0(Fake, 1);
        g_autoptr(GVariant) reply = NULL;
        g_autoptr(GError) error = NULL;

        g_clear_pointer(&f->service, test_service_free);
        test_wait_for(!test_bus_service_owner(f->bus));
        fake->bus = g_dbus_connection_new_for_address_sync(
                        test_bus_address(f->bus),
                        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                        G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                        NULL, NULL, &error);
        g_assert_no_error(error);
        g_dbus_connection_add_filter(fake->bus, on_fake_message, fake, NULL);
        reply = g_dbus_connection_call_sync(fake->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                            "org.freedesktop.DBus", "RequestName",
                                            g_variant_new("(su)", TEST_BUS_NAME, 0), NULL,
                                            G_DBUS_CALL_FLAGS_NONE, -1, NULL, &error);
        g_assert_no_error(error);
        test_wait_for(test_bus_service_owner(f->bus));
        return fake;
}

/* The service again. */
static void fake_replace(Fake *fake, Listening *f) {
        g_autoptr(GError) error = NULL;

        (void) g_dbus_connection_close_sync(fake->bus, NULL, &error);
        g_assert_no_error(error);
        g_object_unref(fake->bus);
        g_free(fake->client);
        g_free(fake);
        test_wait_for(!test_bus_service_owner(f->bus));
        f->service = keeper_start(f->keeper, f->bus);
}

TEST_LISTENING("calls that a service leaves unanswered are made again") {
        g_autoptr(GAsyncResult) result = NULL;
        g_autoptr(TssListener) listener = NULL;
        g_autoptr(GError) error = NULL;
        Fake *fake = fake_new(f);

        fake->is_mute = TRUE;
        tss_listen_async(NULL, 0, TSS_LISTEN_FLAGS_SERVICE_ONLY, NULL, keep_result, &result);
        loop_until(g_atomic_int_get(&fake->calls) > 0);
        fake_replace(fake, f);
        loop_until(result);
        listener = tss_listen_finish(result, &error);
        g_assert_no_error(error);
        g_clear_object(&result);

        _cleanup_close_ int peer = connect_peer(listener);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        expect_greeting(peer);
}

TEST_LISTENING("the question for a password is asked on request, and can be cancelled") {
        g_autoptr(TssOptions) persistent = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
        Fake *fake = fake_new(f);

        fake->is_mute = TRUE;
        for (int i = 0; i < 3; i++) {
                g_autoptr(GCancellable) cancellable = g_cancellable_new();
                g_autoptr(GAsyncResult) result = NULL;
                g_autoptr(GError) error = NULL;

                tss_listen_async(i == 2 ? persistent : NULL, 80,
                                 TSS_LISTEN_FLAGS_SERVICE_ONLY | (i ? TSS_LISTEN_FLAGS_INTERACTIVE : 0),
                                 cancellable, keep_result, &result);
                loop_until(g_atomic_int_get(&fake->calls) == i + 1);
                g_assert_cmpint(g_atomic_int_get(&fake->interactive_calls), ==, i);
                g_cancellable_cancel(cancellable);
                loop_until(result);
                g_assert_null(tss_listen_finish(result, &error));
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        }
        fake_replace(fake, f);
}

static void on_closed_listen(TssListener *listener,
                             TssCloseReason reason,
                             const char *message,
                             gpointer data) {
        tss_listen_async(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, keep_result, data);
}

static void on_notify_listen(TssListener *listener, GParamSpec *pspec, gpointer data) {
        if (tss_listener_get_state(listener) == TSS_LISTENER_STATE_CLOSED)
                tss_listen_async(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, keep_result, data);
}

TEST_LISTENING("a handler may listen again while close waits") {
        GAsyncResult *results[2] = {};
        g_autoptr(TssListener) listener = listen_with(NULL);

        (void) g_signal_connect(listener, "closed", G_CALLBACK(on_closed_listen), &results[0]);
        (void) g_signal_connect(listener, "notify::state", G_CALLBACK(on_notify_listen), &results[1]);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        for (unsigned i = 0; i < 2; i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(TssListener) again = NULL;

                loop_until(results[i]);
                again = tss_listen_finish(results[i], &error);
                g_assert_no_error(error);
                g_object_unref(results[i]);
        }
}

TEST_LISTENING("a cancelled wait for close does not stop the close") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GCancellable) cancellable = g_cancellable_new();
        g_autoptr(GAsyncResult) result = NULL;
        g_autoptr(GError) error = NULL, again = NULL;
        Closed closed = {};

        watch_closed(listener, &closed);
        g_cancellable_cancel(cancellable);
        g_assert_false(tss_listener_close_sync(listener, cancellable, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        tss_listener_close_async(listener, cancellable, keep_result, &result);
        loop_until(result);
        g_assert_false(tss_listener_close_finish(listener, result, &again));
        g_assert_error(again, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        loop_until(closed.n == 1);
        closed_done(&closed);
}

TEST_LISTENING("close of a persistent listener fails if the bus ends before the answer") {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
        g_autoptr(TssListener) listener = listen_with(options);
        g_autoptr(GAsyncResult) result = NULL;
        g_autoptr(GError) error = NULL, again = NULL;
        Closed closed = {};

        watch_closed(listener, &closed);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        tss_listener_close_async(listener, NULL, keep_result, &result);
        test_bus_kill(f->bus);
        loop_until(result && closed.n == 1);
        g_assert_false(tss_listener_close_finish(listener, result, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        g_assert_cmpstr(error->message, ==,
                        "The connection to the bus is lost. The port may still be in use by the service");
        g_assert_false(tss_listener_close_sync(listener, NULL, &again));
        g_assert_error(again, G_IO_ERROR, G_IO_ERROR_CLOSED);
        g_assert_cmpuint(closed.n, ==, 1);
        (void) test_service_kill(f->service);
        closed_done(&closed);
}

TEST_LISTENING("the end of a listener is told to a handler that is connected later") {
        g_autoptr(TssListener) listener = listen_with(NULL), dropped = listen_with(NULL);
        Closed closed = {}, second = {};

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        loop_until(tss_listener_get_state(listener) == TSS_LISTENER_STATE_CLOSED &&
                   tss_listener_get_state(dropped) == TSS_LISTENER_STATE_CLOSED);
        loop_drain();
        watch_closed(listener, &closed);
        loop_until(closed.n == 1);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_SHUTDOWN);
        g_assert_cmpstr(closed.message, ==, "The service tcpserversocket was stopped");
        watch_closed(listener, &second);
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 1);
        g_assert_cmpuint(second.n, ==, 0);
        closed_done(&closed);
}

static TssOptions *options_for_calls(void) {
        return g_object_new(TSS_TYPE_OPTIONS, "accept-rate", 10000, NULL);
}

TEST_LISTENING("pause and resume are tried again") {
        g_autoptr(TssOptions) options = options_for_calls();
        Fake *fake = fake_new(f);
        TssListener *listener = listen_with(options);

        fake->error = "org.freedesktop.DBus.Error.LimitsExceeded";
        g_atomic_int_set(&fake->errors, 1);
        tss_listener_pause(listener);
        loop_until(g_atomic_int_get(&fake->pauses) == 1);
        g_atomic_int_set(&fake->errors, 2);
        tss_listener_resume(listener);
        loop_until(g_atomic_int_get(&fake->resumes) == 1);

        /* The last state counts. */
        g_atomic_int_set(&fake->errors, 1);
        tss_listener_pause(listener);
        loop_until(g_atomic_int_get(&fake->errors) == 0);
        tss_listener_resume(listener);
        tss_listener_pause(listener);
        tss_listener_resume(listener);
        loop_until(g_atomic_int_get(&fake->resumes) == 2);
        loop_drain();
        g_assert_cmpint(g_atomic_int_get(&fake->pauses), ==, 1);
        g_object_unref(listener);
        fake_replace(fake, f);
}

TEST_LISTENING("the last reference is the port, also while the service does not answer") {
        g_autoptr(TssOptions) options = options_for_calls();
        TssListener *listener = listen_with(options);

        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        tss_listener_pause(listener);
        uint64_t start = test_now();
        g_object_unref(listener);
        loop_until(listening_count_fds(f) <= f->fds);
        /* A call of GDBus ends after 25 seconds. */
        g_assert_cmpuint(test_now() - start, <, 20 * G_USEC_PER_SEC);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
}

static void count_only(TssListener *listener, GSocketConnection *connection, gpointer user_data) {
        ++*(unsigned *) user_data;
}

/* fds: NULL: without a descriptor, which is answered by an error. */
static void fake_call_accept(Fake *fake, GUnixFDList *fds, GAsyncResult **ret) {
        GVariantDict details;

        g_variant_dict_init(&details, NULL);
        g_variant_dict_insert(&details, "serial", "t", G_GUINT64_CONSTANT(1));
        g_dbus_connection_call_with_unix_fd_list(
                        fake->bus, fake->client, TEST_MANAGER_PATH "/Client", TEST_CLIENT_INTERFACE,
                        "AcceptSocket",
                        g_variant_new("(ohsq@a{sv})", TEST_MANAGER_PATH "/listener/1", 0, "::1", 1,
                                      g_variant_dict_end(&details)),
                        NULL, G_DBUS_CALL_FLAGS_NONE, -1, fds, NULL, keep_result, ret);
}

TEST_LISTENING("each call with the same connection is answered") {
        g_autoptr(TssOptions) options = options_for_calls();
        Fake *fake = fake_new(f);
        TssListener *listener = listen_with(options);
        g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();
        GAsyncResult *results[3] = {}, *last = NULL;
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        unsigned n = 0;

        (void) g_unix_fd_list_append(fds, fd, NULL);
        fake_call_accept(fake, fds, &results[0]);
        fake_call_accept(fake, fds, &results[1]);
        fake_call_accept(fake, NULL, &last);
        loop_until(last);
        g_object_unref(last);
        g_assert_null(results[0]);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(count_only), &n);
        loop_until(results[0] && results[1]);
        fake_call_accept(fake, fds, &results[2]);
        loop_until(results[2]);
        g_assert_cmpuint(n, ==, 1);
        for (unsigned i = 0; i < G_N_ELEMENTS(results); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(GVariant) reply = g_dbus_connection_call_with_unix_fd_list_finish(
                                fake->bus, NULL, results[i], &error);

                g_assert_no_error(error);
                g_object_unref(results[i]);
        }
        g_object_unref(listener);
        fake_replace(fake, f);
}

static void fake_emit(Fake *fake, const char *signal, GVariant *arguments) {
        g_autoptr(GError) error = NULL;

        (void) g_dbus_connection_emit_signal(fake->bus, fake->client, TEST_MANAGER_PATH,
                                             TEST_MANAGER_INTERFACE, signal, arguments, &error);
        g_assert_no_error(error);
}

TEST_LISTENING("a service with other signals and properties does no harm") {
        static const char path[] = TEST_MANAGER_PATH "/listener/1", other[] = TEST_MANAGER_PATH "/listener/2";
        g_autoptr(TssOptions) options = options_for_calls();
        Fake *fake = fake_new(f);
        g_autoptr(TssListener) listener = listen_with(options);
        Closed closed = {};

        /* The service has sent a port only. */
        g_assert_cmpstr(tss_listener_get_address(listener), ==, "");
        g_assert_cmpstr(tss_listener_get_name(listener), ==, "");
        watch_closed(listener, &closed);
        fake_emit(fake, "Closed", g_variant_new("(s)", path));
        fake_emit(fake, "Closed", g_variant_new("(os)", other, "owner"));
        fake_emit(fake, "Error", g_variant_new("(oss)", path, "", ""));
        fake_emit(fake, "Later", NULL);
        fake_emit(fake, "Closed", g_variant_new("(os)", path, "none"));
        loop_until(closed.n > 0);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_OTHER);
        g_assert_cmpstr(closed.message, ==, "The service tcpserversocket has closed the port");
        fake_emit(fake, "Closed", g_variant_new("(os)", path, "owner"));
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 1);
        g_clear_object(&listener);
        closed_done(&closed);
        fake_replace(fake, f);
}

TEST_LISTENING("a service that gives no socket is an error") {
        g_autoptr(GError) error = NULL;
        Fake *fake = fake_new(f);

        g_assert_null(tss_listen_sync(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_FAILED);
        g_assert_cmpstr(error->message, ==, "The service has sent no socket");
        fake_replace(fake, f);
}

static void expect_text(TssOptions *options, guint16 port, const char *text) {
        g_autoptr(GError) error = NULL;

        g_assert_null(tss_listen_sync(options, port, TSS_LISTEN_FLAGS_SERVICE_ONLY, NULL, &error));
        g_assert_cmpstr(error->message, ==, text);
}

TEST_LISTENING("texts name the port and the options of the program") {
        static const char *const peers[] = { "192.0.2.0/24", "photos", NULL };
        static const struct {
                const char *answer, *text, *any_port;
        } texts[] = {
                { "User 1000 is not authorized for org.example.TCPServerSocket.listen [not-authorized user=1000 "
                  "action=org.example.TCPServerSocket.listen]",
                  "Not authorized to use port 80", "Not authorized to use a port" },
                { "Rejected send message, 2 matched rules; type=\"method_call\", sender=\":1.15\"",
                  "Not authorized to use port 80", "Not authorized to use a port" },
                { "No [authentication-required action=a]", "Port 80 needs a password",
                  "A password is needed to use a port" },
                { "No [authentication-timed-out action=a]",
                  "The password for port 80 was not entered in time",
                  "The password for a port was not entered in time" },
                { "No [authentication-busy action=a]", "Earlier questions for a password were not answered",
                  NULL },
                { "No [polkit-unavailable user=1000 action=a]",
                  "The permission to use port 80 could not be checked",
                  "The permission to use a port could not be checked" },
                { "No [not-owner listener=/listener/1]", "Not authorized to use port 80",
                  "Not authorized to use a port" },
                { "No [listener-closed listener=/listener/1]", "The listener on port 80 is closed",
                  "The port is closed" },
                { "No [already-taken member=TakeSocket listener=/listener/1]",
                  "The service has sent no socket", NULL },
                { "No [unknown-option option=freeBind]", "There is no option free-bind", NULL },
                { "No [option-out-of-range option=acceptRate minimum=0 maximum=9]",
                  "Option accept-rate is not between 0 and 9", NULL },
                { "No [no-such-scope]", "This host does not have the network interface eth9", NULL },
                { "No [invalid-interface maximum=15]", "This host does not have the network interface eth8",
                  NULL },
                { "No [missing-scope]",
                  "The address fe80::1%eth9 is link-local and needs its interface, as in fe80::1%eth0",
                  NULL },
                { "No [interface-contradicts-scope]",
                  "The address fe80::1%eth9 is not on the network interface eth8", NULL },
                { "No [ipv6-only-contradicts-address]",
                  "The address fe80::1%eth9 is an IPv4 address, which the option ipv6-only excludes", NULL },
                { "No [too-many-prefixes maximum=64]", "The option allow-from has more than 64 prefixes",
                  NULL },
                { "No [invalid-prefix entry=2]",
                  "\"photos\" is not an address prefix such as 192.0.2.0/24 or 2001:db8::/32", NULL },
        };
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "local-address", "fe80::1%eth9",
                                                     "interface", "eth8", "allow-from", peers, NULL);
        Fake *fake = fake_new(f);

        fake->error = "org.freedesktop.DBus.Error.AccessDenied";
        for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
                fake->text = texts[i].answer;
                g_atomic_int_set(&fake->errors, 2);
                expect_text(options, 80, texts[i].text);
                expect_text(options, 0, texts[i].any_port ?: texts[i].text);
        }

        /* A service that asks for a value that the program has not given. */
        fake->text = "No [invalid-local-address]";
        g_atomic_int_set(&fake->errors, 1);
        expect_text(NULL, 80, "Option localAddress is not an IP address");
        fake_replace(fake, f);
}

TEST_LISTENING("only an identifier of the service is one") {
        static const char *const texts[] = { "No [delivery-not-allowed", "No [delivery-not-allowed-here]",
                                             "No [", "[", "No [delivery-not-allowed] today" };
        Fake *fake = fake_new(f);

        fake->error = "org.freedesktop.DBus.Error.AccessDenied";
        for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(GError) error = NULL;

                fake->text = texts[i];
                g_atomic_int_set(&fake->errors, 1);
                g_assert_null(tss_listen_sync(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
        }
        fake_replace(fake, f);
}

static unsigned polls;

static int count_polls(GPollFD *fds, guint n, int timeout) {
        polls++;
        return g_poll(fds, n, timeout);
}

static gboolean set_true(gpointer user_data) {
        *(gboolean *) user_data = TRUE;
        return G_SOURCE_REMOVE;
}

TEST_LISTENING("a revoked socket does not keep the main loop busy") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        _cleanup_close_ int fd = tss_listener_dup_fd(listener, NULL);
        gboolean is_over = FALSE;

        (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        g_assert_no_errno(shutdown(fd, SHUT_RDWR));
        g_main_context_set_poll_func(NULL, count_polls);
        polls = 0;
        (void) g_timeout_add(200, set_true, &is_over);
        loop_until(is_over);
        g_main_context_set_poll_func(NULL, NULL);
        g_assert_cmpuint(polls, <, 100);
}

TEST_LISTENING("a connection waits until the program has descriptors again") {
        struct rlimit all, none;
        gboolean is_over = FALSE;

        /* It sends descriptors to the harness. */
        g_clear_pointer(&f->service, test_service_free);
        g_autoptr(TssListener) listener = listen_with(NULL);
        _cleanup_close_ int peer = connect_peer(listener);
        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &all));
        none = all;
        none.rlim_cur = (rlim_t) dup(peer);
        close((int) none.rlim_cur);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &none));
        g_main_context_set_poll_func(NULL, count_polls);
        polls = 0;
        (void) g_timeout_add(200, set_true, &is_over);
        loop_until(is_over);
        g_main_context_set_poll_func(NULL, NULL);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &all));
        g_assert_cmpuint(polls, <, 100);
        expect_greeting(peer);
        f->service = keeper_start(f->keeper, f->bus);
}

TEST_LISTENING("a service that cannot be started is one that is not installed") {
        static const char *const errors[] = { "org.freedesktop.systemd1.UnitMasked",
                                              "org.freedesktop.systemd1.NoSuchUnit",
                                              "org.freedesktop.DBus.Error.Spawn.ChildExited" };
        Fake *fake = fake_new(f);

        for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
                g_autoptr(TssListener) listener = NULL;
                g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
                g_autoptr(GError) error = NULL, persistent_error = NULL;

                fake->error = errors[i];
                fake->text = "No.";
                g_atomic_int_set(&fake->errors, 3);
                g_assert_null(tss_listen_sync(NULL, 0, TSS_LISTEN_FLAGS_SERVICE_ONLY, NULL, &error));
                g_assert_error(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND);
                g_assert_cmpstr(error->message, ==, "The service tcpserversocket cannot be started: No");
                listener = listen_with(NULL);
                g_assert_true(tss_listener_get_is_local(listener));
                g_assert_null(tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &persistent_error));
                g_assert_error(persistent_error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND);
                g_assert_cmpstr(persistent_error->message, ==,
                                "The program cannot create a persistent listener itself: The service "
                                "tcpserversocket cannot be started: No");
        }
        fake_replace(fake, f);
}

TEST_LISTENING("the program binds the port itself only if there is no bus") {
        g_autofree char *address = g_strdup(g_getenv("DBUS_SYSTEM_BUS_ADDRESS"));
        g_autofree char *folder = g_dir_make_tmp("tss-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(folder, "bus", NULL);
        g_autofree char *other = g_strdup_printf("unix:path=%s", path);
        struct sockaddr_un name = { .sun_family = AF_UNIX };
        g_autoptr(GAsyncResult) result = NULL;
        GError *error = NULL;

        (void) g_strlcpy(name.sun_path, path, sizeof(name.sun_path));
        (void) g_setenv("DBUS_SYSTEM_BUS_ADDRESS", other, TRUE);
        for (unsigned i = 0; i < 2; i++) {
                g_autoptr(TssListener) listener = listen_with(NULL);

                g_assert_true(tss_listener_get_is_local(listener));
                g_assert_null(tss_listen_sync(NULL, 0, TSS_LISTEN_FLAGS_SERVICE_ONLY, NULL, &error));
                g_assert_error(error, TSS_ERROR, TSS_ERROR_SERVICE_NOT_FOUND);
                g_clear_error(&error);

                /* The next one is refused. */
                _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (i == 0)
                        g_assert_no_errno(bind(fd, (struct sockaddr *) &name, sizeof(name)));
        }

        g_assert_no_errno(unlink(path));
        _cleanup_close_ int bus = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(bind(bus, (struct sockaddr *) &name, sizeof(name)));
        g_assert_no_errno(listen(bus, 1));
        tss_listen_async(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, keep_result, &result);
        loop_until(test_has_input(bus));
        close(accept4(bus, NULL, NULL, SOCK_CLOEXEC));
        loop_until(result);
        g_assert_null(tss_listen_finish(result, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_FAILED);
        g_assert_true(g_str_has_prefix(error->message, "Failed to connect to the system bus: "));
        g_clear_error(&error);

        (void) g_setenv("DBUS_SYSTEM_BUS_ADDRESS", "nonsense:", TRUE);
        g_assert_null(tss_listen_sync(NULL, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error));
        g_assert_error(error, TSS_ERROR, TSS_ERROR_FAILED);
        g_clear_error(&error);

        (void) g_setenv("DBUS_SYSTEM_BUS_ADDRESS", address, TRUE);
        g_assert_no_errno(unlink(path));
        g_assert_no_errno(rmdir(folder));
}

TEST_LISTENING("a listener that the next service does not know is closed") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        Closed closed = {};

        watch_closed(listener, &closed);
        (void) test_service_kill(f->service);
        g_clear_pointer(&f->service, test_service_free);
        f->service = test_service_new(f->bus, NULL);
        loop_until(closed.n > 0);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_ERROR);
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 1);
        closed_done(&closed);
}

static void forge_signal(TestClient *attacker,
                         const char *client,
                         const char *path,
                         const char *interface,
                         const char *member,
                         const char *types,
                         ...) {
        g_autoptr(sd_bus_message) m = NULL;
        va_list arguments;

        must(sd_bus_message_new_signal(test_client_bus(attacker), &m, path, interface, member));
        va_start(arguments, types);
        must(sd_bus_message_appendv(m, types, arguments));
        va_end(arguments);
        must(sd_bus_message_set_destination(m, client));
        must(sd_bus_send(test_client_bus(attacker), m, NULL));
}

static void assert_call_is_refused(TestClient *attacker, const char *client, int fd) {
        sd_bus_message *m = NULL;

        must(sd_bus_message_new_method_call(test_client_bus(attacker), &m, client,
                                            TEST_MANAGER_PATH "/Client", TEST_CLIENT_INTERFACE,
                                            "AcceptSocket"));
        must(sd_bus_message_append(m, "ohsqa{sv}", TEST_MANAGER_PATH "/listener/1", fd, "::1", 1, 1, "serial",
                                   "t", UINT64_C(1)));
        g_autoptr(TestCall) call = test_call_start(attacker, m);
        loop_until(test_call_is_done(call));
        g_assert_cmpstr(test_call_error(call), ==, "org.freedesktop.DBus.Error.AccessDenied");
}

TEST_OF_IF(test_require_root(),
           "no other program can close a listener, nor give it connections",
           Listening,
           f,
           listening_set_up,
           listening_tear_down,
           NULL) {
        g_autoptr(TssOptions) options = options_for_calls();
        g_autoptr(TssListener) listener = listen_with(options);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autoptr(TestClient) attacker = test_client_new(f->bus, test_other_uid(0));
        g_autofree char *client = test_get_string(other, TEST_MANAGER_PATH "/listener/1", "Owner");
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        unsigned n = 0;
        Closed closed = {};

        watch_closed(listener, &closed);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(count_only), &n);
        forge_signal(attacker, client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Closed", "os",
                     TEST_MANAGER_PATH "/listener/1", "owner");
        forge_signal(attacker, client, "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                     "sss", TEST_BUS_NAME, "", test_client_name(attacker));
        assert_call_is_refused(attacker, client, fd);
        _cleanup_close_ int peer = test_connect("127.0.0.1", tss_listener_get_port(listener));
        loop_until(n == 1);
        loop_drain();
        g_assert_cmpuint(n, ==, 1);
        g_assert_cmpuint(closed.n, ==, 0);
        closed_done(&closed);
}

/* GDBus answers more than the service asks it, and dbus-daemon logs each answer that it rejects. */
TEST_LISTENING("the bus rejects nothing between the service and GDBus") {
        g_autofree char *path = g_build_filename(test_bus_directory(f->bus), "bus.log", NULL), *log = NULL;
        g_autoptr(TssListener) listener = listen_with(NULL);

        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        g_assert_true(g_file_get_contents(path, &log, NULL, NULL));
        g_assert_null(strstr(log, "Rejected"));
}

TEST_LISTENING("the stop of the service is told") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        Closed closed = {};

        watch_closed(listener, &closed);
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        loop_until(closed.n > 0);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_SHUTDOWN);
        g_assert_cmpstr(closed.message, ==, "The service tcpserversocket was stopped");
        closed_done(&closed);
}

static char *get_listen_error(TssListener *other) {
        g_autoptr(GError) error = NULL;

        g_assert_null(tss_listen_sync(NULL, tss_listener_get_port(other), TSS_LISTEN_FLAGS_NONE, NULL,
                                      &error));
        return g_strdup(error->message);
}

TEST_LISTENING("texts are in the language of the program") {
        g_autofree char *locale = g_strdup(setlocale(LC_MESSAGES, NULL));
        g_autoptr(TssListener) listener = listen_with(NULL);
        /* The library chooses its catalogue with its first text. */
        g_autofree char *original = get_listen_error(listener);
        g_autofree char *german = g_strdup_printf("Der Port %u von :: ist belegt",
                                                  tss_listener_get_port(listener));
        Closed closed = {};

        watch_closed(listener, &closed);
        g_assert_true(g_str_has_suffix(original, "is in use"));
        if (!setlocale(LC_MESSAGES, "C.UTF-8")) {
                g_test_skip("needs the locale C.UTF-8");
                return;
        }
        (void) g_setenv("LANGUAGE", "de", TRUE);
        (void) bindtextdomain(GETTEXT_PACKAGE, g_getenv("TEST_LOCALE_DIR"));
        test_assert_text(get_listen_error(listener), german);
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        loop_until(closed.n > 0);
        g_assert_cmpstr(closed.message, ==, "Der Dienst tcpserversocket wurde angehalten");
        closed_done(&closed);
        g_unsetenv("LANGUAGE");
        (void) setlocale(LC_MESSAGES, locale);
}

TEST_LISTENING("the end of the bus is told once") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GAsyncResult) accept = NULL;
        g_autoptr(GError) error = NULL;
        Closed closed = {};

        watch_closed(listener, &closed);
        tss_listener_accept_async(listener, NULL, keep_result, &accept);
        test_bus_kill(f->bus);
        loop_until(closed.n > 0 && accept);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_DISCONNECTED);
        g_assert_null(tss_listener_accept_finish(listener, accept, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        g_assert_cmpstr(error->message, ==, closed.message);
        loop_drain();
        g_assert_cmpuint(closed.n, ==, 1);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        g_assert_cmpuint(closed.n, ==, 1);
        (void) test_service_kill(f->service);
        closed_done(&closed);
}

static void on_closed_unref(TssListener *listener,
                            TssCloseReason reason,
                            const char *message,
                            gpointer data) {
        g_clear_object((TssListener **) data);
}

static void on_incoming_unref(TssListener *listener, GSocketConnection *connection, gpointer data) {
        serve(connection);
        g_clear_object((TssListener **) data);
}

static void on_accepted_unref(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(GSocketConnection)
                        connection = tss_listener_accept_finish(TSS_LISTENER(source), result, NULL);

        serve(connection);
        g_clear_object((TssListener **) data);
}

TEST_LISTENING("a listener may be dropped in its own callbacks") {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "accept-rate", 10000, NULL);

        for (unsigned i = 0; i < 2; i++) {
                TssListener *listener = listen_with(i ? options : NULL);
                (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming_unref), &listener);
                _cleanup_close_ int a = connect_peer(listener);
                expect_greeting(a);
                g_assert_null(listener);

                listener = listen_with(i ? options : NULL);
                tss_listener_accept_async(listener, NULL, on_accepted_unref, &listener);
                _cleanup_close_ int b = connect_peer(listener);
                expect_greeting(b);
                g_assert_null(listener);

                listener = listen_with(i ? options : NULL);
                (void) g_signal_connect(listener, "closed", G_CALLBACK(on_closed_unref), &listener);
                tss_listener_close_async(listener, NULL, NULL, NULL);
                loop_until(!listener);
        }
}

static void on_incoming_close(TssListener *listener, GSocketConnection *connection, gpointer data) {
        serve(connection);
        tss_listener_close_async(listener, NULL, NULL, NULL);
}

TEST_LISTENING("a listener may be closed in its own callback") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        Closed closed = {};

        watch_closed(listener, &closed);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming_close), NULL);
        _cleanup_close_ int a = connect_peer(listener), b = connect_peer(listener);
        expect_greeting(a);
        loop_until(closed.n == 1);
        loop_until(test_has_ended(b));
        closed_done(&closed);
}

TEST_LISTENING("a cancelled call leaves nothing behind") {
        g_autoptr(GCancellable) cancelled = g_cancellable_new();
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
        g_autoptr(TssListener) first = listen_with(options);

        g_assert_true(tss_listener_close_sync(first, NULL, NULL));
        unsigned fds = test_service_count_fds(f->service);
        g_cancellable_cancel(cancelled);
        for (unsigned i = 0; i < 40; i++) {
                g_autoptr(GCancellable) cancellable = g_cancellable_new();
                g_autoptr(GAsyncResult) result = NULL;
                g_autoptr(GError) error = NULL;

                tss_listen_async(i % 2 ? options : NULL, 0, TSS_LISTEN_FLAGS_NONE,
                                 i ? cancellable : cancelled, keep_result, &result);
                /* At each step of the call. */
                for (unsigned n = 0; n < i; n++)
                        (void) g_main_context_iteration(NULL, !result);
                g_cancellable_cancel(cancellable);
                loop_until(result);
                g_autoptr(TssListener) listener = tss_listen_finish(result, &error);
                if (listener)
                        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
                else
                        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        }
        loop_until(test_service_count_fds(f->service) <= fds);
}

TEST_LISTENING("a cancelled adoption leaves the listener to the next program") {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
        TssListener *listener = listen_with(options);
        uint16_t port = tss_listener_get_port(listener);

        for (unsigned i = 0; i < 30; i++) {
                g_autoptr(GCancellable) cancellable = g_cancellable_new();
                g_autoptr(GAsyncResult) result = NULL, listed = NULL;
                g_autoptr(TssListenerInfo) info = NULL;
                g_autoptr(GError) error = NULL;

                g_clear_object(&listener);
                info = wait_for_orphan();
                tss_listener_adopt_async(info, cancellable, keep_result, &result);
                tss_list_listeners_async(cancellable, keep_result, &listed);
                for (unsigned n = 0; n < i; n++)
                        (void) g_main_context_iteration(NULL, !result);
                g_cancellable_cancel(cancellable);
                loop_until(result && listed);
                listener = tss_listener_adopt_finish(result, &error);
                if (listener)
                        g_assert_cmpuint(tss_listener_get_port(listener), ==, port);
                else
                        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
                g_list_free_full(tss_list_listeners_finish(listed, NULL), g_object_unref);
        }

        g_clear_object(&listener);
        g_object_unref(wait_for_orphan());
        listener = tss_listen_sync(options, port, TSS_LISTEN_FLAGS_NONE, NULL, NULL);
        g_assert_nonnull(listener);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        g_object_unref(listener);
}

static gpointer run_thread(gpointer data) {
        g_autoptr(GMainContext) context = g_main_context_new();
        g_autoptr(TssListener) listener = NULL;
        g_autoptr(GAsyncResult) result = NULL;
        Closed closed = {};

        g_main_context_push_thread_default(context);
        listener = listen_with(NULL);
        watch_closed(listener, &closed);
        tss_listener_accept_async(listener, NULL, keep_result, &result);
        _cleanup_close_ int peer = connect_peer(listener);
        while (!result)
                (void) g_main_context_iteration(context, TRUE);
        g_autoptr(GSocketConnection) connection = tss_listener_accept_finish(listener, result, NULL);
        serve(connection);
        g_clear_object(&result);
        tss_listener_close_async(listener, NULL, keep_result, &result);
        while (!result)
                (void) g_main_context_iteration(context, TRUE);
        g_assert_cmpuint(closed.n, ==, 1);
        g_clear_object(&listener);
        while (g_main_context_iteration(context, FALSE))
                ;
        g_main_context_pop_thread_default(context);
        closed_done(&closed);
        g_atomic_int_set((int *) data, 1);
        g_main_context_wakeup(NULL);
        return NULL;
}

TEST_LISTENING("two other threads use main contexts of their own") {
        int done[2] = {};
        GThread *threads[2];

        for (unsigned i = 0; i < 2; i++)
                threads[i] = g_thread_new("listener", run_thread, &done[i]);
        loop_until(g_atomic_int_get(&done[0]) && g_atomic_int_get(&done[1]));
        for (unsigned i = 0; i < 2; i++)
                (void) g_thread_join(threads[i]);
}

static gpointer listen_in_thread(gpointer data) {
        return listen_with(NULL);
}

static gboolean listen_in_loop(gpointer data) {
        *(TssListener **) data = listen_with(NULL);
        return G_SOURCE_REMOVE;
}

TEST_LISTENING("a listener of a thread without a main context belongs to the main loop") {
        g_autoptr(TssListener) threads = g_thread_join(g_thread_new("listen", listen_in_thread, NULL));
        g_autoptr(TssListener) loops = NULL;
        Closed closed = {};

        (void) g_idle_add(listen_in_loop, &loops);
        loop_until(loops);
        for (unsigned i = 0; i < 2; i++) {
                TssListener *listener = i == 0 ? threads : loops;

                watch_closed(listener, &closed);
                (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
                _cleanup_close_ int peer = connect_peer(listener);
                expect_greeting(peer);
        }
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        loop_until(closed.n == 2);
        closed_done(&closed);
}

/* Another program of the user closes it, as an administrator may: the port is free after the second. */
TEST_LISTENING("a server that does not use GIO stops in the second before the socket is revoked") {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, NULL);
        g_autoptr(TssListener) listener = listen_with(options);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        _cleanup_close_ int fd = tss_listener_dup_fd(listener, NULL);
        int64_t start = g_get_monotonic_time();
        Closed closed = {};

        watch_closed(listener, &closed);
        g_autoptr(TestCall) close_call = test_call_start(
                        other, test_message_new(other, TEST_MANAGER_PATH "/listener/1",
                                                TEST_LISTENER_INTERFACE, "Close"));
        loop_until(closed.n > 0);
        g_assert_cmpstr(closed.message, ==, "Another program of the user has closed the port");
        loop_until(test_call_is_done(close_call));
        g_assert_cmpint(g_get_monotonic_time() - start, >=, G_USEC_PER_SEC * 9 / 10);
        g_assert_true(test_has_input(fd));
        closed_done(&closed);
}

/* ------------------------------------------------------------------------------------------- the handlers */

static void count_and_serve(TssListener *listener, GSocketConnection *connection, gpointer user_data) {
        serve(connection);
        ++*(unsigned *) user_data;
}

static void on_incoming_count_unref(TssListener *listener, GSocketConnection *connection, gpointer data) {
        count_and_serve(listener, connection, data);
        g_object_unref(listener);
}

TEST_LISTENING("a connection of a dropped persistent listener is not delivered again") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "persistent", TRUE, "accept-rate",
                                                     10000, NULL);
        TssListener *listener = listen_with(options);
        unsigned served = 0;

        for (unsigned n = 1; n <= 30; n++) {
                uint16_t port = tss_listener_get_port(listener);

                (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming_count_unref), &served);
                _cleanup_close_ int peer = connect_peer(listener);
                expect_greeting(peer);
                g_assert_cmpuint(served, ==, n);
                loop_until(!test_has_owner(other, TEST_MANAGER_PATH "/listener/1"));
                listener = tss_listen_sync(options, port, TSS_LISTEN_FLAGS_NONE, NULL, NULL);
                g_assert_nonnull(listener);
        }
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        g_object_unref(listener);
}

typedef struct Threaded {
        GMutex mutex;
        GCond changed;
        unsigned running;
        gboolean may_end;
        GMainContext *context;
        uint16_t port;
        gboolean is_over;
} Threaded;

static gboolean on_run_wait(GThreadedSocketService *service,
                            GSocketConnection *connection,
                            GObject *source_object,
                            gpointer user_data) {
        Threaded *t = user_data;

        g_mutex_lock(&t->mutex);
        t->running++;
        g_cond_broadcast(&t->changed);
        while (!t->may_end)
                g_cond_wait(&t->changed, &t->mutex);
        t->running--;
        t->may_end = FALSE;
        g_cond_broadcast(&t->changed);
        g_mutex_unlock(&t->mutex);
        serve(connection);
        return TRUE;
}

/* In a main context without any other source, which would wake it up. */
static gpointer run_threaded(gpointer data) {
        g_autoptr(GMainContext) context = g_main_context_new();
        g_autoptr(TssOptions) options = options_for_calls();
        g_autoptr(TssListener) listener = NULL;
        GSocketService *service;
        Threaded *t = data;

        g_main_context_push_thread_default(context);
        service = g_threaded_socket_service_new(1);
        (void) g_signal_connect(service, "run", G_CALLBACK(on_run_wait), t);
        listener = listen_with(options);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, NULL));
        t->context = context;
        t->port = tss_listener_get_port(listener);
        g_mutex_lock(&t->mutex);
        g_cond_broadcast(&t->changed);
        g_mutex_unlock(&t->mutex);
        while (!g_atomic_int_get(&t->is_over))
                (void) g_main_context_iteration(context, TRUE);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        service_stop(&service);
        while (g_main_context_iteration(context, FALSE))
                ;
        g_main_context_pop_thread_default(context);
        return NULL;
}

TEST_LISTENING("the maximum of threads of an attached service is kept") {
        Threaded t = {};
        g_mutex_init(&t.mutex);
        g_cond_init(&t.changed);
        GThread *thread = g_thread_new("threaded", run_threaded, &t);
        int peers[3];

        loop_until(t.port > 0);
        for (unsigned i = 0; i < 3; i++) {
                peers[i] = test_connect("127.0.0.1", t.port);
                test_send(peers[i], "?", 1);
        }
        for (unsigned i = 0; i < 3; i++) {
                loop_until(t.running == 1);
                g_mutex_lock(&t.mutex);
                t.may_end = TRUE;
                g_cond_broadcast(&t.changed);
                g_mutex_unlock(&t.mutex);
                expect_greeting(peers[i]);
                g_assert_cmpuint(t.running, <=, 1);
                close(peers[i]);
        }
        g_atomic_int_set(&t.is_over, TRUE);
        g_main_context_wakeup(t.context);
        (void) g_thread_join(thread);
}

static void on_end(gpointer data, GObject *object) {
        g_atomic_pointer_set((GThread **) data, g_thread_self());
}

TEST_LISTENING("a thread of an attached service does not end the listener") {
        GSocketService *service = g_threaded_socket_service_new(2);
        TssListener *listener = listen_with(NULL);
        GThread *end = NULL;
        Threaded t = {};

        g_mutex_init(&t.mutex);
        g_cond_init(&t.changed);
        (void) g_signal_connect(service, "run", G_CALLBACK(on_run_wait), &t);
        g_object_weak_ref(G_OBJECT(listener), on_end, &end);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, NULL));
        _cleanup_close_ int peer = connect_peer(listener);
        loop_until(t.running == 1);

        /* The thread has the last reference to the service, which has that to the listener. */
        g_object_unref(listener);
        service_stop(&service);
        loop_drain();
        g_assert_null(g_atomic_pointer_get(&end));
        g_mutex_lock(&t.mutex);
        t.may_end = TRUE;
        g_cond_broadcast(&t.changed);
        g_mutex_unlock(&t.mutex);
        expect_greeting(peer);
        loop_until(g_atomic_pointer_get(&end));
        g_assert_true(end == g_thread_self());
}

static void assert_stops(TssOptions *options) {
        g_autoptr(TssListener) listener = listen_with(options);
        GSocketService *service = g_socket_service_new();

        (void) g_signal_connect(service, "incoming", G_CALLBACK(on_service_incoming), NULL);
        g_socket_service_stop(service);
        g_assert_true(tss_listener_attach(listener, G_SOCKET_LISTENER(service), NULL, NULL));
        for (unsigned n = 0; n < 2; n++) {
                _cleanup_close_ int peer = connect_peer(listener);

                for (unsigned i = 0; i < 50; i++)
                        (void) g_main_context_iteration(NULL, FALSE);
                g_assert_false(test_has_input(peer));
                g_socket_service_start(service);
                expect_greeting(peer);
                g_socket_service_stop(service);
        }

        /* The service ends. */
        g_object_unref(service);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        _cleanup_close_ int peer = connect_peer(listener);
        expect_greeting(peer);
}

TEST_LISTENING("an attached service is stopped, started and dropped by the program") {
        g_autoptr(TssOptions) options = options_for_calls();

        assert_stops(NULL);
        assert_stops(options);
}

static void on_active_close(GSocketService *service, GParamSpec *pspec, gpointer data) {
        tss_listener_close_async(data, NULL, NULL, NULL);
}

static void on_state_attach(TssListener *listener, GParamSpec *pspec, gpointer data) {
        g_autoptr(GError) error = NULL;
        gboolean is_open = tss_listener_get_state(listener) <= TSS_LISTENER_STATE_PAUSED;

        g_assert_true(tss_listener_attach(listener, data, NULL, &error) == is_open);
        if (!is_open)
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
}

static void on_closed_close(TssListener *listener,
                            TssCloseReason reason,
                            const char *message,
                            gpointer data) {
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        tss_listener_close_async(listener, NULL, keep_result, data);
        tss_listener_pause(listener);
        tss_listener_resume(listener);
        g_assert_cmpint(tss_listener_get_state(listener), ==, TSS_LISTENER_STATE_CLOSED);
}

static void on_state_close(TssListener *listener, GParamSpec *pspec, gpointer data) {
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
}

static void on_incoming_close_sync(TssListener *listener, GSocketConnection *connection, gpointer data) {
        serve(connection);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
}

static void on_incoming_pause(TssListener *listener, GSocketConnection *connection, gpointer data) {
        tss_listener_pause(listener);
        count_and_serve(listener, connection, data);
}

typedef struct Dropped {
        GSocketService *service;
        TssListener *listener;
} Dropped;

static gboolean on_service_drop(GSocketService *service,
                                GSocketConnection *connection,
                                GObject *source_object,
                                gpointer user_data) {
        Dropped *d = user_data;

        serve(connection);
        g_clear_object(&d->listener);
        service_stop(&d->service);
        g_clear_object(&source_object);
        return FALSE;
}

static void on_gone(gpointer data, GObject *object) {
        *(gboolean *) data = TRUE;
}

/* In its handler, the program drops all that it has. */
static void assert_drops(TssOptions *options) {
        Dropped d = { g_socket_service_new(), listen_with(options) };
        GObject *source_object = G_OBJECT(tss_options_new());
        gboolean is_gone = FALSE, is_service_gone = FALSE;

        g_object_weak_ref(G_OBJECT(d.listener), on_gone, &is_gone);
        g_object_weak_ref(G_OBJECT(d.service), on_gone, &is_service_gone);
        (void) g_signal_connect(d.service, "incoming", G_CALLBACK(on_service_drop), &d);
        g_assert_true(tss_listener_attach(d.listener, G_SOCKET_LISTENER(d.service), source_object, NULL));
        _cleanup_close_ int peer = connect_peer(d.listener);
        expect_greeting(peer);
        loop_until(is_gone && is_service_gone);
}

static void assert_is_reentrant(TssOptions *options) {
        _cleanup_(service_stop) GSocketService *service = g_socket_service_new();
        g_autoptr(TssListener) attached = listen_with(options), closing = listen_with(options);
        g_autoptr(TssListener) serving = listen_with(options), pausing = listen_with(options);
        g_autoptr(GAsyncResult) result = NULL;
        unsigned served = 0;
        Closed closed = {};

        /* The state changes in handlers of the state, and of the attached service. */
        (void) g_signal_connect(attached, "notify::state", G_CALLBACK(on_state_attach), service);
        (void) g_signal_connect(service, "incoming", G_CALLBACK(on_service_incoming), NULL);
        tss_listener_pause(attached);
        tss_listener_resume(attached);
        _cleanup_close_ int a = connect_peer(attached);
        expect_greeting(a);
        watch_closed(attached, &closed);
        gulong handler = g_signal_connect(service, "notify::active", G_CALLBACK(on_active_close), attached);
        g_socket_service_stop(service);
        loop_until(closed.n == 1);
        g_assert_cmpint(tss_listener_get_state(attached), ==, TSS_LISTENER_STATE_CLOSED);
        g_signal_handler_disconnect(service, handler);
        closed_done(&closed);

        (void) g_signal_connect(closing, "closed", G_CALLBACK(on_closed_close), &result);
        (void) g_signal_connect(closing, "notify::state", G_CALLBACK(on_state_close), NULL);
        tss_listener_close_async(closing, NULL, NULL, NULL);
        loop_until(result);

        (void) g_signal_connect(serving, "incoming", G_CALLBACK(on_incoming_close_sync), NULL);
        _cleanup_close_ int b = connect_peer(serving);
        expect_greeting(b);
        g_assert_cmpint(tss_listener_get_state(serving), ==, TSS_LISTENER_STATE_CLOSED);

        (void) g_signal_connect(pausing, "incoming", G_CALLBACK(on_incoming_pause), &served);
        _cleanup_close_ int c = connect_peer(pausing), d = connect_peer(pausing);
        expect_greeting(c);
        g_assert_cmpuint(served, ==, 1);
        tss_listener_resume(pausing);
        expect_greeting(d);
}

TEST_LISTENING("handlers change the listener") {
        g_autoptr(TssOptions) options = options_for_calls();

        assert_is_reentrant(NULL);
        assert_is_reentrant(options);
        assert_drops(NULL);
        assert_drops(options);
}

TEST_LISTENING("handlers change a listener of the program itself") {
        static const char *const all[] = { "127.0.0.0/8", NULL };
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "allow-from", all, NULL);

        g_clear_pointer(&f->service, test_service_free);
        assert_is_reentrant(NULL);
        assert_is_reentrant(options);
        f->service = keeper_start(f->keeper, f->bus);
}

TEST_LISTENING("a disposed listener ends the calls that wait") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(GAsyncResult) accept = NULL, close = NULL;
        g_autoptr(GError) error = NULL;

        tss_listener_accept_async(listener, NULL, keep_result, &accept);
        tss_listener_close_async(listener, NULL, keep_result, &close);
        g_object_run_dispose(G_OBJECT(listener));
        loop_until(accept && close);
        g_assert_null(tss_listener_accept_finish(listener, accept, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
}

/* --------------------------------------------------------------------------------------------- the number */

#define CONNECTIONS 10000U

static void assert_serves_many(TssOptions *options) {
        g_autoptr(TssListener) listener = listen_with(options);
        unsigned served = 0;
        int peers[50];

        (void) g_signal_connect(listener, "incoming", G_CALLBACK(count_and_serve), &served);
        for (unsigned n = 0; n < CONNECTIONS; n += G_N_ELEMENTS(peers)) {
                for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++)
                        peers[i] = connect_peer(listener);
                for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++) {
                        expect_greeting(peers[i]);
                        close(peers[i]);
                }
        }
        g_assert_cmpuint(served, ==, CONNECTIONS);
}

TEST_LISTENING("ten thousand connections are served") {
        assert_serves_many(NULL);
}

/* The service accepts, at any rate. */
static TssOptions *options_for_all(void) {
        static const char *const all[] = { "127.0.0.0/8", NULL };

        return g_object_new(TSS_TYPE_OPTIONS, "allow-from", all, NULL);
}

TEST_LISTENING("ten thousand connections are served by calls") {
        g_autoptr(TssOptions) options = options_for_all();

        assert_serves_many(options);
}

/* How often each connection came. The peer sends its number. */
static void count_number(TssListener *listener, GSocketConnection *connection, gpointer user_data) {
        GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
        g_autoptr(GError) error = NULL;
        uint32_t number;

        (void) g_input_stream_read_all(in, &number, sizeof(number), NULL, NULL, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(number, <, CONNECTIONS);
        ((uint8_t *) user_data)[number]++;
        serve(connection);
}

/* Without a wait for the next process: the main loop serves in the meantime. */
static void kill_service(Listening *f) {
        loop_until(test_bus_service_owner(f->bus));
        (void) test_service_kill(f->service);
        test_process_pending();
        keeper_hear(f->keeper);
        g_clear_pointer(&f->service, test_service_free);
        loop_until(!test_bus_service_owner(f->bus));
        f->service = keeper_spawn(f->keeper, f->bus);
}

/* Returns how many peers lost their connection. */
static unsigned serve_many_with_kills(Listening *f, TssOptions *options, unsigned *ret_kills) {
        g_autofree uint8_t *seen = g_new0(uint8_t, CONNECTIONS);
        g_autoptr(TssListener) listener = listen_with(options);
        unsigned lost = 0, kills = 0;
        Closed closed = {};
        int peers[50];

        watch_closed(listener, &closed);
        (void) g_signal_connect(listener, "incoming", G_CALLBACK(count_number), seen);
        for (uint32_t n = 0; n < CONNECTIONS; n += G_N_ELEMENTS(peers)) {
                for (uint32_t i = 0; i < G_N_ELEMENTS(peers); i++) {
                        uint32_t number = n + i;

                        peers[i] = test_connect("127.0.0.1", tss_listener_get_port(listener));
                        test_send(peers[i], (const char *) &number, sizeof(number));
                        test_send(peers[i], "?", 1);
                }
                /* At another one of these 50 each time. */
                if (n % 500 == 0) {
                        loop_until(test_has_input(peers[kills * 3 % G_N_ELEMENTS(peers)]));
                        kill_service(f);
                        kills++;
                }
                for (unsigned i = 0; i < G_N_ELEMENTS(peers); i++) {
                        char greeting;

                        loop_until(test_has_input(peers[i]));
                        if (recv(peers[i], &greeting, 1, 0) != 1)
                                lost++;
                        close(peers[i]);
                }
        }

        for (unsigned i = 0; i < CONNECTIONS; i++)
                g_assert_cmpuint(seen[i], <=, 1);
        g_assert_cmpuint(closed.n, ==, 0);
        loop_until(test_bus_service_owner(f->bus));
        g_assert_true(tss_listener_close_sync(listener, NULL, NULL));
        closed_done(&closed);
        *ret_kills = kills;
        return lost;
}

TEST_LISTENING("ten thousand connections are served while the service is killed") {
        unsigned kills;

        g_assert_cmpuint(serve_many_with_kills(f, NULL, &kills), ==, 0);
        g_assert_cmpuint(kills, ==, 20);
}

TEST_LISTENING("ten thousand connections are served by calls while the service is killed") {
        g_autoptr(TssOptions) options = options_for_all();
        unsigned kills, lost = serve_many_with_kills(f, options, &kills);

        /* A kill may lose one, which was accepted and not stored yet. */
        g_test_message("%u kills, %u connections lost", kills, lost);
        g_assert_cmpuint(lost, <=, kills);
}
