/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of org.freedesktop.DBus.Peer.Ping, which nearly every D-Bus library answers without help of its
 * program. */

#include <stdbool.h>

typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;

int ping_new(sd_bus *bus, const char *destination, sd_bus_message **ret);

/* The cookie of a barrier must be secret, or a client could answer a call that it has not read. dbus-daemon
 * forwards such an answer, and when enough descriptors wait for a client that does not read, stops reading
 * from the service. */
int ping_seal_with_secret_cookie(sd_bus_message *ping);

/* sd-bus continues from the highest cookie that it has sent, so that the message after a secret cookie would
 * reveal it. This message is sent before any Ping, and moves the cookies of sd-bus above all secret ones. */
int ping_seal_above_secret_cookies(sd_bus_message *m);

/* Whether the answer, which may be an error, comes from the client. The bus answers when the client has left,
 * or when it refused the call. */
bool ping_is_answered_by(sd_bus_message *answer, const char *client);
