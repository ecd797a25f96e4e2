/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The cost of the guard: a service with it beside one without it, in one run.
 *
 *     bench-guard [--rounds=N] [--quick]
 *
 * Each service runs in a control group of its own, on a bus of its own. It exits with 0 for any figures, and
 * with 77 if the guard cannot be attached.
 */

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/load.h"
#include "bench/rows.h"
#include "bus/call.h"
#include "bus/loop.h"
#include "bus/network.h"

#define BACKGROUND_MS 100U
#define READY_MS 30000U
#define EXIT_SKIPPED 77

/* The guard accepts only a control group with the name of the unit that it is given. */
#define UNIT "tcpserversocketd.service"

typedef enum Figure {
        SOCKET_RATE,
        SOCKET_FIRST_BYTE,
        CHANNEL_RATE,
        CHANNEL_FIRST_BYTE,
        SIGNAL_RATE,
        SIGNAL_FIRST_BYTE,
        ROUND_TRIP,
        BYTES,
        N_FIGURES,
} Figure;

static const struct {
        const char *name;
        double scale;
        bool more_is_better;
} figures[] = {
        [SOCKET_RATE] = { "socket, connections/s", 1, true },
        [SOCKET_FIRST_BYTE] = { "socket, first byte, µs", 1, false },
        [CHANNEL_RATE] = { "channel, connections/s", 1, true },
        [CHANNEL_FIRST_BYTE] = { "channel, first byte, µs", 1, false },
        [SIGNAL_RATE] = { "signal, connections/s", 1, true },
        [SIGNAL_FIRST_BYTE] = { "signal, first byte, µs", 1, false },
        [ROUND_TRIP] = { "round trip, µs", 1, false },
        [BYTES] = { "throughput, MB/s", 1e-6, true },
};

/* A bus, a service, and its clients. */
typedef struct Side {
        bool is_guarded;
        char *cgroup;
        TestBus *bus;
        TestService *service;
        Helper *socket, *channel, *signal, *stream;
        Series series[N_FIGURES];
} Side;

static unsigned arg_rounds = 15, arg_ms = 400;

static void parse_arguments(int argc, char *argv[]) {
        static const struct option options[] = { { "rounds", required_argument, NULL, 'r' },
                                                 { "quick", no_argument, NULL, 'q' },
                                                 {} };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 'r')
                        arg_rounds = (unsigned) CLAMP(g_ascii_strtoull(optarg, NULL, 10), 1, ROUNDS_MAX);
                else if (c == 'q') {
                        arg_rounds = 5;
                        arg_ms = 200;
                } else
                        exit(EXIT_FAILURE);
}

static _Noreturn void skip(const char *why) {
        printf("The guard cannot be measured: %s.\n", why);
        exit(EXIT_SKIPPED);
}

/* A new control group below that of this process. */
static char *make_cgroup(const char *name) {
        const char *root = access("/sys/fs/cgroup/cgroup.procs", F_OK) >= 0 ? "/sys/fs/cgroup"
                                                                            : "/sys/fs/cgroup/unified";
        g_autofree char *all = NULL;
        char *current;

        if (!g_file_get_contents("/proc/self/cgroup", &all, NULL, NULL) || !(current = strstr(all, "0::/")))
                skip("there is no control group of version 2");
        current += strlen("0::");
        current[strcspn(current, "\n")] = '\0';

        g_autofree char *parent = g_strdup_printf("%s%s/bench-%s-%d", root,
                                                  streq(current, "/") ? "" : current, name, (int) getpid());
        char *path = g_build_filename(parent, UNIT, NULL);

        if (g_mkdir_with_parents(path, 0755) < 0)
                skip("a control group cannot be made");
        return path;
}

static void remove_cgroup(const char *path) {
        g_autofree char *parent = g_path_get_dirname(path);

        test_wait_for(rmdir(path) >= 0 || errno != EBUSY);
        (void) rmdir(parent);
}

/* In the process that becomes the service. */
static void enter(void *data) {
        const Side *side = data;
        g_autofree char *procs = g_build_filename(side->cgroup, "cgroup.procs", NULL);
        _cleanup_close_ int fd = open(procs, O_WRONLY | O_CLOEXEC);
        int status;
        pid_t pid;

        if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(EXIT_SKIPPED);
        if (!side->is_guarded)
                return;
        pid = fork();
        if (pid == 0) {
                (void) execl(g_getenv("TEST_GUARD"), "tcpserversocket-guard", UNIT, "root", NULL);
                _exit(EXIT_FAILURE);
        }
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                _exit(EXIT_SKIPPED);
}

static Helper *start(Side *side, const char *way) {
        Helper *helper = helper_start(WORDS("bench-server", way), side->bus, way);

        if (!helper_wait_ready(helper, READY_MS))
                g_error("%s: %s", way, helper->last_line);
        return helper;
}

