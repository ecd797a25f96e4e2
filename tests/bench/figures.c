/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/figures.h"

#include <glib.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/load.h"
#include "bench/rows.h"
#include "bus/call.h"
#include "bus/loop.h"
#include "bus/service.h"

/* Below the ports of which the kernel chooses. */
#define FIRST_PORT 24000

static double now_us(void) {
        return (double) now_ns() / 1e3;
}

/* Returns NULL if the port is taken. */
static sd_bus_message *listen_on(sd_bus *bus, uint16_t port) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen",
                               &error, &reply, "ia{sv}i", (int32_t) port, 1, "localAddress", "s", "127.0.0.1",
                               (int32_t) -1);
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
        call(bus, listener, TEST_LISTENER_INTERFACE, "Close");
        return duration;
}

static void listen_and_close(sd_bus *bus) {
        uint16_t port = FIRST_PORT;

        /* The same port each time, unless another program has it. */
        (void) calls_measure_listen(bus, &port);
}

static void ping_twice(sd_bus *bus) {
        call(bus, TEST_MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping");
        call(bus, TEST_MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping");
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

#define PROBES 40U /* a round, of Listen */
#define CONNECTIONS 200U
#define WARM_UP 20U
#define DESCRIPTORS (CROWD_MANY + 1000)

/* Ports below those of which the kernel chooses. */
static const unsigned first_ports[2] = { 8000, 10000 };
static const unsigned first_probed_ports[2] = { 22000, 26000 };
static const unsigned sizes[2] = { CROWD_FEW, CROWD_MANY };

/* A service, its bus, its client. */
typedef struct Crowd {
        TestBus *bus;
        TestService *service;
        sd_bus *caller;
        Helper *client;
        GArray *ports;
        uint16_t probed_port;
} Crowd;

/* Runs in the child that becomes the service: mounts a drop-in that raises the limit. */
static void raise_limits(void *data) {
        static const char directory[] = "/run/tcpserversocket/tcpserversocketd.conf.d";
        static const struct rlimit descriptors = { .rlim_cur = DESCRIPTORS, .rlim_max = DESCRIPTORS };
        g_autofree char *path = g_build_filename(directory, "zz-bench.conf", NULL);
        g_autofree char *config = g_strdup_printf("[TCPServerSocket]\n"
                                                  "MaxListeners=%u\n"
                                                  "MaxListenersPerUser=%u\n",
                                                  2 * CROWD_MANY, 2 * CROWD_MANY);
        struct rlimit old;

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &old));
        if (old.rlim_max < DESCRIPTORS)
                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &descriptors));
        g_assert_no_errno(unshare(CLONE_NEWNS));
        g_assert_no_errno(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        g_assert_no_errno(mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"));
        g_assert_no_errno(g_mkdir_with_parents(directory, 0755));
        g_assert_true(g_file_set_contents(path, config, -1, NULL));
}

static Crowd crowd_start(unsigned which) {
        const TestServiceOptions options = { .setup = raise_limits };
        Crowd c = { .bus = test_bus_new(NULL), .probed_port = (uint16_t) first_probed_ports[which] };

        c.service = test_service_new(c.bus, &options);
        c.caller = helper_connect(c.bus);

        /* The first listeners bring code and tables into memory, which no other listener costs. */
        for (unsigned i = 0; i < WARM_UP; i++)
                (void) calls_measure_listen(c.caller, &c.probed_port);
        return c;
}

/* Returns the growth of the service's memory in KiB. */
static double crowd_gather(Crowd *c, unsigned which) {
        g_autofree char *number = g_strdup_printf("%u", sizes[which]);
        g_autofree char *port = g_strdup_printf("%u", first_ports[which]);
        const char *const argv[] = { "bench-server", "signal", number, port, NULL };
        double before = usage_get_rss(test_service_pid(c->service));

        c->client = helper_start(argv, c->bus, "crowd");
        if (!helper_wait_ready(c->client, 60000))
                g_error("the crowd's client has ended: %s", c->client->last_line);
        c->ports = helper_read_ports(c->client);
        g_assert_cmpuint(c->ports->len, ==, sizes[which]);
        return usage_get_rss(test_service_pid(c->service)) - before;
}

static void crowd_place(const Crowd *c, void (*place)(pid_t pid)) {
        place(test_service_pid(c->service));
        place(rows_get_bus_pid(c->bus));
        place(c->client->child->pid);
}

static double crowd_probe_listen(Crowd *c) {
        uint32_t samples[PROBES];

        for (unsigned i = 0; i < PROBES; i++)
                samples[i] = (uint32_t) (calls_measure_listen(c->caller, &c->probed_port) * 1000);
        return percentile(samples, PROBES, 0.5) / 1000;
}

static double crowd_probe_connections(Crowd *c) {
        uint32_t samples[CONNECTIONS];

        for (unsigned i = 0; i < CONNECTIONS; i++) {
                unsigned any = (unsigned) g_random_int_range(0, (gint32) c->ports->len);

                samples[i] = load_probe(g_array_index(c->ports, uint16_t, any));
                if (samples[i] == 0)
                        g_error("a listener of the crowd does not answer");
        }
        return percentile(samples, CONNECTIONS, 0.5) / 1000;
}

static double crowd_stop(Crowd *c) {
        double start, duration;

        crowd_place(c, place_anywhere);
        sd_bus_flush_close_unref(c->caller);
        start = (double) test_now();
        (void) test_service_stop(c->service);
        duration = (double) test_now() - start;

        test_service_free(c->service);
        helper_free(c->client);
        g_array_unref(c->ports);
        test_bus_free(c->bus);
        return duration / 1000;
}

CrowdFigures crowd_measure(unsigned rounds) {
        CrowdFigures figures = {};
        Crowd crowds[2];

        if (geteuid() != 0) {
                figures.missing = "needs root";
                return figures;
        }

        for (unsigned i = 0; i < 2; i++) {
                crowds[i] = crowd_start(i);
                figures.bytes = crowd_gather(&crowds[i], i) * 1024 / sizes[i];
                crowd_place(&crowds[i], place_server);
        }

        place_load();
        for (unsigned round = 0; round < rounds; round++)
                for (unsigned i = 0; i < 2; i++) {
                        series_add(&figures.listen[i], crowd_probe_listen(&crowds[i]));
                        series_add(&figures.connection[i], crowd_probe_connections(&crowds[i]));
                }

        place_anywhere(getpid());

        for (unsigned i = 0; i < 2; i++)
                figures.shutdown_ms = crowd_stop(&crowds[i]);
        figures.measured = true;
        return figures;
}

/* After this time, the service has handled the start of the client and of strace. */
#define SETTLE_USEC (1000 * 1000U)

struct Idle {
        TestBus *bus;
        TestService *service;
        Helper *client;
        TestChild *strace;
        char *trace;
        uint64_t start, sleeps; /* the time, and the number of sleeps before it */
        int64_t calls;
};

static bool is_traced(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid);

        return !test_file_contains(path, "TracerPid:\t0\n");
}

