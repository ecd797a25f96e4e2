/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The cost of "tcpserversocketctl run": a program that binds ports and takes connections, under the tool and
 * without it, in turn.
 *
 *     bench-run [--rounds=N]
 *
 * Each round starts this program as "bench-run --server", which prints its figures. It exits with 0 for any
 * figures, and with 77 if it cannot make a network namespace.
 */

#include <arpa/inet.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/measure.h"
#include "bench/rows.h"
#include "bus/loop.h"
#include "bus/network.h"

#define BACKGROUND_MS 100U
#define EXIT_SKIPPED 77

#define BINDS 1000U
#define CONNECTIONS 20000U

static unsigned arg_rounds = 10;

/* In the order in which the server prints them. */
typedef enum Figure {
        ALLOWED, /* a port that the kernel allows */
        FIRST,   /* a privileged port, the first time: a call of Listen */
        AGAIN,   /* a privileged port that the program has closed */
        CONNECTION,
        N_FIGURES,
} Figure;

static const char *const names[] = {
        [ALLOWED] = "bind() of an allowed port, µs",
        [FIRST] = "bind() of a privileged port, µs",
        [AGAIN] = "bind() of it again, µs",
        [CONNECTION] = "a connection after that, µs",
};

enum {
        WITHOUT,
        WITH,
        N_SIDES,
};

static Series series[N_SIDES][N_FIGURES];

/* ------------------------------------------------------------------------------------------- the server */

static double now_us(void) {
        return (double) now_ns() / 1e3;
}

static int bind_port(uint16_t port, double *duration) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        double start;

        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int)));
        start = now_us();
        g_assert_no_errno(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        *duration += now_us() - start;
        g_assert_no_errno(listen(fd, 16));
        return fd;
}

static double bind_often(uint16_t port) {
        double duration = 0;

        for (unsigned i = 0; i < BINDS; i++)
                (void) close_fd(bind_port(port, &duration));
        return duration / BINDS;
}

static double take_connections(int listener) {
        struct sockaddr_in address;
        socklen_t size = sizeof(address);
        double start = now_us();
        char byte;

        g_assert_no_errno(getsockname(listener, (struct sockaddr *) &address, &size));
        for (unsigned i = 0; i < CONNECTIONS; i++) {
                int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), connection;

                g_assert_no_errno(connect(peer, (struct sockaddr *) &address, size));
                connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                g_assert_cmpint(connection, >=, 0);
                (void) close_fd(peer);
                g_assert_cmpint((int) read(connection, &byte, 1), ==, 0);
                (void) close_fd(connection);
        }
        return (now_us() - start) / CONNECTIONS;
}

static int run_server(void) {
        double first = 0, unused = 0;
        int fd;

        printf("%f\n", bind_often(8080));
        (void) close_fd(bind_port(80, &first));
        printf("%f\n%f\n", first, bind_often(80));
        fd = bind_port(80, &unused);
        printf("%f\n", take_connections(fd));
        return EXIT_SUCCESS;
}

/* ---------------------------------------------------------------------------------------- the measurement */

static void drop_capability(void *unused) {
        if (prctl(PR_CAPBSET_DROP, 10 /* CAP_NET_BIND_SERVICE */, 0, 0, 0) < 0)
                _exit(EXIT_FAILURE);
}

static void measure(unsigned side, const char *self, TestBus *bus) {
        g_autofree char *directory = test_make_directory("server"), *text = NULL,
                        *log = g_build_filename(directory, "log", NULL),
                        *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(bus));
        g_autoptr(TestChild)
                        child = side == WITH ? test_child_new(WORDS(g_getenv("TEST_CTL"), "run", "--quiet",
                                                                    self, "--server"),
                                                              &(TestSpawn) { .log = log,
                                                                             .environment = WORDS(address),
                                                                             .setup = drop_capability })
                                             : test_child_new(WORDS(self, "--server"),
                                                              &(TestSpawn) { .log = log });
        char *rest;

        g_assert_cmpint(test_child_wait(child), ==, 0);
        text = rest = test_read_file(log);
        for (Figure f = 0; f < N_FIGURES; f++)
                series_add(&series[side][f], g_ascii_strtod(rest, &rest));
}

static void print_results(const Series *background) {
        printf("\n%u rounds; %ld CPUs, of which others used %.0f %% (median) before a round\n\n", arg_rounds,
               sysconf(_SC_NPROCESSORS_ONLN), series_get_median(background) * 100);
        printf("%-36s %10s %10s %8s\n", "under \"run\":", "no", "yes", "ratio");
        for (Figure f = 0; f < N_FIGURES; f++) {
                Series ratio = series_divide(&series[WITH][f], &series[WITHOUT][f]);

                printf("%-36s %10.1f %10.1f %8.2f\n", names[f], series_get_median(&series[WITHOUT][f]),
                       series_get_median(&series[WITH][f]), series_get_median(&ratio));
        }
}

static _Noreturn void skip(const char *why) {
        printf("The verb run cannot be measured: %s.\n", why);
        exit(EXIT_SKIPPED);
}

int main(int argc, char *argv[]) {
        static const struct option options[] = { { "rounds", required_argument, NULL, 'r' },
                                                 { "server", no_argument, NULL, 's' },
                                                 {} };
        Series background = {};
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 'r')
                        arg_rounds = (unsigned) CLAMP(g_ascii_strtoull(optarg, NULL, 10), 1, ROUNDS_MAX);
                else if (c == 's')
                        return run_server();
                else
                        return EXIT_FAILURE;

        bench_init(&argc, &argv);
        if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0 || !test_enter_private_network())
                skip("it needs root, network namespaces, and ip(8)");

        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        TestBus *bus = test_bus_new(NULL);
        TestService *service = test_service_new(bus, NULL);

        for (unsigned round = 0; round < arg_rounds; round++) {
                series_add(&background, usage_get_background(BACKGROUND_MS));
                for (unsigned i = 0; i < N_SIDES; i++)
                        measure((round + i) % N_SIDES, self, bus);
        }
        print_results(&background);

        test_service_free(service);
        test_bus_free(bus);
        return EXIT_SUCCESS;
}
