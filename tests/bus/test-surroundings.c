/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the service must not depend on: the wall clock, well-behaved peers, a host with IPv6, descriptors that
 * are meant for another process. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bus/fixture.h"
#include "bus/wall-clock.h"

#define DAY 86400
#define IDLE_USEC 300000U

/* ------------------------------------------------------------------ the same for all deliveries */

static const char *const deliveries[] = { "signal", "call", "pull", "channel", "socket" };

typedef struct Server {
        Fixture *f;
        const char *delivery;
        char *listener;
        uint16_t port;
        int fd; /* the channel, or the listening socket */
} Server;

static void server_init(Server *s, Fixture *f, const char *delivery) {
        *s = (Server) { .f = f, .delivery = delivery, .fd = -EBADF };
        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        s->listener = test_listen(f->client, 0, -1, "delivery", "s", delivery, NULL);
        s->port = test_get_port(f->client, s->listener);
        if (streq(delivery, "channel"))
                s->fd = test_listener_call_fd(f->client, s->listener, "OpenChannel");
        else if (streq(delivery, "socket"))
                s->fd = test_listener_call_fd(f->client, s->listener, "TakeSocket");
}

/* The next connection, as the client gets it. */
static int server_take(Server *s) {
        TestClient *client = s->f->client;
        uint64_t serial;

        if (streq(s->delivery, "pull")) {
                g_autoptr(GPtrArray) accepted = test_accept(client, s->listener, 1, TEST_ACCEPT_TIMEOUT_MAX);

                g_assert_cmpuint(accepted->len, ==, 1);
                return TAKE_FD(((TestAccepted *) accepted->pdata[0])->socket);
        }
        if (streq(s->delivery, "channel"))
                return test_channel_receive(s->fd, &serial);
        if (streq(s->delivery, "socket")) {
                (void) test_wait_fd(s->fd, POLLIN);
                return accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        }
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);
        return TAKE_FD(accepted->socket);
}

/* The service does not see the connections of a socket that its client has. */
static void server_assert_counters(Server *s, uint64_t n) {
        if (streq(s->delivery, "socket"))
                return;
        /* The next call confirms the last reply. */
        if (streq(s->delivery, "pull"))
                g_ptr_array_unref(test_accept(s->f->client, s->listener, 1, 0));
        test_assert_counters(s->f->client, s->listener, n, n);
        g_assert_cmpuint(test_get_u64(s->f->client, s->listener, "Refused"), ==, 0);
}

static void server_done(Server *s) {
        test_listener_call(s->f->client, s->listener, "Close");
        test_client_expect_closed(s->f->client, s->listener, "owner");
        close_fd(s->fd);
        g_free(s->listener);
}

static void stop_service(Fixture *f) {
        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
}

static void continue_service(Fixture *f) {
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
}

/* ------------------------------------------------------------------ clocks */

/* The service has a wall clock that the test can set, and a configuration of its own. */
typedef struct Clocks {
        Fixture fixture;
        WallClock *wall;
} Clocks;

/* Runs in the child that becomes the service. */
static void hide_configuration(void *data) {
        test_mount_configuration("");
}

