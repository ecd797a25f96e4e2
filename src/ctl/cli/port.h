/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A port, as it is written on a command line: a number, or a name from services(5). */

#include <stdint.h>

/* whole: what it is a part of, to be named where nothing better can be. Returns -EINVAL, and says what is
 * wrong, if it is no port. */
int port_parse(const char *whole, const char *s, uint16_t *ret);
