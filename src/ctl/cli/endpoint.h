/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* [ADDRESS:]PORT on a command line, and options of Listen that only this port has. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Endpoint {
        char *address; /* without brackets; NULL: none was given */
        bool all;      /* all addresses, as in "*:80" and ":80"; there is no address then */
        uint16_t port; /* 0: the kernel chooses one */

        /* Override the options of the command line, unless false or NULL. */
        bool ipv6_only;
        bool free_bind;
        char *interface; /* or NULL */
} Endpoint;

typedef struct Endpoints {
        Endpoint *items;
        size_t n;
} Endpoints;

/* Parses "80", "http", "192.0.2.1:80", "[2001:db8::1]:80", "[fe80::1%eth0]:80"; "0.0.0.0:80" and "[::]:80",
 * "*:80" and ":80", too. Returns -EINVAL and prints an error message if it is none of these. */
int endpoint_parse(const char *s, Endpoint *ret);
void endpoint_done(Endpoint *e);

/* Parses several, also ranges such as "8080-8082" and "[::1]:8080-8082", which become one endpoint a port.
 * splits: "[::]:PORT" accepts IPv6 connections only if an IPv4 address has the same PORT, as both sockets
 * could not be bound otherwise. Returns 0, or a negative errno after an error message. */
int endpoints_parse(char *const *arguments, size_t n, bool splits, Endpoints *ret);
void endpoints_done(Endpoints *e);

/* Parses a number or a name of services(5). whole is the argument that it is a part of, for the error
 * message. Returns -EINVAL and prints that message if it is no port. */
int port_parse(const char *whole, const char *s, uint16_t *ret);
/* The same without a message. Returns -ENOENT for an unknown name, -EINVAL for anything else that is no port.
 */
int port_find(const char *s, uint16_t *ret);
