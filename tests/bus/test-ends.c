/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ends of owners, of the service and of the bus, owners that stall, and their connections. */

#include <sys/resource.h>

#include "bus/fixture.h"

#define PEERS 28U

/* ---- A client that is a process of its own: this program, as CLIENT_ARGUMENT. ---- */

#define CLIENT_ARGUMENT "--be-a-client"

static int on_accept_socket(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        /* Kept as long as the process lives, and with it the connection. */
        sd_bus_message_ref(message);
        puts("accepted");
        return 0;
}

/* The child has copies of all descriptors, the socket of the bus among them. */
static void leave_to_child(void) {
        pid_t pid = fork();

        g_assert_no_errno(pid);
        if (pid == 0) {
                printf("child %d.\n", (int) getpid());
                for (;;)
                        (void) pause();
        }
        _exit(EXIT_SUCCESS);
}

/* The test waits for lines of standard output. */
static void be_a_client(const char *what) {
        bool acknowledge = what && streq(what, "acknowledge");
        g_autoptr(sd_bus_message) message = NULL, reply = NULL;
        const char *listener;
        uint16_t port;
        sd_bus *bus;

        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        must(sd_bus_open_system(&bus));
        must(sd_bus_match_signal(bus, NULL, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                 "AcceptSocket", on_accept_socket, NULL));
        must(sd_bus_message_new_method_call(bus, &message, TEST_BUS_NAME, TEST_MANAGER_PATH,
                                            TEST_MANAGER_INTERFACE, "Listen"));
        must(sd_bus_message_append(message, "ia{sv}i", 0, 1, "acknowledge", "b", acknowledge, -1));
        must(sd_bus_call(bus, message, 0, NULL, &reply));
        must(sd_bus_message_read(reply, "o", &listener));
        must(sd_bus_get_property_trivial(bus, TEST_BUS_NAME, listener, TEST_LISTENER_INTERFACE, "LocalPort",
                                         NULL, 'q', &port));
        printf("port %u.\n", port);
        if (what && streq(what, "fork"))
                leave_to_child();

        for (;;) {
                int r = sd_bus_process(bus, NULL);

                must(r);
                if (r == 0)
                        must(sd_bus_wait(bus, UINT64_MAX));
        }
}

typedef struct Process {
        TestChild *child;
        char *log;
        uint16_t port;
} Process;

static Process process_start_with(Fixture *f, const char *what, TestChildSetup setup) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        const char *const environment[] = { address, NULL };
        const char *const argv[] = { "/proc/self/exe", CLIENT_ARGUMENT, what, NULL };
        Process p = { .log = g_build_filename(test_bus_directory(f->bus), "client.log", NULL) };
        const TestSpawn options = { .environment = environment, .log = p.log, .setup = setup };

        p.child = test_child_new(argv, &options);
        test_wait_for(test_child_has_exited(p.child) || test_file_contains(p.log, ".\n"));
        g_autofree char *output = test_read_file(p.log);
        g_assert_cmpint(sscanf(output, "port %hu.", &p.port), ==, 1);
        return p;
}

static Process process_start(Fixture *f, bool acknowledge) {
        return process_start_with(f, acknowledge ? "acknowledge" : NULL, NULL);
}

static void process_done(Process *p) {
        test_child_free(p->child);
        g_free(p->log);
}

static void assert_is_free(Fixture *f, uint16_t port) {
        test_wait_for(!test_service_is_listening(f->service, port));
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

static void assert_carries(int peer, TestAccepted *accepted) {
        test_assert_connected(peer, accepted->socket);
}

static void connect_all(uint16_t port, int peers[static PEERS]) {
        for (size_t i = 0; i < PEERS; i++)
                peers[i] = test_connect("::1", port);
}

static void close_all(int peers[static PEERS]) {
        for (size_t i = 0; i < PEERS; i++)
                close_fd(peers[i]);
}

/* ---- Owners ---- */

static void kill_a_process(Fixture *f, bool acknowledge) {
        unsigned fds = test_service_count_fds(f->service);
        Process p = process_start(f, acknowledge);
        _cleanup_close_ int peer = test_connect("::1", p.port);

        test_wait_for(test_file_contains(p.log, "accepted"));
        test_child_signal(p.child, SIGKILL);
        (void) test_wait_end(peer);
        assert_is_free(f, p.port);
        test_wait_for(test_service_count_fds(f->service) == fds);
        process_done(&p);
}

TEST("the port of a killed owner is free") {
        kill_a_process(f, false);
}

TEST("the unacknowledged connection of a killed owner ends") {
        kill_a_process(f, true);
}

#define FEW 12U

static void limit_descriptors(void *data) {
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &(struct rlimit) { FEW, FEW }));
}

