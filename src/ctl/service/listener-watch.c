/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/hash.h"
#include "base/macros.h"
#include "ctl/service/listener-watch.h"
#include "ctl/service/query.h"

#define POLL_USEC (UINT64_C(1) * 1000 * 1000)

/* A listener as it was listed last. */
typedef struct Watched {
        char *path;
        uint64_t accepted, refused;
        bool has_owner;
        bool closed; /* the service has said so; a list that was on its way may still have it */
        bool seen;   /* by compare() */
        UT_hash_handle hh;
} Watched;

struct ListenerWatch {
        Context *context;
        sd_event *event;
        const ListenerWatchEvents *events;
        void *userdata;

        Watched *listeners;
        sd_event_source *timer;
        sd_bus_slot *query;
        bool changed; /* a listener may be new since the last call */
};

static void forget(ListenerWatch *w, Watched *watched) {
        HASH_DEL(w->listeners, watched);
        free(watched->path);
        free(watched);
}

static Watched *find(ListenerWatch *w, const char *path) {
        Watched *watched;

        HASH_FIND_STR(w->listeners, path, watched);
        return watched;
}

/* Returns NULL without memory. */
static Watched *add(ListenerWatch *w, const char *path) {
        Watched *watched;

        watched = calloc(1, sizeof(*watched));
        if (!watched)
                return NULL;

        watched->path = strdup(path);
        if (watched->path)
                HASH_ADD_KEYPTR(hh, w->listeners, watched->path, strlen(watched->path), watched);
        if (!watched->path || !hash_was_added(&watched->hh)) {
                free(watched->path);
                free(watched);
                return NULL;
        }

        return watched;
}

static void count(ListenerWatch *w, const Listener *listener, Watched *watched) {
        /* The service does not see the connections of a socket. */
        if (listener_is_taken(listener))
                return;

        if (listener->delivery && streq(listener->delivery, "channel") &&
            listener->accepted > watched->accepted)
                w->events->counted(listener, COUNTER_ACCEPTED, listener->accepted - watched->accepted,
                                   w->userdata);
        if (listener->refused > watched->refused)
                w->events->counted(listener, COUNTER_REFUSED, listener->refused - watched->refused,
                                   w->userdata);
}

static void compare(ListenerWatch *w, const Listeners *l, bool first) {
        Watched *watched, *next;

        for (size_t i = 0; i < l->n; i++) {
                const Listener *listener = l->items + i;
                bool is_new = false;

                watched = find(w, listener->path);
                if (!watched) {
                        watched = add(w, listener->path);
                        if (!watched)
                                continue;
                        is_new = true;
                }

                watched->seen = true;
                watched->has_owner = listener->owner && *listener->owner != '\0';
                if (is_new && !first)
                        w->events->appeared(listener, w->userdata);
                /* A new listener counts from 0, but one that is older than this watch from its counters now.
                 */
                if (!first && !watched->closed)
                        count(w, listener, watched);
                watched->accepted = listener->accepted;
                watched->refused = listener->refused;
        }

        HASH_ITER(hh, w->listeners, watched, next) {
                if (TAKE(watched->seen, false))
                        continue;
                if (!watched->closed)
                        w->events->vanished(watched->path, watched->has_owner, w->userdata);
                forget(w, watched);
        }
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

static int arm_timer(ListenerWatch *w) {
        int r;

        if (w->timer) {
                r = sd_event_source_set_time_relative(w->timer, POLL_USEC);
                return r < 0 ? r : sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
        }

        return sd_event_add_time_relative(w->event, &w->timer, CLOCK_MONOTONIC, POLL_USEC, 0, on_time, w);
}

static int on_listed(sd_bus_message *reply, void *userdata, sd_bus_error *error);

/* Asynchronous, because the monitor must be read all the time. */
static void list(ListenerWatch *w) {
        w->changed = false;
        if (query_listeners_start(w->context, on_listed, w, &w->query) < 0)
                (void) arm_timer(w);
}

static int on_listed(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        _cleanup_(listeners_done) Listeners l = {};
        ListenerWatch *w = userdata;

        w->query = sd_bus_slot_unref(w->query);
        /* An error means that there is no service, and so no listener. */
        if (query_listeners_finish(reply, &l) >= 0)
                compare(w, &l, false);

        if (w->changed)
                list(w);
        else if (w->listeners)
                (void) arm_timer(w);
        return 0;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        ListenerWatch *w = userdata;

        if (!w->query)
                list(w);
        return 0;
}

void listener_watch_handle_new(ListenerWatch *w) {
        if (w->query)
                w->changed = true;
        else
                list(w);
}

void listener_watch_handle_closed(ListenerWatch *w, const char *path) {
        Watched *watched = find(w, path) ?: add(w, path);

        if (watched)
                watched->closed = true;
        if (!w->query)
                (void) arm_timer(w);
}

int listener_watch_new(Context *c,
                       sd_event *event,
                       const ListenerWatchEvents *events,
                       void *userdata,
                       ListenerWatch **ret) {
        _cleanup_(listeners_done) Listeners l = {};
        ListenerWatch *w;

        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->context = c;
        w->event = sd_event_ref(event);
        w->events = events;
        w->userdata = userdata;

        /* An error means that there is no service, and so no listener. */
        if (query_listeners_quietly(c, &l) >= 0)
                compare(w, &l, true);
        if (w->listeners)
                (void) arm_timer(w);

        *ret = w;
        return 0;
}

ListenerWatch *listener_watch_free(ListenerWatch *w) {
        Watched *watched, *next;

        if (!w)
                return NULL;

        HASH_ITER(hh, w->listeners, watched, next)
        forget(w, watched);
        sd_bus_slot_unref(w->query);
        sd_event_source_disable_unref(w->timer);
        sd_event_unref(w->event);
        free(w);
        return NULL;
}
