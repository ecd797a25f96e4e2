/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/hostile.h"

/* Lets the test be polkit. */
static const char polkit_xml[] =
                "<policy user=\"root\"><allow own=\"org.freedesktop.PolicyKit1\"/></policy>"
                "<policy context=\"default\">"
                "<allow send_destination=\"org.freedesktop.PolicyKit1\"/>"
                "<deny send_destination=\"org.freedesktop.PolicyKit1\" send_type=\"signal\"/>"
                "</policy>";

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        int answer = g_test_rand_int_range(0, 10);
        const char *action;

        if (sd_bus_message_is_method_call(message, "org.freedesktop.PolicyKit1.Authority",
                                          "CheckAuthorization") <= 0)
                return 0;
        if (answer == 0)
                return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_FAILED, "Not today");
        /* No attacker is an administrator, who may use the listeners of others. */
        must(sd_bus_message_skip(message, "(sa{sv})"));
        must(sd_bus_message_read(message, "s", &action));
        if (g_str_has_suffix(action, "manage"))
                answer = 2;
        return sd_bus_reply_method_return(message, "(bba{ss})", answer > 3, answer == 3, 0);
}

static TestClient *new_polkit(TestBus *bus) {
        TestClient *polkit = test_client_new_full(bus, (uid_t) -1, TEST_CLIENT_NO_MATCH);

        must(sd_bus_add_filter(test_client_bus(polkit), NULL, on_question, NULL));
        test_call_driver(polkit, "RequestName", "su", "org.freedesktop.PolicyKit1", 0);
        return polkit;
}

void hostile_new_attackers(Hostile *h) {
        for (unsigned i = 0; i < ATTACKERS; i++)
                h->attackers[i] = test_client_new(h->fixture.bus, test_other_uid(i / 2));
}

void hostile_free_attackers(Hostile *h) {
        for (unsigned i = 0; i < ATTACKERS; i++)
                g_clear_pointer(&h->attackers[i], test_client_free);
}

void hostile_set_up(Hostile *h, const void *data) {
        static const FixtureOptions options = { .bus_xml = polkit_xml };

        h->skipped = !test_require_root();
        if (h->skipped)
                return;
        fixture_set_up(&h->fixture, &options);
        h->polkit = new_polkit(h->fixture.bus);
        h->listener = test_listen(h->fixture.client, 0, -1, "localAddress", "s", "127.0.0.1", NULL);
        h->port = test_get_port(h->fixture.client, h->listener);
        h->fds = test_service_count_fds(h->fixture.service);
        hostile_new_attackers(h);
}

void hostile_assert_healthy(Hostile *h) {
        _cleanup_close_ int peer = test_connect("127.0.0.1", h->port);

        test_client_expect_peer(h->fixture.client, h->listener, peer);
        h->n_served++;
}

/* Persistent listeners outlive their owners, until root closes them. */
static void close_others(Hostile *h) {
        g_autoptr(sd_bus_message) reply = test_call(h->fixture.client, TEST_MANAGER_PATH,
                                                    TEST_MANAGER_INTERFACE, "ListListeners", "");
        const char *path;

        must(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"));
        while (sd_bus_message_enter_container(reply, 'r', "oa{sv}") > 0) {
                must(sd_bus_message_read(reply, "o", &path));
                must(sd_bus_message_skip(reply, "a{sv}"));
                must(sd_bus_message_exit_container(reply));
                if (!streq(path, h->listener))
                        test_listener_call(h->fixture.client, path, "Close");
        }
}

void hostile_wait_clean(Hostile *h) {
        hostile_free_attackers(h);
        test_client_sync_service(h->fixture.client);
        close_others(h);
        test_wait_for(test_service_count_fds(h->fixture.service) <= h->fds + 1); /* the probe's receipt */
}

void hostile_tear_down(Hostile *h, const void *data) {
        if (h->skipped)
                return;
        hostile_assert_healthy(h);
        hostile_wait_clean(h);
        test_wait_for(test_get_u64(h->fixture.client, h->listener, "Delivered") == h->n_served);
        g_assert_cmpuint(test_get_u64(h->fixture.client, h->listener, "Accepted"), ==, h->n_served);
        g_assert_cmpuint(test_client_count_signals(h->fixture.client, "Error"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(h->fixture.client, "Closed"), ==, 0);
        g_clear_pointer(&h->polkit, test_client_free);
        g_clear_pointer(&h->listener, g_free);
        fixture_tear_down(&h->fixture, NULL);
}
