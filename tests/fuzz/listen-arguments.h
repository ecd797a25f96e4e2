/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Arguments of Listen that the input selects. */

#include <stdint.h>

typedef struct FuzzInput FuzzInput;
typedef struct FuzzMessage FuzzMessage;

#define LISTEN_SIGNATURE "ia{sv}i"

/* Appends them to a body. Most keys and types are valid; the values are random. */
void listen_arguments_append(FuzzMessage *m, FuzzInput *input, int32_t port);
