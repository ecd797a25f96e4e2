/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/rows.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/load.h"
#include "bus/loop.h"
#include "bus/net.h"

static void ignore(const char *text) {
}

void bench_init(int *argc, char ***argv) {
        g_set_print_handler(ignore);
        test_init(argc, argv);
}

char *helper_find(const char *name) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *directory = self ? g_path_get_dirname(self) : g_strdup(".");
        g_autofree char *beside = g_build_filename(directory, name, NULL);

        return access(beside, X_OK) == 0 ? g_steal_pointer(&beside) : g_find_program_in_path(name);
}

Helper *helper_start(const char *const *argv, TestBus *bus, const char *log_name) {
        g_autofree char *directory = test_make_directory(log_name);
        g_autofree char *program = helper_find(argv[0]);
        g_autofree char *address = bus ? g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(bus))
                                       : g_strdup("DBUS_SYSTEM_BUS_ADDRESS");
        /* One line of log for each connection would cost time. */
        const char *environment[] = { address, "DBUS_SESSION_BUS_ADDRESS", "SYSTEMD_LOG_LEVEL=err", NULL };
        g_autoptr(GPtrArray) arguments = g_ptr_array_new();
        Helper *h = g_new0(Helper, 1);
        TestSpawn how = { .environment = environment };

        g_assert_nonnull(program);
        g_ptr_array_add(arguments, program);
        for (const char *const *argument = argv + 1; *argument; argument++)
                g_ptr_array_add(arguments, (char *) *argument);
        g_ptr_array_add(arguments, NULL);

        h->log = g_build_filename(directory, "log", NULL);
        how.log = h->log;
        h->child = test_child_new((const char *const *) arguments->pdata, &how);
        return h;
}

static char **read_lines(Helper *h) {
        char *content = NULL, **lines;

        if (!g_file_get_contents(h->log, &content, NULL, NULL))
                content = g_strdup("");
        lines = g_strsplit(g_strchomp(content), "\n", -1);
        g_free(content);
        return lines;
}

static void keep_last_line(Helper *h) {
        g_auto(GStrv) lines = read_lines(h);

        for (char **line = lines; *line; line++)
                if (**line != '\0' && !streq(*line, "ready")) {
                        g_free(h->last_line);
                        h->last_line = g_strdup(*line);
                }
        if (!h->last_line)
                h->last_line = g_strdup_printf("ended with status %d, and without a word", h->child->status);
}

bool helper_wait_ready(Helper *h, unsigned milliseconds) {
        test_wait_for_within(milliseconds,
                             test_child_has_exited(h->child) || test_file_contains(h->log, "ready\n"));
        keep_last_line(h);
        return !test_child_has_exited(h->child);
}

GArray *helper_read_ports(Helper *h) {
        GArray *ports = g_array_new(false, false, sizeof(uint16_t));
        g_auto(GStrv) lines = read_lines(h);

        for (char **line = lines; *line; line++) {
                uint16_t port = (uint16_t) g_ascii_strtoull(*line, NULL, 10);

                if (port > 0)
                        g_array_append_val(ports, port);
        }
        return ports;
}

void helper_free(Helper *h) {
        if (!h)
                return;
        test_child_free(h->child);
        g_free(h->log);
        g_free(h->last_line);
        g_free(h);
}

sd_bus *helper_connect(TestBus *bus) {
        sd_bus *connection = NULL;

        g_assert_cmpint(sd_bus_new(&connection), >=, 0);
        g_assert_cmpint(sd_bus_set_address(connection, test_bus_address(bus)), >=, 0);
        g_assert_cmpint(sd_bus_set_bus_client(connection, true), >=, 0);
        g_assert_cmpint(sd_bus_start(connection), >=, 0);
        return connection;
}

#define READY_MS 10000U

/* What rows are started with. */
typedef struct Place {
        TestBus *bus;
        TestService *service;
        const char *handler;        /* of the forking servers */
        const char *static_handler; /* or NULL */
} Place;

static void miss(Row *row, const char *why) {
        g_free(row->missing);
        row->missing = g_strdup(why);
}

/* Waits until the helper has printed its port, or has ended. */
static bool take_port(Row *row, Helper *helper) {
        if (!helper_wait_ready(helper, READY_MS)) {
                miss(row, helper->last_line);
                return false;
        }
        row->port = (uint16_t) g_ascii_strtoull(helper->last_line, NULL, 10);
        return true;
}

/* --- The limits, and the deliveries --- */

