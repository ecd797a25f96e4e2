/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* --persistent: the listener stays while the tool and its server are restarted. */

#include <arpa/inet.h>

#include "ctl/serving.h"

#define ANSWER "hello"
#define N_PEERS 4

/* Ends at SIGTERM, but answers each connection that it has accepted. */
static const char server[] = "import os, select, signal, socket\n"
                             "r, w = os.pipe()\n"
                             "os.set_blocking(w, False)\n"
                             "signal.set_wakeup_fd(w)\n"
                             "signal.signal(signal.SIGTERM, lambda *_: None)\n"
                             "s = socket.socket(fileno=3)\n"
                             "s.setblocking(False)\n"
                             "while r not in select.select([r, s], [], [])[0]:\n"
                             "    try:\n"
                             "        c, peer = s.accept()\n"
                             "    except BlockingIOError:\n"
                             "        continue\n"
                             "    c.sendall(b'" ANSWER "')\n"
                             "    c.close()\n";

/* Peers that connect all the time, in threads of their own. */
typedef struct Load {
        uint16_t port;
        int ended;
        int served; /* connections with a whole answer */
        int failed;
        GThread *threads[N_PEERS];
} Load;

static bool is_answered(uint16_t port) {
        struct sockaddr_in in = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char buffer[sizeof(ANSWER)];
        size_t n = 0;
        ssize_t r;

        if (fd < 0 || connect(fd, (const struct sockaddr *) &in, sizeof(in)) < 0)
                return false;
        while (n < sizeof(buffer) && (r = recv(fd, buffer + n, sizeof(buffer) - n, 0)) > 0)
                n += (size_t) r;
        return n == strlen(ANSWER) && memcmp(buffer, ANSWER, n) == 0;
}

static gpointer connect_repeatedly(gpointer data) {
        Load *load = data;

        while (!g_atomic_int_get(&load->ended))
                g_atomic_int_inc(is_answered(load->port) ? &load->served : &load->failed);
        return NULL;
}

static void load_start(Load *load, uint16_t port) {
        *load = (Load) { .port = port };
        for (size_t i = 0; i < N_PEERS; i++)
                load->threads[i] = g_thread_new("peer", connect_repeatedly, load);
}

static void load_end(Load *load) {
        g_atomic_int_set(&load->ended, 1);
        for (size_t i = 0; i < N_PEERS; i++)
                g_thread_join(load->threads[i]);
}

static unsigned get_rounds(void) {
        const char *text = g_getenv("TEST_RESTARTS");

        return text ? (unsigned) atoi(text) : 10;
}

/* The listener of the port, or NULL. */
static json_object *find_listener(json_object *list, uint16_t port) {
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);

                if (json_get_number(o, "localPort") == port)
                        return o;
        }
        return NULL;
}

static void assert_waits_for_an_owner(Fixture *f, uint16_t port) {
        g_autoptr(json_object) list = tool_run_json(f->bus, "list", "-j");
        json_object *listener = find_listener(list, port);

        g_assert_nonnull(listener);
        g_assert_cmpstr(json_get_string(listener, "owner"), ==, "");
}

TEST("a server that restarts under load refuses no connection") {
        g_autofree char *port = g_strdup_printf("%u", test_free_port());
        const char *const *argv = WORDS("listen", "--persistent", port, "--", "python3", "-c", server);
        unsigned rounds = get_rounds();
        uint16_t number;
        Tool *tool = serving_start(f->bus, &number, argv);
        Load load;

        load_start(&load, number);
        for (unsigned i = 0; i <= rounds; i++) {
                int before = g_atomic_int_get(&load.served);

                test_wait_for(g_atomic_int_get(&load.served) >= before + 2 * N_PEERS);
                /* The peers end while a server runs. */
                if (i == rounds)
                        load_end(&load);
                g_assert_cmpint(serving_end(tool, SIGTERM), ==, 0);
                tool_free(tool);
                assert_waits_for_an_owner(f, number);
                if (i < rounds)
                        tool = serving_start(f->bus, &number, argv);
        }

        g_test_message("%u restarts: %i connections answered, %i failed", rounds, load.served, load.failed);
        g_assert_cmpint(load.failed, ==, 0);
        tool_do(f->bus, "close", "python3");
        g_assert_false(test_service_is_listening(f->service, number));
}

