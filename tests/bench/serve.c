/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/serve.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/macros.h"

_Noreturn void serve_fail(const char *what, int error) {
        printf("%s: %s\n", what, strerror(error < 0 ? -error : error));
        exit(EXIT_FAILURE);
}

void serve_connection(int fd) {
        /* A peer that has left already is its own affair. */
        (void) !write(fd, "x", 1);
}

_Noreturn void serve_listening_socket(int fd) {
        for (;;) {
                int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

                if (connection >= 0) {
                        serve_connection(connection);
                        (void) close(connection);
                } else if (errno == EAGAIN)
                        (void) poll(&(struct pollfd) { .fd = fd, .events = POLLIN }, 1, -1);
                else if (errno != ECONNABORTED && errno != EINTR)
                        serve_fail("Cannot accept", errno);
        }
}

void serve_say_ready(void) {
        puts("ready");
        (void) fflush(stdout);
}
