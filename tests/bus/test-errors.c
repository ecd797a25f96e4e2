/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service runs out of descriptors; a listening socket fails; no descriptor leaks. */

#include "bus/fixture.h"

#define SECOND UINT64_C(1000000)

/* The error has a readable reason, and the place in the source. */
static void assert_error_is_good(const TestError *error, const char *listener, const char *reason) {
        const char *root = g_getenv("TEST_SOURCE_ROOT");
        g_autofree char *source = NULL;
        g_autoptr(GError) failure = NULL;
        uint32_t line = error->line;

        g_assert_cmpstr(error->listener, ==, listener);
        g_assert_cmpuint(error->column, ==, 0);
        g_assert_cmpuint(error->line, >, 0);

        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        g_assert_true(g_ascii_isupper(error->message[0]));
        g_assert_cmpuint(strlen(error->message), >, 20);
        g_assert_nonnull(strstr(error->message, reason));
        g_assert_null(strstr(error->message, "errno"));
        g_assert_null(strchr(error->message, '\n'));

        g_assert_true(g_str_has_suffix(error->filename, ".c"));
        g_assert_null(strchr(error->filename, '/'));
        g_assert_nonnull(root);
        g_autofree char *path = g_build_filename(root, "src", "daemon", "listener", error->filename, NULL);
        (void) g_file_get_contents(path, &source, NULL, &failure);
        g_assert_no_error(failure);

        g_auto(GStrv) lines = g_strsplit(source, "\n", -1);

        g_assert_cmpuint(line, <=, g_strv_length(lines));
        /* Of a macro with arguments on several lines, gcc counts the first line, and clang the last one. */
        while (line > 1 && g_str_has_suffix(lines[line - 2], ","))
                line--;
        g_assert_nonnull(strstr(lines[line - 1], "listener_error("));
}

/* Also in another character set, in which the bus would refuse the message. */
TEST("reasons are in English in any locale") {
        g_autofree char *locale = g_build_filename(test_bus_directory(f->bus), "de_DE.ISO-8859-1", NULL);
        g_autofree char *variable = g_strdup_printf("LOCPATH=%s", test_bus_directory(f->bus));
        const char *const localedef[] = { "localedef", "-i", "de_DE", "-f", "ISO-8859-1", locale, NULL };
        const char *const environment[] = { variable, "LC_ALL=de_DE.ISO-8859-1", NULL };
        g_autofree char *message = NULL;
        int status;

        if (!g_spawn_sync(NULL, (char **) localedef, NULL,
                          G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                          NULL, NULL, NULL, &status, NULL) ||
            status != 0) {
                g_test_skip("needs localedef and the source of the locale de_DE");
                return;
        }

        fixture_restart_service(f, &(TestServiceOptions) { .environment = environment });
        /* TCP has no multicast. */
        test_assert_text(test_listen_fails(f->client, &message, 0, -1, "localAddress", "s", "ff0e::1", NULL),
                         SD_BUS_ERROR_INVALID_ARGS);
        g_assert_nonnull(strstr(message, ": Invalid argument ["));
}

TEST("without free descriptors, accepting is suspended, reported once, and resumed") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);

        test_settle(f->client); /* the first question whether it takes descriptors is over */
        unsigned limit = test_service_spare_fds(f->service, 0);
        _cleanup_close_ int a = test_connect("::1", port);
        _cleanup_close_ int b = test_connect("::1", port);
        test_send(a, "patience", 8);
        g_autoptr(TestError) error = test_client_wait_error(f->client);
        assert_error_is_good(error, listener, "Too many open files");

        /* All the while it has something to accept and cannot. */
        uint64_t start = test_now();
        uint64_t cpu = test_service_cpu_time(f->service);
        test_wait_for(test_now() >= start + 2 * SECOND);
        cpu = test_service_cpu_time(f->service) - cpu;
        g_assert_cmpuint(cpu, <, SECOND / 4);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 1);
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 0);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 2);

        test_service_limit_fds(f->service, limit);
        g_autoptr(TestAccepted) first = test_client_wait_accepted(f->client);
        g_autoptr(TestAccepted) second = test_client_wait_accepted(f->client);
        test_expect(first->socket, "patience");
        test_assert_connected(a, first->socket);
        test_assert_connected(b, second->socket);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 1);
}