static WallClock *create_wall_clock(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        g_assert_no_errno(fd);
        g_assert_no_errno(ftruncate(fd, sizeof(WallClock)));
        WallClock *wall = mmap(NULL, sizeof(*wall), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(wall != MAP_FAILED);
        return wall;
}

static void set_up_clocks(Clocks *c, const void *data) {
        g_autofree char *directory = test_make_directory("clock"),
                        *path = g_build_filename(directory, "wall", NULL),
                        *variable = g_strdup_printf(WALL_CLOCK_FILE_VARIABLE "=%s", path),
                        *preload = g_strdup_printf("LD_PRELOAD=%s", g_getenv("TEST_WALL_CLOCK") ?: "");
        const FixtureOptions options = { .service = { .environment = WORDS(variable, preload),
                                                      .setup = geteuid() == 0 ? hide_configuration : NULL } };

        c->wall = create_wall_clock(path);
        fixture_set_up(&c->fixture, &options);
}

static void tear_down_clocks(Clocks *c, const void *data) {
        fixture_tear_down(&c->fixture, NULL);
        g_assert_no_errno(munmap(c->wall, sizeof(*c->wall)));
}

static bool require_wall_clock(void) {
        if (g_getenv("TEST_WALL_CLOCK"))
                return true;
        g_test_skip("needs a build without the sanitizers");
        return false;
}

#define CLOCK_TEST(requirement, sentence)                                                     \
        TEST_OF_IF(require_wall_clock() && (requirement), sentence, Clocks, c, set_up_clocks, \
                   tear_down_clocks, NULL)

/* When it returns, the event loop of the service has read the clock. */
static void jump(Clocks *c, int64_t shift_sec) {
        uint64_t before;

        c->wall->shift_sec = shift_sec;
        before = c->wall->n_readings;
        test_client_sync_service(c->fixture.client);
        g_assert_cmpuint(c->wall->n_readings, >, before);
}

/* acceptRate delays two of three connections, a call of Accept takes as long as it may, and a channel
 * delivers. */
static void assert_same_times(Clocks *c, int64_t shift_sec) {
        enum {
                RATE = 10,
                TIMEOUT_MS = 150
        };
        TestClient *client = c->fixture.client;
        g_autofree char *limited = test_listen(client, 0, -1, "acceptRate", "u", RATE, NULL),
                        *pull = test_listen(client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(client, limited);
        int peers[3];
        Server channel;

        server_init(&channel, &c->fixture, "channel");
        uint64_t start = test_now();
        TestCall *accept = test_accept_start(client, pull, 1, TIMEOUT_MS);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                peers[i] = test_connect("::1", port);
        jump(c, shift_sec);
        {
                _cleanup_close_ int peer = test_connect("::1", channel.port), fd = server_take(&channel);

                test_assert_connected(peer, fd);
        }
        server_assert_counters(&channel, 1);

        g_autoptr(GPtrArray) accepted = test_accept_finish(accept);
        g_assert_cmpuint(accepted->len, ==, 0);
        g_assert_cmpuint(test_now() - start, >=, TIMEOUT_MS * 1000U - TEST_EARLY);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                test_client_expect_peer(client, limited, peers[i]);
        g_assert_cmpuint(test_now() - start, >=, (ELEMENTS(peers) - 1) * 1000000U / RATE - TEST_EARLY);

        server_done(&channel);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                close_fd(peers[i]);
}

CLOCK_TEST(true, "jumps of the wall clock do not change acceptRate, the timeout of Accept, or a channel") {
        static const int64_t shifts[] = { DAY, 0, -DAY, 0 };

        for (size_t i = 0; i < ELEMENTS(shifts); i++)
                assert_same_times(c, shifts[i]);
        g_assert_cmpuint(c->wall->n_timers, ==, 0);
}

static void check_idle_timeout(Clocks *c, int64_t shift_sec) {
        Fixture *f = &c->fixture;
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);

        test_service_configure(f->service, "IdleTimeoutSec=300ms");
        test_wait_for(test_get_u64(f->client, TEST_MANAGER_PATH, "IdleTimeoutUSec") == IDLE_USEC);
        jump(c, shift_sec);
        uint64_t start = test_now();
        test_listener_call(f->client, listener, "Close");
        c->wall->shift_sec = 0;
        g_assert_cmpint(test_service_wait_exit(f->service), ==, 0);
        g_assert_cmpuint(test_now() - start, >=, IDLE_USEC - TEST_EARLY);
        g_assert_cmpuint(c->wall->n_timers, ==, 0);
}

CLOCK_TEST(test_require_root(),
           "the idle timeout does not change when the wall clock jumps forwards and back") {
        check_idle_timeout(c, DAY);
}

CLOCK_TEST(test_require_root(),
           "the idle timeout does not change when the wall clock jumps back and forwards") {
        check_idle_timeout(c, -DAY);
}

/* The closest to a suspended host: time passes, and the service does not see it pass. */
TEST("a service that was stopped serves the peers that came meanwhile, and answers calls that are due") {
        enum {
                RATE = 10,
                TIMEOUT_MS = 100
        };
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL),
                        *pull = test_listen(f->client, 0, -1, TEST_PULL, NULL),
                        *limited = test_listen(other, 0, -1, "acceptRate", "u", RATE, NULL);
        uint16_t port = test_get_port(f->client, listener), limited_port = test_get_port(other, limited);
        _cleanup_(peers_done) Peers peers = {}, limited_peers = {};

        uint64_t due = test_now() + TIMEOUT_MS * 1000U;
        TestCall *accept = test_accept_start(f->client, pull, 1, TIMEOUT_MS);
        test_client_sync_service(f->client);
        stop_service(f);
        peers_connect(&peers, port, 50);
        peers_connect(&limited_peers, limited_port, 3);
        test_wait_for(test_now() > due);
        uint64_t start = test_now();
        continue_service(f);

        g_autoptr(GPtrArray) accepted = test_accept_finish(accept);
        g_assert_cmpuint(accepted->len, ==, 0);
        peers_take(&peers, f->client, 1, 50);
        peers_take(&limited_peers, other, 1, 3);
        g_assert_cmpuint(test_now() - start, >=, 2 * 1000000U / RATE - TEST_EARLY);
        test_assert_counters(f->client, listener, 50, 50);
        test_assert_counters(other, limited, 3, 3);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
}

