/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The arguments of Listen as a fuzzer makes them up. */

#include <stdint.h>

typedef struct FuzzInput FuzzInput;
typedef struct FuzzMessage FuzzMessage;

#define LISTEN_SIGNATURE "ia{sv}i"

/* Into a body. The keys and types are mostly right, the values are anything. */
void listen_arguments_append(FuzzMessage *m, FuzzInput *input, int32_t port);
