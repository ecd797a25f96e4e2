/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What people write into configuration files, read as systemd reads it. All return 0, or -EINVAL for what
 * is none, -ERANGE for what is out of range; *ret is untouched then. */

#include <stdbool.h>
#include <stdint.h>

typedef struct PortRange {
        uint16_t first;
        uint16_t last;
} PortRange;

int parse_uint32(const char *s, uint32_t min, uint32_t max, uint32_t *ret);

/* "yes", "no", and the like. */
int parse_boolean(const char *s, bool *ret);

/* As systemd.time(7) describes it: "30", "5min 20s", "1.5h"; a number alone is in seconds. "infinity" is
 * UINT64_MAX. */
int parse_time_span(const char *s, uint64_t *ret_usec);

/* "80" or "1024-65535". */
int parse_port_range(const char *s, PortRange *ret);
