/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A client turns the sockets that the service hands over into something else: connections to other servers,
 * listeners on other ports, a port that stays taken. With the guard, all of these attacks fail. To prove the
 * tests, the same attacks run on the service without the guard, where they must succeed.
 *
 * An attack is a function that runs in a process of its own, which has no privilege and no descriptor except
 * the socket.
 *
 * With the argument "--sandbox", this program is the attacker in a sandbox, see attack_from_sandbox(). */

#include <arpa/inet.h>
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <linux/seg6.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "machine/machine.h"

/* Of Linux 6.3, 6.7 and 6.11. */
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#define OP_URING_CMD 46
#define OP_BIND 56
#define OP_LISTEN 57
#define URING_SETSOCKOPT 3

/* Results of an attack, besides errno: 0 is success. */
#define NO_EFFECT (-1)   /* no call fails, but nothing is won */
#define UNSUPPORTED (-2) /* this kernel does not have the feature */

#define GUARD "/usr/libexec/tcpserversocket-guard"

/* A copy of this program. */
#define ATTACKER "/usr/local/bin/test-containment"

#define HOP4 "127.0.0.9"
#define HOP6 "2001:db8::9"

/* The socket that an attack begins with. */
typedef enum Kind {
        ACCEPTED4, /* a connection of a listener at 127.0.0.1 */
        ACCEPTED6, /* a connection of a listener at ::, from ::1 */
        MAPPED,    /* the same, from 127.0.0.1 */
        TAKEN4,    /* a listening socket at 127.0.0.1, with a port that the kernel has chosen */
        TAKEN6,    /* the same at :: */
        TAKEN80,   /* the same at 127.0.0.1, port 80 */
        CHILD4,    /* a connection that the attacker accepts from TAKEN4 */
        CHILD6,    /* the same with TAKEN6, from ::1 */
        BOUND,     /* TAKEN4 with the option interface */
        CHANNEL,   /* a channel */
} Kind;

typedef struct Scene Scene;

/* A step of the attacker, with its socket. */
typedef int (*Step)(int fd, const Scene *scene);

typedef struct Attack {
        int guarded; /* the result with the guard */
        Kind kind;
        const char *name;
        Step prepare;                        /* or NULL: before the event */
        void (*event)(Machine *m, Scene *s); /* or NULL: what happens meanwhile */
        Step run;                            /* or NULL */
        int (*judge)(Machine *m, Scene *s);  /* or NULL: the result, if run() had none */
        int unguarded;    /* the result without the guard; 0 unless the kernel refuses it */
        int refused;      /* the result of some kernels without the guard, or 0 */
        const char *user; /* of the attacker, if not that of the client */
} Attack;

/* One attack, in progress. */
struct Scene {
        const Attack *attack;
        GDBusConnection *bus; /* in a sandbox */
        char *listener;
        uint16_t port;   /* of the listener */
        uint16_t victim; /* the port of a server of the same user, at all addresses */
        uint16_t other;  /* the same of another user */
        int fd, peer;    /* what was handed over; its peer */
        int sniffer;     /* packets on the loopback interface */
        pid_t attacker;
        int commands, results;
        int prepared; /* the result of prepare() */
};

/* ------------------------------------------------------------------------------------ Tools of the attackers
 */

static int result(int r) {
        return r < 0 ? errno : 0;
}

typedef union Any {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
} Any;

static socklen_t make_address(Any *ret, const char *address, uint16_t port) {
        *ret = (Any) {};
        if (inet_pton(AF_INET, address, &ret->in4.sin_addr) > 0) {
                ret->in4.sin_family = AF_INET;
                ret->in4.sin_port = htons(port);
                return sizeof(ret->in4);
        }
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons(port);
        (void) inet_pton(AF_INET6, address, &ret->in6.sin6_addr);
        return sizeof(ret->in6);
}

static int set_option(int fd, int level, int option, int value) {
        return result(setsockopt(fd, level, option, &value, sizeof(value)));
}

static uint16_t get_port(int fd) {
        Any any;
        socklen_t length = sizeof(any);

        return getsockname(fd, &any.sa, &length) < 0 ? 0 : ntohs(any.in4.sin_port);
}

static int get_domain(int fd) {
        return test_get_socket_option(fd, SOL_SOCKET, SO_DOMAIN);
}

/* setsockopt() as a system call of 32 bits, for which the kernel does not run BPF programs. */
static int set_option32(int fd, int level, int option, const void *value, size_t size) {
#ifdef __x86_64__
        void *low = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        long r = 366; /* setsockopt */
        int status;

        if (low == MAP_FAILED)
                return errno;

        /* A kernel without these system calls ends the process. */
        pid_t probe = fork();
        if (probe == 0) {
                long getpid_number = 20;

                __asm__ volatile("int $0x80" : "+a"(getpid_number) : : "memory", "r8", "r9", "r10", "r11");
                _exit(getpid_number == getpid() ? 0 : 1);
        }
        if (probe < 0 || waitpid(probe, &status, 0) < 0 || status != 0)
                return UNSUPPORTED;

        memcpy(low, value, size);
        __asm__ volatile("int $0x80"
                         : "+a"(r)
                         : "b"((long) fd), "c"((long) level), "d"((long) option), "S"(low), "D"(size)
                         : "memory", "r8", "r9", "r10", "r11");
        return (int) -r;
#else
        return UNSUPPORTED;
#endif
}

static const char *loopback(int fd) {
        return get_domain(fd) == AF_INET ? "127.0.0.1" : "::1";
}

/* How long an attacker waits for a peer, in ms: the packets of the loopback interface arrive at once. With
 * the guard, they never arrive. */
static int patience;

