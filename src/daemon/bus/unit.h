/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What systemd is about to do with the service's unit. */

#include <systemd/sd-bus.h>

/* The answer is for unit_read_job(); it is an error if there is none within timeout_usec. */
int unit_ask_for_job(sd_bus *bus,
                     sd_bus_slot **slot,
                     uint64_t timeout_usec,
                     sd_bus_message_handler_t handler,
                     void *userdata);

/* "stop", "restart", or another job, which lasts as long as the answer; "" if there is none, or no systemd.
 */
const char *unit_read_job(sd_bus_message *answer);
