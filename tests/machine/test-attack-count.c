/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Very many connections to clients, of which some die several times: the peers, the clients and the service
 * agree about each connection. A peer sends a byte, and is served when it gets one back. A client answers and
 * counts each connection at once, so that its count is right when it dies. */

#include <netinet/in.h>
#include <sys/epoll.h>

#include "base/message-ids.h"
#include "machine/attack.h"

#define CONNECTIONS_DEFAULT 10000U
#define WARM_UP 1200U
#define DEADLINE_MS (240U * 1000)
#define DEATHS 3U
/* Peers that wait at a time. The log names 30 lost connections of one user each minute, and all deaths are in
 * one. */
#define PEERS_HEALTHY 32U
#define PEERS_DYING 8U
#define MEMORY_SLACK_KIB 256U

/* How a client ends, when it does. dbus-broker takes connections over for their client and delivers them with
 * that: none is on the way. */
typedef enum Fate {
        HEALTHY,
        DIES_HANGING,    /* with connections on the way to it; on dbus-broker, as DIES_LAZY */
        DIES_LAZY,       /* it has taken all that was accepted, and more wait in the kernel's queue */
        DIES_BEQUEATHING /* like the first two, but the next client adopts its persistent listener */
} Fate;

typedef struct Actor {
        Machine *m;
        Fate fate;
        const char *delivery;
        unsigned user;

        TestClient *client;
        char *listener;
        uint16_t port;
        int fd; /* the channel, or the socket */
        sd_event_source *source;
        sd_bus_slot *call;
        uint64_t serial; /* of the last */

        unsigned target;
        unsigned taken; /* counted by the clients */
        unsigned again; /* that had been served before */
        unsigned deaths;

        bool holds;                          /* no more peers for now */
        unsigned connected, served, dropped; /* counted by the peers */

        uint64_t accepted, delivered, lost; /* counted by the service, in listeners that are gone */
} Actor;

typedef struct Peer {
        Actor *actor;
        int fd;
} Peer;

static int peers_epoll = -EBADF;

/* -------------------------------------------------------------------------------------------- peers */

static void actor_connect(Actor *a) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(a->port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        /* Without TIME_WAIT, which would use up the ports. */
        const struct linger at_once = { .l_onoff = 1 };
        struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP };
        Peer *peer = g_new(Peer, 1);

        *peer = (Peer) { .actor = a, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
        g_assert_no_errno(peer->fd);
        g_assert_no_errno(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
        g_assert_no_errno(connect(peer->fd, (struct sockaddr *) &address, sizeof(address)));
        g_assert_cmpint(send(peer->fd, "?", 1, MSG_NOSIGNAL), ==, 1);
        event.data.ptr = peer;
        g_assert_no_errno(epoll_ctl(peers_epoll, EPOLL_CTL_ADD, peer->fd, &event));
        a->connected++;
}

static unsigned actor_get_waiting(const Actor *a) {
        return a->connected - a->served - a->dropped;
}

static void actor_top_up(Actor *a) {
        while (actor_get_waiting(a) < (a->fate == HEALTHY ? PEERS_HEALTHY : PEERS_DYING) &&
               a->connected < a->target)
                actor_connect(a);
}

static void peer_end(Peer *peer) {
        char byte;

        if (recv(peer->fd, &byte, 1, MSG_DONTWAIT) == 1)
                peer->actor->served++;
        else
                peer->actor->dropped++;
        close(peer->fd);
        g_free(peer);
}

/* It dies when so many of its peers have ended, and until then no more connect. */
static bool actor_is_due(const Actor *a) {
        return a->fate != HEALTHY && a->deaths < DEATHS &&
               a->served + a->dropped >= a->target / (DEATHS + 1) * (a->deaths + 1);
}

static int on_peers(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        struct epoll_event events[64];
        int n = epoll_wait(fd, events, ELEMENTS(events), 0);

        g_assert_no_errno(n);
        for (int i = 0; i < n; i++) {
                Peer *peer = events[i].data.ptr;
                Actor *a = peer->actor;

                peer_end(peer);
                a->holds = a->holds || actor_is_due(a);
                if (!a->holds)
                        actor_top_up(a);
        }
        return 0;
}

/* ------------------------------------------------------------------------------------------ clients */

static void actor_take(Actor *a, int fd, uint64_t serial) {
        char byte;

        /* Only a persistent listener may send a connection again. */
        if (a->fate != DIES_BEQUEATHING && serial != 0)
                g_assert_cmpuint(serial, ==, a->serial + 1);
        a->serial = serial;

        if (recv(fd, &byte, 1, MSG_DONTWAIT) == 1) {
                a->taken++;
                g_assert_cmpint(send(fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL), ==, 1);
        } else
                a->again++;
}

static void on_accepted(TestClient *client, const TestAccepted *accepted, void *data) {
        actor_take(data, accepted->socket, accepted->serial);
        test_accepted_free(test_client_wait_accepted(client));
}

static void actor_call_accept(Actor *a);

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Actor *a = userdata;

        g_assert_false(sd_bus_message_is_method_error(reply, NULL));
        must(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"));
        while (sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") > 0) {
                g_autoptr(TestAccepted) accepted = test_accepted_read(reply);

                actor_take(a, accepted->socket, accepted->serial);
                must(sd_bus_message_exit_container(reply));
        }
        actor_call_accept(a);
        return 0;
}

static void actor_call_accept(Actor *a) {
        a->call = sd_bus_slot_unref(a->call);
        must(sd_bus_call_method_async(test_client_bus(a->client), &a->call, TEST_BUS_NAME, a->listener,
                                      TEST_LISTENER_INTERFACE, "Accept", on_reply, a, "uu", 16, 20000));
}

static int on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        uint64_t serial;

        _cleanup_close_ int socket = test_channel_receive(fd, &serial);
        g_assert_no_errno(socket);
        actor_take(userdata, socket, serial);
        return 0;
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        _cleanup_close_ int socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        g_assert_no_errno(socket);
        actor_take(userdata, socket, 0);
        return 0;
}

