/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The benchmark of "tcpserversocketctl relay" beside systemd-socket-proxyd, in one run.
 *
 *     bench-relay [--quick] [--rounds=N] [--json=FILE]
 *
 * README.md beside this file explains the figures. It exits with 0 for any figures.
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/load.h"
#include "bench/rows.h"
#include "bus/loop.h"
#include "bus/net.h"
#include "bus/service.h"

#define READY_MS 10000U
#define MANY 16
#define N_TARGETS 6
#define PROXYD "/lib/systemd/systemd-socket-proxyd"

typedef enum Figure {
        RATE,
        FIRST_BYTE,
        ROUND_TRIP,
        BYTES_ONE,
        BYTES_MANY,
        CPU_CONNECTION,
        CPU_BYTES,
        N_FIGURES,
} Figure;

static const struct {
        const char *key, *name;
        bool more_is_better;
        double scale;
} figures[N_FIGURES] = {
        [RATE] = { "rate", "connections a second", true, 1 },
        [FIRST_BYTE] = { "first_byte_us", "first byte, µs", false, 1 },
        [ROUND_TRIP] = { "round_trip_us", "round trip, µs", false, 1 },
        [BYTES_ONE] = { "bytes_one", "one stream, MB/s", true, 1e-6 },
        [BYTES_MANY] = { "bytes_many", "16 streams, MB/s", true, 1e-6 },
        [CPU_CONNECTION] = { "cpu_us_connection", "CPU, µs a connection", false, 1 },
        [CPU_BYTES] = { "cpu_ms_gigabyte", "CPU, ms a GB", false, 1 },
};

typedef enum RelayId {
        DIRECT,
        RELAY,
        PROXY,
        RELAY_HEADER,
        RELAY_UNIX,
        PROXY_UNIX,
        N_RELAYS,
} RelayId;

/* A relay in front of a target of each of the two kinds. */
typedef struct Relay {
        const char *key, *name;
        bool to_unix;
        RelayId compared; /* to this one */
        Helper *byte, *stream;
        uint16_t byte_port, stream_port;
        const char *missing;
        Series series[N_FIGURES];
} Relay;

static Relay relays[N_RELAYS] = {
        [DIRECT] = { .key = "direct", .name = "no relay" },
        [RELAY] = { .key = "relay", .name = "tcpserversocketctl relay", .compared = PROXY },
        [PROXY] = { .key = "proxyd", .name = "systemd-socket-proxyd" },
        [RELAY_HEADER] = { .key = "relay-proxy-protocol",
                           .name = "the same with PROXY header",
                           .compared = RELAY },
        [RELAY_UNIX] = { .key = "relay-unix",
                         .name = "the same to a Unix socket",
                         .to_unix = true,
                         .compared = PROXY_UNIX },
        [PROXY_UNIX] = { .key = "proxyd-unix", .name = "systemd-socket-proxyd, Unix", .to_unix = true },
};

static unsigned arg_rounds = 11, arg_rate_ms = 400, arg_latency_ms = 150, arg_bytes_ms = 400;
static const char *arg_json = NULL;

static void parse_arguments(int argc, char *argv[]) {
        static const struct option options[] = { { "quick", no_argument, NULL, 'q' },
                                                 { "rounds", required_argument, NULL, 'r' },
                                                 { "json", required_argument, NULL, 'j' },
                                                 {} };
        unsigned rounds = 0;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {

                case 'q':
                        arg_rounds = 3;
                        arg_rate_ms = arg_bytes_ms = 200;
                        arg_latency_ms = 100;
                        break;

                case 'r':
                        rounds = (unsigned) CLAMP(g_ascii_strtoull(optarg, NULL, 10), 1, ROUNDS_MAX);
                        break;

                case 'j':
                        arg_json = optarg;
                        break;

                default:
                        exit(EXIT_FAILURE);
                }
        if (rounds > 0)
                arg_rounds = rounds;
}

/* Returns its address. */
static char *start_target(const char *mode, const char *path, Helper **ret) {
        const char *const argv[] = { "bench-server", mode, path, NULL };

        *ret = helper_start(argv, NULL, mode);
        if (!helper_wait_ready(*ret, READY_MS))
                g_error("the target: %s", (*ret)->last_line);
        return path ? g_strdup(path) : g_strdup_printf("127.0.0.1:%s", (*ret)->last_line);
}

