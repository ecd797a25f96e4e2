/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/relayed.h"

#include <netinet/in.h>
#include <sys/un.h>

Target target_new(void) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        Target t = { .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };

        g_assert_no_errno(t.fd);
        g_assert_no_errno(bind(t.fd, (const struct sockaddr *) &in, sizeof(in)));
        g_assert_no_errno(listen(t.fd, 4096));
        t.name = g_strdup_printf("127.0.0.1:%u", test_local_port(t.fd));
        return t;
}

Target target_new_unix(bool abstract, int backlog) {
        g_autofree char *directory = test_make_directory("target"),
                        *path = g_build_filename(directory, "socket", NULL);
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        Target t = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };

        g_assert_no_errno(t.fd);
        size_t n = g_strlcpy(un.sun_path + abstract, path, sizeof(un.sun_path) - 1);
        g_assert_no_errno(bind(t.fd, (const struct sockaddr *) &un,
                               (socklen_t) (G_STRUCT_OFFSET(struct sockaddr_un, sun_path) + n + 1)));
        g_assert_no_errno(listen(t.fd, backlog));
        t.name = abstract ? g_strconcat("@", path, NULL) : g_steal_pointer(&path);
        return t;
}

int target_accept(const Target *t) {
        int fd;

        (void) test_wait_fd(t->fd, POLLIN);
        fd = accept4(t->fd, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(fd);
        return fd;
}

Relayed relay_start_at(Fixture *f, const char *endpoint, Target target, const char *option) {
        Relayed r = { .target = target };

        r.tool = serving_start(f->bus, &r.port, WORDS("relay", endpoint, target.name, option));
        return r;
}

Relayed relay_start(Fixture *f, Target target, const char *option) {
        return relay_start_at(f, "0", target, option);
}

void relay_end(Relayed *r) {
        test_child_signal(r->tool->child, SIGTERM);
        g_assert_cmpint(test_child_wait(r->tool->child), ==, 128 + SIGTERM);
        g_assert_true(r->tool->child->by_signal);
        relay_wait(r, 128 + SIGTERM);
}

void relay_wait(Relayed *r, int status) {
        g_assert_cmpint(test_child_wait(r->tool->child), ==, status);
        g_assert_false(test_is_listening(getpid(), r->port));
        tool_free(r->tool);
        close_fd(r->target.fd);
        g_free(r->target.name);
}

size_t peer_fill(int fd) {
        static const char zeros[65536];
        size_t sent = 0;
        ssize_t n;

        g_assert_no_errno(fcntl(fd, F_SETFL, O_NONBLOCK));
        while ((n = send(fd, zeros, sizeof(zeros), MSG_NOSIGNAL)) > 0)
                sent += (size_t) n;
        g_assert_cmpint(errno, ==, EAGAIN);
        return sent;
}
