/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/authority.h"
#include "bus/hostile.h"

/* No attacker is an administrator, who may use the listeners of others. */
static TestAnswer answer_at_random(const TestQuestion *question, void *data) {
        int answer = g_test_rand_int_range(0, 10);

        if (answer == 0)
                return TEST_ANSWER_ERROR;
        if (g_str_has_suffix(question->action, "manage") || answer < 3)
                return TEST_ANSWER_NO;
        return answer == 3 ? TEST_ANSWER_CHALLENGE : TEST_ANSWER_YES;
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
        static const FixtureOptions options = { .bus_xml = TEST_AUTHORITY_XML };

        h->skipped = !test_require_root();
        if (h->skipped)
                return;
        fixture_set_up(&h->fixture, &options);
        h->polkit = test_authority_new(h->fixture.bus, answer_at_random, NULL);
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
