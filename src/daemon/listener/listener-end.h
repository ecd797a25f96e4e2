/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a listener ends, whoever ends it. */

#include "daemon/listener/listener.h"

/* Already now; listener_close() is to follow. */
void listener_free_port(Listener *l);

/* Frees the port, tells the events, frees the listener. */
void listener_close(Listener *l, ListenerEnd end);

/* Frees it without telling anybody. What is in the store stays there if that is sealed. */
Listener *listener_free(Listener *l);