static int disconnect(int fd) {
        struct sockaddr nothing = { .sa_family = AF_UNSPEC };

        (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        return result(connect(fd, &nothing, sizeof(nothing)));
}

/* The victim has got a connection from this socket. */
static int have_reached(int fd, uint16_t port) {
        Any any;
        socklen_t length = sizeof(any);

        if (getpeername(fd, &any.sa, &length) < 0)
                return errno;
        return any.in4.sin_port == htons(port) ? 0 : NO_EFFECT;
}

static int connect_to(int fd, const char *address, uint16_t port) {
        Any any;
        socklen_t length = make_address(&any, address, port);

        return connect(fd, &any.sa, length) < 0 ? errno : have_reached(fd, port);
}

/* Without the network of the host, only the test outside can connect to a port. It reads the output. */
static bool in_sandbox;

static int ask_for_peer(const char *address, uint16_t port) {
        return result(dprintf(STDOUT_FILENO, "peer %s %u\n", address, port));
}

/* An ordinary client connects to this port. */
static int visit(const char *address, uint16_t port, int *ret_client) {
        _cleanup_close_ int client = -EBADF;
        Any any;
        socklen_t length = make_address(&any, address, port);

        if (in_sandbox)
                return ask_for_peer(address, port);
        client = socket(any.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(client, &any.sa, length) < 0 && errno != EINPROGRESS)
                return errno;
        *ret_client = TAKE_FD(client);
        return 0;
}

/* An ordinary client connects to this socket, and it is accepted. */
static int serves(int fd) {
        _cleanup_close_ int client = -EBADF;
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        int r = visit(loopback(fd), get_port(fd), &client);

        if (r != 0)
                return r;
        if (poll(&readable, 1, patience) <= 0)
                return NO_EFFECT;
        return result(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

static int listen_and_serve(int fd) {
        return listen(fd, 16) < 0 ? errno : serves(fd);
}

/* One request to io_uring; returns its result. */
static int call_uring(const struct io_uring_sqe *request) {
        struct io_uring_params p = {};
        _cleanup_close_ int ring = (int) syscall(SYS_io_uring_setup, 1, &p);

        if (ring < 0)
                return UNSUPPORTED;
        size_t size = MAX(p.sq_off.array + p.sq_entries * sizeof(unsigned),
                          p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe));
        char *rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
        struct io_uring_sqe *entries = mmap(NULL, p.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE,
                                            MAP_SHARED, ring, IORING_OFF_SQES);
        if (rings == MAP_FAILED || entries == MAP_FAILED)
                return errno;
        entries[0] = *request;
        *(unsigned *) (void *) (rings + p.sq_off.array) = 0;
        __atomic_store_n((unsigned *) (void *) (rings + p.sq_off.tail), 1, __ATOMIC_RELEASE);
        if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
                return errno;
        return -((struct io_uring_cqe *) (void *) (rings + p.cq_off.cqes))->res;
}

/* ----------------------------------------------------------------------------------- Attacks: to reach a
 * server */

static int connect4(int fd, const Scene *s) {
        int r = disconnect(fd);

        return r != 0 ? r : connect_to(fd, "127.0.0.1", s->victim);
}

static int connect6(int fd, const Scene *s) {
        int r = disconnect(fd);

        return r != 0 ? r : connect_to(fd, "::1", s->victim);
}

static int connect_mapped(int fd, const Scene *s) {
        int r = disconnect(fd);

        return r != 0 ? r : connect_to(fd, "::ffff:127.0.0.1", s->victim);
}

static int connect_without_waiting(int fd, const Scene *s) {
        struct pollfd writable = { .fd = fd, .events = POLLOUT };
        int r = disconnect(fd);

        (void) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        if (r == 0)
                r = connect_to(fd, loopback(fd), s->victim);
        if (r != EINPROGRESS && r != ENOTCONN)
                return r;
        (void) poll(&writable, 1, 1000);
        return have_reached(fd, s->victim);
}

static int connect_by_sending(int fd, const Scene *s) {
        int r = disconnect(fd);
        Any any;
        socklen_t length = make_address(&any, loopback(fd), s->victim);

        if (r == 0)
                r = result((int) sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, &any.sa, length));
        return r != 0 ? r : have_reached(fd, s->victim);
}

static int connect_by_fast_open_option(int fd, const Scene *s) {
        int r = disconnect(fd);

        if (r == 0)
                r = set_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
        if (r == 0)
                r = connect_to(fd, loopback(fd), s->victim);
        return r;
}

static int connect_by_uring(int fd, const Scene *s) {
        int r = disconnect(fd);
        Any any;
        socklen_t length = make_address(&any, loopback(fd), s->victim);

        if (r == 0)
                r = call_uring(&(struct io_uring_sqe) { .opcode = IORING_OP_CONNECT,
                                                        .fd = fd,
                                                        .addr = (uintptr_t) &any,
                                                        .off = length });
        return r != 0 ? r : have_reached(fd, s->victim);
}

/* The IPv6 socket becomes an IPv4 socket. */
static int connect_after_change_of_family(int fd, const Scene *s) {
        int r = set_option(fd, IPPROTO_IPV6, IPV6_ADDRFORM, AF_INET);

        return r != 0 ? r : connect4(fd, s);
}

static int connect_twice(int fd, const Scene *s) {
        (void) connect4(fd, s);
        return connect4(fd, s);
}

static int connect_from_port_80(int fd, const Scene *s) {
        Any any;
        socklen_t length = sizeof(any);
        int r = connect4(fd, s);

        if (r == 0)
                r = result(getsockname(fd, &any.sa, &length));
        if (r == 0 && any.in4.sin_port != htons(80))
                r = NO_EFFECT;
        return r;
}

static int connect_as_root_of_a_namespace(int fd, const Scene *s) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
                return UNSUPPORTED;
        return connect4(fd, s);
}

/* ------------------------------------------------------------------------------ Attacks: to become another
 * server */

static int bind_and_serve(int fd, const Scene *s) {
        int r = disconnect(fd);
        Any any;
        socklen_t length = make_address(&any, get_domain(fd) == AF_INET ? "0.0.0.0" : "::", 0);

        if (r == 0)
                r = result(bind(fd, &any.sa, length));
        return r != 0 ? r : listen_and_serve(fd);
}

static int bind_and_serve_by_uring(int fd, const Scene *s) {
        int r = disconnect(fd);
        Any any;
        socklen_t length = make_address(&any, get_domain(fd) == AF_INET ? "0.0.0.0" : "::", 0);

        if (r == 0)
                r = call_uring(&(struct io_uring_sqe) {
                                .opcode = OP_BIND, .fd = fd, .addr = (uintptr_t) &any, .off = length });
        if (r == EINVAL)
                return UNSUPPORTED;
        if (r == 0)
                r = call_uring(&(struct io_uring_sqe) { .opcode = OP_LISTEN, .fd = fd, .len = 16 });
        return r != 0 ? r : serves(fd);
}

/* The kernel chooses the port in listen(), without bind(). */
static int serve_elsewhere(int fd, const Scene *s) {
        int r = disconnect(fd);

        return r != 0 ? r : listen_and_serve(fd);
}

static int serve_elsewhere_with_fast_open(int fd, const Scene *s) {
        int r = disconnect(fd);
        Any any;
        socklen_t length = sizeof(any);

        if (r == 0)
                r = set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, 16);
        if (r == 0)
                r = result(listen(fd, 16));
        if (r == 0)
                r = result(getsockname(fd, &any.sa, &length));
        if (r != 0)
                return r;
        if (in_sandbox)
                return serves(fd);
        _cleanup_close_ int client = socket(get_domain(fd), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        length = make_address(&any, loopback(fd), ntohs(any.in4.sin_port));
        (void) sendto(client, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, &any.sa, length);
        return poll(&readable, 1, patience) <= 0 ? NO_EFFECT : result(accept(fd, NULL, NULL));
}

/* The accepted connection, not the listening socket: it leaves its port, and gets one of the attacker's
 * choice. */
static int choose_port(int fd, uint16_t port) {
        uint32_t range = (uint32_t) port << 16 | port;
        int r = disconnect(fd);

        if (r == 0)
                r = result(setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range)));
        if (r == ENOPROTOOPT)
                return UNSUPPORTED;
        return r != 0 ? r : result(listen(fd, 16));
}

static int just_listen(int fd, const Scene *s) {
        return result(listen(fd, 1));
}

/* Until the kernel chooses the same port, which is one of about 14000. */
static int wait_for_own_port(int fd, const Scene *s) {
        for (unsigned i = 0; i < 2000000; i++) {
                int r = disconnect(fd);

                if (r == 0)
                        r = result(listen(fd, 1));
                if (r != 0)
                        return r;
                if (get_port(fd) == s->port)
                        return 0;
        }
        return NO_EFFECT;
}

static int take_over_own_port(int fd, const Scene *s) {
        return choose_port(fd, s->port);
}

/* The server that listens there uses SO_REUSEPORT. The kernel distributes the peers. */
static int share(int fd, uint16_t port) {
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        int r = disconnect(fd), clients[32];
        Any any;
        socklen_t length = make_address(&any, get_domain(fd) == AF_INET ? "0.0.0.0" : "::", port);

        if (r == 0)
                r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        if (r == 0)
                r = result(bind(fd, &any.sa, length));
        if (r == 0)
                r = result(listen(fd, 64));
        for (size_t i = 0; r == 0 && i < ELEMENTS(clients); i++)
                r = visit("127.0.0.1", port, &clients[i]);
        if (r != 0)
                return r;
        return poll(&readable, 1, patience) > 0 ? 0 : NO_EFFECT;
}

static int share_port(int fd, const Scene *s) {
        return share(fd, s->victim);
}

/* The kernel compares the users, and each socket belongs to the user that it was given to. */
static int share_port_of_other(int fd, const Scene *s) {
        return share(fd, s->other);
}

/* ------------------------------------------------------------------------------- Attacks: to keep a port
 * taken */

static int clear_reuse(int fd, const Scene *s) {
        return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 0);
}

static int clear_reuse_by_uring(int fd, const Scene *s) {
        int zero = 0;
        struct io_uring_sqe request = {
                .opcode = OP_URING_CMD,
                .fd = fd,
                .cmd_op = URING_SETSOCKOPT,
        };

        /* level and optname, optlen, optval */
        request.addr = SOL_SOCKET | (uint64_t) SO_REUSEADDR << 32;
        request.splice_fd_in = sizeof(zero);
        request.addr3 = (uintptr_t) &zero;
        int r = call_uring(&request);
        return r == EINVAL || r == EOPNOTSUPP ? UNSUPPORTED : r;
}

static int clear_reuse_by_32bit(int fd, const Scene *s) {
        int zero = 0;

        return set_option32(fd, SOL_SOCKET, SO_REUSEADDR, &zero, sizeof(zero));
}

