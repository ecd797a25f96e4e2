/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Peers that connect to a listener, and the connections that its client gets. */

#include <glib.h>

#include "bus/client.h"

#define TEST_WRONG_DELIVERY "org.example.TCPServerSocket.Error.WrongDelivery"

/* With acceptRate, the service may be early by so many µs, once, because it is late at other times. */
#define TEST_EARLY 10000U

/* Begins with zeros. Each peer sends its number, which counts from 0. */
typedef struct Peers {
        int fds[128];
        unsigned n;
} Peers;

void peers_connect(Peers *peers, uint16_t port, unsigned n);
/* The client is sent the next n connections, which have these serials and belong to the peers in order. */
void peers_take(const Peers *peers, TestClient *client, uint64_t first_serial, unsigned n);
/* The connection is that of the peer with the number. */
void peers_assert_connected(const Peers *peers, int fd, unsigned number);
void peers_done(Peers *peers);

int test_connect_and_say(uint16_t port, const char *text);
/* A peer connects to the address, and its connection arrives. */
void test_assert_served(TestClient *client, const char *listener, const char *address);
/* The same with a peer at the other end of the cable, see network.h. */
void test_assert_served_to_neighbour(TestClient *client, const char *listener, const char *address);

/* The service has handled all messages that were sent before, and the replies to its own. */
void test_settle(TestClient *client);
void test_acknowledge(TestClient *client, const char *listener, uint64_t serial);
/* Waits until so many are delivered; none is lost. */
void test_assert_counters(TestClient *client, const char *listener, uint64_t accepted, uint64_t delivered);

/* How many connections the service sends to a client that does not read: MaxUnacknowledgedPerClient, and on
 * dbus-daemon what MaxUnacknowledged leaves for one client. */
unsigned test_get_window(void);

/* The client does not read, and its socket is full, so that messages to it stay in the bus. */
void test_clog(TestClient *client, TestBus *bus);
