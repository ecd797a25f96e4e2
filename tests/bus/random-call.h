/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Method calls of the service made of random numbers. */

#include "bus/client.h"

/* A method of the interface description, with values of the right types or of others. The caller unrefs it.
 */
sd_bus_message *random_call_new(TestClient *caller);