TEST_BY_BOTH("the connections in the queue are served after the restart") {
        g_autofree char *port = g_strdup_printf("%u", test_free_port()), *target_port = NULL;
        uint16_t number, target;
        Tool *echo = serving_start(f->bus, &target, WORDS("listen", "--inetd", "0", "--", "cat"));
        target_port = g_strdup_printf("localhost:%u", target);
        const char *const *commands[] = {
                WORDS("relay", "--persistent", delivery, "--no-delay=no", port, target_port),
                WORDS("relay", "--persistent", delivery, "--no-delay", port, target_port),
                WORDS("listen", "--inetd", "--persistent", delivery, port, "--", "cat"),
        };

        for (size_t i = 0; i < ELEMENTS(commands); i++) {
                Tool *tool = serving_start(f->bus, &number, commands[i]);
                _cleanup_close_ int first = test_connect("::1", number);
                serving_assert_echoes(first);
                close_fd(first);
                first = -EBADF;
                (void) serving_end(tool, SIGTERM);
                tool_free(tool);
                assert_waits_for_an_owner(f, number);
                _cleanup_close_ int waiting = test_connect("::1", number);
                tool = serving_start(f->bus, &number, commands[i]);
                serving_assert_echoes(waiting);
                close_fd(waiting);
                waiting = -EBADF;
                (void) serving_end(tool, SIGTERM);
                tool_free(tool);
        }
        g_assert_cmpint(serving_end(echo, SIGTERM), ==, 128 + SIGTERM);
        tool_free(echo);
}

TEST("a listener of other options is not taken up") {
        g_autofree char *port = g_strdup_printf("%u", test_free_port());
        uint16_t number;
        g_autoptr(Tool) tool = serving_start(f->bus, &number,
                                             WORDS("listen", "--persistent", "--inetd", "--delivery=channel",
                                                   "--allow-from=127.0.0.0/8", port, "--", "cat"));

        /* While its tool runs, the port is in use. */
        tool_assert_fails(tool_run(f->bus, "listen", "--persistent", port, "--", "true"), 1, "in use");
        (void) serving_end(tool, SIGTERM);
        tool_assert_fails(tool_run(f->bus, "listen", "--persistent", "--inetd", "--delivery=channel",
                                   "--allow-from=127.0.0.0/8,::1", port, "--", "cat"),
                          1, "has this port, and another value of option --allow-from",
                          "use the options of the process before");
        tool_assert_fails(tool_run(f->bus, "listen", "--persistent", port, "--", "true"), 1,
                          "another value of option --delivery");
        /* A listener that was taken up stays open if the tool fails to start. */
        g_autofree char *taken = test_listen(f->client, 0, -1, NULL),
                        *taken_port = g_strdup_printf("%u", test_get_port(f->client, taken));
        tool_assert_fails(tool_run(f->bus, "listen", "--persistent", "--inetd", "--delivery=channel",
                                   "--allow-from=127.0.0.0/8", port, taken_port, "--", "cat"),
                          1, "in use");
        assert_waits_for_an_owner(f, number);
}

/* It binds the port itself, and cannot have it: --port= makes the tool get it. */
static const char binding_server[] = "import signal, socket, sys\n"
                                     "s = socket.socket()\n"
                                     "s.bind(('127.0.0.1', int(sys.argv[1])))\n"
                                     "s.listen()\n"
                                     "print('ready', flush=True)\n"
                                     "while True:\n"
                                     "    c, peer = s.accept()\n"
                                     "    c.sendall(b'" ANSWER "')\n"
                                     "    c.close()\n";

TEST("an unmodified server finds its queue after the restart") {
        uint16_t number = test_free_port();
        g_autofree char *port = g_strdup_printf("%u", number), *option = g_strdup_printf("--port=%u", number);
        const char *const *argv = WORDS("run", "--persistent", option, "python3", "-c", binding_server, port);
        _cleanup_close_ int waiting = -EBADF;

        for (unsigned i = 0; i < 3; i++) {
                g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0, argv);

                test_wait_for(tool_has_written(tool, "ready\n"));
                if (waiting >= 0)
                        test_expect(waiting, ANSWER);
                waiting = close_fd(waiting);
                _cleanup_close_ int peer = test_connect("127.0.0.1", number);
                test_expect(peer, ANSWER);
                g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
                assert_waits_for_an_owner(f, number);
                waiting = test_connect("127.0.0.1", number);
        }
}
