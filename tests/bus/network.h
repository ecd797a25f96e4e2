/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A network of the test's own: two namespaces joined by a cable. Ports and addresses are all free in it, and
 * link-local IPv6 and a second interface exist on every machine. */

#include <stdbool.h>

/* Our end of the cable, and the neighbour's. */
#define TEST_INTERFACE "test0"
#define TEST_IPV4 "192.0.2.1"
#define TEST_IPV6 "2001:db8::1"
#define TEST_LINK_LOCAL "fe80::1"
#define TEST_NEIGHBOUR_INTERFACE "neighbour0"
#define TEST_NEIGHBOUR_IPV4 "192.0.2.2"
#define TEST_NEIGHBOUR_IPV6 "2001:db8::2"
#define TEST_NEIGHBOUR_LINK_LOCAL "fe80::2"

/* Moves the process there, for good: in main(), after test_init(). False, and nothing was done, when it may
 * not. Tests then skip themselves by test_require_private_network(). */
bool test_enter_private_network(void);
bool test_require_private_network(void);
/* The same, but our end is in the network that the process is in, for one that has a machine for itself. */
bool test_add_neighbour(void);

/* The words of a command of ip(8), run at our end. */
void test_network_ip(const char *words);
void test_network_rename(const char *from, const char *to);
/* Both ends of the cable are gone, and back, with other indexes. */
void test_network_cut_cable(void);
void test_network_lay_cable(void);

/* Sets a file below /proc/sys/net, at our end. */
void test_network_set(const char *path, const char *value);
/* Moves an interface of our end to the neighbour. */
void test_network_give_away(const char *interface);

/* Everything until the return happens at the other end of the cable: making sockets, above all. */
void test_network_visit_neighbour(void);
void test_network_return(void);