/* A connection that is accepted later inherits the option. It stays open. */
static int clear_reuse_and_accept(int fd, const Scene *s) {
        int r = clear_reuse(fd, s), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (r == 0)
                r = connect_to(client, "127.0.0.1", s->port);
        return r != 0 ? r : result(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

/* ------------------------------------------------------------------------------- Attacks: to survive
 * revocation */

/* The fall-back without a guard cannot bind a bound socket, and cannot replace a locked filter. Some kernels
 * require CAP_NET_ADMIN for a filter, from the service as well. */
static int lock(int fd, const Scene *s) {
        struct sock_filter pass = { .code = BPF_RET | BPF_K, .k = UINT32_MAX };
        struct sock_fprog program = { .len = 1, .filter = &pass };

        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) >= 0)
                (void) set_option(fd, SOL_SOCKET, SO_LOCK_FILTER, 1);
        return result(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
}

static pid_t struggler;

/* While the service revokes it. */
static int lock_and_struggle(int fd, const Scene *s) {
        int r = lock(fd, s);

        struggler = r == 0 ? fork() : -1;
        if (struggler == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;) {
                        (void) disconnect(fd);
                        (void) listen(fd, 16);
                }
        }
        return r;
}

static int serve_again(int fd, const Scene *s) {
        if (struggler > 0) {
                (void) kill(struggler, SIGKILL);
                (void) waitpid(struggler, NULL, 0);
        }
        return listen_and_serve(fd);
}

static int deferred = -EBADF;

/* The kernel answers the peer, and waits for its first data. */
static int lock_and_defer(int fd, const Scene *s) {
        int r = lock(fd, s);

        if (r == 0)
                r = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 60);
        deferred = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        return r != 0 ? r : connect_to(deferred, "127.0.0.1", s->port);
}

static int serve_deferred(int fd, const Scene *s) {
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        int r = result(listen(fd, 16));

        if (r == 0)
                r = result((int) send(deferred, "x", 1, MSG_NOSIGNAL));
        if (r != 0)
                return r;
        return poll(&readable, 1, patience) <= 0 ? NO_EFFECT : result(accept(fd, NULL, NULL));
}

/* ------------------------------------------------------------------------ Attacks: packets, privileges,
 * names */

/* The segments of the connection go to another host first. */
static int route_by_option4(int fd, const Scene *s) {
        unsigned char route[] = { IPOPT_NOP, IPOPT_LSRR, 7, 4, 127, 0, 0, 9 };
        int r = result(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof(route)));

        return r != 0 ? r : result((int) send(fd, "x", 1, MSG_NOSIGNAL));
}

static int route_by_segments6(int fd, const Scene *s) {
        union {
                unsigned char bytes[sizeof(struct ipv6_sr_hdr) + 2 * sizeof(struct in6_addr)];
                struct ipv6_sr_hdr header;
        } route = {};

        route.header = (struct ipv6_sr_hdr) {
                .hdrlen = 4, .type = 4, .segments_left = 1, .first_segment = 1
        };
        (void) inet_pton(AF_INET6, HOP6, route.bytes + sizeof(route) - sizeof(struct in6_addr));
        int r = result(setsockopt(fd, IPPROTO_IPV6, IPV6_RTHDR, &route, sizeof(route)));
        return r != 0 ? r : result((int) send(fd, "x", 1, MSG_NOSIGNAL));
}

/* Of Mobile IPv6, with which not all kernels are built. */
static int route_by_packet_options6(int fd, const Scene *s) {
        struct {
                struct ip6_rthdr header;
                uint32_t reserved;
                struct in6_addr home;
        } route = { { .ip6r_len = 2, .ip6r_type = 2, .ip6r_segleft = 1 } };
        unsigned char options[CMSG_LEN(sizeof(route))];
        struct cmsghdr control = {
                .cmsg_len = sizeof(options),
                .cmsg_level = IPPROTO_IPV6,
                .cmsg_type = IPV6_RTHDR,
        };

        (void) inet_pton(AF_INET6, HOP6, &route.home);
        memcpy(options, &control, sizeof(control));
        memcpy(options + sizeof(control), &route, sizeof(route));
        int r = result(setsockopt(fd, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, options, sizeof(options)));
        if (r == EINVAL)
                return UNSUPPORTED;
        return r != 0 ? r : result((int) send(fd, "x", 1, MSG_NOSIGNAL));
}

/* The host reports to its routers that it has joined. For IP_ADD_MEMBERSHIP, the kernel requires a datagram
 * socket. */
static int join_group4(int fd, const Scene *s) {
        struct group_req request = { .gr_interface = if_nametoindex("lo") };
        Any group;
        socklen_t length = make_address(&group, "239.1.2.3", 0);

        memcpy(&request.gr_group, &group, length);
        return result(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &request, sizeof(request)));
}

static int join_group6(int fd, const Scene *s) {
        struct group_req request = { .gr_interface = if_nametoindex("lo") };
        Any group;
        socklen_t length = make_address(&group, "ff05::1234", 0);

        memcpy(&request.gr_group, &group, length);
        return result(setsockopt(fd, IPPROTO_IPV6, MCAST_JOIN_GROUP, &request, sizeof(request)));
}

static struct ip_mreq_source make_source4(void) {
        struct ip_mreq_source request = {};

        (void) inet_pton(AF_INET, "232.1.2.3", &request.imr_multiaddr);
        (void) inet_pton(AF_INET, "127.0.0.1", &request.imr_interface);
        (void) inet_pton(AF_INET, "127.0.0.2", &request.imr_sourceaddr);
        return request;
}

static int join_source4(int fd, const Scene *s) {
        struct ip_mreq_source request = make_source4();

        return result(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &request, sizeof(request)));
}

static int join_source4_by_32bit(int fd, const Scene *s) {
        struct ip_mreq_source request = make_source4();

        return set_option32(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &request, sizeof(request));
}

/* One of the 4096 that the host has. */
static int take_flow_label(int fd, const Scene *s) {
        struct in6_flowlabel_req request = {
                .flr_dst = in6addr_loopback,
                .flr_share = IPV6_FL_S_ANY,
                .flr_flags = IPV6_FL_F_CREATE,
        };

        return result(setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &request, sizeof(request)));
}

static int leave_interface(int fd, const Scene *s) {
        int r = disconnect(fd), any = 0;

        if (r == 0)
                r = result(setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &any, sizeof(any)));
        return r;
}

static int repair(int fd, const Scene *s) {
        return unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? UNSUPPORTED
                                                         : set_option(fd, IPPROTO_TCP, TCP_REPAIR, 1);
}

