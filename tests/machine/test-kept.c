/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The fd store of systemd: many listeners, the stop of the unit, and a restart of the bus. */

#include <netinet/in.h>

#include "machine/machine.h"

static uint64_t count_stored(void) {
        g_autofree char *n = machine_get_unit("NFileDescriptorStore");

        return g_ascii_strtoull(n, NULL, 10);
}

MACHINE_TEST("a stop closes all listeners") {
        static const char *const deliveries[] = { "signal", "call", "pull", "channel", "socket" };
        uint16_t ports[2 * ELEMENTS(deliveries)];
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(deliveries); i++)
                for (int persistent = 0; persistent < 2; persistent++) {
                        g_autofree char *listener = test_listen(m->user, 0, -1, "delivery", "s",
                                                                deliveries[i], "persistent", "b", persistent,
                                                                NULL);

                        ports[n++] = test_get_port(m->user, listener);
                }
        g_assert_cmpuint(count_stored(), >, 0);

        machine_stop_service();
        for (size_t i = 0; i < n; i++) {
                test_client_expect_closed(m->user, NULL, "shutdown");
                g_assert_cmpint(test_connect_fails("::1", ports[i]), ==, ECONNREFUSED);
        }
        g_assert_cmpuint(count_stored(), ==, 0);
}

