/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service's settings: tcpserversocketd.conf and its drop-ins, or the defaults. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/parse.h"
#include "daemon/policy/prefix.h"

typedef struct Address Address;

#define UNACKNOWLEDGED_DEFAULT 56

typedef struct Limits {
        uint32_t listeners; /* in all */
        uint32_t listeners_per_user;
        uint32_t channels; /* open ones, in all */
        uint32_t channels_per_user;
        uint32_t pending_requests_per_user; /* calls that wait for the caller's uid or authorization */
        uint32_t unacknowledged;            /* connections on the bus and not yet delivered, in all */
        uint32_t unacknowledged_per_client;
} Limits;

typedef struct Settings {
        Limits limits;
        uint64_t idle_timeout_usec; /* UINT64_MAX: never */
        bool allow_socket_delivery;
        bool require_containment;

        /* The words of both lists, NULL at the end. A list that is NULL itself allows everything. */
        char **allowed_ports;
        char **allowed_addresses;

        uint8_t port_bits[(UINT16_MAX + 1) / 8];
        Prefix *prefixes; /* one for each of allowed_addresses */
        size_t n_prefixes;

        PortRange ephemeral_ports; /* from which the kernel chooses */
} Settings;

/* The defaults. */
int settings_new(Settings **ret);

/* Reads the configuration files. Mistakes in them are logged and ignored. Returns 1 if a file could not be
 * read: only ports and addresses of the entries that were read are allowed then, because the rest may have
 * been a restriction. Otherwise returns 0 or -ENOMEM. The root is "" except in tests. */
int settings_load(const char *root, Settings **ret);

Settings *settings_free(Settings *s);

/* Port 0 means that the kernel chooses; it is allowed if all ephemeral ports are. */
bool settings_allow_port(const Settings *s, uint16_t port);

/* The unspecified address, 0.0.0.0 or ::, stands for all addresses: it is allowed only if a prefix contains
 * it itself, as 0.0.0.0/0 and ::/0 do. Without ipv6_only, :: takes IPv4 connections, too, and needs both. */
bool settings_allow_address(const Settings *s, const Address *address, bool ipv6_only);
