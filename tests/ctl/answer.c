/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lightest COMMAND that ab(1) can talk to: reads one request, answers it, and ends. */

#include <string.h>
#include <unistd.h>

int main(void) {
        static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx";
        char request[4096];
        size_t n = 0;
        ssize_t k;

        do {
                k = read(STDIN_FILENO, request + n, sizeof(request) - 1 - n);
                if (k <= 0)
                        return 1;
                n += (size_t) k;
                request[n] = '\0';
        } while (!strstr(request, "\r\n\r\n"));

        return write(STDOUT_FILENO, answer, sizeof(answer) - 1) != sizeof(answer) - 1;
}
