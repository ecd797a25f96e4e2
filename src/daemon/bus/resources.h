/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Warns once, at start, if the unit or the configuration leaves the service less than it needs. */

#include <stdbool.h>

typedef struct Limits Limits;
typedef struct sd_bus sd_bus;

/* is_unit: systemd has started it. counts: the bus limits the descriptors that one sender has on it. */
void resources_check(sd_bus *bus, const Limits *limits, bool is_unit, bool counts);