/* ------------------------------------------------------------------ peers */

/* It says that it sends no more, before the service accepts it or after its client has it. */
static void serve_half_closed(Server *s, bool early) {
        if (early)
                stop_service(s->f);
        _cleanup_close_ int peer = test_connect_and_say(s->port, "request");
        if (early) {
                g_assert_no_errno(shutdown(peer, SHUT_WR));
                continue_service(s->f);
        }
        int fd = server_take(s);
        test_expect(fd, "request");
        if (!early)
                g_assert_no_errno(shutdown(peer, SHUT_WR));
        g_assert_cmpint(test_wait_end(fd), ==, 0);
        test_send(fd, "answer", 6);
        close_fd(fd);
        test_expect(peer, "answer");
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

TEST("a peer that has closed its direction of the connection gets its answer") {
        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                Server s;

                server_init(&s, f, deliveries[i]);
                serve_half_closed(&s, true);
                serve_half_closed(&s, false);
                server_assert_counters(&s, 2);
                server_done(&s);
        }
}

static bool is_of_peer(int fd, int peer) {
        struct sockaddr_in6 address;
        socklen_t size = sizeof(address);

        /* After a reset, it is not connected. */
        return getpeername(fd, (struct sockaddr *) &address, &size) == 0 &&
               ntohs(address.sin6_port) == test_local_port(peer);
}

/* As load balancers check that a port is open. */
TEST("a hundred health checks that end by a reset are no errors, and the next peer is served") {
        enum {
                CHECKS = 100
        };
        g_autofree char *log = test_service_log(f->service);

        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                _cleanup_close_ int fd = -EBADF;
                unsigned n = 0;
                Server s;

                server_init(&s, f, deliveries[i]);
                for (unsigned j = 0; j < CHECKS; j++)
                        test_reset(test_connect("::1", s.port));
                _cleanup_close_ int peer = test_connect("::1", s.port);
                do {
                        close_fd(fd);
                        fd = server_take(&s);
                        n++;
                } while (!is_of_peer(fd, peer));
                test_assert_connected(peer, fd);

                g_assert_cmpuint(n, ==, CHECKS + 1);
                server_assert_counters(&s, n);
                server_done(&s);
        }
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
        test_assert_text(test_service_log(f->service), log);
}

/* ------------------------------------------------------------------ SYNs */

#define FLOOD_NETWORK "198.18.0.0/15"
#define FLOOD_SOURCE "198.18.0.1"

typedef struct Syn {
        struct iphdr ip;
        struct tcphdr tcp;
} Syn;

