/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The test process plays systemd, which is asked for the unit of a client. machine/test-logs.c has the real
 * one. */

#include "bus/fixture.h"

#define SYSTEMD_XML                                              \
        "<policy context=\"default\">"                           \
        "<allow own=\"org.freedesktop.systemd1\"/>"              \
        "<allow send_destination=\"org.freedesktop.systemd1\"/>" \
        "</policy>"

#define UNIT_PATH "/org/freedesktop/systemd1/unit/x_2eservice"

static const FixtureOptions with_systemd = { .bus_xml = SYSTEMD_XML };

typedef struct Systemd {
        TestClient *client;
        bool hangs;
        unsigned n_questions;
        GQueue held; /* questions */
} Systemd;

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Systemd *systemd = userdata;
        uint32_t pid;

        if (sd_bus_message_is_method_call(message, "org.freedesktop.systemd1.Manager", "GetUnitByPID") <= 0)
                return 0;

        systemd->n_questions++;
        must(sd_bus_message_read(message, "u", &pid));
        g_assert_cmpint((pid_t) pid, ==, getpid());
        if (systemd->hangs) {
                g_queue_push_tail(&systemd->held, sd_bus_message_ref(message));
                return 1;
        }

        return sd_bus_reply_method_return(message, "o", UNIT_PATH);
}

static void systemd_answer(Systemd *systemd) {
        sd_bus_message *message;

        while ((message = g_queue_pop_head(&systemd->held))) {
                must(sd_bus_reply_method_return(message, "o", UNIT_PATH));
                sd_bus_message_unref(message);
        }
}

static Systemd *systemd_new(TestBus *bus) {
        Systemd *systemd = g_new0(Systemd, 1);

        systemd->client = test_client_new_full(bus, (uid_t) -1, TEST_CLIENT_NO_MATCH);
        must(sd_bus_add_filter(test_client_bus(systemd->client), NULL, on_question, systemd));
        test_call_driver(systemd->client, "RequestName", "su", "org.freedesktop.systemd1", 0);
        return systemd;
}

static void unref_message(void *message) {
        sd_bus_message_unref(message);
}

static void systemd_free(Systemd *systemd) {
        g_queue_clear_full(&systemd->held, unref_message);
        test_client_free(systemd->client);
        g_free(systemd);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Systemd, systemd_free)

TEST_ON("systemd is asked once for a client, and only for a listener that is logged", &with_systemd) {
        g_autoptr(Systemd) systemd = systemd_new(f->bus);

        g_free(test_listen(f->client, 0, -1, NULL));
        g_assert_cmpuint(systemd->n_questions, ==, 0);
        for (unsigned i = 0; i < 3; i++)
                g_free(test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL));
        g_assert_cmpuint(systemd->n_questions, ==, 1);
}

static TestCall *start_persistent(TestClient *client) {
        sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                   "Listen");

        must(sd_bus_message_append(message, "ia{sv}i", 0, 1, "persistent", "b", true, -1));
        return test_call_start(client, message);
}

/* Each call waits for a second at most. The bus counts the questions until they are answered, so that only
 * four are sent. */
TEST_ON("systemd that hangs delays four calls, and no others", &with_systemd) {
        g_autoptr(Systemd) systemd = systemd_new(f->bus);
        TestClient *clients[12];
        TestCall *calls[ELEMENTS(clients)];

        systemd->hangs = true;
        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                clients[i] = test_client_new(f->bus, (uid_t) -1);
                calls[i] = start_persistent(clients[i]);
        }
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        test_assert_served(f->client, listener, "::1");
        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                g_assert_null(test_call_error(calls[i]));
                test_call_free(calls[i]);
                test_client_free(clients[i]);
        }
        g_assert_cmpuint(systemd->n_questions, ==, 4);

        /* Late answers are ignored, and make room for new questions. */
        systemd->hangs = false;
        systemd_answer(systemd);
        test_client_sync(systemd->client);
        g_free(test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL));
        g_assert_cmpuint(systemd->n_questions, ==, 5);
}

TEST_ON("a client that leaves before the answer of systemd gets no listener", &with_systemd) {
        g_autoptr(Systemd) systemd = systemd_new(f->bus);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);

        systemd->hangs = true;
        g_autoptr(TestCall) call = start_persistent(other);
        test_wait_for(systemd->n_questions == 1);
        g_clear_pointer(&call, test_call_free);
        g_clear_pointer(&other, test_client_free);
        systemd_answer(systemd);
        test_client_sync(systemd->client);
        test_client_sync_service(f->client);
        g_autoptr(sd_bus_message) reply = test_call(f->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                    "ListListeners", "");
        must(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"));
        g_assert_cmpint(sd_bus_message_at_end(reply, false), >, 0);
}
