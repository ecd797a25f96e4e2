/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client of a service in which one call fails. Violations are collected, so that all faults are tried. */

#include "bus/fixture.h"
#include "fault/fault.h"

#define PATIENCE_MS 6000U

typedef struct Scenario Scenario;

typedef struct Run {
        Fixture *f;
        const Scenario *scenario;
        FaultControl *control;
        TestServiceOptions options;
        uint16_t port;
        pid_t pid;    /* of the service, which may end at any time */
        unsigned fds; /* of the service without clients */

        TestClient *client;
        char *listener;
        int handle; /* the channel, or the socket */
        int lifeline;
        Keeper *keeper; /* NULL: without a service manager */
        GString *ends;  /* the faults that ended the service */
        GString *wrong; /* the violations of this fault */

        int64_t n_allocations; /* of the service without clients; -1: not known yet */

        unsigned n_faults, n_ends, n_unreached, n_wrong;
} Run;

bool run_wait_step(uint64_t deadline);

/* Waits for a condition, and returns whether it holds in time. */
#define run_wait_until(condition)                                           \
        __extension__({                                                     \
                uint64_t _deadline = test_deadline(PATIENCE_MS);            \
                bool _holds;                                                \
                while (!(_holds = (condition)) && run_wait_step(_deadline)) \
                        ;                                                   \
                _holds;                                                     \
        })

/* Starts the service, or restarts it. */
void run_start_service(Run *run);

/* The numbers of descriptors and of allocations that the service must have without a client: queues of the
 * store are never removed, all else must be as before. */
unsigned run_expected_fds(Run *run);
int64_t run_count_allocations(Run *run);

void run_complain(Run *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Whether the service has ended. */
bool run_has_ended(Run *run);

/* Returns the reply, or NULL for an error, which must have a documented name. */
sd_bus_message *run_ask(Run *run, TestCall *call, const char *what);

/* Return whether the call succeeded. */
bool run_listen(Run *run);
bool run_call_listener(Run *run, const char *member);

/* Returns when all that the service has sent has been received. */
void run_synchronize(Run *run);
