/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "glib/listening.h"

#include <glib-unix.h>

static void forbid_sockets(void *data) {
        test_mount_configuration("AllowSocketDelivery=no");
}

const TestChildSetup listening_forbid_sockets = forbid_sockets;

/* The harness has an event loop of its own. */
static gboolean on_event(int fd, GIOCondition condition, gpointer user_data) {
        test_process_pending();
        return G_SOURCE_CONTINUE;
}

static gboolean on_timer(gpointer user_data) {
        test_process_pending();
        return G_SOURCE_CONTINUE;
}

unsigned listening_count_fds(Listening *f) {
        keeper_hear(f->keeper);
        return test_count_fds(getpid()) - keeper_count(f->keeper);
}

/* GLib opens some descriptors once. */
static void warm_up(void) {
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(TestService) service = test_service_new(bus, NULL);

        (void) g_setenv("DBUS_SYSTEM_BUS_ADDRESS", test_bus_address(bus), TRUE);
        g_object_unref(listen_with(NULL));
        loop_drain();
}

void listening_set_up(Listening *f, const void *data) {
        static gboolean is_set_up;

        if (!is_set_up) {
                GSource *source = g_unix_fd_source_new(sd_event_get_fd(test_event()), G_IO_IN);

                g_source_set_callback(source, G_SOURCE_FUNC(on_event), NULL, NULL);
                (void) g_source_attach(source, NULL);
                g_source_unref(source);
                (void) g_timeout_add(20, on_timer, NULL);
                warm_up();
                is_set_up = TRUE;
        }

        /* dbus-broker-launch asks systemd on the machine's own bus. */
        g_unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
        f->bus = test_bus_new(NULL);
        f->keeper = keeper_new(f->bus);
        if (data && geteuid() == 0)
                keeper_set_up_with(f->keeper, *(const TestChildSetup *) data);
        f->service = keeper_start(f->keeper, f->bus);
        (void) g_setenv("DBUS_SYSTEM_BUS_ADDRESS", test_bus_address(f->bus), TRUE);
        f->fds = listening_count_fds(f);
}

void listening_tear_down(Listening *f, const void *data) {
        loop_until(listening_count_fds(f) <= f->fds);
        g_clear_pointer(&f->service, test_service_free);
        g_clear_pointer(&f->keeper, keeper_free);
        g_clear_pointer(&f->bus, test_bus_free);
}

void listening_restart_service(Listening *f) {
        (void) test_service_kill(f->service);
        test_process_pending();
        keeper_hear(f->keeper);
        g_clear_pointer(&f->service, test_service_free);
        f->service = keeper_start(f->keeper, f->bus);
}

void loop_step(uint64_t deadline, const char *what, const char *file, int line) {
        if (test_now() >= deadline) {
                g_autofree char *message = g_strdup_printf("this did not happen in time: %s", what);

                g_assertion_message(G_LOG_DOMAIN, file, line, G_STRFUNC, message);
        }
        (void) g_main_context_iteration(NULL, TRUE);
}

void loop_drain(void) {
        while (g_main_context_iteration(NULL, FALSE))
                ;
}

void keep_result(GObject *source, GAsyncResult *result, gpointer user_data) {
        *(GAsyncResult **) user_data = g_object_ref(result);
}

TssListener *listen_with(TssOptions *options) {
        g_autoptr(GError) error = NULL;
        TssListener *listener = tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_NONE, NULL, &error);

        g_assert_no_error(error);
        g_assert_nonnull(listener);
        g_assert_cmpuint(tss_listener_get_port(listener), >, 0);
        return listener;
}

int connect_peer(TssListener *listener) {
        int fd = test_connect("127.0.0.1", tss_listener_get_port(listener));

        test_send(fd, "?", 1);
        return fd;
}

void expect_greeting(int peer) {
        char greeting[2];

        loop_until(test_has_input(peer));
        g_assert_cmpint(recv(peer, greeting, sizeof(greeting), 0), ==, 1);
        g_assert_cmpint(greeting[0], ==, '!');
        loop_until(test_has_ended(peer));
}

void serve(GSocketConnection *connection) {
        GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
        GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
        g_autoptr(GError) error = NULL;
        char byte;

        g_assert_true(G_IS_TCP_CONNECTION(connection));
        g_assert_cmpint(g_input_stream_read(in, &byte, 1, NULL, &error), ==, 1);
        g_assert_no_error(error);
        (void) g_output_stream_write_all(out, "!", 1, NULL, NULL, &error);
        g_assert_no_error(error);
        (void) g_io_stream_close(G_IO_STREAM(connection), NULL, &error);
        g_assert_no_error(error);
}

void on_incoming(TssListener *listener, GSocketConnection *connection, gpointer user_data) {
        serve(connection);
}

static void on_closed(TssListener *listener, TssCloseReason reason, const char *message, gpointer user_data) {
        Closed *closed = user_data;

        g_assert_cmpint(tss_listener_get_state(listener), ==, TSS_LISTENER_STATE_CLOSED);
        g_assert_cmpint(tss_listener_get_close_reason(listener), ==, reason);
        g_assert_cmpstr(message, !=, "");
        closed->n++;
        closed->reason = reason;
        g_free(closed->message);
        closed->message = g_strdup(message);
}

void watch_closed(TssListener *listener, Closed *closed) {
        (void) g_signal_connect(listener, "closed", G_CALLBACK(on_closed), closed);
}

void closed_done(Closed *closed) {
        g_clear_pointer(&closed->message, g_free);
}
