/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A message with descriptors on a Unix socket: unix(7). No function blocks. */

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/channel.h"

/* Descriptors in one packet. */
#define PACKET_FDS_MAX CHANNEL_BATCH_MAX

/* Has pointers into itself, so it must not be copied. */
typedef struct Packet {
        struct msghdr message;
        struct iovec iov;
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
} Packet;

/* The data is not copied. The caller sets message.msg_name if the socket is not connected. */
void packet_init(Packet *packet, void *data, size_t size);

/* Sends the data with copies of up to PACKET_FDS_MAX descriptors. Returns 0 or a negative errno. */
int packet_send(Packet *packet, int socket, const int *fds, size_t n_fds);

/* Reads the next packet and leaves it in the queue. Returns its size, 0 at the end, -EBADMSG for a packet
 * that is too large or has no descriptor, or another negative errno. The caller closes the descriptors. */
ssize_t packet_peek(int socket, void *buffer, size_t size, int fds[static PACKET_FDS_MAX], size_t *ret_n_fds);

/* Removes between one and n packets and closes their descriptors. Returns the number of packets, or a
 * negative errno. */
int packet_discard(int socket, unsigned n);
