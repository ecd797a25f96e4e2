/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of Accept, for listeners of delivery "pull". */

#include <glib.h>
#include <stdint.h>

#include "bus/call.h"

/* The options of Listen. */
#define TEST_PULL "delivery", "s", "pull"
#define TEST_PERSISTENT_PULL TEST_PULL, "persistent", "b", true

/* The most that one call may wait, and gets. */
#define TEST_ACCEPT_TIMEOUT_MAX 20000U
#define TEST_ACCEPT_MAX 15U

TestCall *test_accept_start(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms);
/* What the call was answered with, an array of TestAccepted; consumes the call. */
GPtrArray *test_accept_finish(TestCall *call);
/* Both. */
GPtrArray *test_accept(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms);
