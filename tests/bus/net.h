/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* TCP peers of the service, and the state of its process. The event loop runs during each wait. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/channel.h"

/* A blocking socket, connected. Addresses are literals, with a scope where needed. */
int test_connect(const char *address, uint16_t port);
/* From this local address, or any (NULL). */
int test_connect_from(const char *source, const char *address, uint16_t port);
/* From the other end of the cable: test_enter_private_network() was called. */
int test_connect_from_neighbour(const char *address, uint16_t port);
/* Must fail; returns the errno: ECONNREFUSED, or ETIMEDOUT when nothing was heard for a second. */
int test_connect_fails(const char *address, uint16_t port);
/* Starts connect() and does not wait: for many at once, or one that will not be accepted. */
int test_connect_start(const char *source, const char *address, uint16_t port);

uint16_t test_local_port(int fd);
uint16_t test_remote_port(int fd);

void test_send(int fd, const void *data, size_t size);
void test_receive(int fd, void *buffer, size_t size);
/* Receives that many bytes and compares. */
void test_expect(int fd, const char *text);
/* These are the two ends of one connection: proved by a few bytes each way. */
void test_assert_connected(int a, int b);
/* Without waiting: whether there is something to read or to accept; whether the connection has ended. */
bool test_has_input(int fd);
bool test_has_ended(int fd);
/* A program that asks for a password on a terminal turns off the echo after the question, and discards
 * earlier input. */
bool test_has_echo(int terminal);
/* Waits until the other side has ended the connection: 0, or the errno (ECONNRESET). */
int test_wait_end(int fd);
/* Closes it by a RST. */
void test_reset(int fd);

/* From the socket of OpenChannel(): the number of connections in the next packet, or 0 at the end. */
unsigned test_channel_receive_packet(int channel, ChannelRecord *records, int *fds, size_t max);
/* The connection in a packet that has only one, or -1 at the end. */
int test_channel_receive(int channel, uint64_t *ret_serial);

/* In the network namespace of that process. */
bool test_is_listening(pid_t pid, uint16_t port);
/* In our network namespace: connections to the port for which the last packet of the handshake is missing. */
unsigned test_count_half_open(uint16_t port);
/* A port that is free now, for a Listen() with a port number. */
uint16_t test_free_port(void);
unsigned test_count_fds(pid_t pid);
