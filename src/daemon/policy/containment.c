/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/macros.h"
#include "daemon/policy/containment.h"
#include "guard/guard.h"

/* The kernel refuses TCP connections to broadcast and multicast addresses itself, with ENETUNREACH, so that
 * the probe sends nothing in any case. The guard refuses them earlier, with EPERM. */
static Address get_unreachable_address(int family) {
        Address address = address_any(family);

        address_set_port(&address, 1);
        if (family == AF_INET)
                address.in.sin_addr.s_addr = htonl(INADDR_BROADCAST);
        else
                address.in6.sin6_addr = (struct in6_addr) { { { 0xff, 0x02, [15] = 0x01 } } };

        return address;
}

/* Returns NULL if the guard contains sockets of this family. */
static const char *probe_family(int family) {
        Address address = get_unreachable_address(family);
        _cleanup_close_ int fd = -EBADF;
        int version = GUARD_VERSION;

        fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
        if (fd < 0)
                /* Without the family, there are no such sockets. */
                return errno == EAFNOSUPPORT ? NULL : "a socket to find out could not be created";

        if (setsockopt(fd, GUARD_LEVEL, GUARD_CHECK_VERSION, &version, sizeof(version)) < 0)
                return errno == EPERM ? "its guard has another version or serves another user"
                                      : "no guard is attached to its control group";

        if (connect(fd, &address.sa, address.size) >= 0 || errno != EPERM)
                return "its guard permits connections to other hosts";

        return NULL;
}

/* Also true for a guard of another version, which refuses the question. */
bool containment_covers(int fd) {
        int version = GUARD_VERSION;

        return setsockopt(fd, GUARD_LEVEL, GUARD_CHECK_VERSION, &version, sizeof(version)) >= 0 ||
               errno == EPERM;
}

bool containment_probe(const char **ret_reason) {
        const char *reason;

        reason = probe_family(AF_INET) ?: probe_family(AF_INET6);
        if (!reason)
                return true;

        *ret_reason = reason;
        return false;
}