static void start_bare_accept(Row *row, const Place *place) {
        const char *const argv[] = { "bench-server", "accept", NULL };

        row->helper = helper_start(argv, NULL, row->key);
        if (take_port(row, row->helper))
                row->processes.client = row->helper->child->pid;
}

static void start_bare(Row *row, const Place *place, const char *take, const char *send) {
        const char *const receiver[] = { "bench-server", take, NULL };

        row->helper = helper_start(receiver, place->bus, take);
        if (!helper_wait_ready(row->helper, READY_MS)) {
                miss(row, row->helper->last_line);
                return;
        }

        const char *const sender[] = { "bench-server", send, row->helper->last_line, NULL };
        row->sender = helper_start(sender, place->bus, send);
        if (take_port(row, row->sender))
                row->processes = (RowProcesses) { .service = row->sender->child->pid,
                                                  .bus = rows_get_bus_pid(place->bus),
                                                  .client = row->helper->child->pid };
}

static void start_bare_bus(Row *row, const Place *place) {
        start_bare(row, place, "take-signals", "send-signals");
}

static void start_bare_call(Row *row, const Place *place) {
        start_bare(row, place, "take-calls", "send-calls");
}

static void start_client(Row *row, const Place *place, const char *program) {
        const char *const argv[] = { program, row->key, NULL };

        row->helper = helper_start(argv, place->bus, row->key);
        if (take_port(row, row->helper))
                row->processes = (RowProcesses) { .service = test_service_pid(place->service),
                                                  .bus = rows_get_bus_pid(place->bus),
                                                  .client = row->helper->child->pid };
}

static void start_delivery(Row *row, const Place *place) {
        start_client(row, place, "bench-server");
}

static void start_library(Row *row, const Place *place) {
        g_autofree char *program = helper_find("bench-glib");

        if (program)
                start_client(row, place, "bench-glib");
        else
                miss(row, "built without the client library");
}

/* --- The forking servers, each set up for speed: no look-ups, no logs, no limits, a long queue --- */

static void start_forking(Row *row, const char *const *argv) {
        g_autofree char *program = g_find_program_in_path(argv[0]);

        if (!program) {
                miss(row, "not installed");
                return;
        }

        row->helper = helper_start(argv, NULL, row->key);
        test_wait_for(test_child_has_exited(row->helper->child) ||
                      test_is_listening(row->helper->child->pid, row->port));
        if (test_child_has_exited(row->helper->child)) {
                g_autofree char *why = g_strdup_printf("ended with status %d", row->helper->child->status);

                miss(row, why);
                return;
        }
        row->processes.service = row->helper->child->pid;
}

static char *choose_port(Row *row) {
        row->port = test_free_port();
        return g_strdup_printf("%u", row->port);
}

static void start_tcpserver_with(Row *row, const char *handler) {
        g_autofree char *port = choose_port(row);
        /* -H -R -l 0: no look-ups of names. */
        const char *const argv[] = { "tcpserver", "-q", "-H",   "-R",        "-l", "0",     "-c",
                                     "1000",      "-b", "1000", "127.0.0.1", port, handler, NULL };

        start_forking(row, argv);
}

static void start_tcpserver(Row *row, const Place *place) {
        start_tcpserver_with(row, place->handler);
}

static void start_tcpserver_static(Row *row, const Place *place) {
        if (place->static_handler)
                start_tcpserver_with(row, place->static_handler);
        else
                miss(row, "no static libc");
}

static void start_socket_activate(Row *row, const Place *place) {
        g_autofree char *port = choose_port(row);
        g_autofree char *address = g_strdup_printf("--listen=127.0.0.1:%s", port);
        const char *const argv[] = {
                "systemd-socket-activate", "--accept", "--inetd", address, place->handler, NULL
        };

        start_forking(row, argv);
}

static void start_socat(Row *row, const Place *place) {
        g_autofree char *port = choose_port(row);
        g_autofree char *from = g_strdup_printf("TCP4-LISTEN:%s,bind=127.0.0.1,fork,backlog=1000", port);
        /* The handler gets the connection itself, instead of a socat that copies to and fro. */
        g_autofree char *to = g_strdup_printf("EXEC:%s,nofork", place->handler);
        const char *const argv[] = { "socat", from, to, NULL };

        start_forking(row, argv);
}

