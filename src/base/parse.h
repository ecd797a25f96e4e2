/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Parsers of values, with the syntax that systemd uses in unit files. All return 0, -EINVAL for a malformed
 * value, or -ERANGE for a value out of range. */

#include <stdbool.h>
#include <stdint.h>

typedef struct PortRange {
        uint16_t first;
        uint16_t last;
} PortRange;

int parse_uint32(const char *s, uint32_t min, uint32_t max, uint32_t *ret);

/* "1", "yes", "y", "true", "t", "on", and their opposites, in any case. */
int parse_boolean(const char *s, bool *ret);

/* A time span of systemd.time(7): "30", "5min 20s", "1.5h". The default unit is seconds. "infinity" is
 * UINT64_MAX. */
int parse_time_span(const char *s, uint64_t *ret_usec);

/* One port or a range: "80", "1024-65535". */
int parse_port_range(const char *s, PortRange *ret);
