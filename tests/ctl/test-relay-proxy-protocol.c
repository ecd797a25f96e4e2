/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay --proxy-protocol=": the target gets the addresses of the connection before its first byte. */

#include <arpa/inet.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "ctl/relayed.h"

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_BYTES_MAX 52

/* Receives version 1. */
static void expect_1(int target, const char *address, uint16_t from, uint16_t to) {
        g_autofree char *header = g_strdup_printf("PROXY TCP%c %s %s %u %u\r\n",
                                                  strchr(address, ':') ? '6' : '4', address, address, from,
                                                  to);

        test_expect(target, header);
}

static void expect_2(int target, const char *address, uint16_t from, uint16_t to) {
        unsigned char expected[V2_BYTES_MAX], got[V2_BYTES_MAX];
        bool ipv6 = strchr(address, ':');
        unsigned size = ipv6 ? 16 : 4, n = sizeof(V2_SIGNATURE) - 1;

        memcpy(expected, V2_SIGNATURE, n);
        expected[n++] = 0x21;
        expected[n++] = ipv6 ? 0x21 : 0x11;
        expected[n++] = 0;
        expected[n++] = (unsigned char) (2 * size + 4);
        for (unsigned i = 0; i < 2; i++, n += size)
                g_assert_cmpint(inet_pton(ipv6 ? AF_INET6 : AF_INET, address, expected + n), ==, 1);
        expected[n++] = (unsigned char) (from >> 8);
        expected[n++] = (unsigned char) from;
        expected[n++] = (unsigned char) (to >> 8);
        expected[n++] = (unsigned char) to;

        test_receive(target, got, n);
        g_assert_cmpmem(got, n, expected, n);
}

static const struct {
        const char *option;
        void (*expect)(int target, const char *address, uint16_t from, uint16_t to);
} versions[] = { { "--proxy-protocol=v1", expect_1 }, { "--proxy-protocol=v2", expect_2 } };

static Relayed start(Fixture *f, Target target, size_t version, const char *delivery) {
        Relayed r = { .target = target };

        r.tool = serving_start(f->bus, &r.port,
                               WORDS("relay", "0", target.name, versions[version].option, delivery));
        return r;
}

TEST_BY_BOTH("the header is before the bytes of the client") {
        static const char *const addresses[] = { "127.0.0.1", "::1" };

        for (size_t v = 0; v < ELEMENTS(versions); v++) {
                Relayed r = start(f, v == 0 ? target_new() : target_new_unix(false, 16), v, delivery);

                for (size_t i = 0; i < ELEMENTS(addresses); i++) {
                        _cleanup_close_ int client = test_connect(addresses[i], r.port), target = -EBADF;

                        test_send(client, "question", 8);
                        target = target_accept(&r.target);
                        versions[v].expect(target, addresses[i], test_local_port(client), r.port);
                        test_expect(target, "question");
                        test_assert_connected(client, target);
                }
                relay_end(&r);
        }
}

/* As in SMTP, where the server greets first. One of the connections is not delayed by other processes. */
TEST("the header does not wait for the client") {
        for (size_t v = 0; v < ELEMENTS(versions); v++) {
                Relayed r = start(f, target_new(), v, NULL);
                uint64_t shortest = UINT64_MAX;

                for (unsigned i = 0; i < 10; i++) {
                        uint64_t start_usec = clock_get_usec();
                        _cleanup_close_ int client = test_connect("127.0.0.1", r.port),
                                            target = target_accept(&r.target);

                        versions[v].expect(target, "127.0.0.1", test_local_port(client), r.port);
                        shortest = MIN(shortest, clock_get_usec() - start_usec);
                        test_send(target, "220", 3);
                        test_expect(client, "220");
                        g_assert_no_errno(shutdown(client, SHUT_WR));
                        g_assert_cmpint(test_wait_end(target), ==, 0);
                }
                /* The kernel keeps bytes for 200 ms if others are to follow. */
                g_assert_cmpuint(shortest, <, 100 * 1000);
                relay_end(&r);
        }
}

/* Before the relay gets the connection. Its addresses are still known. */
TEST_BY_BOTH("a peer that has reset its connection") {
        for (size_t v = 0; v < ELEMENTS(versions); v++) {
                Relayed r = start(f, target_new(), v, delivery);

                test_child_signal(r.tool->child, SIGSTOP);
                int client = test_connect("127.0.0.1", r.port);
                uint16_t from = test_local_port(client);

                test_send(client, "last", 4);
                test_reset(client);
                if (streq(delivery, "--delivery=channel"))
                        test_wait_for(serving_count_queued(r.port) == 0);
                test_child_signal(r.tool->child, SIGCONT);

                _cleanup_close_ int target = target_accept(&r.target);
                versions[v].expect(target, "127.0.0.1", from, r.port);
                test_expect(target, "last");
                g_assert_cmpint(test_wait_end(target), ==, ECONNRESET);
                relay_end(&r);
        }
}

/* The header needs no descriptor, but the relay makes sure that it could store it. */
TEST("the header waits for descriptors") {
        Relayed r = start(f, target_new(), 0, NULL);
        struct rlimit limit, low;

        test_wait_for(serving_is_waiting(r.tool->child->pid));
        g_assert_no_errno(prlimit(r.tool->child->pid, RLIMIT_NOFILE, NULL, &limit));
        low = limit;
        /* Two sockets, and none for a pipe. */
        low.rlim_cur = test_count_fds(r.tool->child->pid) + 2;
        g_assert_no_errno(prlimit(r.tool->child->pid, RLIMIT_NOFILE, &low, NULL));

        _cleanup_close_ int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);
        test_wait_for(tool_has_complained(r.tool, "Connections have to wait: Too many open files.\n"));
        g_assert_false(test_has_input(target));
        g_assert_no_errno(prlimit(r.tool->child->pid, RLIMIT_NOFILE, &limit, NULL));
        versions[0].expect(target, "127.0.0.1", test_local_port(client), r.port);
        test_assert_connected(client, target);
        relay_end(&r);
}

TEST("the version is v1 or v2") {
        tool_assert_fails(tool_run(f->bus, "relay", "0", "127.0.0.1:1", "--proxy-protocol=3"), 1,
                          "Option --proxy-protocol= cannot be \"3\"; it must be \"v1\" or \"v2\".");
        tool_assert_fails(tool_run(f->bus, "listen", "0", "--proxy-protocol=v1", "--", "true"), 1,
                          "Option --proxy-protocol is not for the verb \"listen\", but only for: relay");
}