static unsigned count_logged(TestService *service, const char *text) {
        g_autofree char *log = test_service_log(service);
        unsigned n = 0;

        for (const char *p = log; (p = strstr(p, text)); p++)
                n++;
        return n;
}

/* It keeps its connections until a message is truncated; its library then leaves the bus. */
TEST("the connections of an owner that runs out of descriptors are lost by its end") {
        Process p = process_start_with(f, "acknowledge", limit_descriptors);
        unsigned n_accepted;
        int peers[PEERS];

        /* It must not leave before all have connected. */
        test_child_signal(p.child, SIGSTOP);
        connect_all(p.port, peers);
        test_child_signal(p.child, SIGCONT);
        test_wait_for(test_child_has_exited(p.child) || test_service_has_logged(f->service, "for 5 seconds"));
        if (!test_child_has_exited(p.child)) {
                /* Since version 262 at the latest, libsystemd drops the message only. */
                g_test_skip("needs a library that leaves the bus when a message is truncated");
                process_done(&p);
                close_all(peers);
                return;
        }

        assert_is_free(f, p.port);
        for (size_t i = 0; i < PEERS; i++)
                (void) test_wait_end(peers[i]);
        g_autofree char *output = test_read_file(p.log);
        n_accepted = 0;
        for (const char *s = output; (s = strstr(s, "accepted")); s++)
                n_accepted++;
        g_assert_cmpuint(n_accepted, >, 0);
        g_assert_cmpuint(n_accepted, <, FEW);

        /* Also the one in the truncated message. */
        test_client_sync_service(f->client);
        g_assert_cmpuint(count_logged(f->service, "lost: its client left the bus"), >, n_accepted);
        process_done(&p);
        close_all(peers);
}

TEST("a child that has inherited the socket of the bus keeps the port open") {
        Process p = process_start_with(f, "fork", NULL);
        int pid;

        test_wait_for(test_file_contains(p.log, "child ") && test_child_has_exited(p.child));
        g_autofree char *output = test_read_file(p.log);
        g_assert_cmpint(sscanf(strstr(output, "child "), "child %d.", &pid), ==, 1);
        test_client_sync_service(f->client);
        g_assert_true(test_service_is_listening(f->service, p.port));

        g_assert_no_errno(kill(pid, SIGKILL));
        assert_is_free(f, p.port);
        process_done(&p);
}

TEST("unread connections of an owner that leaves end") {
        unsigned fds = test_service_count_fds(f->service);
        TestClient *dying = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(dying, 0, -1, NULL);
        uint16_t port = test_get_port(dying, listener);
        int peers[PEERS];

        test_clog(dying, f->bus);
        connect_all(port, peers);
        test_wait_for(test_service_count_queued(f->service, port) <= PEERS - test_get_window());

        test_client_free(dying);
        for (size_t i = 0; i < PEERS; i++)
                (void) test_wait_end(peers[i]);
        assert_is_free(f, port);
        test_wait_for(test_service_count_fds(f->service) == fds);
        close_all(peers);
}

TEST("delivered connections outlive listener and owner") {
        g_autofree char *closed = test_listen(f->client, 0, -1, NULL);
        g_autofree char *left = test_listen(f->client, 0, -1, NULL);
        uint16_t left_port = test_get_port(f->client, left);
        _cleanup_close_ int a = test_connect("::1", test_get_port(f->client, closed));
        g_autoptr(TestAccepted) of_closed = test_client_wait_accepted(f->client);
        _cleanup_close_ int b = test_connect("::1", left_port);
        g_autoptr(TestAccepted) of_left = test_client_wait_accepted(f->client);

        test_listener_call(f->client, closed, "Close");
        assert_carries(a, of_closed);
        test_client_disconnect(f->client);
        assert_is_free(f, left_port);
        assert_carries(a, of_closed);
        assert_carries(b, of_left);
}

/* Its message waits in the bus when the listener is closed. */
TEST("an unread connection outlives its listener") {
        unsigned fds = test_service_count_fds(f->service);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(TestClient) observer = test_client_new(f->bus, (uid_t) -1);
        uint16_t port = test_get_port(f->client, listener);

        test_clog(f->client, f->bus);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_wait_for(test_service_count_queued(f->service, port) == 0);
        test_call_free(test_call_start(
                        f->client, test_message_new(f->client, listener, TEST_LISTENER_INTERFACE, "Close")));
        test_wait_for(test_service_count_fds(f->service) == fds);
        test_client_sync_service(observer);

        test_client_set_stalled(f->client, false);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        assert_carries(peer, accepted);
}

