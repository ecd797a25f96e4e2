/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service is killed a hundred times, and restarted some more times, under a steady load of connections,
 * by each delivery. Each peer waits for the number of its connection, which the client writes. Every
 * connection is accounted for: none is refused; one may be lost with each kill, the one that had been
 * accepted and not been recorded yet; what comes twice has the same number. */

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "machine/machine.h"

#define KILLS 100U
#define RESTARTS 10U
#define PEERS 4U   /* of each listener at a time */
#define BETWEEN 8U /* connections of each listener between two kills */

typedef struct Load Load;

typedef struct Peer {
        Load *load;
        int fd;
        sd_event_source *source;
} Peer;

struct Load {
        const char *delivery;
        char *listener;
        uint16_t port;
        TestClient *client;
        Peer peers[PEERS];
        bool ending; /* no new peers */
        unsigned n_peers;

        GHashTable *served; /* the numbers that peers have got */
        GHashTable *handed; /* those that the client has got */
        unsigned n_served, n_lost, n_refused, n_doubled, n_crossed;

        int channel, listening;
        sd_event_source *source;
        uint64_t serial; /* of delivery "socket", which has none */
        TestCall *call;
        sd_event_source *defer;
};

static void peer_start(Peer *peer);

static void peer_end(Peer *peer) {
        peer->source = sd_event_source_disable_unref(peer->source);
        peer->fd = close_fd(peer->fd);
        peer->load->n_peers--;
        if (!peer->load->ending)
                peer_start(peer);
}

static int on_peer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Peer *peer = userdata;
        Load *load = peer->load;
        uint64_t serial;
        ssize_t n;

        n = recv(fd, &serial, sizeof(serial), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return 0;
        if (n == sizeof(serial)) {
                load->n_served++;
                if (!g_hash_table_add(load->served, g_memdup2(&serial, sizeof(serial))))
                        load->n_crossed++;
        } else if (n < 0 && errno == ECONNREFUSED)
                load->n_refused++;
        else
                load->n_lost++;

        peer_end(peer);
        return 0;
}

