/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A dbus-daemon that is short of descriptors. When it cannot take one that comes with a message, it ends the
 * connection that the message came from: ours. Nothing of that is silent. */

#include <sys/resource.h>

#include "bus/fixture.h"

#define BUS_LIMIT 200U
#define BUS_OWN 8U
#define LISTENERS 10U
#define PEERS 10U

typedef struct Short {
        GPtrArray *clients;
        GPtrArray *idle;
        char *listeners[LISTENERS];
        uint16_t ports[LISTENERS];
        int peers[LISTENERS * PEERS];
        unsigned n_peers;
} Short;

static void set_up(Fixture *f, const void *data) {
        fixture_set_up(f, data);
        g_assert_no_errno(prlimit(test_bus_pid(f->bus), RLIMIT_NOFILE,
                                  &(struct rlimit) { BUS_LIMIT, BUS_LIMIT }, NULL));
}

static void answer(TestClient *client, const TestAccepted *accepted, void *data) {
        test_send(accepted->socket, "!", 1);
        test_accepted_free(test_client_wait_accepted(client));
}

/* Clients that behave, and so many others that the bus can open only that many more. */
static void short_init(Short *s, Fixture *f, unsigned n_spare) {
        *s = (Short) {
                .clients = g_ptr_array_new_with_free_func((GDestroyNotify) test_client_free),
                .idle = g_ptr_array_new_with_free_func((GDestroyNotify) test_client_free),
        };
        for (unsigned i = 0; i < LISTENERS; i++) {
                TestClient *client = test_client_new(f->bus, (uid_t) -1);

                g_ptr_array_add(s->clients, client);
                test_client_on_accepted(client, answer, NULL);
                s->listeners[i] = test_listen(client, 0, -1, NULL);
                s->ports[i] = test_get_port(client, s->listeners[i]);
        }
        /* It needs some of its own to let a client in, and the last ones are not to be had by clients alone.
         */
        while (test_count_fds(test_bus_pid(f->bus)) < BUS_LIMIT - n_spare - BUS_OWN)
                g_ptr_array_add(s->idle, test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_MATCH));
        (void) test_spare_fds(test_bus_pid(f->bus), n_spare);
}

static void short_done(Short *s) {
        g_ptr_array_unref(s->clients);
        g_ptr_array_unref(s->idle);
        for (size_t i = 0; i < LISTENERS; i++)
                g_free(s->listeners[i]);
}

/* They may be refused: the service may have ended by now. */
static void short_connect(Short *s, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                s->peers[i] = test_connect_start(NULL, "::1", s->ports[i % LISTENERS]);
        s->n_peers = n;
}

/* Each has been served or has come to its end; returns how many were served. */
static unsigned short_wait_peers(Short *s) {
        unsigned served = 0;

        for (unsigned i = 0; i < s->n_peers; i++) {
                char byte;

                if (s->peers[i] < 0)
                        continue;
                (void) test_wait_fd(s->peers[i], POLLIN);
                served += recv(s->peers[i], &byte, 1, MSG_DONTWAIT) == 1;
                close_fd(s->peers[i]);
        }
        return served;
}

#define TEST_HERE(sentence) TEST_OF(sentence, Fixture, f, set_up, fixture_tear_down, NULL)

TEST_HERE("a bus with enough descriptors delivers all connections") {
        Short s;

        short_init(&s, f, 30);
        short_connect(&s, LISTENERS * PEERS);
        g_assert_cmpuint(short_wait_peers(&s), ==, LISTENERS * PEERS);
        for (unsigned i = 0; i < LISTENERS; i++)
                test_wait_for(test_get_u64(s.clients->pdata[i], s.listeners[i], "Delivered") == PEERS);
        short_done(&s);
}

/* With none to spare, the very first one is too much. */
TEST_HERE("a bus without descriptors ends the service") {
        Short s;

        short_init(&s, f, 0);
        s.peers[0] = test_connect("::1", s.ports[0]);
        s.n_peers = 1;
        g_autofree char *lost = g_strdup_printf("Connection from ::1 port %u lost: the service stops",
                                                test_local_port(s.peers[0]));
        g_assert_cmpuint(short_wait_peers(&s), ==, 0);
        /* systemd starts it again then. */
        g_assert_cmpint(test_service_wait_exit(f->service), ==, 1);
        g_autofree char *log = test_service_log(f->service);
        g_assert_nonnull(strstr(log, "The connection to the bus is lost"));
        g_assert_nonnull(strstr(log, lost));
        test_wait_for(!test_bus_service_owner(f->bus));
        short_done(&s);
}

TEST_HERE("a bus with few descriptors delivers all connections or ends the service") {
        g_autofree char *log = NULL;
        Short s;

        short_init(&s, f, 3);
        short_connect(&s, LISTENERS * PEERS);
        unsigned served = short_wait_peers(&s);
        g_test_message("%u of %u were served", served, LISTENERS * PEERS);
        if (served < LISTENERS * PEERS) {
                g_assert_cmpint(test_service_wait_exit(f->service), ==, 1);
                log = test_service_log(f->service);
                g_assert_nonnull(strstr(log, "The connection to the bus is lost"));
        }
        short_done(&s);
}
