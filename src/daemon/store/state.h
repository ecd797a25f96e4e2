/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The format of the state that is saved for the next process.
 *
 * Data that changes often is in a table in a memfd, with one slot for each listener; the service updates it
 * with plain stores. Data that does not change is sent into a spool together with the descriptors, one packet
 * for each listener, channel, lifeline and connection. A listener's packet has its options as text
 * (daemon/store/options-text.h).
 *
 * The next process may be another version of this program. It restores state with its own STATE_VERSION and
 * closes everything else. To extend the format compatibly, add a key to the text of listeners, or use a
 * reserved field of the table so that 0 has the meaning of older versions.
 *
 * All functions treat the data that they read as untrusted.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"

#define STATE_MAGIC "TCPServerSocket"
#define STATE_VERSION UINT32_C(5)

/* No process reaches these numbers of listeners and connections, so that the next one can be added to any. */
#define STATE_NUMBER_MAX (UINT64_MAX / 2)

/* At least the highest possible MaxListeners. Unused slots take no memory. */
#define STATE_SLOTS_MAX (UINT32_C(1) << 20)

typedef struct StateHeader {
        char magic[16];
        uint32_t version;
        uint32_t slot_size;
        uint64_t last_id; /* of a listener; ids are never reused */
        char bus_id[40];  /* the bus to which the owners' names belong; empty: none */
        char reserved[56];
} StateHeader;

#define STATE_PAUSED (UINT32_C(1) << 0)
#define STATE_TAKEN (UINT32_C(1) << 1)       /* a client has the channel or a copy of the listening socket */
#define STATE_UNANNOUNCED (UINT32_C(1) << 2) /* Listen has not been answered yet */
/* With STATE_TAKEN: that client was the owner, and the next owner may take it again. */
#define STATE_OWNERS (UINT32_C(1) << 3)
#define STATE_LIFELINE_SENT (UINT32_C(1) << 4) /* a client has the other end of the lifeline */
#define STATE_ENDS_AT_LOGOUT (UINT32_C(1) << 5)
/* With STATE_ENDS_AT_LOGOUT: logind has not said yet whether it knows the user. */
#define STATE_LOGOUT_UNKNOWN (UINT32_C(1) << 6)

/* Valid if the id is that of the listener; it is therefore written last and cleared first. */
typedef struct StateSlot {
        uint64_t id;
        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;
        uint32_t flags;
        uint32_t end;          /* 0, or one more than the ListenerEnd of a listener in its grace period */
        char owner[48];        /* a unique bus name, or empty; its first byte is written last */
        char interface[16];    /* the last known name of its network interface; empty: none */
        uint64_t channel_ends; /* see delivery-channel.c */
        uint64_t rejected;     /* with the delivery "call": the part of 'refused' that counts as accepted */
} StateSlot;

typedef struct StateTable {
        StateHeader header;
        StateSlot slots[STATE_SLOTS_MAX];
} StateTable;

void state_init_header(StateHeader *header);

/* Returns -EBADMSG without the magic or with an invalid last_id, -EPROTONOSUPPORT for another version. */
int state_check_header(const StateHeader *header);

/* Copies a slot. Returns -ENOENT if it does not belong to the listener with that id, and -EBADMSG if its
 * number of accepted connections is invalid. The owner of the copy is a well-formed unique name or empty. */
int state_read_slot(const StateSlot *slot, uint64_t id, StateSlot *ret);

/* A name that is too long is stored as an empty one. */
void state_write_owner(StateSlot *slot, const char *owner);

typedef enum StatePacketType {
        STATE_LISTENER,
        STATE_CHANNEL,
        STATE_CONNECTION,
        STATE_LIFELINE,
        _STATE_PACKET_TYPE_MAX,
} StatePacketType;

typedef struct StatePacket {
        uint32_t type;
        uint32_t size; /* of the whole packet, with the text */
        uint64_t id;   /* the listener's */
        union {
                struct {
                        uint32_t slot;
                        uint32_t uid;
                        uint32_t pid; /* of the process that called Listen; 0: unknown */
                } listener;
                struct {
                        uint64_t reserved;
                } channel;
                struct {
                        uint64_t serial;
                        uint16_t family; /* 4 or 6: of the peer's address */
                        uint16_t port;   /* in host order */
                        uint32_t scope;
                        uint8_t bytes[16];
                } connection;
        };
} StatePacket;

#define STATE_PACKET_SIZE(member) (offsetof(StatePacket, member) + sizeof(((StatePacket *) 0)->member))

/* The text follows the packet of a listener. It has no terminator and may contain zeroes. */
static inline const char *state_get_text(const StatePacket *packet, size_t *ret_length) {
        *ret_length = packet->size - STATE_PACKET_SIZE(listener);
        return (const char *) packet + STATE_PACKET_SIZE(listener);
}

/* Returns 0 if the type, the size and the other fields are valid, else -EBADMSG. */
int state_check_packet(const void *data, size_t size);

void state_init_connection(StatePacket *packet, uint64_t id, uint64_t serial, const Address *peer);

/* The peer of a packet of STATE_CONNECTION that was checked. */
Address state_get_peer(const StatePacket *packet);
