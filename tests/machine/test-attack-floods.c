/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that ask for as much as they can, or forge replies: none gets more than its share, and no other
 * client is affected. */

#include "machine/attack.h"

#define SERVICE_UNIT_LIMIT 1024U

/* ---------------------------------------------------------------- opening and closing listeners */

#define FLOOD_CALLS 32U

/* Keeps so many calls of Listen pending, and closes each listener at once. */
typedef struct Flood {
        TestClient *client;
        unsigned n_opened;
        unsigned n_closed;
        unsigned n_refused;
        unsigned n_calls; /* unanswered */
        bool over;
} Flood;

static void flood_listen(Flood *flood);

static int on_closed(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Flood *flood = userdata;

        g_assert_false(sd_bus_message_is_method_error(reply, NULL));
        flood->n_calls--;
        flood->n_closed++;
        return 0;
}

static int on_opened(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Flood *flood = userdata;
        const char *listener;

        flood->n_calls--;
        if (sd_bus_message_is_method_error(reply, NULL)) {
                g_assert_true(sd_bus_message_is_method_error(reply, SD_BUS_ERROR_LIMITS_EXCEEDED));
                flood->n_refused++;
        } else {
                must(sd_bus_message_read(reply, "o", &listener));
                flood->n_opened++;
                flood->n_calls++;
                must(sd_bus_call_method_async(test_client_bus(flood->client), NULL, TEST_BUS_NAME, listener,
                                              TEST_LISTENER_INTERFACE, "Close", on_closed, flood, ""));
        }
        flood_listen(flood);
        return 0;
}

static void flood_listen(Flood *flood) {
        if (flood->over)
                return;
        flood->n_calls++;
        must(sd_bus_call_method_async(test_client_bus(flood->client), NULL, TEST_BUS_NAME, TEST_MANAGER_PATH,
                                      TEST_MANAGER_INTERFACE, "Listen", on_opened, flood, "ia{sv}i", 0, 0,
                                      -1));
}

static void test_opens_and_closes(Machine *m, const void *data) {
        Flood floods[2] = {};
        unsigned n = 0;
        Watch watch;

        watch_init(&watch, m);
        /* polkit answers one question after the other, and of each user only a few wait there. */
        watch.listen_factor = 10;
        for (unsigned i = 0; i < ELEMENTS(floods); i++) {
                floods[i].client = attack_client_new(m, i);
                for (unsigned j = 0; j < FLOOD_CALLS; j++)
                        flood_listen(floods + i);
        }
        test_wait_for(floods[0].n_opened > FLOOD_CALLS && floods[1].n_opened > FLOOD_CALLS);
        watch_assert_unnoticed(&watch, m);

        for (unsigned i = 0; i < ELEMENTS(floods); i++) {
                floods[i].over = true;
                test_wait_for(floods[i].n_calls == 0);
                g_assert_cmpuint(floods[i].n_closed, ==, floods[i].n_opened);
                n += floods[i].n_opened;
                test_client_free(floods[i].client);
        }
        g_test_message("%u listeners were opened and closed", n);
        watch_done(&watch, m);
}

/* ------------------------------------------------------------------------------ as many as it may */

#define LISTENERS 40U

