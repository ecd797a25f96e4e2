/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay" when a resource runs out: connections wait, and none is lost. */

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "ctl/relayed.h"

static int compare(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

/* For peers on this host only. Otherwise the tool asks the firewall meanwhile, by a connection to the bus.
 * When that ends, a descriptor below the limit is free. */
static Relayed start_on_loopback(Fixture *f, const char *option) {
        return relay_start_at(f, "127.0.0.1:0", target_new(), option);
}

/* Limits the process to the descriptors that it has when idle, and so many more. */
static void allow_descriptors(pid_t pid, unsigned more) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int) pid);
        g_autoptr(GArray) fds = g_array_new(false, false, sizeof(int));
        struct rlimit limit;
        const char *name;
        unsigned i = 0;

        test_wait_for(serving_is_waiting(pid));
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        g_assert_nonnull(directory);
        while ((name = g_dir_read_name(directory))) {
                int fd = atoi(name);

                g_array_append_val(fds, fd);
        }
        g_array_sort(fds, compare);

        g_assert_no_errno(prlimit(pid, RLIMIT_NOFILE, NULL, &limit));
        for (limit.rlim_cur = 0; i < fds->len || more > 0; limit.rlim_cur++)
                if (i < fds->len && g_array_index(fds, int, i) == (int) limit.rlim_cur)
                        i++;
                else if (more > 0)
                        more--;
                else
                        break;
        g_assert_no_errno(prlimit(pid, RLIMIT_NOFILE, &limit, NULL));
}

static void allow_all_descriptors(pid_t pid) {
        struct rlimit limit;

        g_assert_no_errno(prlimit(pid, RLIMIT_NOFILE, NULL, &limit));
        limit.rlim_cur = limit.rlim_max;
        g_assert_no_errno(prlimit(pid, RLIMIT_NOFILE, &limit, NULL));
}

static void expect_shortage(Relayed *r) {
        test_wait_for(tool_has_complained(r->tool, "Connections have to wait: Too many open files.\n"));
}

static void assert_waits_for_descriptors(Fixture *f, const char *argument, unsigned n_left) {
        Relayed r = start_on_loopback(f, argument);
        _cleanup_close_ int first = test_connect("127.0.0.1", r.port),
                            first_target = target_accept(&r.target), second = -EBADF, second_target = -EBADF;

        test_assert_connected(first, first_target);
        allow_descriptors(r.tool->child->pid, n_left);
        second = test_connect("127.0.0.1", r.port);
        expect_shortage(&r);
        test_assert_connected(first, first_target);
        allow_all_descriptors(r.tool->child->pid);
        second_target = target_accept(&r.target);
        test_assert_connected(second, second_target);
        g_assert_false(tool_has_complained(r.tool, "Failed to connect to"));
        relay_end(&r);
}

TEST("no descriptor for the target") {
        assert_waits_for_descriptors(f, NULL, 1);
}

/* The kernel closes descriptors in a packet that exceed the limit. */
TEST("no descriptor for a connection in a channel") {
        assert_waits_for_descriptors(f, "--delivery=channel", 0);
}

/* With one connection's descriptors freed at a time, it works and fails in turn. */
TEST_BY_BOTH("a shortage is logged once") {
        Relayed r = start_on_loopback(f, delivery);
        int clients[6], targets[ELEMENTS(clients)];
        const unsigned n_first = ELEMENTS(clients) / 2;

        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                if (i == n_first)
                        allow_descriptors(r.tool->child->pid, 0);
                clients[i] = test_connect("127.0.0.1", r.port);
                if (i < n_first) {
                        targets[i] = target_accept(&r.target);
                        test_assert_connected(clients[i], targets[i]);
                }
        }
        expect_shortage(&r);
        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                close(clients[i]);
                g_assert_cmpint(test_wait_end(targets[i]), ==, 0);
                close(targets[i]);
                if (i + n_first < ELEMENTS(clients)) {
                        targets[i + n_first] = target_accept(&r.target);
                        test_assert_connected(clients[i + n_first], targets[i + n_first]);
                }
        }
        g_assert_cmpuint(serving_count_complaints(r.tool, "Connections have to wait: Too many open files."),
                         ==, 1);
        relay_end(&r);
}

#define PORT_RANGE "/proc/sys/net/ipv4/ip_local_port_range"

static void write_sysctl(const char *value) {
        _cleanup_close_ int fd = open(PORT_RANGE, O_WRONLY | O_CLOEXEC);

        g_assert_no_errno(fd);
        g_assert_cmpint(write(fd, value, strlen(value)), ==, strlen(value));
}

