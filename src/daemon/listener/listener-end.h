/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a listener ends, whoever ends it. */

typedef struct Listener Listener;

/* Why a listener is closed; the names are those of the Closed signal. */
typedef enum ListenerEnd {
        LISTENER_END_OWNER, /* its owner closed it, or left */
        LISTENER_END_LIFETIME,
        LISTENER_END_ADMINISTRATOR,
        LISTENER_END_ERROR,
        LISTENER_END_SHUTDOWN,
} ListenerEnd;

const char *listener_end_to_string(ListenerEnd end);

/* Already now; listener_close() is to follow. */
void listener_free_port(Listener *l);

/* Frees the port, tells the events, frees the listener. */
void listener_close(Listener *l, ListenerEnd end);

/* Frees it without telling anybody. What is in the store stays there if that is sealed. */
Listener *listener_free(Listener *l);