static void actor_watch(Actor *a, const char *member, sd_event_io_handler_t handler) {
        a->fd = test_listener_call_fd(a->client, a->listener, member);
        must(sd_event_add_io(test_event(), &a->source, a->fd, EPOLLIN, handler, a));
}

static bool actor_is_served_by_service(const Actor *a) {
        return !streq(a->delivery, "socket");
}

static void actor_live(Actor *a) {
        a->client = attack_client_new(a->m, a->user);
        test_client_on_accepted(a->client, on_accepted, a);

        if (a->listener) {
                test_listener_call(a->client, a->listener, "Adopt");
                if (actor_is_served_by_service(a))
                        test_listener_call(a->client, a->listener, "Resume");
        } else {
                a->listener = test_listen(a->client, 0, -1, "delivery", "s", a->delivery, "persistent", "b",
                                          a->fate == DIES_BEQUEATHING, NULL);
                a->port = test_get_port(a->client, a->listener);
                a->serial = 0;
        }

        if (streq(a->delivery, "pull"))
                actor_call_accept(a);
        else if (streq(a->delivery, "channel"))
                actor_watch(a, "OpenChannel", on_channel);
        else if (streq(a->delivery, "socket"))
                actor_watch(a, "TakeSocket", on_socket);
        a->holds = false;
        actor_top_up(a);
}

/* ------------------------------------------------------------------------------------------- deaths */

static uint64_t actor_get(Actor *a, const char *property) {
        return test_get_u64(a->m->root, a->listener, property);
}

/* Whether connections are on the way to it when it dies. */
static bool actor_leaves_unread(const Actor *a) {
        if (a->fate == DIES_LAZY || !actor_is_served_by_service(a))
                return false;
        return streq(a->delivery, "channel") || !test_bus_is_broker();
}

static void actor_call_blindly(Actor *a, const char *member, bool paused) {
        attack_call_blindly(a->client,
                            test_message_new(a->client, a->listener, TEST_LISTENER_INTERFACE, member));
        test_wait_for(test_get_bool(a->m->root, a->listener, "Paused") == paused);
}

static void actor_hang(Actor *a) {
        if (a->source) {
                must(sd_event_source_set_enabled(a->source, SD_EVENT_OFF));
                test_client_set_stalled(a->client, true);
        } else
                test_clog(a->client, a->m->bus);
}

