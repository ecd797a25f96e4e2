/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/journal.h"
#include "base/macros.h"

bool journal_has_stream(int fd) {
        unsigned long long device, inode;
        const char *stream;
        struct stat st;
        char end;

        stream = getenv("JOURNAL_STREAM");
        if (!stream || sscanf(stream, "%llu:%llu%c", &device, &inode, &end) != 2)
                return false;

        return fstat(fd, &st) >= 0 && st.st_dev == device && st.st_ino == inode;
}

int journal_open(Journal *j, const char *socket_path) {
        size_t length = strlen(socket_path);
        Journal opened = { .address.sun_family = AF_UNIX };

        if (length >= sizeof(opened.address.sun_path))
                return -ENAMETOOLONG;
        memcpy(opened.address.sun_path, socket_path, length + 1);

        opened.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (opened.fd < 0)
                return -errno;

        *j = opened;
        return 0;
}

void journal_close(Journal *j) {
        j->fd = close_fd(j->fd);
}

int journal_send(const Journal *j, const char *entry, size_t size) {
        ssize_t n;

        if (j->fd < 0)
                return -ENOTCONN;

        do
                n = sendto(j->fd, entry, size, MSG_NOSIGNAL, (const struct sockaddr *) &j->address,
                           sizeof(j->address));
        while (n < 0 && errno == EINTR);
        if (n >= 0)
                return 0;

        return errno == ENOBUFS || errno == ENOMEM ? -EAGAIN : -errno;
}