static Helper *start_relay(RelayId id, TestBus *bus, const char *target, uint16_t *ret_port) {
        g_autofree char *address = NULL;
        const char *const tool[] = { g_getenv("TEST_CTL"),
                                     "--quiet",
                                     "relay",
                                     NULL,
                                     target,
                                     "--max-connections=0",
                                     id == RELAY_HEADER ? "--proxy-protocol=v2" : NULL,
                                     NULL };
        const char *const proxyd[] = { "systemd-socket-activate", "-l",   NULL, PROXYD,
                                       "--connections-max=4096",  target, NULL };
        const char *argv[8] = {};
        bool is_tool = id != PROXY && id != PROXY_UNIX;
        Helper *helper;

        *ret_port = test_free_port();
        address = g_strdup_printf("127.0.0.1:%u", *ret_port);
        if (is_tool) {
                memcpy(argv, tool, sizeof(tool));
                argv[3] = address;
        } else {
                memcpy(argv, proxyd, sizeof(proxyd));
                argv[2] = address;
        }
        helper = helper_start(argv, is_tool ? bus : NULL, relays[id].key);
        test_wait_for_within(READY_MS, test_child_has_exited(helper->child) ||
                                                       test_is_listening(helper->child->pid, *ret_port));
        return helper;
}

static void start_all(TestBus *bus, Helper *targets[static N_TARGETS]) {
        g_autofree char *directory = test_make_directory("targets"),
                        *byte_path = g_build_filename(directory, "b", NULL);
        g_autofree char *stream_path = g_build_filename(directory, "s", NULL);
        g_autofree char *byte = start_target("accept", NULL, &targets[0]),
                        *stream = start_target("stream", NULL, &targets[1]);
        g_autofree char *byte_header = start_target("accept-header", NULL, &targets[4]),
                        *stream_header = start_target("stream-header", NULL, &targets[5]);

        g_free(start_target("accept", byte_path, &targets[2]));
        g_free(start_target("stream", stream_path, &targets[3]));

        relays[DIRECT].byte_port = (uint16_t) atoi(targets[0]->last_line);
        relays[DIRECT].stream_port = (uint16_t) atoi(targets[1]->last_line);
        for (RelayId id = RELAY; id < N_RELAYS; id++) {
                Relay *relay = relays + id;

                if ((id == PROXY || id == PROXY_UNIX) && access(PROXYD, X_OK) < 0) {
                        relay->missing = "not installed";
                        continue;
                }
                relay->byte = start_relay(id, bus,
                                          relay->to_unix       ? byte_path
                                          : id == RELAY_HEADER ? byte_header
                                                               : byte,
                                          &relay->byte_port);
                relay->stream = start_relay(id, bus,
                                            relay->to_unix       ? stream_path
                                            : id == RELAY_HEADER ? stream_header
                                                                 : stream,
                                            &relay->stream_port);
                if (load_probe(relay->byte_port) == 0)
                        relay->missing = "does not forward";
        }
}

/* Of the process in the middle. */
static double get_cpu(Helper *helper) {
        return helper ? usage_get_cpu(helper->child->pid) : NAN;
}

static void measure_connections(Relay *relay) {
        double cpu = get_cpu(relay->byte);
        LoadRate rate = load_measure_rate(relay->byte_port, arg_rate_ms);

        if (rate.failed + rate.stuck > 0)
                printf("note: %s: of %" G_GUINT64_FORMAT " connections %" G_GUINT64_FORMAT
                       " failed, %" G_GUINT64_FORMAT " did not end\n",
                       relay->name, rate.n, rate.failed, rate.stuck);
        series_add(&relay->series[RATE], rate.rate);
        g_usleep(20000);
        series_add(&relay->series[CPU_CONNECTION], (get_cpu(relay->byte) - cpu) / (double) rate.n);
}

static void measure_first_byte(Relay *relay) {
        pid_t pid = relay->byte ? relay->byte->child->pid : 0;

        place_server(pid);
        series_add(&relay->series[FIRST_BYTE], load_measure_latency(relay->byte_port, arg_latency_ms).p50_us);
        place_anywhere(pid);
}

static void measure_round_trip(Relay *relay) {
        pid_t pid = relay->stream ? relay->stream->child->pid : 0;

        place_server(pid);
        series_add(&relay->series[ROUND_TRIP],
                   flow_measure_round_trip(relay->stream_port, arg_latency_ms).p50_us);
        place_anywhere(pid);
}

static void measure_bytes_one(Relay *relay) {
        double cpu = get_cpu(relay->stream), rate = flow_measure_bytes(relay->stream_port, 1, arg_bytes_ms);

        series_add(&relay->series[BYTES_ONE], rate);
        series_add(&relay->series[CPU_BYTES],
                   (get_cpu(relay->stream) - cpu) / 1e3 / (rate * arg_bytes_ms / 1e3 / 1e9));
}

