/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A SoupServer with the listening socket of the library, and HTTP clients. */

#include <libsoup/soup.h>

#include "glib/listening.h"

static void on_request(SoupServer *server,
                       SoupServerMessage *message,
                       const char *path,
                       GHashTable *query,
                       gpointer user_data) {
        soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
        soup_server_message_set_response(message, "text/plain", SOUP_MEMORY_COPY, path, strlen(path));
}

static SoupServer *start_server(TssListener *listener) {
        SoupServer *server = soup_server_new(NULL, NULL);
        g_autoptr(GError) error = NULL;

        soup_server_add_handler(server, NULL, on_request, NULL, NULL);
        (void) soup_server_listen_socket(server, tss_listener_get_socket(listener, NULL), 0, &error);
        g_assert_no_error(error);
        return server;
}

static GAsyncResult *request(SoupSession *session, guint16 port, const char *path) {
        g_autofree char *uri = g_strdup_printf("http://127.0.0.1:%u%s", port, path);
        g_autoptr(SoupMessage) message = soup_message_new("GET", uri);
        g_autoptr(GAsyncResult) result = NULL;

        soup_session_send_and_read_async(session, message, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
        loop_until(result);
        return g_steal_pointer(&result);
}

static void expect_response(SoupSession *session, guint16 port, const char *path) {
        g_autoptr(GAsyncResult) result = request(session, port, path);
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) body = soup_session_send_and_read_finish(session, result, &error);

        g_assert_no_error(error);
        g_assert_cmpmem(g_bytes_get_data(body, NULL), g_bytes_get_size(body), path, strlen(path));
}

static void expect_refusal(guint16 port) {
        g_autoptr(SoupSession) session = soup_session_new();
        g_autoptr(GAsyncResult) result = request(session, port, "/refused");
        g_autoptr(GError) error = NULL;

        g_assert_null(soup_session_send_and_read_finish(session, result, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);
}

static gboolean on_over(gpointer user_data) {
        *(gboolean *) user_data = TRUE;
        return G_SOURCE_REMOVE;
}

/* A loop that spins has thousands of iterations in this time, and the timer of the harness ten. */
static void assert_is_idle(void) {
        gboolean is_over = FALSE;
        unsigned n = 0;

        (void) g_timeout_add(200, on_over, &is_over);
        while (!is_over) {
                (void) g_main_context_iteration(NULL, TRUE);
                n++;
        }
        g_assert_cmpuint(n, <, 100);
}

/* A client that was served before has a connection that stays open. */
TEST_LISTENING("a SoupServer continues with its clients when the port is closed") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(SoupServer) server = start_server(listener);
        g_autoptr(SoupSession) session = soup_session_new();
        guint16 port = tss_listener_get_port(listener);
        Closed closed = {};

        watch_closed(listener, &closed);
        expect_response(session, port, "/a");
        listening_restart_service(f);
        expect_response(session, port, "/b");
        g_assert_cmpuint(closed.n, ==, 0);

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        loop_until(closed.n == 1);
        g_assert_cmpint(closed.reason, ==, TSS_CLOSE_REASON_SHUTDOWN);
        expect_refusal(port);
        expect_response(session, port, "/c");
        /* The service has revoked the socket by then. */
        assert_is_idle();
        expect_response(session, port, "/d");
        g_assert_cmpuint(closed.n, ==, 1);
        closed_done(&closed);
}

TEST_LISTENING("a SoupServer does not accept while the listener is paused") {
        g_autoptr(TssListener) listener = listen_with(NULL);
        g_autoptr(SoupServer) server = start_server(listener);
        g_autoptr(SoupSession) session = soup_session_new(), other = soup_session_new();
        guint16 port = tss_listener_get_port(listener);
        g_autoptr(GAsyncResult) result = NULL;
        g_autofree char *uri = g_strdup_printf("http://127.0.0.1:%u/late", port);
        g_autoptr(SoupMessage) message = soup_message_new("GET", uri);
        g_autoptr(GBytes) body = NULL;

        expect_response(session, port, "/a");
        tss_listener_pause(listener);
        soup_session_send_and_read_async(other, message, G_PRIORITY_DEFAULT, NULL, keep_result, &result);
        expect_response(session, port, "/b");
        assert_is_idle();
        g_assert_null(result);

        tss_listener_resume(listener);
        loop_until(result);
        body = soup_session_send_and_read_finish(other, result, NULL);
        g_assert_cmpmem(g_bytes_get_data(body, NULL), g_bytes_get_size(body), "/late", strlen("/late"));
}
