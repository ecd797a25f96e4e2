/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service's settings: tcpserversocketd.conf and its drop-ins, or the defaults. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/parse.h"
#include "daemon/policy/limits.h"
#include "daemon/policy/prefix.h"

typedef struct Address Address;

typedef struct Settings {
        Limits limits;
        uint64_t idle_timeout_usec; /* UINT64_MAX: never */
        bool allow_socket_delivery;

        /* Both lists as they were written, with NULL at the end; NULL if nothing was, which allows all. */
        char **allowed_ports;
        char **allowed_addresses;

        uint8_t port_bits[(UINT16_MAX + 1) / 8];
        Prefix *prefixes; /* one for each of the addresses */
        size_t n_prefixes;

        PortRange ephemeral_ports; /* of which the kernel chooses one */
} Settings;

/* The defaults. */
int settings_new(Settings **ret);

/* What the files say; what is wrong in them is told in the log and ignored. Returns 1 if something could not
 * be read: as it may have been a restriction, only the ports and addresses that what could be read allows are
 * allowed then. The root is "" but for tests. Otherwise returns 0, or -ENOMEM. */
int settings_load(const char *root, Settings **ret);

Settings *settings_free(Settings *s);

/* A port of 0 is one that the kernel chooses; it is allowed if all that the kernel chooses from are. */
bool settings_allow_port(const Settings *s, uint16_t port);

/* Whether one may listen on a local address. The unspecified one, 0.0.0.0 or ::, stands for all addresses: it
 * is allowed only if a prefix contains it itself, as 0.0.0.0/0 and ::/0 do. And as :: takes IPv4 as well
 * unless ipv6_only is set, 0.0.0.0 has to be allowed too then. */
bool settings_allow_address(const Settings *s, const Address *address, bool ipv6_only);
