/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "channel": what becomes of it, of its listener and of what was not read, whoever ends first. */

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "bus/channel.h"

TEST("who closes it closes the listener, and loses what was not read") {
        unsigned fds = test_service_count_fds(f->service);
        uint64_t serial;
        _cleanup_close_ int taken = -EBADF;
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 10);
        taken = test_channel_receive(c.fd, &serial);
        c.n_received++;
        channel_receive(&c, 2);
        channel_assert_counters(&c, 10, 3);
        c.fd = close_fd(c.fd);

        /* Each of those that were not read is told, and closed. */
        for (unsigned i = 0; i < 7; i++) {
                g_autoptr(TestError) error = test_client_wait_error(f->client);

                g_assert_cmpstr(error->listener, ==, c.listener);
                g_assert_nonnull(strstr(error->message, "::1"));
        }
        channel_assert_closed(&c, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 7);
        for (unsigned i = 3; i < 10; i++)
                (void) test_wait_end(c.peers[i]);
        test_receive(taken, &serial, sizeof(unsigned));
        test_assert_connected(taken, c.peers[0]);
        test_wait_for(test_service_count_fds(f->service) == fds);
        channel_done(&c);
}

TEST("who has read all loses nothing") {
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 5);
        channel_receive(&c, 5);
        /* At once: the service may not know yet that they were read. */
        c.fd = close_fd(c.fd);
        channel_assert_closed(&c, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
        channel_done(&c);
}

/* The service finds several things at once, and the first of them is another one than the end of the channel.
 */
static void close_while_it_sleeps(Channel *c) {
        Fixture *f = c->f;

        c->fd = close_fd(c->fd);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
}

static bool is_on_bus(TestClient *asker, const char *name) {
        g_autoptr(sd_bus_message) reply = NULL;
        int owned;

        g_assert_cmpint(sd_bus_call_method(test_client_bus(asker), "org.freedesktop.DBus",
                                           "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner",
                                           NULL, &reply, "s", name),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_read(reply, "b", &owned), >, 0);
        return owned;
}

TEST("who has left before loses as much") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *name = g_strdup(test_client_name(f->client));
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 5);
        channel_assert_counters(&c, 5, 0);

        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        g_clear_pointer(&f->client, test_client_free);
        /* The bus has told the service then, too. */
        test_wait_for(!is_on_bus(other, name));
        close_while_it_sleeps(&c);

        test_wait_for(!test_service_is_listening(f->service, c.port));
        for (unsigned i = 0; i < 5; i++) {
                g_autofree char *lost = g_strdup_printf("Connection from ::1 port %u lost",
                                                        test_local_port(c.peers[i]));

                (void) test_wait_end(c.peers[i]);
                test_wait_for(test_service_has_logged(f->service, lost));
        }
        channel_done(&c);
}

TEST("when it is closed while another one comes, as much is lost") {
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 5);
        channel_assert_counters(&c, 5, 0);

        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        channel_connect(&c, 1);
        close_while_it_sleeps(&c);

        channel_assert_closed(&c, "owner");
        /* The last one may have been too late to be accepted. */
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), >=, 5);
        for (unsigned i = 0; i < 6; i++)
                (void) test_wait_end(c.peers[i]);
        channel_done(&c);
}

TEST("who closes it at once closes the listener") {
        Channel closed, shut_down;

        channel_open(&closed, f);
        closed.fd = close_fd(closed.fd);
        channel_assert_closed(&closed, "owner");
        channel_open(&shut_down, f);
        g_assert_no_errno(shutdown(shut_down.fd, SHUT_RDWR));
        channel_assert_closed(&shut_down, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
        channel_done(&closed);
        channel_done(&shut_down);
}

TEST("after Close it can be read to its end") {
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 6);
        channel_receive(&c, 1);
        channel_assert_counters(&c, 6, 1);
        test_listener_call(f->client, c.listener, "Close");
        channel_assert_closed(&c, "owner");
        channel_receive(&c, 5);
        channel_assert_end(&c);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
        channel_done(&c);
}

