/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Descriptors of every kind, where one is asked for that can end. */

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/hostile.h"
#include "bus/kernel.h"

static char *listen_with(TestClient *client, int lifetime) {
        sd_bus_message *m = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen");
        g_autoptr(TestCall) call = NULL;
        const char *path;

        g_assert_cmpint(sd_bus_message_append(m, "ia{sv}i", 0, 1, "lifetime", "h", lifetime, -1), >=, 0);
        call = test_call_start(client, m);
        if (test_call_error(call)) {
                g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_INVALID_ARGS);
                return NULL;
        }
        g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &path), >=, 0);
        return g_strdup(path);
}

/* Closes the listener, unless the end of its lifetime has closed it: the descriptor may become readable at
 * any time, even by this call. The signal Closed follows in either case. Returns whether another listener was
 * closed before. */
static bool close_listener(TestClient *client, const char *listener) {
        g_autoptr(TestCall) call = test_call_start(
                        client, test_message_new(client, listener, TEST_LISTENER_INTERFACE, "Close"));
        bool found = false, others = false;

        if (test_call_error(call))
                g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_UNKNOWN_OBJECT);
        while (!found) {
                g_autoptr(TestNotice) closed = test_client_wait_closed(client);

                found = g_str_equal(closed->listener, listener);
                others = others || !found;
        }
        return others;
}

/* A copy of the service's connection to the bus, which only root can get. */
static int copy_bus_socket(TestService *service) {
        _cleanup_close_ int pidfd = (int) syscall(SYS_pidfd_open, test_service_pid(service), 0);
        g_autoptr(GHashTable) fds = test_service_list_fds(service);
        GHashTableIter iterator;
        void *number;

        g_assert_no_errno(pidfd);
        g_hash_table_iter_init(&iterator, fds);
        while (g_hash_table_iter_next(&iterator, &number, NULL)) {
                int fd = (int) syscall(SYS_pidfd_getfd, pidfd, GPOINTER_TO_INT(number), 0);
                struct sockaddr_un peer = {};
                socklen_t size = sizeof(peer);

                if (fd >= 0 && getpeername(fd, (struct sockaddr *) &peer, &size) == 0 &&
                    peer.sun_family == AF_UNIX)
                        return fd;
                (void) close_fd(fd);
        }
        return -EBADF;
}

HOSTILE_TEST("descriptors of every kind do not harm the service") {
        TestClient *user = h->fixture.client;
        g_autofree char *channel_listener = NULL;
        bool channel_closed = false;
        int fds[12], n = 0, pair[2];

        if (h->skipped)
                return;
        channel_listener = test_listen(user, 0, -1, "delivery", "s", "channel", NULL);
        fds[n++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
        fds[n++] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        fds[n++] = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
        fds[n++] = open("/etc/passwd", O_PATH | O_CLOEXEC);
        fds[n++] = epoll_create1(EPOLL_CLOEXEC);
        fds[n++] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
        fds[n++] = pair[0];
        fds[n++] = pair[1];
        fds[n++] = test_listener_call_fd(user, channel_listener, "OpenChannel");
        fds[n++] = fcntl(sd_bus_get_fd(test_client_bus(user)), F_DUPFD_CLOEXEC, 3);
        fds[n++] = copy_bus_socket(h->fixture.service);
        g_assert_cmpint(n, ==, G_N_ELEMENTS(fds));

        for (int i = 0; i < n; i++) {
                g_autofree char *listener = NULL;

                if (fds[i] < 0) {
                        g_test_skip("a container that hides the service's descriptors");
                        continue;
                }
                listener = listen_with(user, fds[i]);
                test_client_sync_service(user);
                hostile_assert_healthy(h);
                test_client_sync_service(user);
                if (listener && close_listener(user, listener))
                        channel_closed = true;
                (void) close_fd(fds[i]);
        }
        if (!channel_closed) /* after its channel, which is one of the descriptors */
                test_notice_free(test_client_wait_closed(user));
        test_client_disconnect(user);
        g_clear_pointer(&h->fixture.client, test_client_free);
        test_wait_for(!test_service_is_listening(h->fixture.service, h->port));

        g_free(h->listener);
        h->fixture.client = test_client_new(h->fixture.bus, (uid_t) -1);
        h->listener = test_listen(h->fixture.client, 0, -1, "localAddress", "s", "127.0.0.1", NULL);
        h->port = test_get_port(h->fixture.client, h->listener);
        h->n_served = 0;
}

/* The bus refuses other calls with a descriptor. */
HOSTILE_TEST("calls with an unexpected descriptor are refused") {
        TestClient *user;
        _cleanup_close_ int fd = -EBADF;

        if (h->skipped)
                return;
        user = h->attackers[0];
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        g_assert_no_errno(fd);

        const struct {
                const char *path, *interface, *member;
                bool passes;
        } calls[] = {
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping", false },
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties", "GetAll", false },
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "ListListeners", false },
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen", true },
                { h->listener, TEST_LISTENER_INTERFACE, "Accept", false },
                { h->listener, TEST_LISTENER_INTERFACE, "Close", false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
                sd_bus_message *m = test_message_new(user, calls[i].path, calls[i].interface,
                                                     calls[i].member);
                g_autoptr(TestCall) call = NULL;

                g_assert_cmpint(sd_bus_message_append(m, "h", fd), >=, 0);
                call = test_call_start(user, m);
                g_assert_cmpstr(test_call_error(call), ==,
                                calls[i].passes ? SD_BUS_ERROR_INVALID_ARGS : SD_BUS_ERROR_ACCESS_DENIED);
        }
        hostile_assert_healthy(h);
}
