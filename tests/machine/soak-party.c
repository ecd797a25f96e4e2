/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine/soak-party.h"

#include <sys/epoll.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

/* -------------------------------------------------------------------------------------------- peers */

static void peer_start(PartyPeer *peer);

static void peer_end(PartyPeer *peer) {
        peer->source = sd_event_source_disable_unref(peer->source);
        peer->fd = close_fd(peer->fd);
        peer->party->n_peers--;
        if (!peer->party->holds)
                peer_start(peer);
}

static int on_peer(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        PartyPeer *peer = userdata;
        Party *p = peer->party;
        uint64_t serial;

        ssize_t n = recv(fd, &serial, sizeof(serial), MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
                return 0;
        if (n == sizeof(serial)) {
                p->served++;
                p->longest = MAX(p->longest, test_now() - peer->start);
                /* No other peer has got this number. */
                g_assert_true(g_hash_table_add(p->served_now, GSIZE_TO_POINTER(serial)));
        } else if (p->leaving)
                p->abandoned++;
        else {
                g_assert_cmpint(n < 0 ? errno : 0, !=, ECONNREFUSED);
                p->lost++;
        }

        peer_end(peer);
        return 0;
}

static void peer_start(PartyPeer *peer) {
        /* Ports do not run out. */
        const struct linger at_once = { .l_onoff = 1 };

        peer->start = test_now();
        peer->fd = test_connect_start(NULL, "127.0.0.1", peer->party->port);
        g_assert_no_errno(peer->fd);
        g_assert_no_errno(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
        must(sd_event_add_io(test_event(), &peer->source, peer->fd, EPOLLIN, on_peer, peer));
        peer->party->connected++;
        peer->party->n_peers++;
}

void party_go(Party *p) {
        p->holds = false;
        for (unsigned i = 0; i < p->n_slots; i++)
                if (p->peers[i].fd < 0)
                        peer_start(p->peers + i);
}

void party_hold(Party *p) {
        p->holds = true;
}

/* ------------------------------------------------------------------------------------------- client */

/* A connection that comes a second time is answered as well; its peer may have left. */
static void party_take(Party *p, int socket, uint64_t serial) {
        if (g_hash_table_add(p->handed_now, GSIZE_TO_POINTER(serial)))
                p->handed++;
        else
                p->again++;
        (void) send(socket, &serial, sizeof(serial), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_accepted(TestClient *client, const TestAccepted *accepted, void *data) {
        Party *p = data;

        party_take(p, accepted->socket, accepted->serial);
        if (p->kind->acknowledge) {
                sd_bus_message *call = test_message_new(client, p->listener, TEST_LISTENER_INTERFACE,
                                                        "Acknowledge");

                must(sd_bus_message_append(call, "t", accepted->serial));
                attack_call_blindly(client, call);
        }
        test_accepted_free(test_client_wait_accepted(client));
}

static int on_channel(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        uint64_t serial;

        _cleanup_close_ int socket = test_channel_receive(fd, &serial);
        must(socket);
        party_take(userdata, socket, serial);
        return 0;
}

static int on_listening(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        _cleanup_close_ int socket = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        Party *p = userdata;

        g_assert_no_errno(socket);
        party_take(p, socket, p->handed + 1);
        return 0;
}

/* A call without a reply is repeated. */
static int on_defer(sd_event_source *source, void *userdata) {
        Party *p = userdata;

        if (p->call && test_call_is_done(p->call)) {
                if (!test_call_error(p->call)) {
                        g_autoptr(GPtrArray) batch = test_accept_finish(TAKE_PTR(p->call));

                        for (unsigned i = 0; i < batch->len; i++) {
                                TestAccepted *accepted = batch->pdata[i];

                                party_take(p, accepted->socket, accepted->serial);
                        }
                }
                g_clear_pointer(&p->call, test_call_free);
        }
        if (!p->call && !p->stalled && (p->n_peers > 0 || p->settles))
                p->call = test_accept_start(p->client, p->listener, 8, TEST_ACCEPT_TIMEOUT_MAX);
        return 0;
}

static void party_watch(Party *p, const char *member, sd_event_io_handler_t handler) {
        p->fd = test_listener_call_fd(p->client, p->listener, member);
        must(sd_event_add_io(test_event(), &p->source, p->fd, EPOLLIN, handler, p));
}

static void party_live(Party *p) {
        p->client = test_client_new(p->m->bus, p->uid);
        test_client_on_accepted(p->client, on_accepted, p);
        test_client_set_calls(p->client, TEST_CALLS_ANSWER);
        if (p->listener)
                test_listener_call(p->client, p->listener, "Adopt");
        else {
                /* Without acknowledge where it is not asked for, which only signals know. */
                p->listener = test_listen(p->client, 0, -1, "delivery", "s", p->kind->delivery, "persistent",
                                          "b", p->kind->persistent, "name", "s", p->kind->name,
                                          "localAddress", "s", p->kind->address ?: "::",
                                          p->kind->acknowledge ? "acknowledge" : NULL, "b", true, NULL);
                p->port = test_get_port(p->client, p->listener);
        }

        if (streq(p->kind->delivery, "pull"))
                must(sd_event_add_post(test_event(), &p->defer, on_defer, p));
        else if (streq(p->kind->delivery, "channel"))
                party_watch(p, "OpenChannel", on_channel);
        else if (streq(p->kind->delivery, "socket"))
                party_watch(p, "TakeSocket", on_listening);
}

/* The connections that it was given end with it, as with a process. */
static void party_end_client(Party *p) {
        p->defer = sd_event_source_disable_unref(p->defer);
        p->source = sd_event_source_disable_unref(p->source);
        g_clear_pointer(&p->call, test_call_free);
        g_clear_pointer(&p->client, test_client_free);
        p->fd = close_fd(p->fd);
        p->stalled = false;
}

static void party_set_stalled(Party *p, bool stalled) {
        p->stalled = stalled;
        test_client_set_stalled(p->client, stalled);
        if (p->source)
                must(sd_event_source_set_enabled(p->source, stalled ? SD_EVENT_OFF : SD_EVENT_ON));
}

void party_stall(Party *p) {
        party_set_stalled(p, true);
}

void party_resume(Party *p) {
        if (p->stalled)
                party_set_stalled(p, false);
}

Party *party_new(Machine *m, const PartyKind *kind, uid_t uid, unsigned n_peers) {
        Party *p = g_new0(Party, 1);

        *p = (Party) {
                .m = m,
                .kind = kind,
                .uid = uid,
                .fd = -EBADF,
                .n_slots = n_peers,
                .holds = true,
                .served_now = g_hash_table_new(NULL, NULL),
                .handed_now = g_hash_table_new(NULL, NULL),
        };
        for (unsigned i = 0; i < PARTY_PEERS; i++)
                p->peers[i] = (PartyPeer) { .party = p, .fd = -EBADF };
        party_live(p);
        return p;
}

void party_free(Party *p) {
        /* A socket that is closed is readable. */
        p->source = sd_event_source_disable_unref(p->source);
        if (p->kind->persistent)
                test_listener_call(p->client, p->listener, "Close");
        party_end_client(p);
        g_hash_table_unref(p->served_now);
        g_hash_table_unref(p->handed_now);
        g_free(p->listener);
        g_free(p);
}

/* ----------------------------------------------------------------------------------------- accounts */

static uint64_t party_get(Party *p, const char *property) {
        return test_get_u64(p->m->root, p->listener, property);
}

static bool party_is_served_by_service(const Party *p) {
        return !streq(p->kind->delivery, "socket");
}

static void party_assert_peers_agree(Party *p) {
        g_assert_cmpuint(p->connected, ==, p->served + p->lost + p->abandoned);
        g_assert_cmpuint(p->served, ==, p->handed);
        g_assert_cmpuint(g_hash_table_size(p->served_now), ==, g_hash_table_size(p->handed_now));
        g_hash_table_remove_all(p->served_now);
        g_hash_table_remove_all(p->handed_now);
}

/* Connections that the last client of a persistent listener had not read were delivered, and ended with it.
 */
static void party_count_abandoned(Party *p) {
        uint64_t abandoned = party_get(p, "Delivered") - p->handed;

        if (!p->succeeded)
                return;

        g_assert_cmpuint(abandoned, >=, p->abandoned);
        g_assert_cmpuint(abandoned - p->abandoned, <=, p->lost);
        p->lost -= abandoned - p->abandoned;
        p->abandoned = abandoned;
        p->succeeded = false;
}

void party_settle(Party *p) {
        party_hold(p);
        test_wait_for(p->n_peers == 0);
        if (!party_is_served_by_service(p)) {
                party_assert_peers_agree(p);
                return;
        }

        /* After a kill, a client may get a connection again after its peer has left. It is delivered before
         * the client has read it. */
        p->settles = true;
        test_wait_for(party_get(p, "Accepted") == party_get(p, "Delivered"));
        test_client_sync(p->client);
        test_wait_for(!p->call || !test_call_is_done(p->call));
        p->settles = false;
        party_count_abandoned(p);
        party_assert_peers_agree(p);
        g_assert_cmpuint(party_get(p, "Accepted"), ==, p->connected - p->lost);
        g_assert_cmpuint(party_get(p, "Delivered"), ==, p->handed + p->abandoned);
        g_assert_cmpuint(party_get(p, "Lost") + party_get(p, "Refused"), ==, 0);
}

static void party_close_accounts(Party *p) {
        p->all_connected += p->connected;
        p->all_served += p->served;
        p->all_lost += p->lost;
        p->all_abandoned += p->abandoned;
        p->connected = p->served = p->lost = p->abandoned = p->handed = 0;
}

/* A persistent listener is there for the next one, with all its peers; another one ends. */
static void party_succeed(Party *p) {
        bool held = p->holds;

        p->deaths++;
        (void) sd_journal_print(LOG_INFO, "It is the client of %s", p->listener);
        if (p->kind->persistent) {
                party_end_client(p);
                test_wait_for(!test_has_owner(p->m->root, p->listener));
                p->succeeded = true;
                party_live(p);
                return;
        }

        p->leaving = p->holds = true;
        party_end_client(p);
        test_wait_for(p->n_peers == 0);
        party_assert_peers_agree(p);
        party_close_accounts(p);
        p->leaving = false;
        g_clear_pointer(&p->listener, g_free);
        party_live(p);
        if (!held)
                party_go(p);
}

void party_die(Party *p) {
        party_succeed(p);
}

/* Later connections wait in the channel or in dbus-daemon. dbus-broker would take them over for the client,
 * so there they wait in the kernel, and the next client has to resume. */
static void party_stall_full(Party *p) {
        if (streq(p->kind->delivery, "channel") || !party_is_served_by_service(p)) {
                party_stall(p);
                return;
        }

        test_listener_call(p->client, p->listener, "Pause");
        p->stalled = true;
        test_clog(p->client, p->m->bus);
        if (test_bus_is_broker())
                return;
        attack_call_blindly(p->client,
                            test_message_new(p->client, p->listener, TEST_LISTENER_INTERFACE, "Resume"));
        test_wait_for(!test_get_bool(p->m->root, p->listener, "Paused"));
}

void party_die_stalled(Party *p) {
        uint64_t abandoned;

        party_resume(p);
        party_settle(p);
        abandoned = p->kind->persistent ? p->abandoned : p->all_abandoned;
        party_stall_full(p);
        party_go(p);
        party_hold(p);
        if (party_is_served_by_service(p) && !test_get_bool(p->m->root, p->listener, "Paused"))
                test_wait_for(party_get(p, "Accepted") > party_get(p, "Delivered"));
        party_succeed(p);
        if (test_get_bool(p->m->root, p->listener, "Paused"))
                test_listener_call(p->client, p->listener, "Resume");
        party_settle(p);
        if (p->kind->persistent)
                g_assert_cmpuint(p->abandoned, ==, abandoned);
        else
                g_assert_cmpuint(p->all_abandoned, ==, abandoned + p->n_slots);
        party_go(p);
}
