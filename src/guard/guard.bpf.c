/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The guard: what a process can do with a socket that the service has made.
 *
 * A socket keeps the control group of the process that made it, so these programs apply to it in every
 * process that gets it, and for as long as it exists:
 *
 * - It connects to nothing. Otherwise its holder could disconnect it by connect(AF_UNSPEC), and connect it
 * again.
 * - Only the service binds it. The service's bind() gives it a mark: the port. A listening socket receives
 * packets only if its port is the marked one, so that listen() has an effect on the sockets and ports only
 * that the service has bound. The kernel does not copy the mark to accepted sockets.
 * - The service can clear the mark, and thus take back a listening socket that it has given away.
 * - Options that have an effect beyond the socket are refused or ignored.
 *
 * The loader replaces the programs of an earlier version by name.
 */

#include <asm/socket.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "guard/guard.h"

/* Since Linux 6.3. */
#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif

/* The verdicts. A system call that is refused fails with EPERM. */
enum {
        REFUSE = 0,
        ALLOW = 1,
};

/* The length that makes the kernel ignore a setsockopt(), which then succeeds. */
#define IGNORE (-1)

const char guard_license[] SEC("license") = "LGPL-2.1-or-later";

/* Set by the loader. */
const volatile __u32 service_uid = 0;

/* The marks: the port in host order. The next version of the guard takes over this map, with the marks. */
struct {
        __uint(type, BPF_MAP_TYPE_SK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, __u32);
} marks SEC(".maps");

static bool is_service(void) {
        return (__u32) bpf_get_current_uid_gid() == service_uid;
}

static int check_bind(const struct bpf_sock_addr *address) {
        return is_service() && address->protocol == IPPROTO_TCP ? ALLOW : REFUSE;
}

/* Without memory for the mark, bind() fails. */
static int mark(struct bpf_sock *socket) {
        __u32 port = socket->src_port;

        return bpf_sk_storage_get(&marks, socket, &port, BPF_SK_STORAGE_GET_F_CREATE) ? ALLOW : REFUSE;
}

SEC("cgroup/connect4")
int tss_connect4(struct bpf_sock_addr *address) {
        return REFUSE;
}

SEC("cgroup/connect6")
int tss_connect6(struct bpf_sock_addr *address) {
        return REFUSE;
}

/* UDP, which the service does not use. */
SEC("cgroup/sendmsg4")
int tss_sendmsg4(struct bpf_sock_addr *address) {
        return REFUSE;
}

SEC("cgroup/sendmsg6")
int tss_sendmsg6(struct bpf_sock_addr *address) {
        return REFUSE;
}

SEC("cgroup/bind4")
int tss_bind4(struct bpf_sock_addr *address) {
        return check_bind(address);
}

SEC("cgroup/bind6")
int tss_bind6(struct bpf_sock_addr *address) {
        return check_bind(address);
}

SEC("cgroup/post_bind4")
int tss_post_bind4(struct bpf_sock *socket) {
        return mark(socket);
}

SEC("cgroup/post_bind6")
int tss_post_bind6(struct bpf_sock *socket) {
        return mark(socket);
}

/* The SYN and the ACK of a new connection arrive at the listening socket. */
SEC("cgroup_skb/ingress")
int tss_ingress(struct __sk_buff *packet) {
        struct bpf_sock *socket = packet->sk;
        const __u32 *port;

        if (!socket || socket->state != BPF_TCP_LISTEN)
                return ALLOW;

        socket = bpf_sk_fullsock(socket);
        if (!socket)
                return ALLOW;

        port = bpf_sk_storage_get(&marks, socket, NULL, 0);
        return port && *port == socket->src_port ? ALLOW : REFUSE;
}

static int handle_guard_option(struct bpf_sockopt *option) {
        const int *value = option->optval;

        if (!is_service() || !option->sk)
                return REFUSE;

        switch (option->optname) {

        case GUARD_CHECK_VERSION:
                if ((void *) (value + 1) > option->optval_end || *value != GUARD_VERSION)
                        return REFUSE;
                break;

        case GUARD_CLEAR_MARK:
                (void) bpf_sk_storage_delete(&marks, option->sk);
                break;

        default:
                return REFUSE;
        }

        option->optlen = IGNORE;
        return ALLOW;
}

static bool is_tls(const struct bpf_sockopt *option) {
        const char *name = option->optval;

        return (void *) (name + 3) <= option->optval_end && name[0] == 't' && name[1] == 'l' &&
               name[2] == 's';
}

/* - Multicast groups: the host joins them and reports them to its networks, even for a TCP socket.
 * - Routes in packets, with which the segments of a connection go to another host first.
 * - Labels of IPv6, of which the host has a limited number.
 * - What decides on the port and the family when listen() has to bind a socket that was disconnected. A
 *   connection could take the port of its closed listener.
 * - Protocols above TCP other than TLS, such as espintcp, which passes packets on to IPsec of the host.
 */
static bool is_refused(const struct bpf_sockopt *option) {
        int name = option->optname;

        switch (option->level) {

        case IPPROTO_IP:
                return name == IP_OPTIONS || name == IP_LOCAL_PORT_RANGE ||
                       (name >= IP_ADD_MEMBERSHIP && name <= MCAST_MSFILTER);

        case IPPROTO_IPV6:
                switch (name) {

                case IPV6_2292PKTOPTIONS:
                case IPV6_HOPOPTS:
                case IPV6_RTHDRDSTOPTS:
                case IPV6_RTHDR:
                case IPV6_DSTOPTS:
                case IPV6_FLOWLABEL_MGR:
                case IPV6_V6ONLY:
                case MCAST_JOIN_GROUP ... MCAST_MSFILTER:
                        return true;

                default:
                        return false;
                }

        case IPPROTO_TCP:
                return name == TCP_ULP && !is_tls(option);

        default:
                return false;
        }
}

/* SO_REUSEPORT would share the port with other sockets of the holder's user, and without SO_REUSEADDR the
 * port could not be bound again after the listener's end. Accepted sockets inherit both from a listening
 * socket. */
static bool is_ignored(const struct bpf_sockopt *option) {
        return option->level == SOL_SOCKET &&
               (option->optname == SO_REUSEADDR || option->optname == SO_REUSEPORT);
}

/* The last program of this file: the service finds the guard through it, so that it is attached last. */
SEC("cgroup/setsockopt")
int tss_setsockopt(struct bpf_sockopt *option) {
        if (option->level == GUARD_LEVEL)
                return handle_guard_option(option);

        if (is_service())
                return ALLOW;

        if (is_refused(option))
                return REFUSE;

        /* Servers set these, such as gunicorn --reuse-port, and need no effect on this socket, but no error.
         */
        if (is_ignored(option))
                option->optlen = IGNORE;

        return ALLOW;
}