static int be_transparent(int fd, const Scene *s) {
        return unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? UNSUPPORTED
                                                         : set_option(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

static int set_mark(int fd, const Scene *s) {
        return unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? UNSUPPORTED
                                                         : set_option(fd, SOL_SOCKET, SO_MARK, 1);
}

/* A descriptor of the network namespace of the socket, to enter it. */
static int open_network(int fd, const Scene *s) {
        return unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 ? UNSUPPORTED : result(ioctl(fd, SIOCGSKNS));
}

static int take_name(int fd, const Scene *s) {
        struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0name of another server" };

        return result(bind(fd, (struct sockaddr *) &name, sizeof(name)));
}

/* --------------------------------------------------------------------------------------- Events, and results
 */

/* From a sandbox: by GDBus, because xdg-dbus-proxy may not understand sd-bus. */
static GVariant *call(GDBusConnection *bus,
                      const char *path,
                      const char *interface,
                      const char *method,
                      GVariant *arguments,
                      GUnixFDList **ret_fds) {
        g_autoptr(GError) error = NULL;
        GVariant *reply = g_dbus_connection_call_with_unix_fd_list_sync(
                        bus, TEST_BUS_NAME, path, interface, method, arguments, NULL, G_DBUS_CALL_FLAGS_NONE,
                        TEST_DEADLINE_MS, NULL, ret_fds, NULL, &error);

        g_assert_no_error(error);
        return reply;
}

static void drop_own_copy(Scene *s) {
        s->fd = close_fd(s->fd);
}

static void close_listener(Machine *m, Scene *s) {
        drop_own_copy(s);
        if (s->bus)
                g_variant_unref(call(s->bus, s->listener, TEST_LISTENER_INTERFACE, "Close", NULL, NULL));
        else
                test_listener_call(m->user, s->listener, "Close");
        g_clear_pointer(&s->listener, g_free);
}

static int port_is_taken_in_sandbox(Scene *s, const char *address) {
        g_auto(GVariantDict) options = G_VARIANT_DICT_INIT(NULL);
        g_autoptr(GError) error = NULL;

        g_variant_dict_insert(&options, "localAddress", "s", address);
        g_autoptr(GVariant) reply = g_dbus_connection_call_sync(
                        s->bus, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen",
                        g_variant_new("(i@a{sv}i)", s->port, g_variant_dict_end(&options), -1), NULL,
                        G_DBUS_CALL_FLAGS_NONE, TEST_DEADLINE_MS, NULL, &error);
        if (g_error_matches(error, G_DBUS_ERROR, G_DBUS_ERROR_ADDRESS_IN_USE))
                return 0;
        g_assert_no_error(error);
        g_variant_get(reply, "(o)", &s->listener);
        return NO_EFFECT;
}

/* The next listener needs the port. */
static int port_is_taken(Machine *m, Scene *s) {
        const char *address = s->attack->kind == ACCEPTED4 || s->attack->kind == TAKEN4 ? "127.0.0.1" : "::";
        if (s->bus)
                return port_is_taken_in_sandbox(s, address);
        sd_bus_message *message = test_message_new(m->root, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                   "Listen");

        must(sd_bus_message_append(message, "i", s->port));
        test_message_append_options(message, "localAddress", "s", address, NULL);
        must(sd_bus_message_append(message, "i", -1));
        g_autoptr(TestCall) call = test_call_start(m->root, message);
        sd_bus_message *reply = test_call_wait(call);
        const char *path;

        if (g_strcmp0(test_call_error(call), SD_BUS_ERROR_ADDRESS_IN_USE) == 0)
                return 0;
        g_assert_null(test_call_error(call));
        must(sd_bus_message_read(reply, "o", &path));
        g_autofree char *listener = g_strdup(path);
        test_listener_call(m->root, listener, "Close");
        return NO_EFFECT;
}

/* A packet went to the hop, and not to the peer. */
static int packet_was_diverted(Machine *m, Scene *s) {
        unsigned char packet[2048];
        struct in6_addr hop6;
        struct in_addr hop4;
        ssize_t n;

        g_assert_cmpint(inet_pton(AF_INET6, HOP6, &hop6), ==, 1);
        g_assert_cmpint(inet_pton(AF_INET, HOP4, &hop4), ==, 1);
        while ((n = recv(s->sniffer, packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
                if (n >= (ssize_t) sizeof(struct iphdr) && ((struct iphdr *) packet)->version == 4 &&
                    ((struct iphdr *) packet)->daddr == hop4.s_addr)
                        return 0;
                if (n >= (ssize_t) sizeof(struct ip6_hdr) && ((struct iphdr *) packet)->version == 6 &&
                    IN6_ARE_ADDR_EQUAL(&((struct ip6_hdr *) packet)->ip6_dst, &hop6))
                        return 0;
        }
        return NO_EFFECT;
}

/* ------------------------------------------------------------------------------------------------ All
 * attacks */

/* clang-format off */
static const Attack attacks[] = {
        /* To reach a server. */
        { EPERM, ACCEPTED4, "connect to an IPv4 server", .run = connect4 },
        { EPERM, ACCEPTED6, "connect to an IPv6 server", .run = connect6 },
        { EPERM, ACCEPTED6, "connect to an IPv4 server by a mapped address", .run = connect_mapped },
        { EPERM, MAPPED, "connect an IPv4 connection of an IPv6 socket", .run = connect_mapped },
        { EPERM, MAPPED, "connect an IPv6 socket that became an IPv4 one", .run = connect_after_change_of_family },
        { EPERM, TAKEN4, "connect a taken IPv4 socket", .run = connect4 },
        { EPERM, TAKEN6, "connect a taken IPv6 socket", .run = connect6 },
        { EPERM, TAKEN6, "connect a taken IPv6 socket to IPv4", .run = connect_mapped },
        { EPERM, CHILD4, "connect a connection of a taken IPv4 socket", .run = connect4 },
        { EPERM, CHILD6, "connect a connection of a taken IPv6 socket", .run = connect6 },
        { EPERM, ACCEPTED4, "connect without waiting", .run = connect_without_waiting },
        { EPERM, ACCEPTED4, "connect twice", .run = connect_twice },
        { EPERM, ACCEPTED4, "connect by MSG_FASTOPEN to IPv4", .run = connect_by_sending },
        { EPERM, ACCEPTED6, "connect by MSG_FASTOPEN to IPv6", .run = connect_by_sending },
        { EPERM, TAKEN4, "connect a taken socket by MSG_FASTOPEN", .run = connect_by_sending },
        { EPERM, ACCEPTED4, "connect with TCP_FASTOPEN_CONNECT", .run = connect_by_fast_open_option },
        { EPERM, ACCEPTED4, "connect by io_uring to IPv4", .run = connect_by_uring },
        { EPERM, TAKEN6, "connect by io_uring to IPv6", .run = connect_by_uring },
        { EPERM, TAKEN80, "connect from port 80", .run = connect_from_port_80 },
        { EPERM, ACCEPTED4, "connect as root of a user namespace", .run = connect_as_root_of_a_namespace },
        { EPERM, ACCEPTED4, "connect in a process of another user", .run = connect4, .user = MACHINE_WEB_USER },
        { EPERM, ACCEPTED4, "connect in a process of root", .run = connect4, .user = "root" },

        /* To become another server. */
        { EPERM, ACCEPTED4, "bind a connection", .run = bind_and_serve },
        { EPERM, ACCEPTED6, "bind an IPv6 connection", .run = bind_and_serve },
        { EPERM, TAKEN4, "bind a taken socket", .run = bind_and_serve },
        { EPERM, TAKEN6, "bind a taken IPv6 socket", .run = bind_and_serve },
        { EPERM, CHILD6, "bind a connection of a taken socket", .run = bind_and_serve },
        { EPERM, TAKEN4, "bind in a process of root", .run = bind_and_serve, .user = "root" },
        { EPERM, ACCEPTED6, "bind and listen by io_uring", .run = bind_and_serve_by_uring },
        { NO_EFFECT, ACCEPTED4, "listen with a connection", .run = serve_elsewhere },
        { NO_EFFECT, ACCEPTED6, "listen with an IPv6 connection", .run = serve_elsewhere },
        { NO_EFFECT, TAKEN4, "listen with a taken socket on another port", .run = serve_elsewhere },
        { NO_EFFECT, TAKEN6, "listen with a taken IPv6 socket on another port", .run = serve_elsewhere },
        { NO_EFFECT, CHILD6, "listen with a connection of a taken socket", .run = serve_elsewhere },
        { NO_EFFECT, ACCEPTED6, "listen with TCP Fast Open", .run = serve_elsewhere_with_fast_open },
        { EPERM, ACCEPTED4, "share the port of a server by SO_REUSEPORT", .run = share_port },
        { EPERM, TAKEN6, "share the port of a server with a taken socket", .run = share_port },
        { EPERM, TAKEN6, "share the port of another user's server", .run = share_port_of_other, .unguarded = EADDRINUSE },

        /* To keep a port taken after Close. */
        { NO_EFFECT, ACCEPTED6, "keep the port with a connection",
          .prepare = clear_reuse, .event = close_listener, .judge = port_is_taken },
        { NO_EFFECT, ACCEPTED4, "keep the port with a connection, by io_uring",
          .prepare = clear_reuse_by_uring, .event = close_listener, .judge = port_is_taken },
        { NO_EFFECT, TAKEN4, "keep the port with a connection of a taken socket",
          .prepare = clear_reuse_and_accept, .event = close_listener, .judge = port_is_taken },
        { EPERM, ACCEPTED4, "keep the port by IP_LOCAL_PORT_RANGE",
          .event = close_listener, .run = take_over_own_port, .judge = port_is_taken },

        /* To survive revocation. */
        { NO_EFFECT, TAKEN80, "accept after Close with a locked socket",
          .prepare = lock, .event = close_listener, .run = serve_again },
        { NO_EFFECT, TAKEN80, "accept after Close during which the socket changes",
          .prepare = lock_and_struggle, .event = close_listener, .run = serve_again },
        { NO_EFFECT, TAKEN80, "accept after Close a connection that was deferred",
          .prepare = lock_and_defer, .event = close_listener, .run = serve_deferred },

        /* To keep a port taken, though without peers: the guard has no hook for listen(). */
        { 0, ACCEPTED4, "keep the port by many calls of listen()",
          .event = close_listener, .run = wait_for_own_port, .judge = port_is_taken },
        { 0, TAKEN80, "keep the port by listen() after Close",
          .event = close_listener, .run = just_listen, .judge = port_is_taken },

        /* By system calls of 32 bits: the kernel runs no program for setsockopt(). */
        { 0, ACCEPTED4, "keep the port with a connection, by a call of 32 bits",
          .prepare = clear_reuse_by_32bit, .event = close_listener, .judge = port_is_taken },
        { 0, TAKEN4, "join an IPv4 group for one source, by a call of 32 bits",
          .run = join_source4_by_32bit },

        /* To send packets to another host. */
        { EPERM, ACCEPTED4, "divert segments by IP_OPTIONS",
          .run = route_by_option4, .judge = packet_was_diverted, .refused = EPERM },
        { EPERM, ACCEPTED6, "divert segments by IPV6_RTHDR",
          .run = route_by_segments6, .judge = packet_was_diverted },
        { EPERM, ACCEPTED6, "divert segments by IPV6_2292PKTOPTIONS",
          .run = route_by_packet_options6, .judge = packet_was_diverted },

        /* To change the state of the host. */
        { EPERM, ACCEPTED4, "join an IPv4 group", .run = join_group4 },
        { EPERM, TAKEN6, "join an IPv4 group with a taken IPv6 socket", .run = join_group4 },
        { EPERM, ACCEPTED6, "join an IPv6 group", .run = join_group6 },
        { EPERM, TAKEN4, "join an IPv4 group for one source", .run = join_source4 },
        { EPERM, ACCEPTED6, "take a flow label", .run = take_flow_label },

        /* To use a privilege in the network of the host: the kernel refuses. */
        { EPERM, ACCEPTED4, "repair in a user namespace", .run = repair, .unguarded = EPERM },
        { EPERM, TAKEN4, "use any address in a user namespace", .run = be_transparent, .unguarded = EPERM },
        { EPERM, ACCEPTED4, "mark packets in a user namespace", .run = set_mark, .unguarded = EPERM },
        { EPERM, BOUND, "leave the interface", .run = leave_interface, .unguarded = EPERM },
        { EPERM, ACCEPTED4, "enter the network of the host", .run = open_network, .unguarded = EPERM },

        /* A channel. */
        { EINVAL, CHANNEL, "take an abstract name with a channel", .run = take_name, .unguarded = EINVAL },
};
/* clang-format on */

/* ---------------------------------------------------------------------------------------------- The attacker
 */

static void become(const char *name) {
        const struct passwd *user = getpwnam(name);

        if (!user || initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 ||
            setuid(user->pw_uid) < 0)
                _exit(1);
}

static void answer(int fd, int value) {
        if (write(fd, &value, sizeof(value)) != sizeof(value))
                _exit(1);
}

/* Descriptors 3 to 5: the socket, commands, results. */
static void attacker_main(const Scene *s) {
        int fd = 3;
        char command;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!in_sandbox)
                become(s->attack->user ?: MACHINE_USER);
        (void) alarm(60);
        if (s->attack->kind == CHILD4 || s->attack->kind == CHILD6)
                fd = accept(fd, NULL, NULL);
        answer(5, s->attack->prepare ? s->attack->prepare(fd, s) : 0);
        while (read(4, &command, 1) == 1)
                answer(5, s->attack->run ? s->attack->run(fd, s) : 0);
        _exit(0);
}

static int scene_receive(Scene *s) {
        int value;

        if (read(s->results, &value, sizeof(value)) != sizeof(value))
                g_error("the attacker has ended: %s", s->attack->name);
        return value;
}

static void scene_start_attacker(Scene *s) {
        int commands[2], results[2];

        g_assert_no_errno(pipe2(commands, O_CLOEXEC));
        g_assert_no_errno(pipe2(results, O_CLOEXEC));
        s->attacker = fork();
        g_assert_no_errno(s->attacker);
        if (s->attacker == 0) {
                int socket = fcntl(s->fd, F_DUPFD, 10), in = fcntl(commands[0], F_DUPFD, 10),
                    out = fcntl(results[1], F_DUPFD, 10);

                if (dup2(socket, 3) < 0 || dup2(in, 4) < 0 || dup2(out, 5) < 0 || close_range(6, ~0U, 0) < 0)
                        _exit(1);
                attacker_main(s);
        }
        s->commands = commands[1];
        s->results = results[0];
        close_fd(commands[0]);
        close_fd(results[1]);
}

/* ---------------------------------------------------------------------------------------------------- Scenes
 */

typedef struct KindTraits {
        const char *address; /* of the listener */
        int port;
        const char *interface;
        const char *delivery;
        const char *peer; /* the address from which a peer connects, or NULL */
} KindTraits;

static const KindTraits kinds[] = {
        [ACCEPTED4] = { "127.0.0.1", 0, NULL, "signal", "127.0.0.1" },
        [ACCEPTED6] = { "::", 0, NULL, "signal", "::1" },
        [MAPPED] = { "::", 0, NULL, "signal", "127.0.0.1" },
        [TAKEN4] = { "127.0.0.1", 0, NULL, "socket", NULL },
        [TAKEN6] = { "::", 0, NULL, "socket", NULL },
        [TAKEN80] = { "127.0.0.1", 80, NULL, "socket", NULL },
        [CHILD4] = { "127.0.0.1", 0, NULL, "socket", "127.0.0.1" },
        [CHILD6] = { "::", 0, NULL, "socket", "::1" },
        [BOUND] = { "127.0.0.1", 0, "lo", "socket", NULL },
        [CHANNEL] = { "::", 0, NULL, "channel", NULL },
};

static int open_sniffer(void) {
        struct sockaddr_ll lo = { .sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETH_P_ALL),
                                  .sll_ifindex = (int) if_nametoindex("lo") };
        int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ALL));

        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, (struct sockaddr *) &lo, sizeof(lo)));
        return fd;
}

