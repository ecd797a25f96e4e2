/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The fixture of most bus tests: a bus, the service on it, one client. Includes the whole harness, and
 * the system headers that most tests need.
 *
 *     TEST("a connection is handed over") {
 *             g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
 *             …
 *     }
 *
 * A file without a main() of its own gets one that enters a private network, if that is permitted, and runs
 * the tests.
 */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/call.h"
#include "bus/client.h"
#include "bus/connections.h"
#include "bus/keeper.h"
#include "bus/kernel.h"
#include "bus/loop.h"
#include "bus/message-bus.h"
#include "bus/net.h"
#include "bus/network.h"
#include "bus/process.h"
#include "bus/service.h"

#define TEST(sentence) TEST_ON(sentence, NULL)
/* With these FixtureOptions. */
#define TEST_ON(sentence, options) TEST_OF(sentence, Fixture, f, fixture_set_up, fixture_tear_down, options)
/* If this is true, as in TEST_OF_IF(). */
#define TEST_IF(requirement, sentence) \
        TEST_OF_IF(requirement, sentence, Fixture, f, fixture_set_up, fixture_tear_down, NULL)

/* A test's data argument, or NULL. */
typedef struct FixtureOptions {
        const char *bus_xml; /* for test_bus_new() */
        TestServiceOptions service;
        uid_t client_uid; /* 0: the user of the test */
} FixtureOptions;

typedef struct Fixture {
        TestBus *bus;
        TestService *service;
        TestClient *client;
} Fixture;

void fixture_set_up(Fixture *f, const void *data);
/* Members that a test has freed itself must be NULL. */
void fixture_tear_down(Fixture *f, const void *data);
/* Ends the service by SIGTERM and starts it again. */
void fixture_restart_service(Fixture *f, const TestServiceOptions *options);
