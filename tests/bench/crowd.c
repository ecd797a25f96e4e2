/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/crowd.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/calls.h"
#include "bench/helper.h"
#include "bench/load.h"
#include "bench/placement.h"
#include "bench/rows.h"
#include "bench/usage.h"
#include "bus/loop.h"
#include "bus/service.h"

#define PROBES 40U /* a round, of Listen */
#define CONNECTIONS 200U
#define WARM_UP 20U
#define READY_MS 60000U
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

/* In the child that will be the service: a view of the file system in which a drop-in raises the limit. */
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

        /* What the first listeners bring into memory is not for each of them. */
        for (unsigned i = 0; i < WARM_UP; i++)
                (void) calls_measure_listen(c.caller, &c.probed_port);
        return c;
}

/* Returns how much the service's memory has grown, in KiB. */
static double crowd_gather(Crowd *c, unsigned which) {
        g_autofree char *number = g_strdup_printf("%u", sizes[which]);
        g_autofree char *port = g_strdup_printf("%u", first_ports[which]);
        const char *const argv[] = { "bench-client", "signal", number, port, NULL };
        double before = usage_get_rss(test_service_pid(c->service));

        c->client = helper_start(argv, c->bus, "crowd");
        if (!helper_wait_ready(c->client, READY_MS))
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
