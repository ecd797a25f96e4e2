/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The first message to a client, before any connection is accepted: a Ping with a receipt. The bus refuses it
 * if the client has not negotiated to take descriptors; a signal with one would just not arrive.
 *
 * dbus-daemon tells if it refuses one that wants no answer, and so its receipt is the answer: not all clients
 * answer Pings, and calls that wait for an answer are few there. dbus-broker only tells if one is wanted.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Whether the client has negotiated to take descriptors. */
typedef enum ProbeState {
        PROBE_NEW, /* not known, nor asked */
        PROBE_SENT,
        PROBE_PASSED,
        PROBE_REFUSED,
} ProbeState;

/* Told to the one who sent it, when the state is the new one. */
typedef struct ProbeEvents {
        /* The bus has dealt with it. That it did not refuse it is enough to go on. */
        void (*passed)(void *userdata);
        /* For good; or, if the state is PROBE_NEW, for now. */
        void (*refused)(void *userdata);
} ProbeEvents;

/* Embedded. */
typedef struct Probe {
        ProbeState state;
        const char *destination;
        const ProbeEvents *events;
        void *userdata;
        uint64_t cookie;     /* where it wants no answer */
        sd_bus_slot *call;   /* where it does */
        sd_bus_slot *answer; /* to what is asked of the bus after it */
} Probe;

/* 'tells_refusals': of messages that want no answer. */
int probe_send(Probe *probe, sd_bus *bus, int receipt, bool tells_refusals);

/* To be called when it was sent: asks the bus, which answers after it has dealt with the probe. */
int probe_wait(Probe *probe, sd_bus *bus);

/* What the bus says of a message with that cookie that wants no answer. Returns whether it was this one. */
bool probe_handle_refusal(Probe *probe, uint64_t cookie, const sd_bus_error *error);

void probe_done(Probe *probe);
