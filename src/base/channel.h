/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The packets of the delivery "channel".
 *
 * A packet is a message on a socket of type SOCK_SEQPACKET: a control message SCM_RIGHTS with one descriptor
 * for each connection, and as data one ChannelRecord for each, in the same order.
 */

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"

/* Connections in a packet. */
#define CHANNEL_BATCH_MAX 32

typedef union ChannelAddress {
        sa_family_t family; /* AF_INET or AF_INET6 */
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
} ChannelAddress;

typedef struct ChannelRecord {
        uint64_t serial;
        ChannelAddress remote; /* padded with zeroes */
        ChannelAddress local;
} ChannelRecord;

void channel_record_init(ChannelRecord *record, uint64_t serial, const Address *remote, const Address *local);

/* Converts an address of a record that was received. Returns -EBADMSG for another family. */
int channel_address_read(const ChannelAddress *a, Address *ret);

/* Receives the next packet, with up to max connections, and makes their descriptors close-on-exec. 'flags'
 * are those of recvmsg(). Returns the number of connections; 0 at the end of the channel; -EMFILE if this
 * process has no room for the descriptors, which are closed then; -EBADMSG for any other packet; or the
 * negative errno of recvmsg(). */
ssize_t channel_receive(int channel, int flags, ChannelRecord *records, int *fds, size_t max);