static void peer_start(Peer *peer) {
        struct linger now = { .l_onoff = 1 };

        peer->fd = test_connect_start(NULL, "127.0.0.1", peer->load->port);
        g_assert_no_errno(peer->fd);
        /* Ports do not run out. */
        g_assert_no_errno(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
        g_assert_cmpint(sd_event_add_io(test_event(), &peer->source, peer->fd, EPOLLIN, on_peer, peer), >=,
                        0);
        peer->load->n_peers++;
}

/* What comes a second time is known by its number, and is answered like the first: the peer may have gone. */
static void hand(Load *load, int socket, uint64_t serial) {
        if (!g_hash_table_add(load->handed, g_memdup2(&serial, sizeof(serial))))
                load->n_doubled++;
        (void) send(socket, &serial, sizeof(serial), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_signal(TestClient *client, const TestAccepted *accepted, void *data) {
        hand(data, accepted->socket, accepted->serial);
}

static int on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        uint64_t serial;
        int socket = test_channel_receive(fd, &serial);

        g_assert_cmpint(socket, >=, 0);
        hand(userdata, socket, serial);
        close_fd(socket);
        return 0;
}

static int on_listening(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Load *load = userdata;
        int socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (socket >= 0)
                hand(load, socket, ++load->serial);
        close_fd(socket);
        return 0;
}

/* Whoever is left without a reply calls again. */
static int on_defer(sd_event_source *source, void *userdata) {
        Load *load = userdata;

        if (load->call && test_call_is_done(load->call)) {
                if (!test_call_error(load->call)) {
                        g_autoptr(GPtrArray) batch = test_accept_finish(TAKE_PTR(load->call));

                        for (unsigned i = 0; i < batch->len; i++) {
                                TestAccepted *accepted = batch->pdata[i];

                                hand(load, accepted->socket, accepted->serial);
                        }
                }
                g_clear_pointer(&load->call, test_call_free);
        }
        if (!load->call && (!load->ending || load->n_peers > 0))
                load->call = test_accept_start(load->client, load->listener, 8, TEST_ACCEPT_TIMEOUT_MAX);
        return 0;
}

static Load *load_new(Machine *m, const char *delivery) {
        Load *load = g_new0(Load, 1);
        bool is_wild = streq(delivery, "pull"); /* so that both ways to learn the local address are there */

        *load = (Load) {
                .delivery = delivery,
                .client = machine_client_new(m, MACHINE_USER),
                .served = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
                .handed = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL),
                .channel = -EBADF,
                .listening = -EBADF,
        };
        load->listener = test_listen(load->client, 0, -1, "delivery", "s", delivery, "localAddress", "s",
                                     is_wild ? "0.0.0.0" : "127.0.0.1", NULL);
        load->port = test_get_port(load->client, load->listener);

        if (streq(delivery, "signal"))
                test_client_on_accepted(load->client, on_signal, load);
        else if (streq(delivery, "pull"))
                g_assert_cmpint(sd_event_add_post(test_event(), &load->defer, on_defer, load), >=, 0);
        else if (streq(delivery, "channel")) {
                load->channel = test_listener_call_fd(load->client, load->listener, "OpenChannel");
                g_assert_cmpint(sd_event_add_io(test_event(), &load->source, load->channel, EPOLLIN,
                                                on_channel, load),
                                >=, 0);
        } else {
                load->listening = test_listener_call_fd(load->client, load->listener, "TakeSocket");
                g_assert_no_errno(fcntl(load->listening, F_SETFL, O_NONBLOCK));
                g_assert_cmpint(sd_event_add_io(test_event(), &load->source, load->listening, EPOLLIN,
                                                on_listening, load),
                                >=, 0);
        }

        for (size_t i = 0; i < PEERS; i++) {
                load->peers[i].load = load;
                peer_start(load->peers + i);
        }
        return load;
}

static void load_free(Load *load) {
        sd_event_source_disable_unref(load->source);
        sd_event_source_disable_unref(load->defer);
        g_clear_pointer(&load->call, test_call_free);
        close_fd(load->channel);
        close_fd(load->listening);
        test_client_free(load->client);
        g_hash_table_unref(load->served);
        g_hash_table_unref(load->handed);
        g_free(load->listener);
        g_free(load);
}

/* What the tests have recorded of signals would pile up. */
static void load_forget(Load *load) {
        while (test_client_count_accepted(load->client) > 0)
                test_accepted_free(test_client_wait_accepted(load->client));
}

static bool all_have(Load *const *loads, size_t n, unsigned more, const unsigned *since) {
        for (size_t i = 0; i < n; i++)
                if (loads[i]->n_served < since[i] + more)
                        return false;
        return true;
}

static bool all_have_ended(Load *const *loads, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (loads[i]->n_peers > 0)
                        return false;
        return true;
}

static bool is_settled(const Load *load) {
        return test_get_u64(load->client, load->listener, "Accepted") ==
               test_get_u64(load->client, load->listener, "Delivered") +
                               test_get_u64(load->client, load->listener, "Lost");
}

static void kill_service(Machine *m) {
        g_assert_no_errno(kill(machine_service_pid(), SIGKILL));
}

static void restart_service(Machine *m) {
        g_free(machine_run("systemctl", "restart", "--no-block", MACHINE_UNIT, NULL));
}

typedef struct Ends {
        unsigned n;
        void (*end)(Machine *m);
        unsigned lost_max;
} Ends;

static const Ends kills = { .n = KILLS, .end = kill_service, .lost_max = KILLS };
static const Ends restarts = { .n = RESTARTS, .end = restart_service, .lost_max = 0 };

static void test_under_load(Machine *m, const void *data) {
        const Ends *ends = data;
        static const char *const deliveries[] = { "signal", "pull", "channel", "socket" };
        Load *loads[ELEMENTS(deliveries)];
        unsigned since[ELEMENTS(deliveries)], n_lost = 0;
        g_autoptr(GRand) random = g_rand_new_with_seed(1);

        machine_configure_unit("RestartSec=1ms");
        for (size_t i = 0; i < ELEMENTS(loads); i++)
                loads[i] = load_new(m, deliveries[i]);

        for (unsigned n = 0; n < ends->n; n++) {
                unsigned changes = test_bus_owner_changes(m->bus);

                /* Killed at any point: here that is after some number of connections. */
                for (size_t i = 0; i < ELEMENTS(loads); i++) {
                        load_forget(loads[i]);
                        since[i] = loads[i]->n_served;
                }
                test_wait_for(all_have(loads, ELEMENTS(loads), BETWEEN + g_rand_int_range(random, 0, BETWEEN),
                                       since));

                ends->end(m);
                test_wait_for(test_bus_owner_changes(m->bus) >= changes + 2 &&
                              test_bus_service_owner(m->bus));
        }

        for (size_t i = 0; i < ELEMENTS(loads); i++)
                loads[i]->ending = true;
        test_wait_for(all_have_ended(loads, ELEMENTS(loads)));

        for (size_t i = 0; i < ELEMENTS(loads); i++) {
                Load *load = loads[i];

                test_wait_for(is_settled(load));
                g_test_message("%s: %u served, %u lost, %u refused, %u came twice", load->delivery,
                               load->n_served, load->n_lost, load->n_refused, load->n_doubled);
                g_assert_cmpuint(load->n_refused, ==, 0);
                g_assert_cmpuint(load->n_crossed, ==, 0);
                n_lost += load->n_lost;
                g_assert_cmpuint(test_client_count_signals(load->client, "Closed"), ==, 0);
                load_free(load);
        }
        g_assert_cmpuint(n_lost, <=, ends->lost_max);
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);

        machine_add_full("/kills/a hundred kills under load", test_under_load, &kills);
        machine_add_full("/kills/restarts under load lose nothing", test_under_load, &restarts);
        return test_run();
}