/* A server that uses SO_REUSEPORT, at all addresses. */
static int server_new(const char *user) {
        Any any;
        socklen_t length = make_address(&any, "::", 0);
        int fd, r;

        g_assert_no_errno(seteuid(machine_uid(user)));
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(fd);
        r = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        g_assert_no_errno(seteuid(0));
        g_assert_cmpint(r, ==, 0);
        g_assert_no_errno(bind(fd, &any.sa, length));
        g_assert_no_errno(listen(fd, 4096));
        return fd;
}

/* The servers that are attacked. */
typedef struct Servers {
        int victim, other;
} Servers;

static void servers_done(Servers *servers) {
        close_fd(servers->victim);
        close_fd(servers->other);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Servers, servers_done)

static Scene *scene_new(Machine *m, const Attack *attack, const Servers *servers) {
        const KindTraits *kind = &kinds[attack->kind];
        Scene *s = g_new(Scene, 1);

        *s = (Scene) { .attack = attack,
                       .victim = test_local_port(servers->victim),
                       .other = test_local_port(servers->other),
                       .fd = -EBADF,
                       .peer = -EBADF,
                       .sniffer = -EBADF };
        s->listener = test_listen(m->user, kind->port, -1, "localAddress", "s", kind->address, "delivery",
                                  "s", kind->delivery, kind->interface ? "interface" : NULL, "s",
                                  kind->interface, NULL);
        s->port = test_get_port(m->user, s->listener);
        if (streq(kind->delivery, "socket"))
                s->fd = test_listener_call_fd(m->user, s->listener, "TakeSocket");
        else if (streq(kind->delivery, "channel"))
                s->fd = test_listener_call_fd(m->user, s->listener, "OpenChannel");
        if (kind->peer)
                s->peer = test_connect(kind->peer, s->port);
        if (streq(kind->delivery, "signal")) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);

                s->fd = TAKE_FD(accepted->socket);
        }
        if (attack->judge == packet_was_diverted)
                s->sniffer = open_sniffer();
        scene_start_attacker(s);
        s->prepared = scene_receive(s);
        return s;
}

static int scene_run(Machine *m, Scene *s) {
        int r = s->prepared;

        if (r == 0 && s->attack->event)
                s->attack->event(m, s);
        if (r == 0 && s->attack->run) {
                g_assert_cmpint(write(s->commands, "x", 1), ==, 1);
                r = scene_receive(s);
        }
        if (r == 0 && s->attack->judge)
                r = s->attack->judge(m, s);
        return r;
}

static void scene_end_attacker(Scene *s) {
        g_assert_no_errno(kill(s->attacker, SIGKILL));
        g_assert_no_errno(waitpid(s->attacker, NULL, 0));
        close_fd(s->commands);
        close_fd(s->results);
        close_fd(s->fd);
}

static void scene_free(Machine *m, Scene *s) {
        scene_end_attacker(s);
        close_fd(s->peer);
        close_fd(s->sniffer);
        if (s->listener) {
                /* It may have ended with the service, or with the channel. */
                g_autoptr(TestCall) call = test_call_start(
                                m->user,
                                test_message_new(m->root, s->listener, TEST_LISTENER_INTERFACE, "Close"));
                (void) test_call_wait(call);
        }
        g_free(s->listener);
        g_free(s);
}

