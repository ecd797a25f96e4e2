/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The first message to a client, before any connection is accepted: a Ping with a receipt. The bus refuses it
 * if the client has not negotiated descriptor passing. A signal with a descriptor would be dropped silently.
 *
 * dbus-daemon reports a refusal even if the call expects no reply. The receipt is then the answer, because
 * not all clients answer Ping, and dbus-daemon limits open calls. dbus-broker reports it only if a reply is
 * expected.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Whether the client has negotiated descriptor passing. */
typedef enum ProbeState {
        PROBE_NEW, /* not sent */
        PROBE_SENT,
        PROBE_PASSED,
        PROBE_REFUSED,
} ProbeState;

/* Called when the state has changed. */
typedef struct ProbeEvents {
        /* The bus has not refused it. The client need not have read it. */
        void (*passed)(void *userdata);
        /* The state is PROBE_REFUSED, or PROBE_NEW if another attempt can succeed. */
        void (*refused)(void *userdata);
} ProbeEvents;

/* Embedded. */
typedef struct Probe {
        ProbeState state;
        const char *destination;
        const ProbeEvents *events;
        void *userdata;
        uint64_t cookie;     /* if it expects no reply */
        sd_bus_slot *call;   /* if it does */
        sd_bus_slot *answer; /* of the call to the bus that follows it */
} Probe;

/* 'tells_refusals': the bus also reports them for messages that expect no reply. */
int probe_send(Probe *probe, sd_bus *bus, int receipt, bool tells_refusals);

/* Call it after probe_send(): calls the bus, which answers after it has handled the probe. */
int probe_wait(Probe *probe, sd_bus *bus);

/* The bus has refused the message with this cookie. Returns whether it was the probe. */
bool probe_handle_refusal(Probe *probe, uint64_t cookie, const sd_bus_error *error);

void probe_done(Probe *probe);
