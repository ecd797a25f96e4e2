/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service on the bus: its name, clients that leave the bus, and when it exits. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Service Service;
typedef struct Settings Settings;
typedef struct Store Store;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

/* Adds the objects to a bus that is attached to the event loop, restores the listeners of the store, and
 * requests the name. The loop ends with an error if that fails, and with 0 after the idle timeout. Consumes
 * the settings on success. Without a store (NULL), nothing outlives the process. */
int service_new(sd_event *event,
                sd_bus *bus,
                bool contained,
                Settings *settings,
                Store *store,
                Service **ret);

/* Consumes the settings. */
void service_set_settings(Service *s, Settings *settings);

/* Closes all listeners with the reason "shutdown", and ends the event loop after their grace periods. The
 * second call of this or the next function ends the loop at once. */
void service_stop(Service *s);

/* Asks systemd, which has two seconds to answer, whether it restarts the service. If it does, leaves the
 * listeners to the next process and ends the loop; else does the same as service_stop(). */
void service_terminate(Service *s);

/* To be called after the loop. Answers no calls any more. Closes all listeners with the reason "shutdown" and
 * without grace periods, or, after a failure or for a restart, leaves them to the next process without a
 * signal. Returns when all messages are written to the bus, or after timeout_usec. */
void service_shut_down(Service *s, bool failed, uint64_t timeout_usec);

Service *service_free(Service *s);
