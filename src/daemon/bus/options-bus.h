/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The arguments of Listen, read from its message. */

typedef struct Error Error;
typedef struct sd_bus_message sd_bus_message;
typedef struct ListenOptions ListenOptions;

/* Reads "ia{sv}i". Returns a negative errno as the functions of options.h do, with the same errors;
 * -EBADMSG if the message itself is malformed. */
int listen_options_read(sd_bus_message *m, ListenOptions **ret, Error *error);
