/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The test's end of what it shares with the library in the service. */

#include "bus/message-bus.h"
#include "fault/fault.h"

typedef struct FaultLibrary {
        FaultControl *control;
        const char *environment[4]; /* of a service that has the library; a list that ends with NULL */
        char *variable, *preload;
} FaultLibrary;

void fault_library_init(FaultLibrary *library, TestBus *bus);
void fault_library_done(FaultLibrary *library);
