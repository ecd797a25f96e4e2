/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that do read are not refused, however much they call, and whatever others of their user leave
 * unread. */

#include "base/macros.h"
#include "bus/counted.h"
#include "bus/fixture.h"

#define FEW_LISTENERS 20U
#define N_AT_ONCE 20000U /* their answers are more than dbus-daemon takes */

/* In windows, as somebody who reads does. */
static void call_often(TestClient *client, sd_bus_message *(*make)(TestClient *client), unsigned n_calls) {
        Counted calls = {};

        for (unsigned i = 0; i < n_calls; i++) {
                counted_start(&calls, client, make(client));
                if (i % COUNTED_AT_ONCE == COUNTED_AT_ONCE - 1)
                        test_wait_for(calls.n_answered == calls.n_sent);
        }
        test_wait_for(calls.n_answered == calls.n_sent);
        g_assert_cmpuint(calls.n_refused, ==, 0);
        g_assert_cmpuint(calls.n_failed, ==, 0);
}

/* Many programs read and answer no Pings: those that wait for the answer to a call, and what is made with
 * jeepney. */
TEST("who reads is not refused, though it answers no Pings") {
        test_client_set_pings(f->client, TEST_PINGS_IGNORE);
        for (unsigned i = 0; i < FEW_LISTENERS; i++)
                g_free(test_listen(f->client, 0, -1, NULL));

        call_often(f->client, counted_make_list, 5000);
        call_often(f->client, counted_make_introspect, 5000);
        g_assert_cmpuint(test_client_count_pings(f->client), <=, 1); /* the probe */
}

/* One list is longer than what may always be unread, and somebody of the same user reads nothing. */
TEST("nor for what another one of its user does not read") {
        g_autoptr(TestClient) staller = test_client_new(f->bus, (uid_t) -1);
        Counted calls = {};

        for (unsigned i = 0; i < COUNTED_LISTENERS; i++)
                g_free(test_listen(f->client, 0, -1, NULL));
        test_client_set_stalled(staller, true);
        for (unsigned i = 0; i < COUNTED_LISTS; i++)
                counted_start(&calls, staller, counted_make_list(staller));
        (void) sd_bus_flush(test_client_bus(staller));
        test_client_sync_service(f->client);

        for (unsigned i = 0; i < 100; i++)
                sd_bus_message_unref(test_call(f->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                               "ListListeners", ""));
}

static const FixtureOptions session_like = {
        .bus_xml = "<limit name=\"max_replies_per_connection\">50000</limit>",
};

/* On a session bus a client may wait for the answers to as many calls as it likes. */
TEST_ON("every call is answered, however many there are at once", &session_like) {
        Counted calls = {};

        for (unsigned i = 0; i < N_AT_ONCE; i++)
                counted_start(&calls, f->client, counted_make_introspect(f->client));
        test_wait_for(calls.n_answered == calls.n_sent);
        g_assert_cmpuint(calls.n_failed, ==, 0);
}

TEST("nor with pull") {
        g_autofree char *listener = NULL;
        uint16_t port;

        test_client_set_pings(f->client, TEST_PINGS_IGNORE);
        listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        port = test_get_port(f->client, listener);

        for (unsigned i = 0; i < 100; i++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", port);
                g_autoptr(GPtrArray) accepted = test_accept(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
                Counted calls = {};

                g_assert_cmpuint(accepted->len, ==, 1);
                for (unsigned j = 0; j < COUNTED_AT_ONCE; j++) {
                        sd_bus_message *m = test_message_new(f->client, listener, TEST_LISTENER_INTERFACE,
                                                             "Accept");

                        g_assert_cmpint(sd_bus_message_append(m, "uu", UINT32_C(1), UINT32_C(0)), >=, 0);
                        counted_start(&calls, f->client, m);
                }
                test_wait_for(calls.n_answered == calls.n_sent);
                g_assert_cmpuint(calls.n_refused + calls.n_failed, ==, 0);
        }
}

TEST("nor with acknowledge") {
        g_autofree char *listener = NULL;
        uint16_t port;

        test_client_set_pings(f->client, TEST_PINGS_IGNORE);
        listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        port = test_get_port(f->client, listener);

        for (unsigned i = 0; i < 100; i++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", port);
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                Counted calls = {};

                for (unsigned j = 0; j < COUNTED_AT_ONCE; j++) {
                        sd_bus_message *m = test_message_new(f->client, listener, TEST_LISTENER_INTERFACE,
                                                             "Acknowledge");

                        g_assert_cmpint(sd_bus_message_append(m, "t", accepted->serial), >=, 0);
                        counted_start(&calls, f->client, m);
                }
                test_wait_for(calls.n_answered == calls.n_sent);
                g_assert_cmpuint(calls.n_refused + calls.n_failed, ==, 0);
        }
}
