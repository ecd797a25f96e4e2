/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The cost of the watch of network interfaces: services with listeners on interfaces beside services with
 * other listeners, in one run, while a thousand interfaces come and go.
 *
 *     bench-interfaces [--rounds=N] [--idle=SECONDS]
 *
 * It exits with 0 for any figures, and with 77 if it cannot make a network namespace.
 */

#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/measure.h"
#include "bench/rows.h"
#include "bus/call.h"
#include "bus/loop.h"
#include "bus/network.h"

#define BACKGROUND_MS 100U
#define EXIT_SKIPPED 77

#define INTERFACES 1000U
#define LISTENS 100U /* a round */

static unsigned arg_rounds = 10, arg_idle_seconds = 10;

typedef enum Figure {
        LISTEN,
        COME_CPU,
        COME_WAKE_UPS,
        COME_ANSWER,
        GO_CPU,
        GO_WAKE_UPS,
        GO_ANSWER,
        IDLE_WAKE_UPS,
        MANY_LISTEN,
        MANY_MEMORY,
        MANY_IDLE_WAKE_UPS,
        MANY_END_CPU,
        MANY_END,
        N_FIGURES,
} Figure;

static const char *const names[] = {
        [LISTEN] = "Listen, µs",
        [COME_CPU] = "1,000 interfaces come: CPU, µs",
        [COME_WAKE_UPS] = "                       wake-ups",
        [COME_ANSWER] = "                       next answer after, µs",
        [GO_CPU] = "1,000 interfaces go:   CPU, µs",
        [GO_WAKE_UPS] = "                       wake-ups",
        [GO_ANSWER] = "                       next answer after, µs",
        [IDLE_WAKE_UPS] = "idle:                  wake-ups",
        [MANY_LISTEN] = "1,000 listeners: Listen, µs",
        [MANY_MEMORY] = "                 memory, KiB each",
        [MANY_IDLE_WAKE_UPS] = "                 idle, wake-ups",
        [MANY_END_CPU] = "                 their end: CPU, µs each",
        [MANY_END] = "                            all after, ms",
};

/* The listeners are without an interface, and with one. */
enum {
        WITHOUT,
        WITH,
        N_SIDES,
};

/* A bus, a service, its client. */
typedef struct Side {
        TestBus *bus;
        TestService *service;
        TestClient *client;
        double cpu; /* until the start of a measurement */
        uint64_t sleeps;
        Series series[N_FIGURES];
} Side;

/* With one listener each; with as many as there are interfaces. */
static Side one[N_SIDES], many[N_SIDES];

static void parse_arguments(int argc, char *argv[]) {
        static const struct option options[] = { { "rounds", required_argument, NULL, 'r' },
                                                 { "idle", required_argument, NULL, 'i' },
                                                 {} };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 'r')
                        arg_rounds = (unsigned) CLAMP(g_ascii_strtoull(optarg, NULL, 10), 1, ROUNDS_MAX);
                else if (c == 'i')
                        arg_idle_seconds = (unsigned) g_ascii_strtoull(optarg, NULL, 10);
                else
                        exit(EXIT_FAILURE);
}

static _Noreturn void skip(const char *why) {
        printf("The watch of interfaces cannot be measured: %s.\n", why);
        exit(EXIT_SKIPPED);
}

static void enter_network(void) {
        if (geteuid() == 0 && unshare(CLONE_NEWNET) < 0)
                skip(strerror(errno));
        if (!test_enter_private_network())
                skip("it needs root, and ip(8)");
}

static double now_us(void) {
        return (double) now_ns() / 1e3;
}

static void side_begin(Side *side) {
        side->bus = test_bus_new(NULL);
        side->service = test_service_new(side->bus, NULL);
        side->client = test_client_new(side->bus, (uid_t) -1);
}

static void side_end(Side *side) {
        test_client_free(side->client);
        test_service_free(side->service);
        test_bus_free(side->bus);
}

static void side_mark(Side *side) {
        side->cpu = usage_get_cpu(test_service_pid(side->service));
        side->sleeps = usage_get_sleeps(test_service_pid(side->service));
}

static double side_get_cpu(const Side *side) {
        return usage_get_cpu(test_service_pid(side->service)) - side->cpu;
}

static double side_get_wake_ups(const Side *side) {
        return (double) (usage_get_sleeps(test_service_pid(side->service)) - side->sleeps);
}

static char *listen_on(Side *side, const char *interface) {
        return interface ? test_listen(side->client, 0, -1, "interface", "s", interface, NULL)
                         : test_listen(side->client, 0, -1, NULL);
}

/* Each veth(4) is a pair of two. */
static void add_interfaces(void) {
        g_autofree char *directory = test_make_directory("interfaces");
        g_autofree char *path = g_build_filename(directory, "batch", NULL);
        g_autofree char *command = g_strdup_printf("-batch %s", path);
        g_autoptr(GString) batch = g_string_new(NULL);

        for (unsigned i = 0; i < INTERFACES; i += 2)
                g_string_append_printf(batch, "link add if%u group 7 type veth peer name if%u\n", i, i + 1);
        g_assert_true(g_file_set_contents(path, batch->str, -1, NULL));
        test_network_ip(command);
}

static void remove_interfaces(void) {
        test_network_ip("link del group 7");
}