static uint16_t check_sum(const void *data, size_t size, uint32_t sum) {
        const uint16_t *words = data;

        for (size_t i = 0; i < size / 2; i++)
                sum += words[i];
        while (sum > UINT16_MAX)
                sum = (sum & UINT16_MAX) + (sum >> 16);
        return (uint16_t) ~sum;
}

static Syn make_syn(uint16_t from_port, uint16_t port) {
        Syn syn = {
                .ip = { .version = 4,
                        .ihl = sizeof(syn.ip) / 4,
                        .ttl = 64,
                        .protocol = IPPROTO_TCP,
                        .saddr = inet_addr(FLOOD_SOURCE),
                        .daddr = inet_addr(TEST_IPV4) },
                .tcp = { .source = htons(from_port),
                         .dest = htons(port),
                         .doff = sizeof(syn.tcp) / 4,
                         .syn = 1,
                         .window = htons(1024) },
        };
        uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof(syn.tcp));

        pseudo += (syn.ip.saddr & UINT16_MAX) + (syn.ip.saddr >> 16) + (syn.ip.daddr & UINT16_MAX) +
                  (syn.ip.daddr >> 16);
        syn.tcp.check = check_sum(&syn.tcp, sizeof(syn.tcp), pseudo);
        return syn;
}

/* From a source that never answers. */
static void flood(uint16_t port, unsigned n) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(TEST_IPV4) };

        test_network_visit_neighbour();
        _cleanup_close_ int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
        test_network_return();
        g_assert_no_errno(fd);
        for (unsigned i = 0; i < n; i++) {
                Syn syn = make_syn((uint16_t) (1024 + i), port);

                g_assert_no_errno(
                                (int) sendto(fd, &syn, sizeof(syn), 0, (struct sockaddr *) &to, sizeof(to)));
        }
}

/* The queue of the one listener holds them, and that of the other overflows, so that the kernel sends
 * cookies. */
TEST_IF(test_require_private_network(), "a peer is served while 2000 half-open connections wait") {
        enum {
                N = 2000,
                SMALL_BACKLOG = 8
        };
        g_autofree char *large = test_listen(f->client, 0, -1, NULL),
                        *small = test_listen(f->client, 0, SMALL_BACKLOG, NULL);
        uint16_t large_port = test_get_port(f->client, large), small_port = test_get_port(f->client, small);

        test_network_set("ipv4/tcp_max_syn_backlog", "8192");
        test_network_ip("route add " FLOOD_NETWORK " via " TEST_NEIGHBOUR_IPV4);
        /* The kernel may drop some. */
        test_wait_for((flood(large_port, N), test_count_half_open(large_port) == N));
        test_assert_served_to_neighbour(f->client, large, TEST_IPV4);
        g_assert_cmpuint(test_count_half_open(large_port), >=, N);

        if (access("/proc/sys/net/ipv4/tcp_syncookies", F_OK) == 0) {
                test_network_set("ipv4/tcp_syncookies", "1");
                flood(small_port, N);
                test_wait_for(test_count_half_open(small_port) > 0);
                g_assert_cmpuint(test_count_half_open(small_port), <=, SMALL_BACKLOG + 1);
                test_assert_served_to_neighbour(f->client, small, TEST_IPV4);
        }
        test_network_ip("route del " FLOOD_NETWORK);
        test_assert_counters(f->client, large, 1, 1);
}

TEST("with a backlog of 0, one connection waits, and all others are served one after the other") {
        g_autofree char *listener = test_listen(f->client, 0, 0, TEST_PAUSED, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int waiting = test_connect("::1", port);

        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);
        test_listener_call(f->client, listener, "Resume");
        test_client_expect_peer(f->client, listener, waiting);
        for (unsigned i = 0; i < 20; i++) {
                _cleanup_close_ int peer = test_connect(i % 2 == 0 ? "::1" : "127.0.0.1", port);

                test_client_expect_peer(f->client, listener, peer);
        }
        test_assert_counters(f->client, listener, 21, 21);
}

/* ------------------------------------------------------------------ IPv6 */

