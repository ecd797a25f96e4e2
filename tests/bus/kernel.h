/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's view of the service: its descriptors and its queues. */

#include <glib.h>
#include <stdint.h>

#include "bus/service.h"

/* Connections to a port that are established and that the service has not accepted; and how many the kernel
 * lets wait. */
unsigned test_service_count_queued(TestService *service, uint16_t port);
unsigned test_service_get_backlog(TestService *service, uint16_t port);

/* A copy of the service's own descriptor of the socket that listens on this port. While it is open the port
 * stays bound. Where this is not permitted, as in a container, it is -1 and
 * g_test_skip() was called. */
int test_service_copy_listening_socket(TestService *service, uint16_t port);

/* The numbers of its open descriptors, a set. */
GHashTable *test_service_list_fds(TestService *service);
/* The flags of open(2), O_CLOEXEC included. */
int test_service_get_fd_flags(TestService *service, int fd);
/* Limits it to its open descriptors and so many more. Returns the limit before, for test_service_limit_fds().
 */
unsigned test_service_spare_fds(TestService *service, unsigned n);
/* The same for any process. */
unsigned test_spare_fds(pid_t pid, unsigned n);

int test_get_socket_option(int fd, int level, int option);
