/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Method calls to the service. All are asynchronous underneath: while one waits, every other client is
 * served.
 *
 * Options of Listen() are given as: key, type, value, …, NULL, where the type is one of b y n q i u x t s o
 * h, or "as" with a NULL-terminated array. x and t take 64 bits: UINT64_C(1), not 1. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bus/client.h"

typedef struct TestCall TestCall;

/* Must succeed; returns the reply. types and the values are sd_bus_message_append()'s. */
sd_bus_message *test_call(TestClient *client,
                          const char *path,
                          const char *interface,
                          const char *member,
                          const char *types,
                          ...);
/* Must fail; returns the error's name. ret_message may be NULL. */
char *test_call_fails(TestClient *client,
                      char **ret_message,
                      const char *path,
                      const char *interface,
                      const char *member,
                      const char *types,
                      ...);

/* Common options. */
#define TEST_PULL "delivery", "s", "pull"
#define TEST_CALL "delivery", "s", "call"
#define TEST_CHANNEL "delivery", "s", "channel"
#define TEST_SOCKET "delivery", "s", "socket"
#define TEST_ACKNOWLEDGE "acknowledge", "b", true
#define TEST_PAUSED "paused", "b", true
#define TEST_PERSISTENT "persistent", "b", true
#define TEST_PERSISTENT_PULL TEST_PULL, TEST_PERSISTENT

/* Returns the listener's path. */
char *test_listen(TestClient *client, int port, int backlog, ...) G_GNUC_NULL_TERMINATED;
char *test_listen_fails(TestClient *client, char **ret_message, int port, int backlog, ...)
                G_GNUC_NULL_TERMINATED;

/* Without options. interactive: the caller may be asked for a password. */
TestCall *test_listen_start(TestClient *client, int port, bool interactive);

/* For members of the listener without arguments or results: Close, Adopt, Pause, Resume. */
void test_listener_call(TestClient *client, const char *listener, const char *member);
char *test_listener_call_fails(TestClient *client, const char *listener, const char *member);
/* OpenChannel, TakeSocket. */
int test_listener_call_fd(TestClient *client, const char *listener, const char *member);

/* Properties of a listener, or of the manager with its path. u64: of any integer type. */
uint64_t test_get_u64(TestClient *client, const char *listener, const char *property);
bool test_get_bool(TestClient *client, const char *listener, const char *property);
char *test_get_string(TestClient *client, const char *listener, const char *property);
uint16_t test_get_port(TestClient *client, const char *listener);
bool test_has_owner(TestClient *client, const char *listener);

/* A method of the bus itself, which must succeed. */
void test_call_driver(TestClient *client, const char *member, const char *types, ...);

/* The pieces, for calls that stay unanswered for a while, and for malformed ones. */
sd_bus_message *test_message_new(TestClient *client,
                                 const char *path,
                                 const char *interface,
                                 const char *member);
void test_message_append_options(sd_bus_message *message, ...) G_GNUC_NULL_TERMINATED;
/* Consumes the message. Works inside handlers and for stalled clients too. */
TestCall *test_call_start(TestClient *client, sd_bus_message *message);
bool test_call_is_done(TestCall *call);
/* Waits for the reply, which may be an error; the call keeps it. */
sd_bus_message *test_call_wait(TestCall *call);
/* Of the reply: NULL when the call succeeded. */
const char *test_call_error(TestCall *call);
const char *test_call_error_message(TestCall *call);
/* When the reply came, among all that the client has received. */
unsigned test_call_order(TestCall *call);
void test_call_free(TestCall *call);

/* Reads a descriptor, and returns a copy. */
int test_reply_read_fd(sd_bus_message *reply);

/* Reads "hsqa{sv}", an element of Accept()'s result. */
TestAccepted *test_accepted_read(sd_bus_message *message);

/* --- Accept, for listeners of delivery "pull" --- */

/* The most that one call may wait, and gets. */
#define TEST_ACCEPT_TIMEOUT_MAX 20000U
#define TEST_ACCEPT_MAX 16U

/* Reads the first connection of a reply to Accept. Returns NULL if there is none. */
TestAccepted *test_accept_read_first(sd_bus_message *reply);

TestCall *test_accept_start(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms);
/* The connections in the reply, an array of TestAccepted; consumes the call. */
GPtrArray *test_accept_finish(TestCall *call);
/* Both. */
GPtrArray *test_accept(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestCall, test_call_free)
