/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client's life while something of the service fails: what does not hold is written down, and the next
 * fault follows. */

#include "bus/fixture.h"
#include "bus/keeper.h"
#include "fault/fault.h"

#define PATIENCE_MS 6000U

typedef struct Scenario Scenario;

typedef struct Run {
        Fixture *f;
        const Scenario *scenario;
        FaultControl *control;
        TestServiceOptions options;
        uint16_t port;
        pid_t pid;    /* the service's; it may end at any time */
        unsigned fds; /* of the service, without clients */

        TestClient *client;
        char *listener;
        int handle;     /* the channel, or the socket */
        int lifetime;   /* our end */
        Keeper *keeper; /* or NULL, where there is no service manager */
        GString *ends;  /* what ended the service */
        GString *wrong; /* what did not hold, of this fault */

        int64_t n_allocations; /* of the service, without clients; -1: not known yet */

        unsigned n_faults, n_ends, n_unreached, n_wrong;
} Run;

bool run_wait_step(uint64_t deadline);

/* Without failing the test: the deadline's end is something that was wrong with this fault. */
#define run_wait_until(condition)                                           \
        __extension__({                                                     \
                uint64_t _deadline = test_deadline(PATIENCE_MS);            \
                bool _holds;                                                \
                while (!(_holds = (condition)) && run_wait_step(_deadline)) \
                        ;                                                   \
                _holds;                                                     \
        })

/* Again, if there is one. */
void run_start_service(Run *run);

/* A queue that was once needed stays, with what is kept in it or without (daemon/store/store.h). What the
 * service has besides must be what it had before. */
unsigned run_expected_fds(Run *run);
int64_t run_count_allocations(Run *run);

void run_complain(Run *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The service has. */
bool run_has_ended(Run *run);

/* Returns the reply, or NULL for an error, which must be one that clients know. */
sd_bus_message *run_ask(Run *run, TestCall *call, const char *what);

/* These return whether it worked. */
bool run_listen(Run *run);
bool run_call_listener(Run *run, const char *member);

/* What the service has sent until now has arrived. */
void run_synchronize(Run *run);