static void measure_bytes_many(Relay *relay) {
        series_add(&relay->series[BYTES_MANY], flow_measure_bytes(relay->stream_port, MANY, arg_bytes_ms));
}

static void measure_round(unsigned number, Helper *targets[static N_TARGETS]) {
        static void (*const measures[])(Relay *) = { measure_connections, measure_first_byte,
                                                     measure_round_trip, measure_bytes_one,
                                                     measure_bytes_many };

        for (size_t m = 0; m < G_N_ELEMENTS(measures); m++) {
                bool placed = measures[m] == measure_first_byte || measures[m] == measure_round_trip;

                for (unsigned i = 0; i < N_TARGETS; i++)
                        (placed ? place_server : place_anywhere)(targets[i]->child->pid);
                for (unsigned i = 0; i < N_RELAYS; i++) {
                        /* Every second round goes backwards, so that no relay always follows the same one. */
                        Relay *relay = relays + (number % 2 == 0 ? i : N_RELAYS - 1 - i);

                        if (!relay->missing)
                                measures[m](relay);
                }
        }
}

/* Above 1: better than the relay that it is compared with, for all figures. */
static double get_gain(const Relay *relay, Figure figure) {
        const Series *s = &relay->series[figure], *of = &relays[relay->compared].series[figure];
        Series ratios = figures[figure].more_is_better ? series_divide(s, of) : series_divide(of, s);

        return series_get_median(&ratios);
}

static void print_results(const Series *background) {
        printf("\n%u rounds; %ld CPUs, of which others used %.0f %% (median) before a round\n\n%-28s",
               arg_rounds, sysconf(_SC_NPROCESSORS_ONLN), series_get_median(background) * 100, "");
        for (Figure f = 0; f < N_FIGURES; f++)
                printf(" %22s", figures[f].name);
        putchar('\n');

        for (Relay *relay = relays; relay < relays + N_RELAYS; relay++) {
                printf("%-28s", relay->name);
                if (relay->missing) {
                        printf(" n/a: %s\n", relay->missing);
                        continue;
                }
                for (Figure f = 0; f < N_FIGURES; f++)
                        printf(" %*.1f", f == FIRST_BYTE || f == ROUND_TRIP || f == CPU_CONNECTION ? 21 : 22,
                               series_get_median(&relay->series[f]) * figures[f].scale);
                putchar('\n');
        }

        puts("\ngain over systemd-socket-proxyd, or with a PROXY header over the relay without, round by round (median; "
             "above 1 is better)");
        for (Relay *relay = relays; relay < relays + N_RELAYS; relay++)
                if (relay->compared != DIRECT && !relay->missing && !relays[relay->compared].missing) {
                        printf("%-28s", relay->name);
                        for (Figure f = 0; f < N_FIGURES; f++)
                                printf(" %*.3f",
                                       f == FIRST_BYTE || f == ROUND_TRIP || f == CPU_CONNECTION ? 21 : 22,
                                       get_gain(relay, f));
                        putchar('\n');
                }
}

static bool write_results(const char *path) {
        json_object *o = json_object_new_object();

        json_object_object_add(o, "rounds", json_object_new_int((int) arg_rounds));
        for (Relay *relay = relays; relay < relays + N_RELAYS; relay++) {
                json_object *all = json_object_new_object();

                for (Figure f = 0; f < N_FIGURES; f++)
                        json_object_object_add(all, figures[f].key, series_to_json(&relay->series[f]));
                json_object_object_add(o, relay->key, all);
        }
        return write_json(o, path);
}

int main(int argc, char *argv[]) {
        TestService *service;
        Series background = {};
        Helper *targets[N_TARGETS];
        bool good = true;
        TestBus *bus;

        bench_init(&argc, &argv);
        parse_arguments(argc, argv);

        bus = test_bus_new(NULL);
        service = test_service_new(bus, NULL);
        start_all(bus, targets);
        for (unsigned i = 0; i < arg_rounds; i++) {
                series_add(&background, usage_get_background(100));
                measure_round(i, targets);
        }
        print_results(&background);
        if (arg_json)
                good = write_results(arg_json);

        for (Relay *relay = relays; relay < relays + N_RELAYS; relay++) {
                helper_free(relay->byte);
                helper_free(relay->stream);
        }
        for (unsigned i = 0; i < N_TARGETS; i++)
                helper_free(targets[i]);
        test_service_free(service);
        test_bus_free(bus);
        return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