static void start_xinetd(Row *row, const Place *place) {
        g_autofree char *port = choose_port(row);
        g_autofree char *directory = test_make_directory(row->key);
        g_autofree char *path = g_build_filename(directory, "xinetd.conf", NULL);
        g_autofree char *pid_file = g_build_filename(directory, "pid", NULL);
        g_autofree char *config = g_strdup_printf("service hello\n{\n"
                                                  "  type = UNLISTED\n"
                                                  "  socket_type = stream\n"
                                                  "  protocol = tcp\n"
                                                  "  bind = 127.0.0.1\n"
                                                  "  port = %s\n"
                                                  "  wait = no\n"
                                                  "  user = %s\n"
                                                  "  server = %s\n"
                                                  "  instances = UNLIMITED\n"
                                                  "  per_source = UNLIMITED\n"
                                                  "  cps = 1000000 1\n"
                                                  "}\n",
                                                  port, g_get_user_name(), place->handler);
        const char *const argv[] = { "xinetd", "-dontfork", "-f", path, "-pidfile", pid_file, NULL };

        g_assert_true(g_file_set_contents(path, config, -1, NULL));
        start_forking(row, argv);
}

/* --- All of them --- */

/* The key of a delivery is an argument of bench-server, or of bench-glib. */
static const struct {
        const char *name;
        const char *key;
        void (*start)(Row *row, const Place *place);
} kinds[N_ROWS] = {
        [ROW_BARE_ACCEPT] = { "bare accept loop", "bare-accept", start_bare_accept },
        [ROW_SOCKET] = { "socket", "socket", start_delivery },
        [ROW_GLIB_SOCKET] = { "client library, socket", "glib-socket", start_library },
        [ROW_CHANNEL] = { "channel", "channel", start_delivery },
        [ROW_CHANNEL_BATCH] = { "channel, 16 a packet", "channel-batch", start_delivery },
        [ROW_PULL] = { "pull, 16 a call", "pull", start_delivery },
        [ROW_BARE_BUS] = { "bare bus", "bare-bus", start_bare_bus },
        [ROW_SIGNAL] = { "signal", "signal", start_delivery },
        [ROW_BARE_CALL] = { "bare call", "bare-call", start_bare_call },
        [ROW_CALL] = { "call", "call", start_delivery },
        [ROW_GLIB_CALL] = { "client library, call", "glib-call", start_library },
        [ROW_TCPSERVER] = { "tcpserver", "tcpserver", start_tcpserver },
        [ROW_SOCKET_ACTIVATE] = { "systemd-socket-activate", "socket-activate", start_socket_activate },
        [ROW_SOCAT] = { "socat", "socat", start_socat },
        [ROW_XINETD] = { "xinetd", "xinetd", start_xinetd },
        [ROW_TCPSERVER_STATIC] = { "tcpserver, static hello", "tcpserver-static", start_tcpserver_static },
};

pid_t rows_get_bus_pid(TestBus *bus) {
        pid_t launcher = test_bus_pid(bus);
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int) launcher, (int) launcher);
        g_autofree char *children = NULL;

        if (test_bus_is_broker() && g_file_get_contents(path, &children, NULL, NULL) && children[0] != '\0')
                return (pid_t) g_ascii_strtoll(children, NULL, 10);
        return launcher;
}

void rows_start(Row rows[static N_ROWS], TestBus *bus, TestService *service, RowFilter is_wanted) {
        g_autofree char *handler = helper_find("bench-hello");
        g_autofree char *static_handler = helper_find("bench-hello-static");
        const Place place = {
                .bus = bus, .service = service, .handler = handler, .static_handler = static_handler
        };

        for (RowId id = 0; id < N_ROWS; id++) {
                Row *row = rows + id;

                *row = (Row) { .id = id, .name = kinds[id].name, .key = kinds[id].key };
                row->left_out = !is_wanted(row->key);
                if (row->left_out)
                        continue;
                kinds[id].start(row, &place);
                /* The first connection may cost a set-up, and shows whether the row works. */
                if (!row->missing && load_probe(row->port) == 0)
                        miss(row, "does not answer");
        }
}

void rows_free(Row rows[static N_ROWS]) {
        for (RowId id = 0; id < N_ROWS; id++)
                g_clear_pointer(&rows[id].missing, g_free);
}

void rows_stop(Row rows[static N_ROWS]) {
        for (RowId id = 0; id < N_ROWS; id++) {
                g_clear_pointer(&rows[id].sender, helper_free);
                g_clear_pointer(&rows[id].helper, helper_free);
        }
}

/* After this time, all work for the last connections is done. */
#define SETTLE_MS 20U

