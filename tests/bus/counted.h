/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of the service whose answers are counted: how many have come, and what they were. */

#include "bus/client.h"

/* So many listeners make a list so long that so many lists are more than dbus-daemon takes, of 0.7 MB each
 * when the listeners have long names. */
#define COUNTED_LISTENERS 1000U
#define COUNTED_LISTS 300U

/* As many are sent before one waits. */
#define COUNTED_AT_ONCE 50U

/* Begins with zeros. */
typedef struct Counted {
        TestClient *client; /* or NULL */
        unsigned n_sent;
        unsigned n_answered;
        unsigned n_refused; /* of these */
        unsigned n_failed;  /* and otherwise */
        unsigned refused; /* when the service's first refusal came, among all that the client has received */
} Counted;

/* Consumes the message. The calls must be there until it is answered, or its client is gone. */
void counted_start(Counted *calls, TestClient *client, sd_bus_message *m);

/* Two calls that anybody may make, of a long answer and of a short one. The caller unrefs them. */
sd_bus_message *counted_make_list(TestClient *client);
sd_bus_message *counted_make_introspect(TestClient *client);
