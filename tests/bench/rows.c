/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/rows.h"

#include "bench/load.h"
#include "bus/loop.h"
#include "bus/net.h"

#define READY_MS 10000U

/* What there is to start a row with. */
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

/* Waits for a helper that says its port, or why not. */
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
        const char *const argv[] = { "bench-bare", "accept", NULL };

        row->helper = helper_start(argv, NULL, row->key);
        if (take_port(row, row->helper))
                row->processes.client = row->helper->child->pid;
}

static void start_bare_bus(Row *row, const Place *place) {
        const char *const receiver[] = { "bench-client", "bare", NULL };

        row->helper = helper_start(receiver, place->bus, "bare-receiver");
        if (!helper_wait_ready(row->helper, READY_MS)) {
                miss(row, row->helper->last_line);
                return;
        }

        const char *const sender[] = { "bench-bare", "send", row->helper->last_line, NULL };
        row->sender = helper_start(sender, place->bus, "bare-sender");
        if (take_port(row, row->sender))
                row->processes = (RowProcesses) { .service = row->sender->child->pid,
                                                  .bus = rows_get_bus_pid(place->bus),
                                                  .client = row->helper->child->pid };
}

static void start_delivery(Row *row, const Place *place) {
        const char *const argv[] = { "bench-client", row->key, NULL };

        row->helper = helper_start(argv, place->bus, row->key);
        if (take_port(row, row->helper))
                row->processes = (RowProcesses) { .service = test_service_pid(place->service),
                                                  .bus = rows_get_bus_pid(place->bus),
                                                  .client = row->helper->child->pid };
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

/* A delivery's key is also its name. */
static const struct {
        const char *name;
        const char *key;
        void (*start)(Row *row, const Place *place);
} kinds[N_ROWS] = {
        [ROW_BARE_ACCEPT] = { "bare accept loop", "bare-accept", start_bare_accept },
        [ROW_SOCKET] = { "socket", "socket", start_delivery },
        [ROW_CHANNEL] = { "channel", "channel", start_delivery },
        [ROW_PULL] = { "pull, 16 a call", "pull", start_delivery },
        [ROW_BARE_BUS] = { "bare bus", "bare-bus", start_bare_bus },
        [ROW_SIGNAL] = { "signal", "signal", start_delivery },
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
                /* The first one may have much to set up, and shows whether it works at all. */
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
