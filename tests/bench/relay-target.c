/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the relays forward to: bench-relay-target byte|stream [PATH]
 *
 * "byte" is the bare accept loop. "stream" has a process for each connection, whose first byte says what it
 * does: 'S' swallows all that comes up to a byte that is not 0, and then tells how much that was; 'E' sends
 * each byte back. Nothing here needs one direction to end before the other, for not all relays can do that.
 */

#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/macros.h"
#include "bench/serve.h"

static int listen_on(const char *path) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        socklen_t size = sizeof(in);
        int fd, r;

        fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                serve_fail("Cannot make a socket", errno);

        if (path) {
                (void) snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
                r = bind(fd, (const struct sockaddr *) &un, sizeof(un));
        } else
                r = bind(fd, (const struct sockaddr *) &in, sizeof(in));
        if (r < 0 || listen(fd, 4096) < 0)
                serve_fail("Cannot listen", errno);

        if (!path) {
                if (getsockname(fd, (struct sockaddr *) &in, &size) < 0)
                        serve_fail("Cannot ask for the port", errno);
                printf("%u\n", ntohs(in.sin_port));
        } else
                puts(path);
        return fd;
}

static void swallow(int fd) {
        static char buffer[1 << 20];
        uint64_t total = 0;
        ssize_t n;

        do {
                n = recv(fd, buffer, sizeof(buffer), 0);
                if (n <= 0)
                        return;
                total += (uint64_t) n;
        } while (buffer[n - 1] == 0);
        (void) !write(fd, &total, sizeof(total));
}

static void echo(int fd) {
        char buffer[4096];
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
                if (write(fd, buffer, (size_t) n) != n)
                        return;
}

static _Noreturn void serve_streams(int fd) {
        (void) signal(SIGCHLD, SIG_IGN);
        for (;;) {
                int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
                char how;

                if (connection < 0)
                        continue;
                if (fork() == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        if (recv(connection, &how, 1, 0) == 1)
                                how == 'S' ? swallow(connection) : echo(connection);
                        _exit(0);
                }
                (void) close(connection);
        }
}

int main(int argc, char *argv[]) {
        int fd;

        (void) signal(SIGPIPE, SIG_IGN);
        if (argc < 2 || argc > 3 || (!streq(argv[1], "byte") && !streq(argv[1], "stream"))) {
                fprintf(stderr, "Usage: %s byte|stream [PATH]\n", argv[0]);
                return EXIT_FAILURE;
        }

        fd = listen_on(argv[2]);
        serve_say_ready();
        if (streq(argv[1], "byte"))
                serve_listening_socket(fd);
        serve_streams(fd);
}