TEST("unread connections of a closed listener count in the limit of the client") {
        g_autofree char *closed = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autofree char *next = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autoptr(TestClient) observer = test_client_new(f->bus, (uid_t) -1);
        uint16_t closed_port = test_get_port(f->client, closed), next_port = test_get_port(f->client, next);
        int peers[PEERS];

        test_clog(f->client, f->bus);
        connect_all(closed_port, peers);
        test_wait_for(test_service_count_queued(f->service, closed_port) <= PEERS - test_get_window());
        test_listener_call(observer, closed, "Close");
        _cleanup_close_ int peer = test_connect("::1", next_port);
        test_settle(observer);
        g_assert_cmpuint(test_get_u64(observer, next, "Accepted"), ==, 0);

        test_client_set_stalled(f->client, false);
        test_wait_for(test_client_count_accepted(f->client) == test_get_window() + 1);
        close_all(peers);
}

/* ---- Owners that stall ---- */

TEST("stalled clients do not delay another") {
        enum {
                STALLED = 4
        };
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        TestClient *stalled[STALLED];
        int queued[STALLED][PEERS], peers[PEERS];

        for (size_t i = 0; i < STALLED; i++) {
                stalled[i] = test_client_new(f->bus, (uid_t) -1);
                g_autofree char *its_listener = test_listen(stalled[i], 0, -1, NULL);
                uint16_t port = test_get_port(stalled[i], its_listener);
                test_client_set_stalled(stalled[i], true);
                connect_all(port, queued[i]);
        }

        connect_all(test_get_port(f->client, listener), peers);
        for (size_t i = 0; i < PEERS; i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                g_assert_cmpuint(accepted->serial, ==, i + 1);
                assert_carries(peers[i], accepted);
        }

        for (size_t i = 0; i < STALLED; i++) {
                g_assert_cmpuint(test_client_count_accepted(stalled[i]), ==, 0);
                test_client_set_stalled(stalled[i], false);
        }
        for (size_t i = 0; i < STALLED; i++) {
                test_wait_for(test_client_count_accepted(stalled[i]) == PEERS);
                test_client_free(stalled[i]);
                close_all(queued[i]);
        }
        close_all(peers);
}

/* ---- The service ---- */

static void shut_down(Fixture *f, int signal_number) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *paused = test_listen(f->client, 0, -1, TEST_PAUSED, NULL);
        uint16_t port = test_get_port(f->client, listener), paused_port = test_get_port(f->client, paused);
        _cleanup_close_ int peer = test_connect("::1", port), queued = test_connect("::1", paused_port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_no_errno(kill(test_service_pid(f->service), signal_number));
        g_assert_cmpint(test_service_wait_exit(f->service), ==, 0);
        for (unsigned i = 0; i < 2; i++) {
                g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);

                g_assert_true(streq(closed->listener, listener) || streq(closed->listener, paused));
                g_assert_cmpstr(closed->reason, ==, "shutdown");
        }
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 2);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        g_assert_cmpint(test_connect_fails("::1", paused_port), ==, ECONNREFUSED);
        (void) test_wait_end(queued);
        assert_carries(peer, accepted);
}

TEST("SIGTERM closes all listeners") {
        shut_down(f, SIGTERM);
}

TEST("SIGINT closes all listeners") {
        shut_down(f, SIGINT);
}

TEST("the service exits with an error when the bus ends") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);

        _cleanup_close_ int peer = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        test_bus_kill(f->bus);
        test_wait_for_within(2000, test_service_has_exited(f->service));
        int status = test_service_wait_exit(f->service);
        g_assert_cmpint(status, >, 0);
        g_assert_cmpint(status, <, 128);
        g_assert_true(test_service_has_logged(f->service, "bus"));
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        assert_carries(peer, accepted);
}

TEST("a second instance does not affect the first") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *owner = g_strdup(test_bus_service_owner(f->bus));
        TestService *second = test_service_spawn(f->bus, NULL);
        int status = test_service_wait_exit(second);

        g_assert_cmpint(status, >, 0);
        g_assert_cmpint(status, <, 128);
        g_assert_true(test_service_has_logged(second, TEST_BUS_NAME));
        g_assert_true(test_service_has_logged(second, "another process owns it"));
        test_service_free(second);

        g_assert_cmpstr(test_bus_service_owner(f->bus), ==, owner);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        assert_carries(peer, accepted);
}

int main(int argc, char *argv[]) {
        if (argc > 1 && streq(argv[1], CLIENT_ARGUMENT)) {
                be_a_client(argv[2]);
                return EXIT_SUCCESS;
        }

        test_init(&argc, &argv);
        (void) test_enter_private_network();
        return test_run();
}
