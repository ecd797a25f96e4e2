/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How many connections the service sends to a client that has not confirmed them. It starts with one, and has
 * twice as many each time that the client has answered for all of them. */

#include "bus/client.h"

/* The most of it: MaxUnacknowledgedPerClient. */
unsigned test_get_window(TestClient *client);
/* Has the client answer until it may have that many. It takes what it has received to do so. */
void test_open_window(TestClient *client);
