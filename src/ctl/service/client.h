/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Talking to the service: all that the tool asks it. Each says what went wrong when it returns a negative
 * errno. */

#include "base/macros.h"
#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"

/* Connects c->bus, if it is not connected yet. */
int context_connect(Context *c);
void context_disconnect(Context *c);

/* Lets somebody be asked for a password while calls wait, by an agent on the terminal, if that makes sense
 * here. */
int context_open_agent(Context *c);

/* "Failed to VERB OBJECT: CAUSE; WHAT TO DO", on one line. Returns r, or a negative errno. */
int client_error(const Context *c, int r, const sd_bus_error *error, const char *format, ...) _printf_(4, 5);

/* Calls Listen with what the command line says, and waits for the answer, which may take as long as a person
 * needs to type a password; signals that come meanwhile stay in the bus's queue. The delivery is the verb's
 * choice. */
int client_listen(Context *c, const Endpoint *endpoint, const char *delivery, char **ret_path);
/* The message alone, for who calls otherwise: appends (i a{sv} i). */
int client_append_listen(const Context *c, sd_bus_message *m, const Endpoint *endpoint, const char *delivery);

/* Close, Pause or Resume of a listener. */
int client_call_listener(Context *c, const char *path, const char *member);
