/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of org.freedesktop.DBus.Peer.Ping, which nearly every D-Bus library answers without its program's
 * help. */

#include <stdbool.h>

typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;

int ping_new(sd_bus *bus, const char *destination, sd_bus_message **ret);

/* The cookie of a barrier must not be guessed, or a client could answer what it has not read. dbus-daemon
 * lets the answer pass as soon as the call waits to be read, and of one client that collects descriptors
 * without reading it takes so many that it stops reading from us. */
int ping_seal_with_secret_cookie(sd_bus_message *ping);

/* sd-bus goes on from the highest cookie that it has sent, so that after a secret one the next message, to
 * whomever it goes, would tell it. After this message, which is sent before any Ping, its own are above all
 * secret ones, and never come below. */
int ping_seal_above_secret_cookies(sd_bus_message *m);

/* Only the client's own answer, an error too, proves anything: the bus answers in its name when there is no
 * such client any more, which NameOwnerChanged will tell as well, and when it refused to pass the call on. */
bool ping_is_answered_by(sd_bus_message *answer, const char *client);
