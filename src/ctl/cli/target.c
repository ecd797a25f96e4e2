/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/target.h"

static int add_address(Target *t, const void *address, size_t size) {
        TargetAddress *addresses;

        addresses = realloc(t->addresses, (t->n + 1) * sizeof(*addresses));
        if (!addresses)
                return message_oom();

        t->addresses = addresses;
        addresses += t->n++;
        *addresses = (TargetAddress) { .size = (socklen_t) size };
        memcpy(&addresses->storage, address, size);
        return 0;
}

static int parse_path(const char *s, Target *t) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        size_t length = strlen(s), size = offsetof(struct sockaddr_un, sun_path) + length;

        if (length >= sizeof(un.sun_path))
                return message_error(-ENAMETOOLONG,
                                     _("The path \"%s\" is too long for a socket; %zu bytes are possible."),
                                     s, sizeof(un.sun_path) - 1);

        memcpy(un.sun_path, s, length);
        /* The size of an abstract address ends the name; a path ends with a NUL. */
        if (*s == '@')
                un.sun_path[0] = '\0';
        else
                size++;
        return add_address(t, &un, size);
}

static int parse_host(const char *s, Target *t) {
        static const struct addrinfo hints = { .ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
        _cleanup_free_ char *host = NULL;
        const char *colon = strrchr(s, ':');
        struct addrinfo *found;
        char number[8];
        size_t length;
        uint16_t port;
        int r;

        length = colon ? (size_t) (colon - s) : 0;
        if (length > 2 && *s == '[' && s[length - 1] == ']') {
                s++;
                length -= 2;
        } else if (length > 0 && memchr(s, ':', length))
                length = 0;
        if (length == 0 || colon[1] == '\0')
                return message_error(
                                -EINVAL,
                                _("\"%s\" is not a target; write HOST:PORT, [ADDRESS]:PORT, or the path of a Unix "
                                  "socket."),
                                t->name);

        r = port_parse(t->name, colon + 1, &port);
        if (r < 0)
                return r;
        if (port == 0)
                return message_error(-EINVAL, _("Port 0 cannot be reached; write the port of \"%s\"."),
                                     t->name);

        host = strndup(s, length);
        if (!host)
                return message_oom();

        (void) snprintf(number, sizeof(number), "%u", port);
        r = getaddrinfo(host, number, &hints, &found);
        if (r != 0)
                return message_error(
                                -EHOSTUNREACH,
                                _("Failed to resolve the host \"%s\": %s; check its name, or write its address."),
                                host, r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));

        r = 0;
        for (const struct addrinfo *a = found; a && r == 0; a = a->ai_next)
                r = add_address(t, a->ai_addr, a->ai_addrlen);
        freeaddrinfo(found);
        return r;
}

int target_parse(const char *s, Target *ret) {
        Target t = {};
        int r;

        t.name = strdup(s);
        if (!t.name)
                return message_oom();

        r = *s == '@' || strchr(s, '/') ? parse_path(s, &t) : parse_host(s, &t);
        if (r < 0) {
                target_done(&t);
                return r;
        }

        *ret = t;
        return 0;
}

void target_done(Target *t) {
        free(t->name);
        free(t->addresses);
        *t = (Target) {};
}

int target_connect(const Target *t, size_t i, int *ret_fd, bool *ret_connected) {
        const TargetAddress *a = t->addresses + i;
        _cleanup_close_ int fd = -EBADF;
        const struct sockaddr *sa = (const struct sockaddr *) &a->storage;
        bool connected;
        int one = 1;

        assert(i < t->n);

        fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;

        (void) setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
        if (a->storage.ss_family != AF_UNIX)
                (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

        connected = connect(fd, sa, a->size) == 0;
        if (!connected && errno != EINPROGRESS)
                return -errno;
        /* A target on this host is connected by now, which saves waiting for epoll. */
        if (!connected)
                connected = connect(fd, sa, a->size) == 0;
        if (!connected && errno != EALREADY)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        *ret_connected = connected;
        return 0;
}
