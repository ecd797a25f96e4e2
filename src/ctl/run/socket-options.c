/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/run/socket-options.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macros.h"

/* socket(7), tcp(7), ip(7), ipv6(7). */
static const struct {
        int level, name;
} options[] = {
        { SOL_SOCKET, SO_KEEPALIVE },
        { SOL_SOCKET, SO_LINGER },
        { SOL_SOCKET, SO_OOBINLINE },
        { SOL_SOCKET, SO_PRIORITY },
        { SOL_SOCKET, SO_RCVBUF },
        { SOL_SOCKET, SO_RCVLOWAT },
        { SOL_SOCKET, SO_RCVTIMEO },
        { SOL_SOCKET, SO_SNDBUF },
        { SOL_SOCKET, SO_SNDTIMEO },
        { SOL_SOCKET, SO_TIMESTAMP },
        { SOL_SOCKET, SO_ZEROCOPY },
        { IPPROTO_TCP, TCP_CONGESTION },
        { IPPROTO_TCP, TCP_CORK },
        { IPPROTO_TCP, TCP_DEFER_ACCEPT },
        { IPPROTO_TCP, TCP_FASTOPEN },
        { IPPROTO_TCP, TCP_KEEPCNT },
        { IPPROTO_TCP, TCP_KEEPIDLE },
        { IPPROTO_TCP, TCP_KEEPINTVL },
        { IPPROTO_TCP, TCP_LINGER2 },
        { IPPROTO_TCP, TCP_MAXSEG },
        { IPPROTO_TCP, TCP_NODELAY },
        { IPPROTO_TCP, TCP_NOTSENT_LOWAT },
        { IPPROTO_TCP, TCP_SAVE_SYN },
        { IPPROTO_TCP, TCP_SYNCNT },
        { IPPROTO_TCP, TCP_USER_TIMEOUT },
        { IPPROTO_TCP, TCP_WINDOW_CLAMP },
        { IPPROTO_IP, IP_MTU_DISCOVER },
        { IPPROTO_IP, IP_PKTINFO },
        { IPPROTO_IP, IP_RECVTOS },
        { IPPROTO_IP, IP_TOS },
        { IPPROTO_IP, IP_TTL },
        { IPPROTO_IPV6, IPV6_RECVPKTINFO },
        { IPPROTO_IPV6, IPV6_RECVTCLASS },
        { IPPROTO_IPV6, IPV6_TCLASS },
        { IPPROTO_IPV6, IPV6_UNICAST_HOPS },
};

/* An int, a struct linger, a struct timeval, or the name of a congestion control. */
typedef struct Value {
        char bytes[32];
        socklen_t size;
} Value;

static bool get(int fd, size_t i, Value *ret) {
        *ret = (Value) { .size = sizeof(ret->bytes) };
        return getsockopt(fd, options[i].level, options[i].name, ret->bytes, &ret->size) >= 0;
}

static void halve(Value *v) {
        int n;

        memcpy(&n, v->bytes, sizeof(n));
        n /= 2;
        memcpy(v->bytes, &n, sizeof(n));
}

void socket_copy_options(int from, int to) {
        Value wanted, present;

        for (size_t i = 0; i < ELEMENTS(options); i++) {
                if (!get(from, i, &wanted) || !get(to, i, &present) ||
                    (wanted.size == present.size && memcmp(wanted.bytes, present.bytes, wanted.size) == 0))
                        continue;

                /* The kernel doubles the size of a buffer that is set. */
                if (options[i].level == SOL_SOCKET &&
                    (options[i].name == SO_RCVBUF || options[i].name == SO_SNDBUF))
                        halve(&wanted);
                (void) setsockopt(to, options[i].level, options[i].name, wanted.bytes, wanted.size);
        }

        (void) fcntl(to, F_SETFL, fcntl(from, F_GETFL));
}