static void start_strace(Idle *idle, pid_t pid) {
        g_autofree char *program = g_find_program_in_path("strace");
        g_autofree char *number = g_strdup_printf("%d", (int) pid);
        g_autofree char *directory = test_make_directory("strace");
        g_autofree char *log = g_build_filename(directory, "log", NULL);

        if (!program)
                return;

        idle->trace = g_build_filename(directory, "trace", NULL);
        const char *argv[] = { program, "-f", "-o", idle->trace, "-p", number, NULL };
        idle->strace = test_child_new(argv, &(TestSpawn) { .log = log });
        test_wait_for(is_traced(pid) || test_child_has_exited(idle->strace));

        /* The kernel may have refused it. */
        if (test_child_has_exited(idle->strace))
                g_clear_pointer(&idle->strace, test_child_free);
}

/* The calls in the trace that have returned. */
static int64_t count_calls(Idle *idle) {
        g_autofree char *content = NULL;
        int64_t lines = 0;

        if (!idle->strace || !g_file_get_contents(idle->trace, &content, NULL, NULL))
                return -1;
        for (const char *c = content; *c != '\0'; c++)
                lines += *c == '\n';
        return lines;
}

Idle *idle_start(void) {
        static const char *const argv[] = { "bench-server", "signal", NULL };
        Idle *idle = g_new0(Idle, 1);
        pid_t pid;

        idle->bus = test_bus_new(NULL);
        idle->service = test_service_new(idle->bus, NULL);
        idle->client = helper_start(argv, idle->bus, "idle-client");
        if (!helper_wait_ready(idle->client, 10000))
                g_error("the idle service's client has ended: %s", idle->client->last_line);
        g_assert_cmpuint(load_probe((uint16_t) g_ascii_strtoull(idle->client->last_line, NULL, 10)), >, 0);

        pid = test_service_pid(idle->service);
        start_strace(idle, pid);
        g_usleep(SETTLE_USEC);
        idle->start = test_now();
        idle->sleeps = usage_get_sleeps(pid);
        idle->calls = count_calls(idle);
        return idle;
}

IdleFigures idle_finish(Idle *idle, unsigned seconds) {
        uint64_t end = idle->start + (uint64_t) seconds * 1000000U, now;
        pid_t pid = test_service_pid(idle->service);
        IdleFigures figures = { .system_calls = -1 };

        for (now = test_now(); now < end; now = test_now())
                g_usleep((gulong) (end - now));

        figures.seconds = (double) (now - idle->start) / 1e6;
        figures.wake_ups = usage_get_sleeps(pid) - idle->sleeps;
        figures.rss = usage_get_rss(pid);
        figures.pss = usage_get_pss(pid);
        if (idle->calls >= 0)
                figures.system_calls = count_calls(idle) - idle->calls;

        /* Killing strace detaches it. */
        test_child_free(idle->strace);
        helper_free(idle->client);
        test_service_free(idle->service);
        test_bus_free(idle->bus);
        g_free(idle->trace);
        g_free(idle);
        return figures;
}
