/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/load.h"

#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/macros.h"
#include "bench/measure.h"

/* After this time all run at full speed. */
#define WARM_UP_NS (UINT64_C(50) * 1000 * 1000)
/* A connection that takes longer counts as stuck. */
#define STUCK_NS (UINT64_C(5) * 1000 * 1000 * 1000)
#define PROBE_TIMEOUT_SEC 3

/* After so many failures, the measurement is given up. */
#define FAILURES_MAX 100

#define SAMPLES_MAX (1U << 18)
#define SAMPLES_SKIPPED 10

/* The counts of a generator, in memory shared with this process, so that they survive if it is killed. */
typedef struct Tally {
        uint64_t n;
        uint64_t n_counted; /* those that ended between the warm-up and the end */
        uint64_t failed;
        uint64_t in_flight;
        uint32_t samples[]; /* in ns */
} Tally;

typedef struct Plan {
        uint16_t port;
        uint64_t start, count_from, end; /* in ns of CLOCK_MONOTONIC */
} Plan;

typedef void (*Generator)(const Plan *plan, Tally *tally);

static void sleep_until(uint64_t ns) {
        struct timespec t = { .tv_sec = (time_t) (ns / UINT64_C(1000000000)),
                              .tv_nsec = (long) (ns % UINT64_C(1000000000)) };

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
                ;
}

static int new_socket(void) {
        static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0)
                return close_fd(fd);
        return fd;
}

static bool connect_to(int fd, uint16_t port) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons(port) };

        return connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0;
}

static int start_connection(uint16_t port) {
        int fd = new_socket();

        return fd < 0 || connect_to(fd, port) ? fd : close_fd(fd);
}

static bool finish_connection(int fd) {
        char bytes[2];
        bool good;

        /* One byte and the end. */
        good = recv(fd, bytes, sizeof(bytes), MSG_WAITALL) == 1;
        (void) close(fd);
        return good;
}

/* Waits for the oldest connection, which ends first, or nearly so; the others progress meanwhile. */
static void generate_many(const Plan *plan, Tally *tally) {
        uint64_t now = plan->start;
        int ring[LOAD_IN_FLIGHT];

        for (unsigned i = 0; i < LOAD_IN_FLIGHT; i++)
                ring[i] = -EBADF;

        sleep_until(plan->start);
        for (unsigned i = 0;; i = (i + 1) % LOAD_IN_FLIGHT) {
                bool over = now >= plan->end || tally->failed > FAILURES_MAX;

                if (over && tally->in_flight == 0)
                        return;

                if (ring[i] >= 0) {
                        if (!finish_connection(TAKE_FD(ring[i])))
                                tally->failed++;
                        tally->in_flight--;
                        tally->n++;
                        now = now_ns();
                        if (now >= plan->count_from && now < plan->end)
                                tally->n_counted++;
                }

                if (over)
                        continue;
                ring[i] = start_connection(plan->port);
                if (ring[i] >= 0)
                        tally->in_flight++;
                else
                        tally->failed++;
        }
}

uint32_t load_probe(uint16_t port) {
        _cleanup_close_ int fd = new_socket();
        static const struct timeval timeout = { .tv_sec = PROBE_TIMEOUT_SEC };
        uint64_t start, end;
        char byte;

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
                return 0;
        start = now_ns();
        if (!connect_to(fd, port) || recv(fd, &byte, 1, 0) != 1)
                return 0;
        end = now_ns();

        /* Waits for the end, so that no work for this connection is left when the next one comes. */
        if (recv(fd, &byte, 1, 0) != 0)
                return 0;
        return (uint32_t) MIN(end - start, UINT32_MAX);
}

static void generate_one_by_one(const Plan *plan, Tally *tally) {
        place_load();
        for (unsigned i = 0; i < SAMPLES_SKIPPED; i++)
                (void) load_probe(plan->port);

        /* On a busy machine, the time may end before the first sample. */
        while ((now_ns() < plan->end || tally->n + tally->failed == 0) && tally->n < SAMPLES_MAX &&
               tally->failed <= FAILURES_MAX) {
                uint32_t ns = load_probe(plan->port);

                if (ns > 0)
                        tally->samples[tally->n++] = ns;
                else
                        tally->failed++;
        }
}

static Tally *tally_new(size_t n_samples) {
        Tally *t = mmap(NULL, sizeof(Tally) + n_samples * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        g_assert_true(t != MAP_FAILED);
        return t;
}

static void tally_free(Tally *t, size_t n_samples) {
        g_assert_no_errno(munmap(t, sizeof(Tally) + n_samples * sizeof(uint32_t)));
}

static pid_t generator_start(Generator generate, const Plan *plan, Tally *tally) {
        pid_t pid;

        pid = fork();
        g_assert_no_errno(pid);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                generate(plan, tally);
                _exit(0);
        }
        return pid;
}

static void generator_end(pid_t pid, uint64_t deadline) {
        while (waitpid(pid, NULL, WNOHANG) == 0) {
                uint64_t now = now_ns();

                if (now > deadline) {
                        (void) kill(pid, SIGKILL);
                        g_assert_no_errno(waitpid(pid, NULL, 0));
                        return;
                }
                sleep_until(now + 1000 * 1000);
        }
}

LoadRate load_measure_rate(uint16_t port, unsigned milliseconds) {
        uint64_t start = now_ns() + 5 * 1000 * 1000;
        Plan plan = { .port = port, .start = start, .count_from = start + WARM_UP_NS };
        Tally *tallies[LOAD_GENERATORS];
        pid_t pids[LOAD_GENERATORS];
        LoadRate result = {};

        plan.end = plan.count_from + (uint64_t) milliseconds * 1000 * 1000;
        for (unsigned i = 0; i < LOAD_GENERATORS; i++) {
                tallies[i] = tally_new(0);
                pids[i] = generator_start(generate_many, &plan, tallies[i]);
        }

        sleep_until(plan.end);
        for (unsigned i = 0; i < LOAD_GENERATORS; i++) {
                generator_end(pids[i], plan.end + STUCK_NS);
                result.rate += (double) tallies[i]->n_counted * 1000 / milliseconds;
                result.n += tallies[i]->n;
                result.failed += tallies[i]->failed;
                result.stuck += tallies[i]->in_flight;
                tally_free(tallies[i], 0);
        }
        return result;
}

LoadLatency load_measure_latency(uint16_t port, unsigned milliseconds) {
        Plan plan = { .port = port, .end = now_ns() + (uint64_t) milliseconds * 1000 * 1000 };
        Tally *tally = tally_new(SAMPLES_MAX);
        LoadLatency result;
        pid_t pid;

        pid = generator_start(generate_one_by_one, &plan, tally);
        sleep_until(plan.end);
        generator_end(pid, plan.end + STUCK_NS);

        result = (LoadLatency) {
                .p50_us = percentile(tally->samples, tally->n, 0.5) / 1000,
                .p99_us = percentile(tally->samples, tally->n, 0.99) / 1000,
                .n = tally->n,
                .failed = tally->failed,
        };
        tally_free(tally, SAMPLES_MAX);
        return result;
}

/* --- Connections that stay --- */

#define CONNECTIONS_MAX 64
#define PIECE (256U * 1024)
#define FLOW_SAMPLES_SKIPPED 20

static int start_flow(uint16_t port, char how) {
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

/* Keeps all connections full until the end. */
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
                fds[i] = (struct pollfd) { .fd = start_flow(port, 'S'), .events = POLLOUT };
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
        _cleanup_close_ int fd = start_flow(port, 'E');
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
                if (i >= FLOW_SAMPLES_SKIPPED)
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
