/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

static int not_a_target(const char *s) {
        return message_error(
                        -EINVAL,
                        _("\"%s\" is not a target; write HOST:PORT, [ADDRESS]:PORT, the PORT of a server on "
                          "this host, or the path of a Unix socket, which begins with \"/\" or \"./\"."),
                        s);
}

static int no_port(const char *s) {
        return message_error(-EINVAL,
                             _("The target \"%s\" has port 0, which cannot be reached; write another port."),
                             s);
}

/* "localhost" would ask the resolver, and may be something else. */
static int add_loopback(Target *t, uint16_t port) {
        const struct sockaddr_in in = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        const struct sockaddr_in6 in6 = {
                .sin6_family = AF_INET6,
                .sin6_port = htons(port),
                .sin6_addr = IN6ADDR_LOOPBACK_INIT,
        };
        int r;

        r = add_address(t, &in, sizeof(in));
        return r < 0 ? r : add_address(t, &in6, sizeof(in6));
}

static int parse_port(const char *s, Target *t) {
        uint16_t port;

        if (port_find(s, &port) < 0)
                return not_a_target(s);
        return port == 0 ? no_port(s) : add_loopback(t, port);
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

        assert(colon);

        length = (size_t) (colon - s);
        if (length > 2 && *s == '[' && s[length - 1] == ']') {
                s++;
                length -= 2;
        } else if (length > 0 && memchr(s, ':', length))
                length = 0;
        if (length == 0 || colon[1] == '\0')
                return not_a_target(t->name);

        r = port_parse(t->name, colon + 1, &port);
        if (r < 0)
                return r;
        if (port == 0)
                return no_port(t->name);

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

/* Returns the text after "SCHEME://", or NULL. */
static const char *find_authority(const char *s) {
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

        return n > 0 && strncmp(s + n, "://", 3) == 0 ? s + n + 3 : NULL;
}

static int refuse_url(const char *s, const char *authority) {
        int length = (int) strcspn(authority, "/?#");
        const char *address_end = memchr(authority, ']', (size_t) length),
                   *host_end = address_end ? address_end : authority;
        const char *port = "";

        if (!memchr(host_end, ':', (size_t) (authority + length - host_end)))
                port = strncasecmp(s, "http:", 5) == 0    ? ":80"
                       : strncasecmp(s, "https:", 6) == 0 ? ":443"
                                                          : ":PORT";
        return message_error(-EINVAL, _("\"%s\" is a URL, but the target is HOST:PORT; write \"%.*s%s\"."), s,
                             length > 0 ? length : 4, length > 0 ? authority : "HOST", port);
}

static int parse(const char *s, Target *t) {
        const char *authority;

        if (strncmp(s, "unix:", 5) == 0) {
                if (s[5] == '\0')
                        return not_a_target(s);
                return parse_path(s + 5, t);
        }

        authority = find_authority(s);
        if (authority)
                return refuse_url(s, authority);
        if (*s == '@' || s[strcspn(s, ":/")] == '/')
                return parse_path(s, t);
        return strchr(s, ':') ? parse_host(s, t) : parse_port(s, t);
}

int target_parse(const char *s, Target *ret) {
        Target t = {};
        int r;

        t.name = strdup(s);
        if (!t.name)
                return message_oom();

        r = parse(s, &t);
        if (r < 0) {
                target_done(&t);
                return r;
        }

        *ret = t;
        return 0;
}

int target_check(const Target *t) {
        const struct sockaddr_un *un = (const struct sockaddr_un *) &t->addresses[0].storage;
        struct stat st;
        int r;

        if (un->sun_family != AF_UNIX || un->sun_path[0] == '\0')
                return 0;

        r = stat(un->sun_path, &st) < 0 ? -errno : 0;
        if (r == -ENOENT) {
                message_info(_("The target \"%s\" does not exist yet; until a server creates it, connections are "
                               "reset."),
                             un->sun_path);
                return 0;
        }
        if (r < 0)
                return message_error(r, _("Failed to look at the target \"%s\": %s."), un->sun_path,
                                     strerror(-r));
        if (!S_ISSOCK(st.st_mode))
                return message_error(
                                -ENOTSOCK,
                                _("The target \"%s\" is not a Unix socket; write the path of the server's "
                                  "socket."),
                                un->sun_path);
        if (faccessat(AT_FDCWD, un->sun_path, W_OK, AT_EACCESS) < 0 && errno == EACCES)
                message_info(_("The target \"%s\" does not let this user connect; until its owner gives write "
                               "permission, connections are reset."),
                             un->sun_path);
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
