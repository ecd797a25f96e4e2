/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks systemd for the job of the service's unit. */

#include <systemd/sd-bus.h>

/* The handler reads the answer with unit_read_job(). It gets an error after timeout_usec. */
int unit_ask_for_job(sd_bus *bus,
                     sd_bus_slot **slot,
                     uint64_t timeout_usec,
                     sd_bus_message_handler_t handler,
                     void *userdata);

/* Returns the type of the job, such as "stop" or "restart", which lasts as long as the answer; "" if there is
 * no job, or no systemd. */
const char *unit_read_job(sd_bus_message *answer);
