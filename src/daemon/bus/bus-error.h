/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one place that turns an errno into an error of D-Bus, so that no raw one reaches a client. */

#include "base/macros.h"

#include <systemd/sd-bus.h>

/* Sets the error that the field uses for this negative errno, with a sentence that names what was wrong.
 * Returns the errno. */
int bus_error_from_errno(sd_bus_error *error, int r, const char *format, ...) _printf_(3, 4);