MACHINE_TEST("a stop tells owners before their sockets are revoked") {
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int listening = test_listener_call_fd(m->user, listener, "TakeSocket"), peer = -EBADF,
                            socket = -EBADF;
        uint16_t port = test_get_port(m->user, listener);

        g_free(machine_run("systemctl", "stop", "--no-block", MACHINE_UNIT, NULL));
        test_client_expect_closed(m->user, NULL, "shutdown");

        peer = test_connect("::1", port);
        (void) test_wait_fd(listening, POLLIN);
        socket = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        test_assert_connected(peer, socket);

        test_wait_for(machine_unit_is("inactive"));
        g_assert_cmpint(accept4(listening, NULL, NULL, SOCK_CLOEXEC), ==, -1);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* A port is free for other programs when Close has returned, though systemd had copies of the socket. */
MACHINE_TEST("Close frees the port") {
        for (unsigned n = 0; n < 50; n++) {
                g_autofree G_GNUC_UNUSED char *a = test_listen(m->user, 0, -1, NULL), *listener = NULL,
                                              *b = NULL;
                uint16_t port = test_free_port();
                _cleanup_close_ int socket_fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
                struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

                listener = test_listen(m->user, port, -1, NULL);
                b = test_listen(m->user, 0, -1, NULL);
                test_listener_call(m->user, listener, "Close");
                /* Without SO_REUSEADDR. */
                g_assert_no_errno(bind(socket_fd, (struct sockaddr *) &address, sizeof(address)));
                g_assert_no_errno(listen(socket_fd, 1));
        }
}

static uint64_t get_manager_cpu(void) {
        uint64_t user, system;

        g_autofree char *stat = test_read_file("/proc/1/stat");
        g_assert_cmpint(sscanf(strrchr(stat, ')') + 2,
                               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" G_GUINT64_FORMAT
                               " %" G_GUINT64_FORMAT,
                               &user, &system),
                        ==, 2);
        return user + system;
}

/* systemd stores a queue once, and not its entries. Root does it, as polkit would cost systemd
 * something, too. */
MACHINE_TEST("listeners do not load systemd") {
        for (unsigned n = 0; n < 10; n++) {
                g_autofree char *listener = test_listen(m->root, 0, -1, NULL);

                test_listener_call(m->root, listener, "Close");
        }
        uint64_t stored = count_stored();
        uint64_t cpu = get_manager_cpu();
        for (unsigned n = 0; n < 2000; n++) {
                g_autofree char *listener = test_listen(m->root, 0, -1, NULL);

                test_listener_call(m->root, listener, "Close");
        }
        cpu = get_manager_cpu() - cpu;
        g_test_message("systemd used %" G_GUINT64_FORMAT " ticks, and keeps %" G_GUINT64_FORMAT
                       " descriptors",
                       cpu, stored);
        g_assert_cmpuint(count_stored(), ==, stored);
        g_assert_cmpuint(cpu, <=, 10);
}

/* Hundreds share the queues, and go in any order. */
MACHINE_TEST("900 listeners outlive a restart") {
        enum {
                N = 900
        };
        g_autofree uint16_t *ports = g_new0(uint16_t, N);
        g_auto(GStrv) listeners = g_new0(char *, N + 1);

        machine_configure_unit("RestartSec=1ms");
        for (unsigned i = 0; i < N; i++) {
                listeners[i] = test_listen(m->user, 0, -1, NULL);
                ports[i] = test_get_port(m->user, listeners[i]);
        }
        g_assert_cmpuint(count_stored(), <=, 1 + 2 * 256);

        /* Every third one, from the end. */
        for (unsigned i = 0; i < N; i++)
                if (i % 3 == 1)
                        test_listener_call(m->user, listeners[N - 1 - i], "Close");

        g_free(machine_run("systemctl", "restart", MACHINE_UNIT, NULL));
        for (unsigned i = 0; i < N; i++) {
                bool is_open = i % 3 != 1;

                if (!is_open) {
                        g_assert_cmpint(test_connect_fails("::1", ports[N - 1 - i]), ==, ECONNREFUSED);
                        continue;
                }

                _cleanup_close_ int peer = test_connect("::1", ports[N - 1 - i]);

                test_client_expect_accepted(m->user, listeners[N - 1 - i], peer, 1);
        }
}

/* After a restart of the bus, its clients are gone, and persistent listeners stay. */
MACHINE_TEST("the service starts with the new bus") {
        g_autofree char *end = machine_journal_end(), *owned = NULL, *persistent = NULL, *restarts = NULL;

        test_client_sync_service(m->user);
        pid_t pid = machine_service_pid();
        owned = test_listen(m->user, 0, -1, NULL);
        persistent = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t owned_port = test_get_port(m->user, owned);
        uint16_t persistent_port = test_get_port(m->user, persistent);

        g_free(machine_run("systemctl", "restart", "dbus.service", NULL));
        test_wait_for(machine_process_is_gone(pid));
        test_wait_for(test_client_is_disconnected(m->user));
        _cleanup_close_ int peer = test_connect("::1", persistent_port);

        machine_connect_again(m);

        g_assert_false(test_has_owner(m->user, persistent));
        g_assert_cmpint(test_connect_fails("::1", owned_port), ==, ECONNREFUSED);
        test_listener_call(m->user, persistent, "Adopt");
        test_client_expect_accepted(m->user, persistent, peer, 1);

        restarts = machine_get_unit("NRestarts");
        g_assert_cmpstr(restarts, !=, "0");
        g_assert_cmpuint(machine_journal_count(end, "PRIORITY=3", NULL), >=, 1);
        g_assert_cmpuint(machine_count_logged("The connection to the bus is lost"), >=, 1);
}

static void restart_bus(void) {
        g_free(machine_run("systemctl", "restart", "dbus.service", NULL));
}

static void kill_bus(void) {
        g_free(machine_run("systemctl", "kill", "--signal=KILL", "dbus.service", NULL));
        /* dbus.socket starts it again for the next client. */
}

/* The next process continues with the stored descriptors, after each kind of end of the bus. */
MACHINE_TEST("the service starts with each new bus") {
        void (*const ends[])(void) = { restart_bus, kill_bus };
        g_autofree char *persistent = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(m->user, persistent);
        uint64_t serial = 0, stored = 0;
        unsigned fds = 0;

        for (unsigned round = 0; round < 6; round++) {
                g_autofree G_GNUC_UNUSED char *owned = test_listen(m->user, 0, -1, NULL);
                pid_t pid = machine_service_pid();

                /* systemd would not start it that often. */
                g_free(machine_run("systemctl", "reset-failed", "dbus.service", "dbus.socket", NULL));
                ends[round % ELEMENTS(ends)]();
                test_wait_for(machine_process_is_gone(pid));
                machine_connect_again(m);

                _cleanup_close_ int peer = test_connect("::1", port);
                test_listener_call(m->user, persistent, "Adopt");
                test_client_expect_accepted(m->user, persistent, peer, ++serial);
                test_wait_for(test_get_u64(m->user, persistent, "Delivered") == serial);
                if (round == 0) {
                        stored = count_stored();
                        fds = test_count_fds(machine_service_pid());
                }
                test_wait_for(count_stored() == stored && test_count_fds(machine_service_pid()) == fds);
        }
}
