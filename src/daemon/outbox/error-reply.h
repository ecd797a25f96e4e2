/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The reply to a call that failed: the name of the D-Bus error, and the message of base/error.h. */

#include <systemd/sd-bus.h>

#include "base/error.h"

int error_reply_new(sd_bus_message *call, const Error *error, sd_bus_message **ret);

/* If the error is not set, the reply is about the negative errno r. */
int error_reply_send(sd_bus_message *call, int r, const Error *error);

/* The same for an error with these values. Returns a positive number on success, as a method handler does. */
int error_reply(sd_bus_message *call, ErrorId id, ...);