/* What a change of the interfaces costs a service that has no listener on these. */
static void measure_change(void (*change)(void), Figure cpu, Figure wake_ups, Figure answer, unsigned round) {
        for (unsigned i = 0; i < N_SIDES; i++)
                side_mark(one + i);
        change();
        for (unsigned i = 0; i < N_SIDES; i++) {
                Side *side = one + (round + i) % N_SIDES;
                double start = now_us();

                test_client_sync_service(side->client);
                series_add(side->series + answer, now_us() - start);
        }
        for (unsigned i = 0; i < N_SIDES; i++) {
                series_add(one[i].series + cpu, side_get_cpu(one + i));
                series_add(one[i].series + wake_ups, side_get_wake_ups(one + i));
        }
}

static void measure_listen(Side *side, const char *interface) {
        double duration = 0;

        for (unsigned i = 0; i < LISTENS; i++) {
                double start = now_us();
                g_autofree char *listener = listen_on(side, interface);

                duration += now_us() - start;
                test_listener_call(side->client, listener, "Close");
                test_client_expect_closed(side->client, listener, "owner");
        }
        series_add(side->series + LISTEN, duration / LISTENS);
}

static void measure_many_listen(Side *side, bool with, bool first) {
        double memory = usage_get_rss(test_service_pid(side->service)), start = now_us();

        for (unsigned i = 0; i < INTERFACES; i++) {
                g_autofree char *interface = g_strdup_printf("if%u", i);

                g_free(listen_on(side, with ? interface : NULL));
        }
        series_add(side->series + MANY_LISTEN, (now_us() - start) / INTERFACES);
        if (first)
                series_add(side->series + MANY_MEMORY,
                           (usage_get_rss(test_service_pid(side->service)) - memory) / INTERFACES);
}

static void measure_idle(void) {
        for (unsigned i = 0; i < N_SIDES; i++) {
                side_mark(one + i);
                side_mark(many + i);
        }
        g_usleep((gulong) arg_idle_seconds * G_USEC_PER_SEC);
        for (unsigned i = 0; i < N_SIDES; i++) {
                series_add(one[i].series + IDLE_WAKE_UPS, side_get_wake_ups(one + i));
                series_add(many[i].series + MANY_IDLE_WAKE_UPS, side_get_wake_ups(many + i));
        }
}

static void add_end(Side *side, double start) {
        series_add(side->series + MANY_END, (now_us() - start) / 1e3);
        series_add(side->series + MANY_END_CPU, side_get_cpu(side) / INTERFACES);
}

/* With their interfaces, each with two signals; without an interface, with their client, which gets none. */
static void measure_many_end(unsigned fds) {
        double start;

        side_mark(many + WITH);
        start = now_us();
        remove_interfaces();
        for (unsigned i = 0; i < INTERFACES; i++) {
                test_error_free(test_client_wait_error(many[WITH].client));
                test_client_expect_closed(many[WITH].client, NULL, "interface");
        }
        add_end(many + WITH, start);

        side_mark(many + WITHOUT);
        start = now_us();
        test_client_free(many[WITHOUT].client);
        test_wait_for(test_service_count_fds(many[WITHOUT].service) <= fds);
        add_end(many + WITHOUT, start);
        many[WITHOUT].client = test_client_new(many[WITHOUT].bus, (uid_t) -1);
}

static void measure(unsigned round) {
        unsigned fds = test_service_count_fds(many[WITHOUT].service);

        measure_change(add_interfaces, COME_CPU, COME_WAKE_UPS, COME_ANSWER, round);
        measure_change(remove_interfaces, GO_CPU, GO_WAKE_UPS, GO_ANSWER, round);

        add_interfaces();
        for (unsigned i = 0; i < N_SIDES; i++) {
                unsigned which = (round + i) % N_SIDES;

                measure_listen(one + which, which == WITH ? "if0" : NULL);
                measure_many_listen(many + which, which == WITH, round == 0);
        }
        if (round == 0)
                measure_idle();
        measure_many_end(fds);
}

static void print_results(const Series *background) {
        printf("\n%u rounds; %ld CPUs, of which others used %.0f %% (median) before a round; idle for %u s\n\n",
               arg_rounds, sysconf(_SC_NPROCESSORS_ONLN), series_get_median(background) * 100,
               arg_idle_seconds);
        printf("%-46s %10s %10s %8s\n", "listeners on an interface:", "without", "with", "ratio");
        for (Figure f = 0; f < N_FIGURES; f++) {
                const Side *sides = f < MANY_LISTEN ? one : many;
                Series ratio = series_divide(sides[WITH].series + f, sides[WITHOUT].series + f);

                printf("%-46s %10.1f %10.1f", names[f], series_get_median(sides[WITHOUT].series + f),
                       series_get_median(sides[WITH].series + f));
                /* Not of two numbers of wake-ups that are zero. */
                if (isfinite(series_get_median(&ratio)))
                        printf(" %8.2f", series_get_median(&ratio));
                putchar('\n');
        }
}

int main(int argc, char *argv[]) {
        Series background = {};

        bench_init(&argc, &argv);
        parse_arguments(argc, argv);
        enter_network();

        for (unsigned i = 0; i < N_SIDES; i++) {
                side_begin(one + i);
                side_begin(many + i);
        }
        g_free(listen_on(one + WITHOUT, NULL));
        g_free(listen_on(one + WITH, TEST_INTERFACE));

        for (unsigned round = 0; round < arg_rounds; round++) {
                series_add(&background, usage_get_background(BACKGROUND_MS));
                measure(round);
        }
        print_results(&background);

        for (unsigned i = 0; i < N_SIDES; i++) {
                side_end(one + i);
                side_end(many + i);
        }
        return EXIT_SUCCESS;
}
