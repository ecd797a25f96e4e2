/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Asks systemd for the unit of a process.
 *
 * The service cannot read /proc/PID/cgroup of other users, which ProtectProc=invisible of its unit hides. The
 * question is for the log only: without systemd or an answer, the unit is unknown. systemd may hang, and the
 * bus counts a call as pending until it is answered, so that only a few are sent.
 */

#include <stdint.h>
#include <sys/queue.h>

typedef struct UnitQuestion UnitQuestion;
typedef struct sd_bus sd_bus;

/* The questions that systemd has not answered. */
typedef struct Units {
        sd_bus *bus;
        TAILQ_HEAD(, UnitQuestion) questions;
        unsigned n;
} Units;

void units_init(Units *units, sd_bus *bus);
void units_done(Units *units);

/* unit NULL: unknown. */
typedef void (*UnitCallback)(const char *unit, void *userdata);

/* Returns -EBUSY while too many questions are pending. */
int unit_ask(Units *units, uint32_t pid, UnitCallback callback, void *userdata, UnitQuestion **ret);

/* The callback will not be called. NULL is allowed. */
UnitQuestion *unit_question_forget(UnitQuestion *question);