TEST("each episode without free descriptors is reported") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);

        for (unsigned episode = 1; episode <= 2; episode++) {
                test_wait_for(test_get_u64(f->client, listener, "Accepted") ==
                              test_get_u64(f->client, listener, "Delivered"));
                test_settle(f->client); /* the first question whether it takes descriptors is over */
                unsigned limit = test_service_spare_fds(f->service, 0);
                _cleanup_close_ int peer = test_connect("::1", port);
                g_autoptr(TestError) error = test_client_wait_error(f->client);
                assert_error_is_good(error, listener, "Too many open files");
                test_service_limit_fds(f->service, limit);
                test_accepted_free(test_client_wait_accepted(f->client));

                /* In close succession it is still the same episode. */
                test_wait_for(test_get_u64(f->client, listener, "Accepted") ==
                              test_get_u64(f->client, listener, "Delivered"));
                test_settle(f->client); /* the first question whether it takes descriptors is over */
                limit = test_service_spare_fds(f->service, 0);
                _cleanup_close_ int quick = test_connect("::1", port);
                test_wait_for(test_service_count_queued(f->service, port) == 1);
                test_settle(f->client);
                test_service_limit_fds(f->service, limit);
                test_accepted_free(test_client_wait_accepted(f->client));
                g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, episode);

                /* When it has worked for a second, it is over. */
                uint64_t end = test_now() + 2 * SECOND;
                test_wait_for(episode == 2 || test_now() >= end);
        }
}

/* Then to accept works and to send does not, or it works and fails in turn. */
TEST("with few free descriptors, no connection is lost") {
        for (unsigned spare = 1; spare <= 3; spare++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
                uint16_t port = test_get_port(f->client, listener);
                unsigned n_errors = test_client_count_signals(f->client, "Error"), n;
                int peers[10];

                test_settle(f->client); /* the first question whether it takes descriptors is over */
                unsigned limit = test_service_spare_fds(f->service, spare);
                for (size_t i = 0; i < ELEMENTS(peers); i++) {
                        peers[i] = test_connect("::1", port);
                        test_send(peers[i], &i, sizeof(i));
                }
                uint64_t start = test_now();
                uint64_t cpu = test_service_cpu_time(f->service);
                test_wait_for(test_now() >= start + SECOND);
                g_assert_cmpuint(test_service_cpu_time(f->service) - cpu, <, SECOND / 4);
                test_settle(f->client);
                n = test_client_count_signals(f->client, "Error") - n_errors;
                g_assert_cmpuint(n, <=, 1);
                if (spare == 1)
                        g_assert_cmpuint(n, ==, 1);

                test_service_limit_fds(f->service, limit);
                for (size_t i = 0; i < ELEMENTS(peers); i++) {
                        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                        size_t number;

                        g_assert_cmpuint(accepted->serial, ==, i + 1);
                        test_receive(accepted->socket, &number, sizeof(number));
                        g_assert_cmpuint(number, ==, i);
                        test_assert_connected(peers[i], accepted->socket);
                        close_fd(peers[i]);
                }
                test_wait_for(test_get_u64(f->client, listener, "Delivered") == ELEMENTS(peers));
                g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
                test_listener_call(f->client, listener, "Close");
        }
}

TEST("without free descriptors, other calls work") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *theirs = test_listen(other, 0, -1, NULL);
        g_autofree char *text = NULL;
        _cleanup_close_ int old = test_connect("::1", test_get_port(f->client, listener)), a = -EBADF,
                            b = -EBADF;
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        test_settle(f->client); /* the first question whether it takes descriptors is over */
        unsigned limit = test_service_spare_fds(f->service, 0);
        a = test_connect("::1", test_get_port(f->client, listener));
        b = test_connect("::1", test_get_port(other, theirs));
        g_autoptr(TestError) error = test_client_wait_error(f->client);
        g_autoptr(TestError) their_error = test_client_wait_error(other);
        assert_error_is_good(error, listener, "Too many open files");
        assert_error_is_good(their_error, theirs, "Too many open files");

        test_assert_connected(old, accepted->socket);
        g_assert_true(test_get_bool(other, theirs, "Paused") == false);
        test_assert_text(test_listen_fails(other, &text, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);

        /* Back-off and Pause are not the same. */
        test_listener_call(other, theirs, "Pause");
        test_service_limit_fds(f->service, limit);
        g_clear_pointer(&accepted, test_accepted_free);
        accepted = test_client_wait_accepted(f->client);
        test_assert_connected(a, accepted->socket);
        g_assert_cmpuint(test_get_u64(other, theirs, "Accepted"), ==, 0);
        test_listener_call(other, theirs, "Resume");
        test_accepted_free(test_client_wait_accepted(other));
}