/* No interface has an IPv6 address then. The address :: can still be bound, and accepts IPv4. */
TEST_IF(test_require_private_network(),
        "with disable_ipv6, the default address serves IPv4, and ::1 is not available") {
        g_autofree char *text = NULL;

        test_network_set("ipv6/conf/all/disable_ipv6", "1");
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        test_assert_served_to_neighbour(f->client, listener, TEST_IPV4);
        test_assert_served(f->client, listener, "127.0.0.1");
        test_assert_text(test_listen_fails(f->client, &text, 0, -1, "localAddress", "s", "::1", NULL),
                         "org.example.TCPServerSocket.Error.AddressNotAvailable");
        g_assert_true(g_str_has_prefix(text, "This host does not have the address ::1"));
        test_network_set("ipv6/conf/all/disable_ipv6", "0");
        /* Its addresses were lost. */
        test_network_cut_cable();
        test_network_lay_cable();
        test_assert_served(f->client, listener, "::1");
}

TEST("0.0.0.0 and :: share a port with ipv6Only, and without it :: is in use") {
        g_autofree char *ipv4 = test_listen(f->client, 0, -1, "localAddress", "s", "0.0.0.0", NULL);
        uint16_t port = test_get_port(f->client, ipv4);
        g_autofree char *ipv6 = test_listen(f->client, port, -1, "localAddress", "s", "::", "ipv6Only", "b",
                                            true, NULL);

        test_assert_text(test_listen_fails(f->client, NULL, port, -1, NULL), SD_BUS_ERROR_ADDRESS_IN_USE);
        test_assert_served(f->client, ipv4, "127.0.0.1");
        test_assert_served(f->client, ipv6, "::1");
        test_listener_call(f->client, ipv4, "Close");
        test_assert_text(test_listen_fails(f->client, NULL, port, -1, NULL), SD_BUS_ERROR_ADDRESS_IN_USE);
        test_listener_call(f->client, ipv6, "Close");
        g_free(test_listen(f->client, port, -1, NULL));
}

/* ------------------------------------------------------------------ descriptors for another process */

static pid_t inner;

static void pass_on(int signal_number) {
        (void) kill(inner, signal_number);
}

/* Runs in the child that becomes the service, which is then the first process of the namespace. Its parent
 * stays outside. */
static void enter_pid_namespace(void *data) {
        int status;

        g_assert_no_errno(unshare(CLONE_NEWPID));
        inner = fork();
        g_assert_no_errno(inner);
        if (inner == 0)
                return;

        g_assert_no_errno(prctl(PR_SET_PDEATHSIG, SIGKILL));
        g_assert_no_errno(close_range(3, UINT_MAX, 0));
        (void) signal(SIGTERM, pass_on);
        while (waitpid(inner, &status, 0) < 0)
                g_assert_cmpint(errno, ==, EINTR);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* As a service manager inside the namespace. */
static void enter_pid_namespace_as_manager(void *data) {
        enter_pid_namespace(data);
        g_setenv("LISTEN_PID", "1", true);
}

static void restart_with(Fixture *f, Keeper *keeper, TestChildSetup more) {
        test_client_sync_service(f->client);
        (void) test_service_kill(f->service);
        g_clear_pointer(&f->service, test_service_free);
        test_wait_for(!test_bus_service_owner(f->bus));
        keeper_set_up_with(keeper, more);
        f->service = keeper_start(keeper, f->bus);
}

/* As sd_listen_fds(3). */
TEST_IF(test_require_root(),
        "descriptors are only taken if LISTEN_PID is the process in its own PID namespace") {
        g_autoptr(Keeper) keeper = keeper_new(f->bus);

        restart_with(f, keeper, NULL);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        restart_with(f, keeper, enter_pid_namespace_as_manager);
        test_assert_served(f->client, listener, "::1");

        restart_with(f, keeper, enter_pid_namespace);
        test_assert_text(test_listener_call_fails(f->client, listener, "Pause"), SD_BUS_ERROR_UNKNOWN_OBJECT);
        g_autofree char *next = test_listen(f->client, 0, -1, NULL);
        test_assert_served(f->client, next, "::1");
        g_clear_pointer(&f->service, test_service_free);
}
