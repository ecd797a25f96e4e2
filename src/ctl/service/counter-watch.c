/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/hash.h"
#include "base/macros.h"
#include "ctl/service/counter-watch.h"
#include "ctl/service/query.h"

#define POLL_USEC (UINT64_C(1) * 1000 * 1000)

/* The counters of a listener at the last call. */
typedef struct Counters {
        char *path;
        uint64_t accepted, refused;
        bool seen; /* by compare() */
        UT_hash_handle hh;
} Counters;

struct CounterWatch {
        Context *context;
        sd_event *event;
        CounterHandler handler;
        void *userdata;

        Counters *listeners;
        sd_event_source *timer;
        sd_bus_slot *query;
        bool changed; /* a listener may be new since the last call */
};

static void forget(CounterWatch *w, Counters *counters) {
        HASH_DEL(w->listeners, counters);
        free(counters->path);
        free(counters);
}

static Counters *ensure_counters(CounterWatch *w, const Listener *listener, bool first) {
        Counters *counters;

        HASH_FIND_STR(w->listeners, listener->path, counters);
        if (counters)
                return counters;

        counters = calloc(1, sizeof(*counters));
        if (!counters)
                return NULL;

        /* A new listener counts from 0, but one that is older than this watch from its counters now. */
        if (first) {
                counters->accepted = listener->accepted;
                counters->refused = listener->refused;
        }
        counters->path = strdup(listener->path);
        if (counters->path)
                HASH_ADD_KEYPTR(hh, w->listeners, counters->path, strlen(counters->path), counters);
        if (!counters->path || !hash_was_added(&counters->hh)) {
                free(counters->path);
                free(counters);
                return NULL;
        }

        return counters;
}

static void compare_one(CounterWatch *w, const Listener *listener, Counters *counters) {
        if (streq(listener->delivery, "channel") && listener->accepted > counters->accepted)
                w->handler(listener, COUNTER_ACCEPTED, listener->accepted - counters->accepted, w->userdata);
        if (listener->refused > counters->refused)
                w->handler(listener, COUNTER_REFUSED, listener->refused - counters->refused, w->userdata);

        counters->accepted = listener->accepted;
        counters->refused = listener->refused;
}

static void compare(CounterWatch *w, const Listeners *l, bool first) {
        Counters *counters, *next;

        for (size_t i = 0; i < l->n; i++) {
                const Listener *listener = l->items + i;

                /* The service does not see the connections of a socket. */
                if (!listener->delivery || streq(listener->delivery, "socket"))
                        continue;

                counters = ensure_counters(w, listener, first);
                if (!counters)
                        continue;

                counters->seen = true;
                compare_one(w, listener, counters);
        }

        HASH_ITER(hh, w->listeners, counters, next) {
                if (!TAKE(counters->seen, false))
                        forget(w, counters);
        }
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

static int arm_timer(CounterWatch *w) {
        int r;

        if (w->timer) {
                r = sd_event_source_set_time_relative(w->timer, POLL_USEC);
                return r < 0 ? r : sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
        }

        return sd_event_add_time_relative(w->event, &w->timer, CLOCK_MONOTONIC, POLL_USEC, 0, on_time, w);
}

static int on_listed(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        _cleanup_(listeners_done) Listeners l = {};
        CounterWatch *w = userdata;

        w->query = sd_bus_slot_unref(w->query);
        /* An error means that there is no service, and so no listener. */
        if (query_listeners_finish(reply, &l) >= 0)
                compare(w, &l, false);
        if (w->listeners || w->changed)
                (void) arm_timer(w);

        return 0;
}

/* Asynchronous, because the monitor must be read all the time. */
static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        CounterWatch *w = userdata;

        w->changed = false;
        if (!w->query)
                (void) query_listeners_start(w->context, on_listed, w, &w->query);
        return 0;
}

void counter_watch_handle_change(CounterWatch *w) {
        if (!w->changed && !w->listeners && !w->query)
                (void) arm_timer(w);
        w->changed = true;
}

int counter_watch_new(Context *c,
                      sd_event *event,
                      CounterHandler handler,
                      void *userdata,
                      CounterWatch **ret) {
        _cleanup_(listeners_done) Listeners l = {};
        CounterWatch *w;

        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->context = c;
        w->event = sd_event_ref(event);
        w->handler = handler;
        w->userdata = userdata;

        /* An error means that there is no service, and so no listener. */
        if (query_listeners_quietly(c, &l) >= 0)
                compare(w, &l, true);
        if (w->listeners)
                (void) arm_timer(w);

        *ret = w;
        return 0;
}

CounterWatch *counter_watch_free(CounterWatch *w) {
        Counters *counters, *next;

        if (!w)
                return NULL;

        HASH_ITER(hh, w->listeners, counters, next)
        forget(w, counters);
        sd_bus_slot_unref(w->query);
        sd_event_source_disable_unref(w->timer);
        sd_event_unref(w->event);
        free(w);
        return NULL;
}
