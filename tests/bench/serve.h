/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What all the programs that are measured do with a connection, in whichever way they got it, and how they
 * give up. */

#include <stdint.h>

/* Tells on standard output, which bench-rows.c reads. The error is an errno, negative or not. */
_Noreturn void serve_fail(const char *what, int error);

/* Writes one byte. The descriptor stays open. */
void serve_connection(int fd);

/* The bare accept loop: each connection is served and closed. */
_Noreturn void serve_listening_socket(int fd);

/* Tells that everything is ready. */
void serve_say_ready(void);
