/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A message over a Unix socket that carries descriptors; unix(7). Nothing here waits.
 */

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* The most that one may carry. */
#define PACKET_FDS_MAX 2

/* Not to be moved. On the stack. */
typedef struct Packet {
        struct msghdr message;
        struct iovec iov;
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
} Packet;

/* The data is not copied. If the socket is not connected, the message wants an address. */
void packet_init(Packet *packet, void *data, size_t size);

/* Sends copies of the descriptors, if any. Returns 0 or a negative errno, -E2BIG for too many. */
int packet_send(Packet *packet, int socket, const int *fds, size_t n_fds);

/* Reads what is to be read next, and leaves it there. Returns the size, 0 at the end, -EBADMSG for what does
 * not fit or carries no descriptor, or another negative errno; there are no descriptors then. */
ssize_t packet_peek(int socket, void *buffer, size_t size, int fds[static PACKET_FDS_MAX], size_t *ret_n_fds);

/* Takes out as many as that, or fewer, at least one, and closes what was in them. Returns how many, or a
 * negative errno. */
int packet_discard(int socket, unsigned n);