static void side_begin(Side *side, bool is_guarded) {
        TestServiceOptions options = { .setup = enter, .data = side };

        side->is_guarded = is_guarded;
        side->cgroup = make_cgroup(is_guarded ? "guarded" : "plain");
        side->bus = test_bus_new(NULL);
        side->service = test_service_new(side->bus, &options);
        side->socket = start(side, "socket");
        side->channel = start(side, "channel");
        side->signal = start(side, "signal");
        side->stream = start(side, "stream-socket");

        g_autoptr(TestClient) client = test_client_new(side->bus, (uid_t) -1);
        g_assert_true(test_get_bool(client, TEST_MANAGER_PATH, "Contained") == is_guarded);
}

static void side_end(Side *side) {
        Helper *helpers[] = { side->socket, side->channel, side->signal, side->stream };

        for (size_t i = 0; i < ELEMENTS(helpers); i++)
                helper_free(helpers[i]);
        test_service_free(side->service);
        test_bus_free(side->bus);
        remove_cgroup(side->cgroup);
        g_free(side->cgroup);
}

/* As a row of the benchmark is measured: the service and the client on the same CPU, the load on another. */
static void place(Side *side, Helper *helper, bool apart) {
        (apart ? place_server : place_anywhere)(test_service_pid(side->service));
        (apart ? place_server : place_anywhere)(helper->child->pid);
}

static uint16_t get_port(Helper *helper) {
        g_autoptr(GArray) ports = helper_read_ports(helper);

        return g_array_index(ports, uint16_t, 0);
}

static void measure_rate(Side *side, Helper *helper, Figure figure) {
        LoadRate rate = load_measure_rate(get_port(helper), arg_ms);

        if (rate.failed + rate.stuck > 0)
                printf("note: of %" G_GUINT64_FORMAT " connections %" G_GUINT64_FORMAT " failed\n", rate.n,
                       rate.failed + rate.stuck);
        series_add(&side->series[figure], rate.rate);
}

static void measure_first_byte(Side *side, Helper *helper, Figure figure) {
        place(side, helper, true);
        series_add(&side->series[figure], load_measure_latency(get_port(helper), arg_ms / 2).p50_us);
        place(side, helper, false);
}

static void measure(Side *side, Figure figure) {
        switch (figure) {

        case SOCKET_RATE:
                measure_rate(side, side->socket, figure);
                break;

        case SOCKET_FIRST_BYTE:
                measure_first_byte(side, side->socket, figure);
                break;

        case CHANNEL_RATE:
                measure_rate(side, side->channel, figure);
                break;

        case CHANNEL_FIRST_BYTE:
                measure_first_byte(side, side->channel, figure);
                break;

        case SIGNAL_RATE:
                measure_rate(side, side->signal, figure);
                break;

        case SIGNAL_FIRST_BYTE:
                measure_first_byte(side, side->signal, figure);
                break;

        case ROUND_TRIP:
                place(side, side->stream, true);
                series_add(&side->series[figure],
                           flow_measure_round_trip(get_port(side->stream), arg_ms).p50_us);
                place(side, side->stream, false);
                break;

        case BYTES:
                place(side, side->stream, true);
                series_add(&side->series[figure], flow_measure_bytes(get_port(side->stream), 1, arg_ms));
                place(side, side->stream, false);
                break;

        default:
                g_assert_not_reached();
        }
}

/* Above 1: better with the guard, for all figures. */
static void print_results(const Side *plain, const Side *guarded, const Series *background) {
        printf("\n%u rounds; %ld CPUs, of which others used %.0f %% (median) before a round\n\n", arg_rounds,
               sysconf(_SC_NPROCESSORS_ONLN), series_get_median(background) * 100);
        printf("%-26s %12s %12s %8s\n", "", "without", "with", "gain");
        for (Figure f = 0; f < N_FIGURES; f++) {
                const Series *a = &plain->series[f], *b = &guarded->series[f];
                Series gain = figures[f].more_is_better ? series_divide(b, a) : series_divide(a, b);

                printf("%-26s %12.1f %12.1f %8.3f\n", figures[f].name,
                       series_get_median(a) * figures[f].scale, series_get_median(b) * figures[f].scale,
                       series_get_median(&gain));
        }
}

int main(int argc, char *argv[]) {
        Side plain = {}, guarded = {};
        Series background = {};

        bench_init(&argc, &argv);
        parse_arguments(argc, argv);
        if (geteuid() != 0 || !g_getenv("TEST_GUARD"))
                skip("it needs root, and a build with the guard (TEST_GUARD)");
        (void) test_enter_private_network();

        side_begin(&plain, false);
        side_begin(&guarded, true);
        for (unsigned i = 0; i < arg_rounds; i++) {
                series_add(&background, usage_get_background(BACKGROUND_MS));
                for (Figure f = 0; f < N_FIGURES; f++) {
                        measure(i % 2 == 0 ? &plain : &guarded, f);
                        measure(i % 2 == 0 ? &guarded : &plain, f);
                }
        }
        print_results(&plain, &guarded, &background);

        side_end(&plain);
        side_end(&guarded);
        return EXIT_SUCCESS;
}
