/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The memory that the test shares with the library in the service. */

#include "bus/message-bus.h"
#include "fault/fault.h"

typedef struct FaultLibrary {
        FaultControl *control;
        const char *environment[4]; /* loads the library into a service; ends with NULL */
        char *variable, *preload;
} FaultLibrary;

void fault_library_init(FaultLibrary *library, TestBus *bus);
void fault_library_done(FaultLibrary *library);