/* From then on, only the client's death changes the counters. */
static void actor_prepare(Actor *a) {
        bool is_served = actor_is_served_by_service(a);

        a->holds = true;
        if (is_served) {
                test_wait_for(actor_get_waiting(a) == 0 &&
                              actor_get(a, "Delivered") == actor_get(a, "Accepted"));
                test_listener_call(a->client, a->listener, "Pause");
        }
        actor_hang(a);
        if (actor_leaves_unread(a))
                actor_call_blindly(a, "Resume", false);
        actor_top_up(a);
        if (actor_leaves_unread(a)) {
                test_wait_for(actor_get(a, "Accepted") > actor_get(a, "Delivered") ||
                              a->connected == a->served + a->dropped);
                actor_call_blindly(a, "Pause", true);
        }
}

/* Accepted connections that were not delivered are lost, and each is logged. Those in the kernel's queue end.
 */
static void actor_count_lost(Actor *a,
                             uint64_t accepted,
                             uint64_t delivered,
                             const char *since,
                             const char *name) {
        g_autofree char *owner = g_strdup_printf("OWNER=%s", name);

        test_wait_for(actor_get_waiting(a) == 0);
        test_client_sync_service(a->m->root);
        unsigned logged = machine_journal_count(since, "MESSAGE_ID=" MESSAGE_CONNECTION_LOST_STR, owner,
                                                NULL);
        g_assert_cmpuint(logged, ==, accepted - delivered);
        a->accepted += accepted;
        a->delivered += delivered;
        a->lost += logged;
}

static void actor_die(Actor *a) {
        g_autofree char *since = machine_journal_end(), *name = g_strdup(test_client_name(a->client));

        actor_prepare(a);
        uint64_t accepted = actor_get(a, "Accepted");
        uint64_t delivered = actor_get(a, "Delivered");
        g_assert_cmpuint(actor_get(a, "Lost"), ==, 0);

        a->call = sd_bus_slot_unref(a->call);
        a->source = sd_event_source_disable_unref(a->source);
        a->fd = close_fd(a->fd);
        test_client_free(g_steal_pointer(&a->client));
        a->deaths++;
        if (a->fate == DIES_BEQUEATHING)
                return;

        actor_count_lost(a, accepted, delivered, since, name);
        g_clear_pointer(&a->listener, g_free);
}

/* ----------------------------------------------------------------------------------------- the whole */

static bool actor_is_through(const Actor *a) {
        return a->connected == a->target && actor_get_waiting(a) == 0;
}

static bool all_are_through(Actor *actors, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                if (!actor_is_through(actors + i))
                        return false;
        return true;
}

static Actor *find_due(Actor *actors, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                if (actor_is_due(actors + i))
                        return actors + i;
        return NULL;
}

static void actor_check(Actor *a) {
        if (actor_is_served_by_service(a)) {
                test_wait_for(actor_get(a, "Delivered") == actor_get(a, "Accepted"));
                a->accepted += actor_get(a, "Accepted");
                a->delivered += actor_get(a, "Delivered");
                g_assert_cmpuint(actor_get(a, "Lost") + actor_get(a, "Refused"), ==, 0);
        }
        g_test_message("user %u, %s: %u connected; %u served, %u taken, %u again; %u dropped; accepted %" G_GUINT64_FORMAT
                       ", delivered %" G_GUINT64_FORMAT ", lost %" G_GUINT64_FORMAT,
                       a->user, a->fate == HEALTHY ? "healthy" : "dying", a->connected, a->served, a->taken,
                       a->again, a->dropped, a->accepted, a->delivered, a->lost);

        /* The peers and the clients … */
        g_assert_cmpuint(a->served + a->dropped, ==, a->target);
        g_assert_cmpuint(a->served, ==, a->taken);
        if (a->fate == HEALTHY || a->fate == DIES_BEQUEATHING)
                g_assert_cmpuint(a->dropped, ==, 0);
        else
                g_assert_cmpuint(a->dropped, >, 0);
        if (a->fate != HEALTHY)
                g_assert_cmpuint(a->deaths, ==, DEATHS);
        if (!actor_is_served_by_service(a))
                return;

        /* … and the service. */
        g_assert_cmpuint(a->accepted, ==, a->delivered + a->lost);
        if (a->fate == HEALTHY || a->fate == DIES_BEQUEATHING)
                g_assert_cmpuint(a->accepted, ==, a->target);
        g_assert_cmpuint(a->delivered, ==, a->taken);
        if (a->fate == DIES_HANGING && actor_leaves_unread(a))
                g_assert_cmpuint(a->lost, >, 0);
        else
                g_assert_cmpuint(a->lost, ==, 0);
}

