/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A private message bus with the policy of a system bus: dbus-daemon or dbus-broker, as TEST_BUS says. */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define TEST_BUS_NAME "org.example.TCPServerSocket"

typedef struct TestBus TestBus;

/* Why TEST_BUS cannot be had here, or NULL. */
const char *test_bus_unavailable(void);
bool test_bus_is_broker(void);

/* extra_xml: goes into the configuration after everything else, such as
 * "<limit name='max_message_unix_fds'>4</limit>" or a <policy>; or NULL. */
TestBus *test_bus_new(const char *extra_xml);
/* service_user: the user that may own the service's name; NULL: the one that runs the test. */
TestBus *test_bus_new_for_user(const char *extra_xml, const char *service_user);
/* The machine's own system bus, which is there already and stays. */
TestBus *test_bus_new_system(void);
/* A bus that is running at this address. */
TestBus *test_bus_new_for_address(const char *address);
void test_bus_free(TestBus *bus);

const char *test_bus_address(TestBus *bus);
/* The directory of its socket and its log, also for files of a test. */
const char *test_bus_directory(TestBus *bus);
/* The unique name of the service's current connection, or NULL; follows NameOwnerChanged. */
const char *test_bus_service_owner(TestBus *bus);
/* How often the service's name has changed hands. */
unsigned test_bus_owner_changes(TestBus *bus);
/* The bus's own process: dbus-daemon, or dbus-broker-launch; of a bus that the test has started. */
pid_t test_bus_pid(TestBus *bus);
/* Ends it as a crash would. */
void test_bus_kill(TestBus *bus);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestBus, test_bus_free)
