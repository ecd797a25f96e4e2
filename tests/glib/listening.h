/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A program that uses the library, in the test process: its main loop, and a service that can be restarted.
 */

#include "bus/fixture.h"
#include "glib/tss.h"

typedef struct Listening {
        TestBus *bus;
        Keeper *keeper;
        TestService *service;
        unsigned fds; /* open before the test */
} Listening;

/* data: the function that sets up the process of the service, or NULL. Without root, the test is skipped
 * then. */
void listening_set_up(Listening *f, const void *data);
/* Fails if the test has left a descriptor open. */
void listening_tear_down(Listening *f, const void *data);

/* The descriptors of the test process, without those that the harness holds for the service. */
unsigned listening_count_fds(Listening *f);

/* The service does not give its listening sockets away. For data of listening_set_up(). */
extern const TestChildSetup listening_forbid_sockets;

#define TEST_LISTENING(sentence) TEST_OF(sentence, Listening, f, listening_set_up, listening_tear_down, NULL)
#define TEST_LISTENING_BY_CALL(sentence)                                                               \
        TEST_OF_IF(test_require_root(), sentence, Listening, f, listening_set_up, listening_tear_down, \
                   &listening_forbid_sockets)

/* Kills the service; the next process continues. */
void listening_restart_service(Listening *f);

/* Runs the main loop until the condition is true. */
#define loop_until(condition)                                                 \
        do {                                                                  \
                uint64_t _deadline = test_deadline(TEST_DEADLINE_MS);         \
                while (!(condition))                                          \
                        loop_step(_deadline, #condition, __FILE__, __LINE__); \
        } while (0)
void loop_step(uint64_t deadline, const char *what, const char *file, int line);
/* Runs what is ready. */
void loop_drain(void);

/* An asynchronous function: &result as user_data, then loop_until(result). */
void keep_result(GObject *source, GAsyncResult *result, gpointer user_data);

/* With these options, any port. */
TssListener *listen_with(TssOptions *options);
/* A peer that has sent a byte. */
int connect_peer(TssListener *listener);
/* The peer gets the byte "!", which serve() sends, and the end. */
void expect_greeting(int peer);
void serve(GSocketConnection *connection);
/* The handler of "incoming" of a TssListener. */
void on_incoming(TssListener *listener, GSocketConnection *connection, gpointer user_data);

/* Counts the signals "closed" of a listener. */
typedef struct Closed {
        unsigned n;
        TssCloseReason reason;
        char *message;
} Closed;
void watch_closed(TssListener *listener, Closed *closed);
void closed_done(Closed *closed);