static void actor_leave(Actor *a) {
        sd_bus_slot_unref(a->call);
        sd_event_source_disable_unref(a->source);
        if (a->fate == DIES_BEQUEATHING)
                test_listener_call(a->client, a->listener, "Close");
        close_fd(a->fd);
        test_client_free(a->client);
        g_free(a->listener);
}

static void count(Machine *m, const char *delivery, unsigned n) {
        static const Fate fates[] = { HEALTHY, HEALTHY, HEALTHY, DIES_HANGING, DIES_LAZY, DIES_BEQUEATHING };
        Actor actors[ELEMENTS(fates)] = {};
        uint64_t start = test_now();

        for (unsigned i = 0; i < ELEMENTS(actors); i++) {
                /* A channel cannot be had twice. */
                bool bequeathes = fates[i] == DIES_BEQUEATHING && streq(delivery, "channel");

                actors[i] = (Actor) {
                        .m = m,
                        .fate = bequeathes ? DIES_LAZY : fates[i],
                        .delivery = delivery,
                        .user = i,
                        .fd = -EBADF,
                        .target = n / (unsigned) ELEMENTS(actors),
                };
                actor_live(actors + i);
        }

        while (!all_are_through(actors, ELEMENTS(actors))) {
                Actor *due = NULL;

                test_wait_for_within(DEADLINE_MS, (due = find_due(actors, ELEMENTS(actors))) ||
                                                                  all_are_through(actors, ELEMENTS(actors)));
                if (due) {
                        actor_die(due);
                        actor_live(due);
                }
        }
        g_test_message("%u connections in %.1f s", n, (double) (test_now() - start) / 1e6);

        for (unsigned i = 0; i < ELEMENTS(actors); i++)
                actor_check(actors + i);
        for (unsigned i = 0; i < ELEMENTS(actors); i++)
                actor_leave(actors + i);
}

static void test_count(Machine *m, const void *data) {
        const char *text = g_getenv("TEST_ATTACK_CONNECTIONS");
        unsigned n = text ? (unsigned) g_ascii_strtoull(text, NULL, 10) : CONNECTIONS_DEFAULT, n_fds;
        sd_event_source *source = NULL;

        peers_epoll = epoll_create1(EPOLL_CLOEXEC);
        g_assert_no_errno(peers_epoll);
        must(sd_event_add_io(test_event(), &source, peers_epoll, EPOLLIN, on_peers, NULL));

        count(m, data, WARM_UP);
        uint64_t memory = attack_get_memory();
        /* Another user: the log has not reached its limit for this one. */
        machine_stop_service();
        n_fds = attack_count_fds(m);
        count(m, data, n);
        test_wait_for(attack_count_fds(m) <= n_fds);
        g_test_message("memory: %" G_GUINT64_FORMAT " KiB after some, %" G_GUINT64_FORMAT " KiB after all",
                       memory / 1024, attack_get_memory() / 1024);
        g_assert_cmpuint(attack_get_memory() / 1024, <=, memory / 1024 + MEMORY_SLACK_KIB);

        sd_event_source_disable_unref(source);
        peers_epoll = close_fd(peers_epoll);
}

int main(int argc, char *argv[]) {
        attack_init(&argc, &argv);
        machine_add_full("/attack/count the connections by signal", test_count, "signal");
        machine_add_full("/attack/count the connections by pull", test_count, "pull");
        machine_add_full("/attack/count the connections by channel", test_count, "channel");
        machine_add_full("/attack/count the connections by socket", test_count, "socket");
        return test_run();
}
