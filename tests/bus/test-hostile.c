/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Users without privileges send thousands of random calls, and the largest messages that the bus allows. The
 * service does not crash and does not grow.
 */

#include "bus/hostile.h"
#include "bus/random-call.h"

#define CALLS 50000U
#define BATCH 64U
/* Memory that the allocator may keep. */
#define GROWTH_MAX_KB 4096U

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS_FREED_MEMORY true
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(KEEPS_FREED_MEMORY)
#define KEEPS_FREED_MEMORY true
#endif
#ifndef KEEPS_FREED_MEMORY
#define KEEPS_FREED_MEMORY false
#endif

static void send_calls(TestClient *attacker, unsigned n) {
        for (; n > 0; n--) {
                g_autoptr(sd_bus_message) m = random_call_new(attacker);

                /* The bus allows no more than 128 that wait for a reply. */
                must(sd_bus_message_set_expect_reply(m, n % 2 == 0));
                must(sd_bus_send(test_client_bus(attacker), m, NULL));
        }
}

static unsigned get_memory_kb(TestService *service) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) test_service_pid(service)),
                        *status = NULL;
        unsigned kb = 0;

        status = test_read_file(path);
        const char *line = strstr(status, "VmRSS:");
        g_assert_nonnull(line);
        g_assert_cmpint(sscanf(line, "VmRSS: %u", &kb), ==, 1);
        return kb;
}

static void attack(Hostile *h, unsigned n_calls) {
        for (unsigned n = 0; n < n_calls; n += BATCH * ATTACKERS) {
                for (unsigned i = 0; i < ATTACKERS; i++)
                        send_calls(h->attackers[i], BATCH);
                for (unsigned i = 0; i < ATTACKERS; i++)
                        test_client_sync_service(h->attackers[i]);
                if (n / (BATCH * ATTACKERS) % 16 == 0)
                        hostile_assert_healthy(h);

                /* Now and then they start anew, or they would soon have all that they may. */
                if (n / (BATCH * ATTACKERS) % 64 == 63) {
                        hostile_wait_clean(h);
                        hostile_new_attackers(h);
                }
        }
}

HOSTILE_TEST("random calls do not harm the service") {
        const char *variable = g_getenv("TEST_HOSTILE_CALLS");
        unsigned n = variable ? (unsigned) atoi(variable) : CALLS, before;

        attack(h, n / 5);
        hostile_wait_clean(h);
        before = get_memory_kb(h->fixture.service);
        hostile_new_attackers(h);
        attack(h, n);
        hostile_wait_clean(h);
        g_test_message("%u calls, %u kB before, %u kB after", n, before, get_memory_kb(h->fixture.service));
        if (!KEEPS_FREED_MEMORY)
                g_assert_cmpuint(get_memory_kb(h->fixture.service), <, before + GROWTH_MAX_KB);
        hostile_new_attackers(h);
}

/* dbus-daemon disconnects a client that sends more than 32 MiB; dbus-broker takes more, which sd-bus does not
 * send. With AddressSanitizer, sd-bus copies the whole message with each piece that it reads. */
#ifdef __SANITIZE_ADDRESS__
#define LARGE ((size_t) 4 * 1024 * 1024)
#else
#define LARGE ((size_t) 32 * 1024 * 1024 - 512)
#endif

static void append_large_option(sd_bus_message *m, bool list) {
        g_autofree char *text = g_strnfill(LARGE, 'x');

        must(sd_bus_message_append(m, "i", 0));
        must(sd_bus_message_open_container(m, 'a', "{sv}"));
        must(sd_bus_message_open_container(m, 'e', "sv"));
        if (list) {
                must(sd_bus_message_append(m, "s", "allowFrom"));
                must(sd_bus_message_open_container(m, 'v', "as"));
                must(sd_bus_message_open_container(m, 'a', "s"));
                for (size_t n = 0; n < LARGE / 16; n++)
                        must(sd_bus_message_append_basic(m, 's', "192.0.2.1"));
                must(sd_bus_message_close_container(m));
        } else {
                must(sd_bus_message_append(m, "s", "name"));
                must(sd_bus_message_open_container(m, 'v', "s"));
                must(sd_bus_message_append_basic(m, 's', text));
        }
        for (unsigned i = 0; i < 3; i++)
                must(sd_bus_message_close_container(m));
        must(sd_bus_message_append(m, "i", -1));
}

HOSTILE_TEST("the largest messages do not harm the service") {
        unsigned before = get_memory_kb(h->fixture.service);
        for (unsigned n = 0; n < 4; n++) {
                sd_bus_message *m = test_message_new(h->attackers[0], TEST_MANAGER_PATH,
                                                     TEST_MANAGER_INTERFACE, "Listen");

                append_large_option(m, n % 2);
                g_autoptr(TestCall) call = test_call_start(h->attackers[0], m);
                test_wait_for_within(3 * TEST_DEADLINE_MS, test_call_is_done(call));
                g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_INVALID_ARGS);
                hostile_assert_healthy(h);
        }
        g_test_message("%u kB before, %u kB after", before, get_memory_kb(h->fixture.service));
        if (!KEEPS_FREED_MEMORY)
                g_assert_cmpuint(get_memory_kb(h->fixture.service), <, before + GROWTH_MAX_KB);
}
