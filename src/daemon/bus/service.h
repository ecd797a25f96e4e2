/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service's life on the bus: its name, who leaves the bus, when it leaves itself. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Service Service;
typedef struct Settings Settings;
typedef struct Store Store;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

/* Puts the service on a bus that is attached to the event loop, goes on with what is in the store, and asks
 * for the name. The loop ends with an error if the name is not to be had, and with 0 when there was nothing
 * to do for long enough. Takes the settings over on success. Without a store (NULL), nothing outlives the
 * process. */
int service_new(sd_event *event, sd_bus *bus, Settings *settings, Store *store, Service **ret);

/* Takes other settings over. */
void service_set_settings(Service *s, Settings *settings);

/* The loop is to end: soon, when it is known whether another process follows. */
void service_terminate(Service *s);

/* After the loop. Answers nobody any more, and closes all listeners, with reason "shutdown"; but if another
 * process follows, as it does after a failure, they are left to it, and nobody is told. Returns when the last
 * words are on the bus, or after timeout_usec. */
void service_shut_down(Service *s, bool failed, uint64_t timeout_usec);

Service *service_free(Service *s);