static const char *describe(int r) {
        return r == 0             ? "succeeds"
               : r == NO_EFFECT   ? "no effect"
               : r == UNSUPPORTED ? "unsupported"
                                  : strerrorname_np(r);
}

static char *report(const Attack *attack, int r, bool guarded, bool *ret_wrong) {
        int expected = guarded ? attack->guarded : attack->unguarded;
        bool wrong = r != expected && r != UNSUPPORTED && (r == 0 || r != attack->refused);

        *ret_wrong = wrong;
        return g_strdup_printf("%-62s %s%s%s", attack->name, describe(r), wrong ? ", expected: " : "",
                               wrong ? describe(expected) : "");
}

/* Runs an attack, and shows its result. Returns whether that is another one than expected. */
static bool run_attack(Machine *m, Scene *s, bool guarded) {
        bool wrong;
        g_autofree char *line = report(s->attack, scene_run(m, s), guarded, &wrong);

        g_test_message("%s", line);
        return wrong;
}

static void allow_all(void) {
        machine_set_rule("polkit.addRule(function(action, subject) { return polkit.Result.YES; });");
}

#define PATIENCE_GUARDED 300

static void run_all(Machine *m, bool guarded) {
        g_auto(Servers) servers = { server_new(MACHINE_USER), server_new(MACHINE_WEB_USER) };
        unsigned failed = 0;

        patience = guarded ? PATIENCE_GUARDED : TEST_DEADLINE_MS;
        allow_all();
        g_assert_true(test_get_bool(m->root, TEST_MANAGER_PATH, "Contained") == guarded);
        g_free(machine_run("ip", "address", "replace", HOP6, "dev", "lo"));
        for (size_t i = 0; i < ELEMENTS(attacks); i++) {
                Scene *s = scene_new(m, &attacks[i], &servers);

                failed += run_attack(m, s, guarded);
                scene_free(m, s);
        }
        g_assert_cmpuint(failed, ==, 0);
}

/* The sockets are handed over before the event, and the attacks begin after it. */
static void run_after(Machine *m, void (*event)(Machine *m)) {
        g_autoptr(GPtrArray) scenes = g_ptr_array_new();
        g_auto(Servers) servers = { server_new(MACHINE_USER), server_new(MACHINE_WEB_USER) };
        unsigned failed = 0;

        patience = PATIENCE_GUARDED;
        allow_all();
        g_free(machine_run("ip", "address", "replace", HOP6, "dev", "lo"));
        for (size_t i = 0; i < ELEMENTS(attacks); i++)
                if (!attacks[i].event && attacks[i].kind != CHANNEL)
                        g_ptr_array_add(scenes, scene_new(m, &attacks[i], &servers));
        event(m);
        for (size_t i = 0; i < scenes->len; i++)
                failed += run_attack(m, scenes->pdata[i], true);
        for (size_t i = 0; i < scenes->len; i++)
                scene_free(m, scenes->pdata[i]);
        g_assert_cmpuint(failed, ==, 0);
}

/* ------------------------------------------------------------------------------------------------ The tests
 */

static bool has_guard(void) {
        if (access(GUARD, X_OK) >= 0)
                return true;
        g_test_skip("the guard is not installed");
        return false;
}

#define GUARDED_TEST(sentence) \
        TEST_OF_IF(has_guard(), sentence, Machine, m, machine_set_up, machine_tear_down, NULL)

MACHINE_TEST("without the guard, the attacks succeed") {
        machine_configure_unit("ExecStartPre=");
        run_all(m, false);
}

GUARDED_TEST("with the guard, the attacks fail") {
        run_all(m, true);
}

static void restart(Machine *m) {
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
}

static void crash(Machine *m) {
        unsigned changes = test_bus_owner_changes(m->bus);

        g_assert_no_errno(kill(machine_service_pid(), SIGKILL));
        test_wait_for(test_bus_owner_changes(m->bus) >= changes + 2 && test_bus_service_owner(m->bus));
}

static void stop(Machine *m) {
        machine_stop_service();
}

GUARDED_TEST("the attacks fail after a restart") {
        run_after(m, restart);
}

GUARDED_TEST("the attacks fail after a crash") {
        run_after(m, crash);
}

/* Another version of the guard replaces the programs. */
static void upgrade(Machine *m) {
        g_autofree char *lines = g_strdup_printf("ExecReload=\nExecReload=+%s " MACHINE_UNIT
                                                 " tcpserversocket",
                                                 g_getenv("TEST_OTHER_GUARD"));

        machine_configure_unit(lines);
        g_free(machine_run("systemctl", "reload", MACHINE_UNIT));
}

GUARDED_TEST("the attacks fail after an upgrade of the guard") {
        run_after(m, upgrade);
}

/* The cgroup of the sockets does not exist any more. */
GUARDED_TEST("the attacks fail after a stop") {
        run_after(m, stop);
}

/* ---- The service and the sockets that its clients have changed ---- */

/* Neither connected nor listening, or listening on another port, while the service has a copy. */
static void change(int fd, bool listens) {
        g_assert_cmpint(disconnect(fd), ==, 0);
        if (listens)
                g_assert_no_errno(listen(fd, 16));
}

GUARDED_TEST("a client that changes its sockets does not affect the service") {
        allow_all();
        g_autoptr(TestClient) other = machine_client_new(m, MACHINE_WEB_USER);
        g_autofree char *others = test_listen(other, 0, -1, NULL);
        uint16_t port = test_get_port(m->root, others);

        for (unsigned i = 0; i < 4; i++) {
                bool listens = i % 2, crashes = i / 2;
                g_autofree char *listener = test_listen(m->user, 0, -1, TEST_ACKNOWLEDGE, NULL),
                                *taken = test_listen(m->user, 0, -1, TEST_SOCKET, NULL),
                                *fixed = test_listen(m->user, test_free_port(), -1, TEST_SOCKET, NULL);
                _cleanup_close_ int socket = test_listener_call_fd(m->user, taken, "TakeSocket"),
                                    fixed_socket = test_listener_call_fd(m->user, fixed, "TakeSocket");
                _cleanup_close_ int peer = test_connect("::1", test_get_port(m->user, listener));
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);

                change(socket, listens);
                change(fixed_socket, listens);
                change(accepted->socket, listens);
                (crashes ? crash : restart)(m);

                test_listener_call(m->user, taken, "Close");
                test_listener_call(m->user, fixed, "Close");
                test_listener_call(m->user, listener, "Close");
                _cleanup_close_ int visitor = test_connect("127.0.0.1", port);
                test_client_expect_peer(other, others, visitor);
        }
}

/* ---- Units without a network ---- */

/* The attacker in a unit that can reach only the bus: it has no network, and cannot make a socket of its own.
 */
static int attack_from_unit(uint16_t victim) {
        g_autoptr(sd_bus_message) reply = NULL, taken = NULL;
        Scene scene = { .victim = victim };
        const char *listener;
        sd_bus *bus;
        int fd, r;

        if (socket(AF_INET, SOCK_STREAM, 0) >= 0)
                return EISCONN;
        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, UINT64_C(90) * 1000 * 1000);
        if (r >= 0)
                r = sd_bus_call_method(bus, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                       "Listen", NULL, &reply, "ia{sv}i", 0, 2, "localAddress", "s",
                                       "127.0.0.1", "delivery", "s", "socket", -1);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &listener);
        if (r >= 0)
                r = sd_bus_call_method(bus, TEST_BUS_NAME, listener, TEST_LISTENER_INTERFACE, "TakeSocket",
                                       NULL, &taken, "");
        if (r >= 0)
                r = sd_bus_message_read(taken, "h", &fd);
        return r < 0 ? -r : connect4(fd, &scene);
}

static int run_unit(Machine *m) {
        _cleanup_close_ int victim = server_new(MACHINE_USER);
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *port = g_strdup_printf("%u", test_local_port(victim));
        int status;

        allow_all();
        /* Its user may not be allowed to enter the build directory. */
        g_free(machine_run("install", self, ATTACKER));
        g_free(machine_run_as(NULL, &status, "systemd-run", "--quiet", "--wait", "--collect",
                              "--property=User=www-data", "--property=PrivateNetwork=yes",
                              "--property=RestrictAddressFamilies=AF_UNIX", ATTACKER, "--unit", port));
        return status;
}

