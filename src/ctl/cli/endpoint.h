/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [ADDRESS:]PORT, as it is written on a command line. */

#include <stdint.h>

typedef struct Endpoint {
        char *address; /* NULL: none was given; without the brackets */
        uint16_t port; /* 0: the kernel chooses */
} Endpoint;

/* "80", "http", "192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%eth0]:80"; "0.0.0.0:80" and "[::]:80" too.
 * Returns -EINVAL, and says what is wrong, if it is nothing like that. Whether the address is one is for the
 * service to say. */
int endpoint_parse(const char *s, Endpoint *ret);
void endpoint_done(Endpoint *e);
