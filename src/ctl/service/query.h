/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the service tells about its listeners. Each function says what went wrong when it returns a negative
 * errno. */

#include <systemd/sd-bus.h>

#include "ctl/cli/context.h"
#include "ctl/service/listener.h"

/* All that the caller may see, by number. */
int query_listeners(Context *c, Listeners *ret);
int query_listener(Context *c, const char *path, Listener *ret);

/* Turns a number, a path, or a name that only one listener has into a path. */
int query_path(Context *c, const char *text, char **ret);

/* The same without a word about what went wrong, and without starting the service. */
int query_listeners_quietly(Context *c, Listeners *ret);
/* The same without waiting: finish() reads the reply that the handler gets. */
int query_listeners_start(Context *c, sd_bus_message_handler_t handler, void *userdata, sd_bus_slot **ret);
int query_listeners_finish(sd_bus_message *reply, Listeners *ret);
