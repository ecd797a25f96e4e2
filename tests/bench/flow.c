/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/flow.h"

#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/macros.h"
#include "bench/placement.h"
#include "bench/series.h"

#define CONNECTIONS_MAX 64
#define PIECE (256U * 1024)
#define SAMPLES_MAX (1U << 18)
#define SAMPLES_SKIPPED 20

static uint64_t now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

static int connect_for(uint16_t port, char how) {
        static const struct timeval timeout = { .tv_sec = 5 };
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons(port) };
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int one = 1;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
            connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            send(fd, &how, 1, MSG_NOSIGNAL) != 1)
                return -errno;
        return TAKE_FD(fd);
}

/* Until then, all of them are kept full. */
static bool fill(struct pollfd *fds, unsigned n, uint64_t end) {
        static char zeros[PIECE];

        while (now_ns() < end) {
                if (poll(fds, n, 1000) <= 0)
                        return false;
                for (unsigned i = 0; i < n; i++)
                        if (fds[i].revents != 0 &&
                            send(fds[i].fd, zeros, PIECE, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
                                return false;
        }
        return true;
}

double flow_measure_bytes(uint16_t port, unsigned n, unsigned milliseconds) {
        struct pollfd fds[CONNECTIONS_MAX];
        static const char last = 1;
        uint64_t start, total = 0, count;
        bool good = true;

        g_assert_cmpuint(n, <=, CONNECTIONS_MAX);
        for (unsigned i = 0; i < n; i++) {
                fds[i] = (struct pollfd) { .fd = connect_for(port, 'S'), .events = POLLOUT };
                good = good && fds[i].fd >= 0;
        }

        start = now_ns();
        good = good && fill(fds, n, start + (uint64_t) milliseconds * 1000 * 1000);
        for (unsigned i = 0; i < n && good; i++)
                good = send(fds[i].fd, &last, 1, MSG_NOSIGNAL) == 1;
        for (unsigned i = 0; i < n && good; i++) {
                good = recv(fds[i].fd, &count, sizeof(count), MSG_WAITALL) == sizeof(count);
                total += count;
        }
        for (unsigned i = 0; i < n; i++)
                (void) close_fd(fds[i].fd);

        return good ? (double) total * 1e9 / (double) (now_ns() - start) : 0;
}

FlowRoundTrip flow_measure_round_trip(uint16_t port, unsigned milliseconds) {
        _cleanup_close_ int fd = connect_for(port, 'E');
        g_autofree uint32_t *samples = g_new(uint32_t, SAMPLES_MAX);
        uint64_t end = now_ns() + (uint64_t) milliseconds * 1000 * 1000, n = 0;
        FlowRoundTrip result = {};
        char byte = 'x';

        place_load();
        for (unsigned i = 0; fd >= 0 && n < SAMPLES_MAX; i++) {
                uint64_t start = now_ns();

                if (start >= end)
                        break;
                if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) {
                        n = 0;
                        break;
                }
                if (i >= SAMPLES_SKIPPED)
                        samples[n++] = (uint32_t) MIN(now_ns() - start, UINT32_MAX);
        }
        place_anywhere(getpid());

        if (n > 0)
                result = (FlowRoundTrip) {
                        .p50_us = percentile(samples, n, 0.5) / 1000,
                        .p99_us = percentile(samples, n, 0.99) / 1000,
                        .n = n,
                };
        return result;
}