static void test_limit_of_listeners(Machine *m, const void *data) {
        g_autoptr(GPtrArray) listeners = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *message = NULL;
        int peers[LISTENERS];
        Watch watch;

        machine_configure("MaxListenersPerUser=40");
        watch_init(&watch, m);
        g_autoptr(TestClient) client = attack_client_new(m, 0);
        for (unsigned i = 0; i < LISTENERS; i++) {
                g_ptr_array_add(listeners, test_listen(client, 0, -1, NULL));
                peers[i] = test_connect("127.0.0.1", test_get_port(client, listeners->pdata[i]));
        }
        /* Another connection does not help, and none has to wait. */
        g_autoptr(TestClient) other = attack_client_new(m, 0);
        test_assert_text(test_listen_fails(other, &message, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_nonnull(strstr(message, "MaxListenersPerUser"));
        g_assert_nonnull(strstr(message, "40"));
        for (unsigned i = 0; i < LISTENERS; i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);

                g_assert_cmpuint(accepted->serial, ==, 1);
                test_send(accepted->socket, "!", 1);
        }
        for (unsigned i = 0; i < LISTENERS; i++) {
                test_expect(peers[i], "!");
                close_fd(peers[i]);
        }
        watch_assert_unnoticed(&watch, m);

        test_listener_call(client, listeners->pdata[7], "Close");
        g_free(listeners->pdata[7]);
        listeners->pdata[7] = test_listen(other, 0, -1, NULL);
        test_client_free(g_steal_pointer(&client));
        test_client_free(g_steal_pointer(&other));
        watch_done(&watch, m);
}

/* --------------------------------------------------------------------------------- forged answers */

#define GUESSES 2000U

/* A reply to a call that it has not read. */
static void forge(TestClient *client, const char *service, uint32_t cookie) {
        g_autoptr(sd_bus_message) call = NULL, reply = NULL;
        sd_bus *bus = test_client_bus(client);

        must(sd_bus_message_new_method_call(bus, &call, TEST_BUS_NAME, "/", "org.freedesktop.DBus.Peer",
                                            "Ping"));
        must(sd_bus_message_seal(call, cookie, UINT64_MAX));
        must(sd_bus_message_new_method_return(call, &reply));
        /* The unique name, or the service's library does not take it for a reply to its own call. */
        must(sd_bus_message_set_destination(reply, service));
        must(sd_bus_send(bus, reply, NULL));
        must(sd_bus_flush(bus));
}

/* The bus passes such a reply on, as the service waits for one. It confirms a connection, and makes room for
 * another call, but not for another descriptor. */
static void test_answers_to_unread_calls(Machine *m, const void *data) {
        g_autoptr(Attacker) a = NULL;
        uint64_t delivered;
        Watch watch;

        watch_init(&watch, m);
        a = attacker_new(m, 0, "call");
        attacker_take(a, 20);
        delivered = attacker_get(m, a, "Delivered");
        attacker_fill_buffer(a);
        attacker_connect(a, 40);
        test_wait_for(attacker_get(m, a, "Accepted") > delivered);
        test_client_sync_service(m->root);

        /* Again and again, as the calls that follow have the next cookies. */
        for (unsigned n = 0; n < 3; n++)
                for (uint32_t i = 1; i <= GUESSES; i++)
                        forge(a->client, test_bus_service_owner(m->bus), i);
        test_wait_for(attacker_get(m, a, "Delivered") > delivered);
        watch_assert_unnoticed(&watch, m);
        if (!test_bus_is_broker())
                g_assert_cmpuint(attacker_get(m, a, "Accepted"), <=, delivered + test_get_window());
        attack_assert_bus_has_room(m, ATTACK_BUS_LIMIT);

        test_client_free(g_steal_pointer(&a->client));
        attacker_wait_peers_end(a);
        watch_done(&watch, m);
}

/* The serials of Acknowledge are known. */
static void test_blind_acknowledgements(Machine *m, const void *data) {
        GArray *peers = g_array_new(false, false, sizeof(int));
        Watch watch;

        watch_init(&watch, m);
        g_autoptr(TestClient) client = attack_client_new(m, 0);
        g_autofree char *listener = test_listen(client, 0, -1, "acknowledge", "b", true, NULL);
        uint16_t port = test_get_port(client, listener);
        test_client_set_stalled(client, true);
        for (unsigned i = 1; i <= 600; i++) {
                int peer = test_connect("127.0.0.1", port);
                sd_bus_message *message = test_message_new(client, listener, TEST_LISTENER_INTERFACE,
                                                           "Acknowledge");

                g_array_append_val(peers, peer);
                must(sd_bus_message_append(message, "t", (uint64_t) i));
                attack_call_blindly(client, message);
                if (i % 50 == 0)
                        test_client_sync_service(m->root);
        }
        watch_assert_unnoticed(&watch, m);

        test_client_free(g_steal_pointer(&client));
        for (unsigned i = 0; i < peers->len; i++)
                close_fd(g_array_index(peers, int, i));
        g_array_unref(peers);
        watch_done(&watch, m);
}

/* --------------------------------------------------------------------------- unread descriptors */

/* Asks for the descriptor of each and reads none of the answers. */
static void ask_blindly(TestClient *client, GPtrArray *listeners, const char *member) {
        for (unsigned i = 0; i < listeners->len; i++)
                attack_call_blindly(client, test_message_new(client, listeners->pdata[i],
                                                             TEST_LISTENER_INTERFACE, member));
}

static void test_unread_answers(Machine *m, const void *data) {
        const char *delivery = data;
        g_autoptr(GPtrArray) listeners = g_ptr_array_new_with_free_func(g_free);
        Watch watch;

        watch_init(&watch, m);
        g_autoptr(Attacker) a = attacker_new(m, 0, "signal");
        for (unsigned i = 0; i < 100; i++)
                g_ptr_array_add(listeners, test_listen(a->client, 0, -1, "delivery", "s", delivery, NULL));
        attacker_fill_buffer(a);
        ask_blindly(a->client, listeners, streq(delivery, "channel") ? "OpenChannel" : "TakeSocket");
        watch_assert_unnoticed(&watch, m);
        g_clear_pointer(&a, attacker_free);
        watch_done(&watch, m);
}

/* The kernel counts descriptors that are on their way in any Unix socket, for each user, the service's in
 * this case. Here it allows fewer than one client can fill its channels with. */
static void test_unread_channels(Machine *m, const void *data) {
        Watch watch;

        machine_configure_unit("LimitNOFILE=" G_STRINGIFY(SERVICE_UNIT_LIMIT));
        watch_init(&watch, m);
        g_autoptr(GPtrArray) attackers = g_ptr_array_new_with_free_func((GDestroyNotify) attacker_free);
        for (unsigned i = 0; i < 24; i++) {
                Attacker *a = attacker_new(m, i, "channel");

                g_ptr_array_add(attackers, a);
                attacker_open_channel(a);
                attacker_connect(a, 70);
                if (i % 8 == 7)
                        watch_assert_unnoticed(&watch, m);
        }
        g_clear_pointer(&attackers, g_ptr_array_unref);
        watch_done(&watch, m);
}

int main(int argc, char *argv[]) {
        attack_init(&argc, &argv);
        attack_add("/attack/a client that opens and closes listeners", test_opens_and_closes, NULL);
        attack_add("/attack/a client with as many listeners as allowed", test_limit_of_listeners, NULL);
        attack_add("/attack/a client that answers unread calls", test_answers_to_unread_calls, NULL);
        attack_add("/attack/a client that acknowledges unread connections", test_blind_acknowledgements,
                   NULL);
        attack_add("/attack/a client that does not read replies with channels", test_unread_answers,
                   "channel");
        attack_add("/attack/a client that does not read replies with sockets", test_unread_answers, "socket");
        attack_add("/attack/clients that do not read their channels", test_unread_channels, NULL);
        return test_run();
}
