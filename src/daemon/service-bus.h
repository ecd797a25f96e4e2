/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service's life on the bus: its name, who leaves the bus, when it leaves itself. */

#include <stdint.h>

typedef struct Service Service;
typedef struct Settings Settings;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

/* Puts the service on a bus that is attached to the event loop, and asks for the name. The loop ends with an
 * error if the name is not to be had, and with 0 when there was nothing to do for long enough. Takes the settings
 * over on success. */
int service_new(sd_event *event, sd_bus *bus, Settings *settings, Service **ret);

/* Takes other settings over. */
void service_set_settings(Service *s, Settings *settings);

/* Closes all listeners, with reason "shutdown", and answers nobody any more. Returns when the last words are
 * on the bus, or after timeout_usec. */
void service_shut_down(Service *s, uint64_t timeout_usec);

Service *service_free(Service *s);
