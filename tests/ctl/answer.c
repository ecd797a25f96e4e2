/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lightest COMMAND that ab(1) can talk to: reads one request, answers it, and ends. With a port as its
 * argument, it binds that instead, and writes the port that the socket has. */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int bind_port(const char *port) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t) atoi(port)) };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (bind(fd, (struct sockaddr *) &address, size) < 0 || listen(fd, 1) < 0 ||
            getsockname(fd, (struct sockaddr *) &address, &size) < 0) {
                perror("bind");
                return 1;
        }
        return printf("%u\n", ntohs(address.sin_port)) < 0;
}

int main(int argc, char *argv[]) {
        static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx";
        char request[4096];
        size_t n = 0;
        ssize_t k;

        if (argc > 1)
                return bind_port(argv[1]);

        do {
                k = read(STDIN_FILENO, request + n, sizeof(request) - 1 - n);
                if (k <= 0)
                        return 1;
                n += (size_t) k;
                request[n] = '\0';
        } while (!strstr(request, "\r\n\r\n"));

        return write(STDOUT_FILENO, answer, sizeof(answer) - 1) != sizeof(answer) - 1;
}
