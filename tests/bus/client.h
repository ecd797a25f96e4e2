/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client of the service: a connection of the test process that may have another uid, records all signals,
 * and can misbehave. All clients share the test's event loop. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "bus/message-bus.h"
#include "bus/process.h"

#define TEST_MANAGER_PATH "/org/example/TCPServerSocket"
#define TEST_MANAGER_INTERFACE "org.example.TCPServerSocket"
#define TEST_LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"
#define TEST_CLIENT_INTERFACE "org.example.TCPServerSocket.Client"

typedef struct TestClient TestClient;

typedef enum TestClientFlags {
        TEST_CLIENT_NO_FDS = 1 << 0,   /* does not negotiate that it takes descriptors */
        TEST_CLIENT_NO_MATCH = 1 << 1, /* does not subscribe to the service's signals */
} TestClientFlags;

/* What it does with AcceptSocket of TEST_CLIENT_INTERFACE, at any path. */
typedef enum TestCalls {
        TEST_CALLS_NONE, /* it exports no object */
        TEST_CALLS_ANSWER,
        TEST_CALLS_HOLD, /* until test_client_answer_call() */
} TestCalls;

typedef struct TestAccepted {
        char *listener;
        int socket;
        char *remote_address;
        uint16_t remote_port;
        uint64_t serial;
        char *local_address;
        uint16_t local_port;
        char *binary_type;
        char *handler;  /* the object that was called; NULL: it came otherwise */
        unsigned order; /* among all that this client has received */
} TestAccepted;

typedef struct TestError {
        char *listener;
        char *message;
        char *filename;
        uint32_t line;
        uint32_t column;
        unsigned order;
} TestError;

/* Closed; Pending too, with no reason. */
typedef struct TestNotice {
        char *listener;
        char *reason;
        unsigned order;
} TestNotice;

/* Runs inside the signal's handler: nothing that waits, so test_call_start() but not test_call(). */
typedef void (*TestAcceptedHook)(TestClient *client, const TestAccepted *accepted, void *data);

/* uid -1: the user of the test; another one needs root. */
TestClient *test_client_new(TestBus *bus, uid_t uid);
TestClient *test_client_new_full(TestBus *bus, uid_t uid, TestClientFlags flags);
/* A connection of another process, which ends with the client. Consumes both. */
TestClient *test_client_new_of_child(int connection, TestChild *child);
/* Ends the connection as the end of a process would. */
void test_client_free(TestClient *client);
/* The same, but the recorded signals stay. */
void test_client_disconnect(TestClient *client);

/* The n-th user of this system that is neither root nor runs the test; dbus-daemon wants known ones. */
uid_t test_other_uid(unsigned n);

sd_bus *test_client_bus(TestClient *client);
const char *test_client_name(TestClient *client);
/* The bus has ended the connection. */
bool test_client_is_disconnected(TestClient *client);

/* Stalled: its socket is not read, as in a process that hangs. It can still send. */
void test_client_set_stalled(TestClient *client, bool stalled);
/* Whether it answers org.freedesktop.DBus.Peer.Ping. jeepney and zbus do not. */
void test_client_set_silent(TestClient *client, bool silent);
void test_client_set_calls(TestClient *client, TestCalls calls);
/* Answers the oldest call that it holds; error: the name of one, or NULL. */
void test_client_answer_call(TestClient *client, const char *error);
/* How many it holds. */
unsigned test_client_count_held(TestClient *client);
void test_client_on_accepted(TestClient *client, TestAcceptedHook hook, void *data);

/* Each takes the oldest that was not taken yet, and waits for it. */
TestAccepted *test_client_wait_accepted(TestClient *client);
TestError *test_client_wait_error(TestClient *client);
TestNotice *test_client_wait_closed(TestClient *client);
TestNotice *test_client_wait_pending(TestClient *client);
/* The next that it receives is that: of the listener, with the serial, the peer's other end. */
void test_client_expect_accepted(TestClient *client, const char *listener, int peer, uint64_t serial);
/* The same, but any serial, and of any listener if that is NULL. Data passes both ways. */
void test_client_expect_peer(TestClient *client, const char *listener, int peer);
/* The next Closed is that: of the listener, or of any (NULL), for this reason. */
void test_client_expect_closed(TestClient *client, const char *listener, const char *reason);
/* How many wait to be taken. */
unsigned test_client_count_accepted(TestClient *client);

/* How many signals of the manager's interface it has received in all; member NULL: of any name. */
unsigned test_client_count_signals(TestClient *client, const char *member);
/* How many of these were not addressed to it. */
unsigned test_client_count_overheard(TestClient *client);
/* Asks the bus for every message that it may see. */
void test_client_match_everything(TestClient *client);

/* When it returns, the client has handled everything that the bus had for it when it was called. */
void test_client_sync(TestClient *client);
/* The same for everything that the service sends in response to earlier messages of this client. */
void test_client_sync_service(TestClient *client);

void test_accepted_free(TestAccepted *accepted);
void test_error_free(TestError *error);
void test_notice_free(TestNotice *notice);

/* For call.c: the next number of a received message. */
unsigned test_client_next_order(TestClient *client);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestClient, test_client_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestAccepted, test_accepted_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestError, test_error_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestNotice, test_notice_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_message, sd_bus_message_unref)