TEST("after a shutdown it can be read to its end") {
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 6);
        channel_assert_counters(&c, 6, 0);
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        channel_receive(&c, 6);
        channel_assert_end(&c);
        channel_done(&c);
}

TEST("it ends with its owner") {
        unsigned fds = test_service_count_fds(f->service);
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 2);
        channel_receive(&c, 2);
        g_clear_pointer(&f->client, test_client_free);
        channel_assert_end(&c);
        test_wait_for(!test_service_is_listening(f->service, c.port));
        test_wait_for(test_service_count_fds(f->service) <= fds);
        /* It has read both. */
        g_assert_false(test_service_has_logged(f->service, "lost: "));
        channel_done(&c);
}

/* More often than a user may have channels at a time. */
TEST("a channel that has ended counts no longer") {
        g_autofree char *listener = test_listen(f->client, 0, -1, CHANNEL, "persistent", "b", true, NULL);
        unsigned fds;

        test_client_sync_service(f->client);
        fds = test_service_count_fds(f->service);
        for (unsigned i = 0; i < 70; i++) {
                int channel = test_listener_call_fd(f->client, listener, "OpenChannel");

                (void) close_fd(channel);
                test_wait_for(test_service_count_fds(f->service) <= fds);
        }
}

/* A program that restarts: its port stays, and the next one opens a channel of its own. */
TEST("a persistent listener outlives its channel") {
        Channel c = { .f = f,
                      .listener = test_listen(f->client, 0, -1, CHANNEL, "persistent", "b", true, NULL) };

        c.port = test_get_port(f->client, c.listener);
        c.fd = test_listener_call_fd(f->client, c.listener, "OpenChannel");
        for (unsigned i = 0; i < 3; i++) {
                channel_connect(&c, 2);
                channel_receive(&c, 2);
                channel_assert_counters(&c, c.n_peers, c.n_peers);

                /* In the order in which the kernel closes what a process leaves, and in the other. */
                if (i % 2 == 0)
                        c.fd = close_fd(c.fd);
                test_client_free(f->client);
                c.fd = close_fd(c.fd);
                f->client = test_client_new(f->bus, (uid_t) -1);
                test_wait_for(!test_has_owner(f->client, c.listener));

                channel_connect(&c, 2);
                channel_assert_counters(&c, c.n_peers - 2, c.n_peers - 2);
                test_listener_call(f->client, c.listener, "Adopt");
                c.fd = test_listener_call_fd(f->client, c.listener, "OpenChannel");
                channel_receive(&c, 2);
        }
        channel_done(&c);
}

/* Any program of its user may go on with it. */
TEST("a persistent listener that nobody owns goes on with who opens its channel") {
        Channel c = { .f = f,
                      .fd = -EBADF,
                      .listener = test_listen(f->client, 0, -1, CHANNEL, "persistent", "b", true, NULL) };

        c.port = test_get_port(f->client, c.listener);
        test_client_free(f->client);
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_wait_for(!test_has_owner(f->client, c.listener));
        channel_connect(&c, 2);
        channel_assert_counters(&c, 0, 0);

        c.fd = test_listener_call_fd(f->client, c.listener, "OpenChannel");
        channel_receive(&c, 2);
        channel_connect(&c, 2);
        channel_receive(&c, 2);
        channel_assert_counters(&c, 4, 4);

        /* Whoever comes and goes as its owner changes nothing. */
        {
                TestClient *owner = test_client_new(f->bus, (uid_t) -1);

                test_listener_call(owner, c.listener, "Adopt");
                test_client_free(owner);
                test_wait_for(!test_has_owner(f->client, c.listener));
        }
        channel_connect(&c, 2);
        channel_receive(&c, 2);
        channel_done(&c);
}
