/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/calls.h"

#include <glib.h>
#include <time.h>

#include "base/macros.h"
#include "bench/helper.h"
#include "bench/placement.h"
#include "bench/rows.h"

#define MANAGER_PATH "/org/example/TCPServerSocket"
#define MANAGER_INTERFACE "org.example.TCPServerSocket"
#define LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"

/* Where to look for a free port: below those of which the kernel chooses. */
#define FIRST_PORT 24000

static double now_us(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

/* Returns NULL if the port is taken. */
static sd_bus_message *listen_on(sd_bus *bus, uint16_t port) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, TEST_BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "Listen", &error, &reply,
                               "ia{sv}i", (int32_t) port, 1, "localAddress", "s", "127.0.0.1", (int32_t) -1);
        if (r < 0 && !sd_bus_error_has_name(&error, SD_BUS_ERROR_ADDRESS_IN_USE))
                g_error("Listen failed: %s", error.message);
        return reply;
}

static void call(sd_bus *bus, const char *path, const char *interface, const char *member) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call_method(bus, TEST_BUS_NAME, path, interface, member, &error, NULL, NULL);
        if (r < 0)
                g_error("%s failed: %s", member, error.message);
}

double calls_measure_listen(sd_bus *bus, uint16_t *port) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        double start, duration = 0;
        const char *listener;

        while (!reply) {
                g_assert_cmpuint(++*port, !=, 0);
                start = now_us();
                reply = listen_on(bus, *port);
                duration = now_us() - start;
        }

        g_assert_cmpint(sd_bus_message_read(reply, "o", &listener), >=, 0);
        call(bus, listener, LISTENER_INTERFACE, "Close");
        return duration;
}

static void listen_and_close(sd_bus *bus) {
        uint16_t port = FIRST_PORT;

        /* It is the same one each time, unless somebody else has it. */
        (void) calls_measure_listen(bus, &port);
}

static void ping_twice(sd_bus *bus) {
        call(bus, MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping");
        call(bus, MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping");
}

static double measure(sd_bus *bus, void (*pair)(sd_bus *bus), unsigned milliseconds) {
        double start = now_us(), end;
        unsigned n = 0;

        do {
                pair(bus);
                n++;
                end = now_us();
        } while (end < start + milliseconds * 1e3);
        return n * 1e6 / (end - start);
}

CallFigures calls_measure(TestBus *bus, TestService *service, unsigned rounds, unsigned milliseconds) {
        sd_bus *connection = helper_connect(bus);
        CallFigures figures = {};

        /* The first call opens the connection. */
        ping_twice(connection);
        listen_and_close(connection);

        place_server(test_service_pid(service));
        place_server(rows_get_bus_pid(bus));
        place_load();
        for (unsigned i = 0; i < rounds; i++) {
                series_add(&figures.empty, measure(connection, ping_twice, milliseconds));
                series_add(&figures.listen_and_close, measure(connection, listen_and_close, milliseconds));
        }
        place_anywhere(getpid());
        sd_bus_flush_close_unref(connection);
        return figures;
}