TEST("without free descriptors, a listener can be closed") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);

        test_settle(f->client); /* the first question whether it takes descriptors is over */
        unsigned limit = test_service_spare_fds(f->service, 0);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_error_free(test_client_wait_error(f->client));
        test_listener_call(f->client, listener, "Close");
        (void) test_wait_end(peer);
        g_assert_false(test_service_is_listening(f->service, port));
        test_service_limit_fds(f->service, limit);
        g_free(test_listen(f->client, port, -1, NULL));
}

TEST("some descriptors are reserved for connections") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        const char *wrapper = g_getenv("TEST_SERVICE_WRAPPER");
        bool full = false;

        if (wrapper && wrapper[0] != '\0') {
                g_test_skip("a wrapper such as valgrind may have limits of its own");
                return;
        }

        unsigned limit = test_service_spare_fds(f->service, 300);
        for (unsigned i = 0; i < 300 && !full; i++) {
                sd_bus_message *message = test_message_new(f->client, TEST_MANAGER_PATH,
                                                           TEST_MANAGER_INTERFACE, "Listen");

                must(sd_bus_message_append(message, "ia{sv}i", 0, 0, -1));
                g_autoptr(TestCall) call = test_call_start(f->client, message);
                full = test_call_error(call) != NULL;
                if (full)
                        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_LIMITS_EXCEEDED);
        }
        g_assert_true(full);

        test_settle(f->client);
        unsigned n_fds = test_service_count_fds(f->service);
        for (unsigned i = 0; i < 16; i++) {
                test_assert_text(test_listener_call_fails(f->client, listener, "OpenLifeline"),
                                 SD_BUS_ERROR_LIMITS_EXCEEDED);
        }
        test_settle(f->client);
        g_assert_cmpuint(test_service_count_fds(f->service), ==, n_fds);

        test_service_limit_fds(f->service, limit);
        _cleanup_close_ int lifeline = test_listener_call_fd(f->client, listener, "OpenLifeline");
        test_assert_served(f->client, listener, "::1");
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 0);
}

/* A privileged process shuts down the service's socket. */
TEST("a socket that fails ends its listener") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *other = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener), other_port = test_get_port(f->client, other);
        _cleanup_close_ int peer = test_connect("::1", port), copy = -EBADF, later = -EBADF;
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client), next = NULL;

        copy = test_service_copy_listening_socket(f->service, port);
        if (copy < 0)
                return;
        g_assert_no_errno(shutdown(copy, SHUT_RDWR));

        g_autoptr(TestError) error = test_client_wait_error(f->client);
        assert_error_is_good(error, listener, "Invalid argument");
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, "error");
        g_assert_cmpuint(error->order, <, closed->order);
        test_assert_text(test_listener_call_fails(f->client, listener, "Close"), SD_BUS_ERROR_UNKNOWN_OBJECT);

        test_assert_connected(peer, accepted->socket);
        later = test_connect("::1", other_port);
        next = test_client_wait_accepted(f->client);
        g_assert_cmpstr(next->listener, ==, other);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 1);
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 1);
}

TEST("fifty listeners with a thousand connections leave no descriptors behind") {
        GHashTableIter iterator;
        void *number;

        test_client_sync_service(f->client);
        g_autoptr(GHashTable) before = test_service_list_fds(f->service);

        for (unsigned i = 0; i < 50; i++) {
                g_autoptr(TestClient) owner = test_client_new(f->bus, (uid_t) -1);
                g_autofree char *listener = test_listen(owner, 0, -1, "acknowledge", "b", i % 5 == 0, NULL);
                uint16_t port = test_get_port(owner, listener);
                int peers[20];

                for (size_t j = 0; j < ELEMENTS(peers); j++)
                        peers[j] = test_connect("::1", port);
                /* Some end with everything delivered, some do not. */
                for (size_t j = 0; j < (i % 5 == 0 ? 8 : ELEMENTS(peers)); j++) {
                        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(owner);

                        if (j % 10 == 0)
                                test_assert_connected(peers[j], accepted->socket);
                }
                if (i % 2 == 0)
                        test_listener_call(owner, listener, "Close");
                for (size_t j = 0; j < ELEMENTS(peers); j++)
                        close_fd(peers[j]);
        }

        test_wait_for(test_service_count_fds(f->service) == g_hash_table_size(before));
        g_autoptr(GHashTable) after = test_service_list_fds(f->service);
        g_hash_table_iter_init(&iterator, before);
        while (g_hash_table_iter_next(&iterator, &number, NULL))
                g_assert_true(g_hash_table_contains(after, number));
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}
