/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "bus/channel.h"

void channel_listen(Channel *c, Fixture *f) {
        *c = (Channel) { .f = f, .fd = -EBADF, .listener = test_listen(f->client, 0, -1, CHANNEL, NULL) };
        c->port = test_get_port(f->client, c->listener);
}

void channel_open(Channel *c, Fixture *f) {
        channel_listen(c, f);
        c->fd = test_listener_call_fd(f->client, c->listener, "OpenChannel");
}

void channel_connect(Channel *c, unsigned n) {
        g_assert_cmpuint(c->n_peers + n, <=, ELEMENTS(c->peers));
        for (; n > 0; n--) {
                int fd = test_connect("::1", c->port);

                test_send(fd, &c->n_peers, sizeof(c->n_peers));
                c->peers[c->n_peers++] = fd;
        }
}

void channel_receive(Channel *c, unsigned n) {
        for (; n > 0; n--) {
                uint64_t serial = 0;
                _cleanup_close_ int fd = test_channel_receive(c->fd, &serial);
                unsigned number;

                g_assert_cmpint(fd, >=, 0);
                g_assert_cmpuint(serial, ==, c->n_received + 1);
                test_receive(fd, &number, sizeof(number));
                g_assert_cmpuint(number, ==, c->n_received);
                test_assert_connected(fd, c->peers[number]);
                c->n_received++;
        }
}

void channel_assert_end(Channel *c) {
        uint64_t serial;

        g_assert_cmpint(test_channel_receive(c->fd, &serial), ==, -1);
}

void channel_assert_counters(Channel *c, uint64_t accepted, uint64_t delivered) {
        test_wait_for(test_get_u64(c->f->client, c->listener, "Accepted") >= accepted &&
                      test_get_u64(c->f->client, c->listener, "Delivered") >= delivered);
        for (unsigned i = 0; i < 3; i++)
                test_client_sync_service(c->f->client);
        g_assert_cmpuint(test_get_u64(c->f->client, c->listener, "Accepted"), ==, accepted);
        g_assert_cmpuint(test_get_u64(c->f->client, c->listener, "Delivered"), ==, delivered);
        g_assert_cmpuint(test_get_u64(c->f->client, c->listener, "Lost"), ==, 0);
}

void channel_assert_closed(Channel *c, const char *reason) {
        g_autoptr(TestNotice) closed = test_client_wait_closed(c->f->client);

        g_assert_cmpstr(closed->listener, ==, c->listener);
        g_assert_cmpstr(closed->reason, ==, reason);
        g_assert_false(test_service_is_listening(c->f->service, c->port));
}

void channel_done(Channel *c) {
        close_fd(c->fd);
        for (unsigned i = 0; i < c->n_peers; i++)
                close_fd(c->peers[i]);
        g_free(c->listener);
}