/* Each connection to the target takes one of the local ports. */
TEST_IF(test_require_private_network(), "no port for the target") {
        static const char shortage[] = "Connections have to wait: Cannot assign requested address.\n";
        int clients[5], targets[ELEMENTS(clients)];
        g_autofree char *range = NULL;
        unsigned n = 0;
        Relayed r;

        if (access(PORT_RANGE, W_OK) < 0 || !g_file_get_contents(PORT_RANGE, &range, NULL, NULL)) {
                g_test_skip("needs sysctls of the network");
                return;
        }

        r = relay_start(f, target_new(), NULL);
        write_sysctl("50000 50003");
        for (;; n++) {
                /* Each from an address of its own, which has all ports. */
                g_autofree char *source = g_strdup_printf("127.0.0.%u", 2 + n);

                g_assert_cmpuint(n, <, ELEMENTS(clients));
                clients[n] = test_connect_from(source, "127.0.0.1", r.port);
                test_wait_for(test_has_input(r.target.fd) || tool_has_complained(r.tool, shortage));
                if (!test_has_input(r.target.fd))
                        break;
                targets[n] = target_accept(&r.target);
                test_assert_connected(clients[n], targets[n]);
        }
        g_assert_cmpuint(n, >, 0);
        test_reset(targets[0]);
        g_assert_cmpint(test_wait_end(clients[0]), ==, ECONNRESET);
        targets[0] = target_accept(&r.target);
        test_assert_connected(clients[n], targets[0]);

        write_sysctl(range);
        g_assert_false(tool_has_complained(r.tool, "Failed to connect to"));
        for (unsigned i = 0; i < n; i++) {
                close(clients[i]);
                close(targets[i]);
        }
        close(clients[n]);
        relay_end(&r);
}

TEST("no descriptors for a pipe") {
        Relayed r = start_on_loopback(f, NULL);
        _cleanup_close_ int first = test_connect("127.0.0.1", r.port),
                            first_target = target_accept(&r.target),
                            second = test_connect("127.0.0.1", r.port),
                            second_target = target_accept(&r.target);

        test_assert_connected(first, first_target);
        test_assert_connected(second, second_target);
        /* Data that the target does not read keeps the only pipe in use. */
        while (peer_fill(first) > 0)
                test_wait_for(serving_is_waiting(r.tool->child->pid));
        allow_descriptors(r.tool->child->pid, 0);
        test_send(second, "question", 8);
        expect_shortage(&r);
        allow_all_descriptors(r.tool->child->pid);
        test_expect(second_target, "question");
        test_assert_connected(second, second_target);
        relay_end(&r);
}

/* More than the memory that a process keeps in reserve has room for. */
#define MANY 2000

/* AddressSanitizer ends a process that is out of memory. */
#ifndef __SANITIZE_ADDRESS__
/* It exits at once, and does not wait for another event. */
TEST_IF(test_require_descriptors(2 * MANY + 256), "no memory") {
        static const struct rlimit none = {};
        int clients[MANY];
        Relayed r = relay_start(f, target_new(), NULL);

        g_assert_no_errno(prlimit(r.tool->child->pid, RLIMIT_AS, &none, NULL));
        for (unsigned i = 0; i < MANY; i++)
                clients[i] = test_connect_start(NULL, "127.0.0.1", r.port);
        relay_wait(&r, 1);
        for (unsigned i = 0; i < MANY; i++)
                close_fd(clients[i]);
}
#endif

/* Keeps the relay busy all the time. */
static void *send_and_receive(void *data) {
        const int *fd = data;
        char byte = 'x';

        while (send(*fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(*fd, &byte, 1, 0) == 1)
                ;
        return NULL;
}

TEST("a busy connection does not delay others") {
        Relayed r = relay_start(f, target_new_unix(false, 0), NULL);
        int busy = test_connect("::1", r.port), busy_target = target_accept(&r.target), clients[4];
        pthread_t threads[2];

        g_assert_cmpint(pthread_create(&threads[0], NULL, send_and_receive, &busy), ==, 0);
        g_assert_cmpint(pthread_create(&threads[1], NULL, send_and_receive, &busy_target), ==, 0);
        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                clients[i] = test_connect("127.0.0.1", r.port);
                test_send(clients[i], &i, sizeof(i));
        }
        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                _cleanup_close_ int target = target_accept(&r.target);
                unsigned number;

                test_receive(target, &number, sizeof(number));
                close(clients[number]);
                g_assert_cmpint(test_wait_end(target), ==, 0);
        }
        g_assert_no_errno(shutdown(busy, SHUT_RDWR));
        for (size_t i = 0; i < ELEMENTS(threads); i++)
                (void) pthread_join(threads[i], NULL);
        close(busy);
        close(busy_target);
        relay_end(&r);
}

/* As by a security module. */
TEST("accept is forbidden") {
        Relayed r;

        serving_forbid(SYS_accept4, EPERM);
        r = relay_start(f, target_new(), NULL);
        tool_set_up_with(NULL);
        _cleanup_close_ int client = test_connect("::1", r.port);
        test_wait_for(tool_has_complained(
                        r.tool,
                        "Connections have to wait: a firewall or security module prevents accepting them.\n"));
        relay_end(&r);
}
