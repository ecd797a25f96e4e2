/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The connection to the bus, and the calls of Listen and of a listener's methods. The functions that return
 * an int print an error message when it is negative, unless they say otherwise. */

#include <sys/types.h>

#include "base/macros.h"
#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"

/* Connects c->bus, unless it is connected already. */
int context_connect(Context *c);
void context_disconnect(Context *c);

/* Starts an agent that asks for a password on the terminal while a call waits, if polkit may want one. */
int context_open_agent(Context *c);

/* Prints "Failed to VERB OBJECT: CAUSE; ADVICE.". Returns r if it is negative, or the errno of the error. */
int client_error(const Context *c, int r, const sd_bus_error *error, const char *format, ...) _printf_(4, 5);

/* Translates the message of an error or of the signal Error. Returns a new string: the translation where the
 * tool knows the identifier at its end, else the message as it came; or NULL if there is no memory. */
char *client_translate_error(const char *message);

/* Calls Listen with the options of the command line and this delivery. Waits for the reply, for as long as
 * the user needs to type a password; signals that come meanwhile stay in the queue of sd-bus. */
int client_listen(Context *c, const Endpoint *endpoint, const char *delivery, char **ret_path);
/* The same without waiting: the handler passes the reply to client_listen_finish(). Does not start an agent.
 */
int client_listen_start(Context *c,
                        const Endpoint *endpoint,
                        const char *delivery,
                        sd_bus_message_handler_t handler,
                        void *userdata,
                        sd_bus_slot **ret);
/* Returns -EACCES, -EADDRINUSE or -EADDRNOTAVAIL for the errors of the service that bind(2) has, too. */
int client_listen_finish(Context *c, const Endpoint *endpoint, sd_bus_message *reply, char **ret_path);
/* Appends the arguments of Listen to a message. Prints nothing. */
int client_append_listen(const Context *c, sd_bus_message *m, const Endpoint *endpoint, const char *delivery);

/* Returns the process of the service, or 0 if it does not run or the bus does not know it. */
pid_t client_get_service_pid(Context *c);

/* Calls Close, Pause or Resume of a listener. */
int client_call_listener(Context *c, const char *path, const char *member);