MACHINE_TEST("without the guard, a unit without a network connects to the host's servers") {
        machine_configure_unit("ExecStartPre=");
        g_assert_cmpint(run_unit(m), ==, 0);
}

GUARDED_TEST("with the guard, a unit without a network reaches nothing") {
        g_assert_cmpint(run_unit(m), ==, EPERM);
}

/* ---- Rules for the traffic of a user ---- */

static unsigned count_packets(const char *user) {
        g_autofree char *rules = machine_run("nft", "list", "table", "inet", "test");
        g_autofree char *rule = g_strdup_printf("meta skuid %u counter packets ",
                                                (unsigned) machine_uid(user));
        g_autofree char *named = g_strdup_printf("meta skuid \"%s\" counter packets ", user);
        const char *found = strstr(rules, rule) ?: strstr(rules, named);

        if (!found)
                g_error("there is no rule for %s: %s", user, rules);
        return (unsigned) strtoul(strstr(found, "packets ") + strlen("packets "), NULL, 10);
}

/* They look at the process that opened the socket, and not at its owner. */
MACHINE_TEST("packet filters by user see the process that has accepted a connection") {
        if (!test_require_program("nft"))
                return;
        allow_all();
        g_autofree char *rules = g_strdup_printf(
                        "table inet test { chain out { type filter hook output priority 0; "
                        "meta skuid %u counter; meta skuid %u counter; }; }",
                        (unsigned) machine_uid(MACHINE_USER), (unsigned) machine_uid("tcpserversocket"));
        g_free(machine_run("nft", rules));
        g_autofree char *listener = test_listen(m->user, 0, -1, NULL);
        _cleanup_close_ int peer = test_connect("127.0.0.1", test_get_port(m->user, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);
        test_assert_connected(peer, accepted->socket);
        g_assert_cmpuint(count_packets("tcpserversocket"), >, 0);
        g_assert_cmpuint(count_packets(MACHINE_USER), ==, 0);

        g_autofree char *taken = test_listen(m->user, 0, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int socket = test_listener_call_fd(m->user, taken, "TakeSocket");
        _cleanup_close_ int other = test_connect("127.0.0.1", test_get_port(m->user, taken));
        g_assert_no_errno(seteuid(machine_uid(MACHINE_USER)));
        _cleanup_close_ int own = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(seteuid(0));
        test_assert_connected(other, own);
        g_assert_cmpuint(count_packets(MACHINE_USER), >, 0);
        g_free(machine_run("nft", "delete", "table", "inet", "test"));
}

/* From a neighbour: rules do not apply to local addresses. */
MACHINE_TEST("routing rules for a user apply to its sockets") {
        if (!test_add_neighbour()) {
                g_test_skip("needs ip(8)");
                return;
        }
        allow_all();
        g_autofree char *own = g_strdup_printf("%u-%u", (unsigned) machine_uid(MACHINE_USER),
                                               (unsigned) machine_uid(MACHINE_USER));
        g_autofree char *service = g_strdup_printf("%u-%u", (unsigned) machine_uid("tcpserversocket"),
                                                   (unsigned) machine_uid("tcpserversocket"));
        g_autofree char *listener = test_listen(m->user, 0, -1, NULL);
        uint16_t port = test_get_port(m->user, listener);
        int r;

        g_free(machine_run("ip", "rule", "add", "uidrange", service, "prohibit"));
        _cleanup_close_ int peer = test_connect_from_neighbour(TEST_IPV4, port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);
        test_assert_connected(peer, accepted->socket);

        g_free(machine_run("ip", "rule", "add", "uidrange", own, "prohibit"));
        test_network_visit_neighbour();
        r = test_connect_fails(TEST_IPV4, port);
        test_network_return();
        g_assert_cmpint(r, ==, ETIMEDOUT);
}

/* ---- What the guard must not affect ---- */

/* An ordinary server has all of this, and expects no error. */
static void use_as_server(int fd) {
        static const struct {
                int level, option, value;
        } options[] = {
                { SOL_SOCKET, SO_REUSEADDR, 1 },   { SOL_SOCKET, SO_REUSEPORT, 1 },
                { SOL_SOCKET, SO_KEEPALIVE, 1 },   { SOL_SOCKET, SO_RCVBUF, 65536 },
                { SOL_SOCKET, SO_SNDBUF, 65536 },  { IPPROTO_IP, IP_TOS, 0x10 },
                { IPPROTO_IP, IP_TTL, 32 },        { IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO },
                { IPPROTO_TCP, TCP_NODELAY, 1 },   { IPPROTO_TCP, TCP_DEFER_ACCEPT, 5 },
                { IPPROTO_TCP, TCP_FASTOPEN, 16 }, { IPPROTO_TCP, TCP_KEEPIDLE, 60 },
                { IPPROTO_TCP, TCP_QUICKACK, 1 },  { IPPROTO_TCP, TCP_USER_TIMEOUT, 30000 },
        };
        static const struct {
                int option, value;
        } ipv6_options[] = {
                { IPV6_TCLASS, 0x10 },
                { IPV6_UNICAST_HOPS, 32 },
                { IPV6_RECVPKTINFO, 1 },
        };

        for (size_t i = 0; i < ELEMENTS(options); i++)
                g_assert_cmpint(set_option(fd, options[i].level, options[i].option, options[i].value), ==, 0);
        for (size_t i = 0; i < ELEMENTS(ipv6_options) && get_domain(fd) == AF_INET6; i++)
                g_assert_cmpint(set_option(fd, IPPROTO_IPV6, ipv6_options[i].option, ipv6_options[i].value),
                                ==, 0);
}

static void assert_served(const char *address, int socket, uint16_t port) {
        _cleanup_close_ int peer = test_connect(address, port);

        test_send(peer, "x", 1);
        (void) test_wait_fd(socket, POLLIN);
        _cleanup_close_ int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(fd);
        test_expect(fd, "x");
        test_assert_connected(peer, fd);
}

GUARDED_TEST("a server sets options, and listens with another backlog") {
        allow_all();
        g_autofree char *listener = test_listen(m->user, 0, 4, TEST_SOCKET, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int socket = test_listener_call_fd(m->user, listener, "TakeSocket");

        g_assert_no_errno(seteuid(machine_uid(MACHINE_USER)));
        use_as_server(socket);
        g_assert_no_errno(listen(socket, 64));
        g_assert_no_errno(seteuid(0));
        assert_served("127.0.0.1", socket, port);
        assert_served("::1", socket, port);
        restart(m);
        assert_served("127.0.0.1", socket, port);
        crash(m);
        assert_served("::1", socket, port);

        g_autofree char *signals = test_listen(m->user, 0, -1, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(m->user, signals));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);
        g_assert_no_errno(seteuid(machine_uid(MACHINE_USER)));
        g_assert_cmpint(set_option(accepted->socket, IPPROTO_IPV6, IPV6_TCLASS, 0x10), ==, 0);
        g_assert_cmpint(set_option(accepted->socket, IPPROTO_TCP, TCP_NODELAY, 1), ==, 0);
        g_assert_no_errno(seteuid(0));
        test_assert_connected(peer, accepted->socket);
}

/* The data arrives in the SYN. */
static void assert_fast(int accepted) {
        struct tcp_info info;
        socklen_t size = sizeof(info);

        g_assert_no_errno(getsockopt(accepted, IPPROTO_TCP, TCP_INFO, &info, &size));
        g_assert_true(info.tcpi_options & TCPI_OPT_SYN_DATA);
}

static int connect_fast(uint16_t port) {
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Any any;
        socklen_t length = make_address(&any, "::1", port);

        g_assert_no_errno(fd);
        g_assert_cmpint(sendto(fd, "x", 1, MSG_FASTOPEN, &any.sa, length), ==, 1);
        return fd;
}

GUARDED_TEST("TCP Fast Open and deferred accept work") {
        allow_all();
        /* Clients and servers, without cookies. */
        g_free(machine_run("sysctl", "-w", "net.ipv4.tcp_fastopen=0x207"));
        g_autofree char *listener = test_listen(m->user, 0, -1, "fastOpen", "u", 16, NULL);
        _cleanup_close_ int peer = connect_fast(test_get_port(m->user, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);
        test_expect(accepted->socket, "x");
        assert_fast(accepted->socket);

        g_autofree char *taken = test_listen(m->user, 0, -1, TEST_SOCKET, "fastOpen", "u", 16, NULL);
        _cleanup_close_ int socket = test_listener_call_fd(m->user, taken, "TakeSocket"),
                            client = connect_fast(test_get_port(m->user, taken)),
                            fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(fd);
        test_expect(fd, "x");
        assert_fast(fd);

        g_autofree char *deferring = test_listen(m->user, 0, -1, TEST_SOCKET, "deferAccept", "u", 10, NULL);
        _cleanup_close_ int third = test_listener_call_fd(m->user, deferring, "TakeSocket");
        assert_served("::1", third, test_get_port(m->user, deferring));
}

#define SERVER_LOG "/run/test-containment.log"

static TestChild *start_server(const char *const *argv) {
        machine_write(SERVER_LOG, "");
        TestChild *child = machine_start_as(MACHINE_USER, SERVER_LOG, argv);
        test_wait_for(test_file_contains(SERVER_LOG, "Listening on ") || test_child_has_exited(child));
        g_assert_false(test_child_has_exited(child));
        return child;
}

/* Of so many different processes. */
static void assert_answers(const char *url, unsigned n_workers) {
        g_autoptr(GHashTable) workers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (unsigned i = 0; i < 1000 && g_hash_table_size(workers) < n_workers; i++) {
                char *answer = machine_run("curl", "--silent", "--show-error", "--fail", "--max-time", "30",
                                           url);

                g_assert_true(g_str_has_prefix(answer, "worker "));
                g_hash_table_add(workers, answer);
        }
        g_assert_cmpuint(g_hash_table_size(workers), ==, n_workers);
}

/* The service is restarted, and crashes. */
static void assert_goes_on(Machine *m, TestChild *server, const char *url, unsigned n_workers) {
        assert_answers(url, n_workers);
        restart(m);
        assert_answers(url, 1);
        crash(m);
        assert_answers(url, 1);
        test_child_signal(server, SIGTERM);
        g_assert_cmpint(test_child_wait(server), ==, 0);
}

GUARDED_TEST("gunicorn with --reuse-port has two workers") {
        if (!test_require_program("gunicorn") || !test_require_program("curl"))
                return;
        allow_all();
        machine_write("/srv/app/app.py", "import os\n"
                                         "\n"
                                         "def app(environ, start_response):\n"
                                         "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
                                         "    return [b'worker %d' % os.getpid()]\n");
        g_autoptr(TestChild) server = start_server(WORDS("tcpserversocketctl", "listen", "8080", "--",
                                                         "gunicorn", "--reuse-port", "--workers", "2",
                                                         "--chdir", "/srv/app", "app:app"));
        assert_goes_on(m, server, "http://[::1]:8080/", 2);
}

GUARDED_TEST("nginx has several workers, and reloads its configuration") {
        if (!test_require_program("/usr/sbin/nginx") || !test_require_program("curl"))
                return;
        allow_all();
        machine_write("/srv/nginx.conf",
                      "daemon off; worker_processes 3; pid /tmp/nginx.pid; error_log stderr;\n"
                      "events {}\n"
                      "http {\n"
                      "    access_log off;\n"
                      "    client_body_temp_path /tmp/1; proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3;\n"
                      "    uwsgi_temp_path /tmp/4; scgi_temp_path /tmp/5;\n"
                      "    server {\n"
                      "        listen 127.0.0.1:8080 backlog=100;\n"
                      "        location / { return 200 \"worker $pid\"; }\n"
                      "    }\n"
                      "}\n");
        g_autoptr(TestChild) server = start_server(WORDS("tcpserversocketctl", "listen", "127.0.0.1:8080",
                                                         "--", "env", "NGINX=3;", "/usr/sbin/nginx", "-c",
                                                         "/srv/nginx.conf"));
        assert_answers("http://127.0.0.1:8080/", 3);
        g_free(machine_run("sh", "-c", "kill -HUP $(cat /tmp/nginx.pid)"));
        assert_goes_on(m, server, "http://127.0.0.1:8080/", 1);
}

/* ---- The attacker in a sandbox ---- */

/* The socket of the attack, as the service hands it over. */
static void scene_get_socket(Scene *s) {
        const KindTraits *kind = &kinds[s->attack->kind];
        bool accepts = streq(kind->delivery, "signal"), is_channel = streq(kind->delivery, "channel");
        g_auto(GVariantDict) options = G_VARIANT_DICT_INIT(NULL);
        g_autoptr(GVariant) port = NULL, reply = NULL;
        g_autoptr(GUnixFDList) fds = NULL;
        g_autoptr(GError) error = NULL;

        g_variant_dict_insert(&options, "localAddress", "s", kind->address);
        g_variant_dict_insert(&options, "delivery", "s", accepts ? "pull" : kind->delivery);
        if (kind->interface)
                g_variant_dict_insert(&options, "interface", "s", kind->interface);
        g_autoptr(GVariant) path = call(
                        s->bus, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen",
                        g_variant_new("(i@a{sv}i)", kind->port, g_variant_dict_end(&options), -1), NULL);
        g_variant_get(path, "(o)", &s->listener);
        g_autoptr(GVariant)
                        property = call(s->bus, s->listener, "org.freedesktop.DBus.Properties", "Get",
                                        g_variant_new("(ss)", TEST_LISTENER_INTERFACE, "LocalPort"), NULL);
        g_variant_get(property, "(v)", &port);
        s->port = g_variant_get_uint16(port);
        if (kind->peer)
                g_assert_cmpint(ask_for_peer(kind->peer, s->port), ==, 0);
        reply = call(s->bus, s->listener, TEST_LISTENER_INTERFACE,
                     accepts      ? "Accept"
                     : is_channel ? "OpenChannel"
                                  : "TakeSocket",
                     accepts ? g_variant_new("(uu)", 1, TEST_ACCEPT_TIMEOUT_MAX) : NULL, &fds);
        s->fd = g_unix_fd_list_get(fds, 0, &error);
        g_assert_no_error(error);
}

/* Without a socket of the service. */
static int connect_own_socket(uint16_t victim) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return fd < 0 ? errno : connect_to(fd, "127.0.0.1", victim);
}

static int serve_with_own_socket(void) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Any any;
        socklen_t length = make_address(&any, "0.0.0.0", 0);

        return fd < 0 || bind(fd, &any.sa, length) < 0 ? errno : listen_and_serve(fd);
}

/* With a privilege, a packet socket, or a peer of its own. */
static bool needs_host(const Attack *attack) {
        return attack->user || attack->prepare == clear_reuse_and_accept ||
               attack->prepare == lock_and_defer || attack->judge == packet_was_diverted;
}

/* The exit status is that of a test. */
static int attack_from_sandbox(bool guarded, uint16_t victim, uint16_t other) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, &error);
        unsigned n = 0, failed = 0;

        g_assert_no_error(error);
        in_sandbox = true;
        patience = PATIENCE_GUARDED;
        g_assert_cmpint(connect_own_socket(victim), !=, 0);
        g_assert_cmpint(serve_with_own_socket(), !=, 0);
        patience = guarded ? PATIENCE_GUARDED : TEST_DEADLINE_MS;
        for (size_t i = 0; i < ELEMENTS(attacks); i++) {
                Scene s = { .attack = &attacks[i], .bus = bus, .victim = victim, .other = other };
                bool wrong;

                if (needs_host(s.attack))
                        continue;
                scene_get_socket(&s);
                scene_start_attacker(&s);
                s.prepared = scene_receive(&s);
                g_autofree char *line = report(s.attack, scene_run(NULL, &s), guarded, &wrong);
                scene_end_attacker(&s);

                dprintf(STDOUT_FILENO, "%s\n", line);
                /* A channel ends its listener. */
                if (s.listener && s.attack->kind != CHANNEL)
                        g_variant_unref(call(bus, s.listener, TEST_LISTENER_INTERFACE, "Close", NULL, NULL));
                g_free(s.listener);
                failed += wrong;
                n++;
        }
        dprintf(STDOUT_FILENO, "%u attacks, %u with another result than expected\n", n, failed);
        return failed == 0 ? 0 : 1;
}

int main(int argc, char *argv[]) {
        if (argc == 3 && streq(argv[1], "--unit"))
                return attack_from_unit((uint16_t) atoi(argv[2]));
        if (argc == 5 && streq(argv[1], "--sandbox"))
                return attack_from_sandbox(streq(argv[2], "guarded"), (uint16_t) atoi(argv[3]),
                                           (uint16_t) atoi(argv[4]));

        machine_init(&argc, &argv);
        test_show_on_failure(SERVER_LOG);
        return test_run();
}
