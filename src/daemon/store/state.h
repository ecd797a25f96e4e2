/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is written down for the next process: its form.
 *
 * It is in two places. A table in a memfd has what changes all the time, a slot for each listener, which the
 * service updates by plain stores. What does not change goes with the descriptors into a spool, as a packet
 * for each: of a listener, that is text (daemon/store/options-text.h).
 *
 * The next process may be another version of this program. It takes over what has the same STATE_VERSION, and
 * closes the rest. To add something: in the packets of listeners, another key; in the table, a part of what
 * is reserved, whose 0 means what the old version did.
 *
 * All functions here read bytes that may be anything.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"

#define STATE_MAGIC "TCPServerSocket"
#define STATE_VERSION UINT32_C(2)

/* More than there can be listeners (MaxListeners). What is not used takes no memory. */
#define STATE_SLOTS_MAX (UINT32_C(1) << 20)

typedef struct StateHeader {
        char magic[16];
        uint32_t version;
        uint32_t slot_size;
        uint64_t last_id; /* of the listeners; none is used again */
        char bus_id[40];  /* on which the owners' names mean something; empty: none */
        char reserved[56];
} StateHeader;

#define STATE_PAUSED (UINT32_C(1) << 0)
#define STATE_TAKEN (UINT32_C(1) << 1)       /* its owner has the socket itself */
#define STATE_UNANNOUNCED (UINT32_C(1) << 2) /* nobody has been told of it yet */
#define STATE_OWNERS (UINT32_C(1) << 3) /* what was taken or opened went to an owner, and leaves with it */

/* Valid if the id is the one that is looked for; so it is written last, and cleared first. */
typedef struct StateSlot {
        uint64_t id;
        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;
        uint32_t flags;
        uint32_t reserved_word;
        char owner[64]; /* a unique name on the bus, or empty; its first byte is written last */
        char reserved[16];
} StateSlot;

typedef struct StateTable {
        StateHeader header;
        StateSlot slots[STATE_SLOTS_MAX];
} StateTable;

void state_init_header(StateHeader *header);

/* Returns -EBADMSG for what is no such table, -EPROTONOSUPPORT for one of another version. */
int state_check_header(const StateHeader *header);

/* Returns -ENOENT if this is not the slot of that listener. The owner is empty unless it is a well-formed
 * name. */
int state_read_slot(const StateSlot *slot, uint64_t id, StateSlot *ret);

/* A name that is too long is as none. */
void state_write_owner(StateSlot *slot, const char *owner);

typedef enum StatePacketType {
        STATE_LISTENER,
        STATE_CHANNEL,
        STATE_CONNECTION,
        _STATE_PACKET_TYPE_MAX,
} StatePacketType;

typedef struct StatePacket {
        uint32_t type;
        uint32_t size; /* of all of it */
        uint64_t id;   /* the listener's */
        union {
                struct {
                        uint32_t slot;
                        uint32_t uid;
                } listener;
                struct {
                        uint32_t packet_size; /* what the kernel accounts for one */
                        uint32_t reserved;
                } channel;
                struct {
                        uint64_t serial;
                        uint16_t family; /* the peer's, in 4 and 6 bytes */
                        uint16_t port;   /* in host order */
                        uint32_t scope;
                        uint8_t bytes[16];
                } connection;
        };
} StatePacket;

#define STATE_PACKET_SIZE(member) (offsetof(StatePacket, member) + sizeof(((StatePacket *) 0)->member))

/* The text of a listener's packet follows it, until the end, and is not terminated; it may have zeros. */
static inline const char *state_get_text(const StatePacket *packet, size_t *ret_length) {
        *ret_length = packet->size - STATE_PACKET_SIZE(listener);
        return (const char *) packet + STATE_PACKET_SIZE(listener);
}

/* Checks the type and the size, and what must not be 0. Returns -EBADMSG. */
int state_check_packet(const void *data, size_t size);

void state_init_connection(StatePacket *packet, uint64_t id, uint64_t serial, const Address *peer);

/* Of a packet that was checked. */
Address state_get_peer(const StatePacket *packet);
