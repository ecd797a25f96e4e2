/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What goes wrong with a listener, told to the log and to its owner. */

#include <stdint.h>

#include "base/log.h"
#include "base/macros.h"

typedef struct Address Address;
typedef struct Listener Listener;

LogFields listener_log_fields(const Listener *l);

void listener_raise(Listener *l,
                    const char *message_id,
                    const char *peer,
                    const char *file,
                    uint32_t line,
                    const char *format,
                    ...) _printf_(6, 7);

/* Tells the log and the owner, with this very place in the source. */
#define listener_error(l, message_id, peer, ...) \
        listener_raise(l, message_id, peer, __FILE_NAME__, __LINE__, __VA_ARGS__)

void listener_count_lost(Listener *l, const Address *peer, int error);
