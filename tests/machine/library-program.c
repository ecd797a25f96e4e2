/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program with the client library, for test-library.c:
 *
 *     library-program [OPTION…] attach|incoming|accept PORT
 *     library-program peers PORT NUMBER
 *
 * The first is a server, which returns the number that a peer sends, and reports events, one line each:
 *
 *     listening PORT by the service|by itself
 *     error NAME: TEXT
 *     closed REASON: TEXT
 *     served NUMBER, NUMBER twice, NUMBER without a number
 *     no socket: TEXT
 *
 * SIGUSR1 cancels the call, SIGUSR2 asks for the line "served", and SIGTERM ends the program.
 *
 * The second connects peers, eight at a time: at least so many, and until SIGTERM. It reports each thousand
 * that was served, and in the end
 *
 *     NUMBER of NUMBER were served
 */

#include <arpa/inet.h>
#include <glib-unix.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tss.h>
#include <unistd.h>

#define PEERS 8U

static void report(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void report(const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        (void) vprintf(format, arguments);
        va_end(arguments);
        (void) putchar('\n');
        (void) fflush(stdout);
}

/* -------------------------------------------------------------------------------------------- the server */

typedef struct Server {
        GMainLoop *loop;
        GCancellable *cancellable;
        TssListener *listener;
        GSocketService *service;
        const char *mode;
        gboolean wants_socket;

        GHashTable *numbers; /* of peers that were served */
        unsigned n_twice;
        unsigned n_empty;
} Server;

static void serve(Server *s, GSocketConnection *connection) {
        GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
        GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
        guint32 number;
        gsize n;

        if (!g_input_stream_read_all(in, &number, sizeof(number), &n, NULL, NULL) || n != sizeof(number))
                s->n_empty++;
        else if (!g_hash_table_add(s->numbers, GUINT_TO_POINTER(number)))
                s->n_twice++;
        (void) g_output_stream_write_all(out, &number, n, NULL, NULL, NULL);
        (void) g_io_stream_close(G_IO_STREAM(connection), NULL, NULL);
}

static gboolean on_service_incoming(GSocketService *service,
                                    GSocketConnection *connection,
                                    GObject *source,
                                    gpointer data) {
        serve(data, connection);
        return TRUE;
}

static void on_incoming(TssListener *listener, GSocketConnection *connection, gpointer data) {
        serve(data, connection);
}

static void on_accepted(GObject *source, GAsyncResult *result, gpointer data) {
        Server *s = data;
        g_autoptr(GError) error = NULL;
        g_autoptr(GSocketConnection)
                        connection = tss_listener_accept_finish(TSS_LISTENER(source), result, &error);

        if (!connection) {
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CLOSED);
                return;
        }

        serve(s, connection);
        tss_listener_accept_async(TSS_LISTENER(source), NULL, on_accepted, s);
}

static const char *get_nick(GType type, int value) {
        g_autoptr(GEnumClass) class = g_type_class_ref(type);

        return g_enum_get_value(class, value)->value_nick;
}

/* The server continues to run, to report a second signal. */
static void on_closed(TssListener *listener, TssCloseReason reason, const char *text, gpointer data) {
        report("closed %s: %s", get_nick(TSS_TYPE_CLOSE_REASON, (int) reason), text);
}

static void fail(Server *s, const GError *error) {
        GType type = error->domain == TSS_ERROR ? TSS_TYPE_ERROR : G_TYPE_IO_ERROR_ENUM;

        report("error %s: %s", get_nick(type, error->code), error->message);
        g_main_loop_quit(s->loop);
}

static void start(Server *s, TssListener *listener) {
        g_autoptr(GError) error = NULL;

        s->listener = listener;
        g_signal_connect(listener, "closed", G_CALLBACK(on_closed), s);
        if (g_str_equal(s->mode, "attach")) {
                g_signal_connect(s->service, "incoming", G_CALLBACK(on_service_incoming), s);
                if (!tss_listener_attach(listener, G_SOCKET_LISTENER(s->service), NULL, &error))
                        fail(s, error);
        } else if (g_str_equal(s->mode, "incoming"))
                g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), s);
        else
                tss_listener_accept_async(listener, NULL, on_accepted, s);

        if (s->wants_socket) {
                g_assert_null(tss_listener_get_socket(listener, NULL));
                g_assert_cmpint(tss_listener_dup_fd(listener, &error), ==, -1);
                g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
                report("no socket: %s", error->message);
        }

        report("listening %u %s", tss_listener_get_port(listener),
               tss_listener_get_is_local(listener) ? "by itself" : "by the service");
}

static void on_listening(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(GError) error = NULL;
        TssListener *listener = tss_listen_finish(result, &error);

        if (listener)
                start(data, listener);
        else
                fail(data, error);
}

static void on_adopted(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(GError) error = NULL;
        TssListener *listener = tss_listener_adopt_finish(result, &error);

        if (listener)
                start(data, listener);
        else
                fail(data, error);
}

static void on_listed(GObject *source, GAsyncResult *result, gpointer data) {
        Server *s = data;
        g_autoptr(GError) error = NULL;
        GList *infos = tss_list_listeners_finish(result, &error);

        g_assert_no_error(error);
        g_assert_cmpuint(g_list_length(infos), ==, 1);
        tss_listener_adopt_async(infos->data, s->cancellable, on_adopted, s);
        g_list_free_full(infos, g_object_unref);
}

