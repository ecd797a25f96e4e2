/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stddef.h>
#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/outbox/barrier.h"
#include "daemon/outbox/ping.h"

#define SECOND_BARRIER_MIN 8

void barriers_init(Barriers *b,
                   sd_bus *bus,
                   const char *destination,
                   const BarrierEvents *events,
                   void *userdata) {
        *b = (Barriers) { .bus = bus, .destination = destination, .events = events, .userdata = userdata };
        for (size_t i = 0; i < BARRIERS_MAX; i++)
                b->barriers[i].barriers = b;
}

void barriers_done(Barriers *b) {
        for (size_t i = 0; i < BARRIERS_MAX; i++)
                b->barriers[i].call = sd_bus_slot_unref(b->barriers[i].call);
}

Barrier *barriers_choose(Barriers *b, uint32_t n_open, uint32_t window, bool more) {
        uint32_t n_busy = 0, half = window / 2;
        Barrier *idle = NULL;

        for (size_t i = 0; i < BARRIERS_MAX; i++)
                if (b->barriers[i].call)
                        n_busy++;
                else
                        idle = &b->barriers[i];

        if (!more && n_busy == 0)
                return n_open > 0 ? idle : NULL;

        return n_open >= half && n_open >= SECOND_BARRIER_MIN ? idle : NULL;
}

static int on_barrier(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        Barrier *barrier = userdata;
        Barriers *b = barrier->barriers;

        barrier->call = sd_bus_slot_unref(barrier->call);

        if (!ping_is_answered_by(answer, b->destination)) {
                const sd_bus_error *error = sd_bus_message_get_error(answer);

                log_debug("Barrier not answered by %s: %s", b->destination,
                          error ? error->message : "the answer has another sender");
                b->position = 0;
                b->events->failed(b->userdata);
                return 0;
        }

        b->events->passed(barrier->position, b->userdata);
        return 0;
}

int barrier_send(Barrier *barrier, uint64_t position) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Barriers *b = barrier->barriers;
        int r;

        r = ping_new(b->bus, b->destination, &m);
        if (r < 0)
                return r;

        r = ping_seal_with_secret_cookie(m);
        if (r < 0)
                return r;

        r = sd_bus_call_async(b->bus, &barrier->call, m, on_barrier, barrier, UINT64_MAX);
        if (r < 0)
                return r;

        barrier->position = position;
        b->position = position;
        return 0;
}
