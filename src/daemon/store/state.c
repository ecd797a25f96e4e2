/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/store/state.h"

static_assert(sizeof(StateHeader) == 128, "the format of the state has changed");
static_assert(sizeof(StateSlot) == 128, "the format of the state has changed");
static_assert(STATE_PACKET_SIZE(connection) == 48, "the format of the state has changed");

/* Keeps the compiler from reordering stores. The memory outlives the process, which may die between any two
 * of them. */
static void barrier(void) {
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void state_init_header(StateHeader *header) {
        *header = (StateHeader) { .version = STATE_VERSION, .slot_size = sizeof(StateSlot) };
        barrier();
        memcpy(header->magic, STATE_MAGIC, sizeof(STATE_MAGIC));
}

int state_check_header(const StateHeader *header) {
        if (memcmp(header->magic, STATE_MAGIC, sizeof(STATE_MAGIC)) != 0)
                return -EBADMSG;

        if (header->version != STATE_VERSION || header->slot_size != sizeof(StateSlot))
                return -EPROTONOSUPPORT;

        return header->last_id <= STATE_NUMBER_MAX ? 0 : -EBADMSG;
}

/* True for a unique bus name such as ":1.42". libsystemd refuses to send a message to a malformed name. */
static bool is_unique_name(const char *s) {
        bool has_dot = false;

        if (*s != ':')
                return false;

        for (s++; *s; s++) {
                if (*s == '.' && s[1] != '.' && s[1] != '\0' && s[-1] != ':')
                        has_dot = true;
                else if (!(*s >= '0' && *s <= '9') && !(*s >= 'A' && *s <= 'Z') &&
                         !(*s >= 'a' && *s <= 'z') && *s != '_' && *s != '-')
                        return false;
        }

        return has_dot;
}

int state_read_slot(const StateSlot *slot, uint64_t id, StateSlot *ret) {
        StateSlot copy;

        memcpy(&copy, slot, sizeof(copy));
        if (id == 0 || copy.id != id)
                return -ENOENT;
        if (copy.accepted > STATE_NUMBER_MAX)
                return -EBADMSG;

        copy.owner[sizeof(copy.owner) - 1] = '\0';
        if (!is_unique_name(copy.owner))
                copy.owner[0] = '\0';

        copy.interface[sizeof(copy.interface) - 1] = '\0';

        *ret = copy;
        return 0;
}

void state_write_owner(StateSlot *slot, const char *owner) {
        size_t length = strlen(owner);

        if (strncmp(slot->owner, owner, sizeof(slot->owner)) == 0)
                return;

        slot->owner[0] = '\0';
        barrier();
        if (length == 0 || length >= sizeof(slot->owner))
                return;

        memcpy(slot->owner + 1, owner + 1, length);
        barrier();
        slot->owner[0] = owner[0];
}

int state_check_packet(const void *data, size_t size) {
        StatePacket packet = {};

        if (size < offsetof(StatePacket, listener))
                return -EBADMSG;

        memcpy(&packet, data, size < sizeof(packet) ? size : sizeof(packet));
        if (packet.size != size || packet.id == 0 || packet.id > STATE_NUMBER_MAX)
                return -EBADMSG;

        switch (packet.type) {

        case STATE_LISTENER:
                return size >= STATE_PACKET_SIZE(listener) && packet.listener.slot < STATE_SLOTS_MAX
                                       ? 0
                                       : -EBADMSG;

        case STATE_CHANNEL:
                return size == STATE_PACKET_SIZE(channel) ? 0 : -EBADMSG;

        case STATE_CONNECTION:
                return size == STATE_PACKET_SIZE(connection) && packet.connection.serial > 0 &&
                                                       packet.connection.serial <= STATE_NUMBER_MAX &&
                                                       (packet.connection.family == 4 ||
                                                        packet.connection.family == 6)
                                       ? 0
                                       : -EBADMSG;

        case STATE_LIFELINE:
                return size == offsetof(StatePacket, listener) ? 0 : -EBADMSG;

        default:
                return -EBADMSG;
        }
}

void state_init_connection(StatePacket *packet, uint64_t id, uint64_t serial, const Address *peer) {
        *packet = (StatePacket) {
                .type = STATE_CONNECTION,
                .size = STATE_PACKET_SIZE(connection),
                .id = id,
                .connection = {
                        .serial = serial,
                        .family = 4,
                        .port = address_get_port(peer),
                },
        };

        if (peer->sa.sa_family == AF_INET6) {
                packet->connection.family = 6;
                packet->connection.scope = peer->in6.sin6_scope_id;
                memcpy(packet->connection.bytes, &peer->in6.sin6_addr, sizeof(peer->in6.sin6_addr));
        } else
                memcpy(packet->connection.bytes, &peer->in.sin_addr, sizeof(peer->in.sin_addr));
}

Address state_get_peer(const StatePacket *packet) {
        assert(packet->type == STATE_CONNECTION);

        Address peer = address_any(packet->connection.family == 6 ? AF_INET6 : AF_INET);

        if (packet->connection.family == 6) {
                memcpy(&peer.in6.sin6_addr, packet->connection.bytes, sizeof(peer.in6.sin6_addr));
                peer.in6.sin6_scope_id = packet->connection.scope;
        } else
                memcpy(&peer.in.sin_addr, packet->connection.bytes, sizeof(peer.in.sin_addr));
        address_set_port(&peer, packet->connection.port);
        return peer;
}