static gboolean on_cancel(gpointer data) {
        g_cancellable_cancel(((Server *) data)->cancellable);
        return G_SOURCE_CONTINUE;
}

static gboolean on_count(gpointer data) {
        Server *s = data;

        report("served %u, %u twice, %u without a number", g_hash_table_size(s->numbers), s->n_twice,
               s->n_empty);
        return G_SOURCE_CONTINUE;
}

static gboolean on_end(gpointer data) {
        g_main_loop_quit(((Server *) data)->loop);
        return G_SOURCE_CONTINUE;
}

static int run_server(int argc, char **argv) {
        gboolean interactive = FALSE, service_only = FALSE, persistent = FALSE, adopt = FALSE;
        g_autofree char *interface = NULL;
        Server s = { 0 };
        const GOptionEntry entries[] = {
                { "interactive", 0, 0, G_OPTION_ARG_NONE, &interactive, NULL, NULL },
                { "service-only", 0, 0, G_OPTION_ARG_NONE, &service_only, NULL, NULL },
                { "persistent", 0, 0, G_OPTION_ARG_NONE, &persistent, NULL, NULL },
                { "adopt", 0, 0, G_OPTION_ARG_NONE, &adopt, NULL, NULL },
                { "interface", 0, 0, G_OPTION_ARG_STRING, &interface, NULL, NULL },
                { "socket", 0, 0, G_OPTION_ARG_NONE, &s.wants_socket, NULL, NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);
        g_autoptr(TssOptions) options = tss_options_new();

        g_option_context_add_main_entries(context, entries, NULL);
        if (!g_option_context_parse(context, &argc, &argv, NULL) || argc != 3)
                return EXIT_FAILURE;

        s.loop = g_main_loop_new(NULL, FALSE);
        s.cancellable = g_cancellable_new();
        s.service = g_socket_service_new();
        s.numbers = g_hash_table_new(NULL, NULL);
        s.mode = argv[1];
        (void) g_unix_signal_add(SIGUSR1, on_cancel, &s);
        (void) g_unix_signal_add(SIGUSR2, on_count, &s);
        (void) g_unix_signal_add(SIGTERM, on_end, &s);

        g_object_set(options, "persistent", persistent, "interface", interface, NULL);
        if (adopt)
                tss_list_listeners_async(s.cancellable, on_listed, &s);
        else
                tss_listen_async(options, (guint16) atoi(argv[2]),
                                 (interactive ? TSS_LISTEN_FLAGS_INTERACTIVE : 0) |
                                                 (service_only ? TSS_LISTEN_FLAGS_SERVICE_ONLY : 0),
                                 s.cancellable, on_listening, &s);
        g_main_loop_run(s.loop);

        g_clear_object(&s.listener);
        g_clear_object(&s.service);
        g_object_unref(s.cancellable);
        g_hash_table_unref(s.numbers);
        g_main_loop_unref(s.loop);
        return EXIT_SUCCESS;
}

/* --------------------------------------------------------------------------------------------- the peers */

typedef struct Peers {
        guint16 port;
        unsigned n;
        unsigned n_started, n_served; /* atomic */
} Peers;

static volatile sig_atomic_t must_end;

static void on_term(int signal_number) {
        must_end = TRUE;
}

static gboolean run_peer(const Peers *peers, guint32 number) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(peers->port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        guint32 answer;
        gboolean served;

        g_assert_cmpint(fd, >=, 0);
        served = connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0 &&
                 send(fd, &number, sizeof(number), MSG_NOSIGNAL) == sizeof(number) &&
                 recv(fd, &answer, sizeof(answer), MSG_WAITALL) == sizeof(answer) && answer == number &&
                 recv(fd, &answer, 1, 0) == 0;
        (void) close(fd);
        return served;
}

static gpointer run_peers(gpointer data) {
        Peers *peers = data;

        while (!must_end) {
                guint32 number = (guint32) g_atomic_int_add(&peers->n_started, 1);

                if (peers->n > 0 && number >= peers->n)
                        break;
                if (run_peer(peers, number) && (g_atomic_int_add(&peers->n_served, 1) + 1) % 1000 == 0)
                        report("%u", (unsigned) g_atomic_int_get(&peers->n_served));
        }
        return NULL;
}

static int run_all_peers(char **argv) {
        Peers peers = { .port = (guint16) atoi(argv[2]), .n = (unsigned) atoi(argv[3]) };
        const struct sigaction action = { .sa_handler = on_term, .sa_flags = SA_RESTART };
        GThread *threads[PEERS];

        g_assert_no_errno(sigaction(SIGTERM, &action, NULL));
        for (unsigned i = 0; i < PEERS; i++)
                threads[i] = g_thread_new("peer", run_peers, &peers);
        for (unsigned i = 0; i < PEERS; i++)
                (void) g_thread_join(threads[i]);
        report("%u of %u were served", peers.n_served, peers.n > 0 ? peers.n : peers.n_started);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        return argc == 4 && g_str_equal(argv[1], "peers") ? run_all_peers(argv) : run_server(argc, argv);
}