static void note_drops(const Row *row, unsigned number, const Drops *before, GPtrArray *notes) {
        Drops after = usage_get_drops();
        uint64_t overflows = after.listen_overflows - before->listen_overflows;
        uint64_t drops = after.listen_drops - before->listen_drops;
        uint64_t retransmissions = after.syn_retransmissions - before->syn_retransmissions;

        if (overflows + drops + retransmissions > 0)
                g_ptr_array_add(notes, g_strdup_printf("round %u, %s: %" PRIu64 " listen overflows, %" PRIu64
                                                       " dropped and %" PRIu64 " retransmitted SYNs",
                                                       number, row->name, overflows, drops, retransmissions));
}

static void note_failures(Row *row,
                          unsigned number,
                          uint64_t n,
                          uint64_t failed,
                          uint64_t stuck,
                          GPtrArray *notes) {
        row->n += n;
        row->failed += failed + stuck;
        if (failed + stuck > 0)
                g_ptr_array_add(notes, g_strdup_printf("round %u, %s: of %" PRIu64 " connections %" PRIu64
                                                       " failed and %" PRIu64 " did not end",
                                                       number, row->name, n, failed, stuck));
}

typedef struct CpuTimes {
        double service, bus, client;
} CpuTimes;

/* For a forking server, the handlers, its children, take the place of the client. */
static CpuTimes get_cpu_times(const Row *row) {
        return (CpuTimes) {
                .service = usage_get_cpu(row->processes.service),
                .bus = usage_get_cpu(row->processes.bus),
                .client = row_is_forking(row) ? usage_get_children_cpu(row->processes.service)
                                              : usage_get_cpu(row->processes.client),
        };
}

static void measure_rate(Row *row, const RoundPlan *plan, unsigned number, GPtrArray *notes) {
        CpuTimes before = get_cpu_times(row), after;
        Drops drops = usage_get_drops();
        LoadRate load;

        load = load_measure_rate(row->port, plan->rate_ms);
        g_usleep(SETTLE_MS * 1000);
        after = get_cpu_times(row);

        note_drops(row, number, &drops, notes);
        note_failures(row, number, load.n, load.failed, load.stuck, notes);
        if (load.n == 0) {
                row->missing = g_strdup("stopped answering");
                return;
        }
        series_add(&row->rate, load.rate);
        series_add(&row->service_cpu, (after.service - before.service) / (double) load.n);
        series_add(&row->bus_cpu, (after.bus - before.bus) / (double) load.n);
        series_add(&row->client_cpu, (after.client - before.client) / (double) load.n);
}

static void place_row(const Row *row, void (*place)(pid_t pid)) {
        place(row->processes.service);
        place(row->processes.bus);
        place(row->processes.client);
}

static void measure_latency(Row *row, const RoundPlan *plan, unsigned number, GPtrArray *notes) {
        Drops drops = usage_get_drops();
        LoadLatency load;

        place_row(row, place_server);
        load = load_measure_latency(row->port, plan->latency_ms);
        place_row(row, place_anywhere);
        g_usleep(SETTLE_MS * 1000);

        note_drops(row, number, &drops, notes);
        note_failures(row, number, load.n, load.failed, 0, notes);
        if (load.n == 0) {
                row->missing = g_strdup("stopped answering");
                return;
        }
        series_add(&row->p50, load.p50_us);
        series_add(&row->p99, load.p99_us);
}

void round_measure(Row rows[static N_ROWS], const RoundPlan *plan, unsigned number, GPtrArray *notes) {
        void (*const measures[])(Row *, const RoundPlan *, unsigned, GPtrArray *) = { measure_rate,
                                                                                      measure_latency };

        for (size_t m = 0; m < G_N_ELEMENTS(measures); m++)
                for (unsigned i = 0; i < N_ROWS; i++) {
                        /* Every second round goes backwards, so that no row always follows xinetd. */
                        Row *row = rows + (number % 2 == 1 ? i : N_ROWS - 1 - i);

                        if (row_is_there(row))
                                measures[m](row, plan, number, notes);
                }
}

void rounds_measure_memory(Row rows[static N_ROWS]) {
        for (Row *row = rows; row < rows + N_ROWS; row++) {
                row->service_rss = usage_get_rss(row->processes.service);
                row->service_pss = usage_get_pss(row->processes.service);
                row->bus_rss = usage_get_rss(row->processes.bus);
                row->bus_pss = usage_get_pss(row->processes.bus);
                row->client_rss = usage_get_rss(row->processes.client);
                row->client_pss = usage_get_pss(row->processes.client);
        }
}
