/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-event.h>
#include <time.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/core/idle.h"

/* The exit may be later by a hundredth of the timeout, up to a maximum, so that systems can combine wake-ups.
 */
#define ACCURACY_DIVISOR 100
#define ACCURACY_MAX_USEC (UINT64_C(250) * 1000)

struct Idle {
        sd_event *event;
        const IdleEvents *events;
        void *userdata;
        uint64_t timeout_usec;
        sd_event_source *post;
        sd_event_source *timer;
        bool waiting;          /* the timer runs */
        uint64_t touched_usec; /* the last activity */
};

DEFINE_CLEANUP(Idle, idle_free)

static uint64_t idle_get_accuracy(const Idle *idle) {
        uint64_t accuracy = idle->timeout_usec / ACCURACY_DIVISOR;

        if (accuracy > ACCURACY_MAX_USEC)
                return ACCURACY_MAX_USEC;
        return accuracy ?: 1; /* 0 would be the default of sd-event */
}

static uint64_t idle_get_end(const Idle *idle) {
        return idle->touched_usec + idle->timeout_usec;
}

static int idle_start_timer(Idle *idle) {
        int r;

        r = sd_event_source_set_time(idle->timer, idle_get_end(idle));
        if (r < 0)
                return r;
        r = sd_event_source_set_time_accuracy(idle->timer, idle_get_accuracy(idle));
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(idle->timer, SD_EVENT_ONESHOT);
}

static void idle_set_waiting(Idle *idle, bool waiting) {
        int r;

        idle->waiting = waiting;

        r = waiting ? idle_start_timer(idle) : sd_event_source_set_enabled(idle->timer, SD_EVENT_OFF);
        if (r < 0)
                log_warning("Failed to set the timer of the idle timeout: %s", strerror(-r));
}

static void idle_update(Idle *idle) {
        bool waiting = idle->timeout_usec > 0 && !idle->events->is_busy(idle->userdata);

        if (waiting == idle->waiting)
                return;

        idle_touch(idle);
        idle_set_waiting(idle, waiting);
}

/* Called after any other event of the loop. */
static int on_post(sd_event_source *s, void *userdata) {
        idle_update(userdata);
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Idle *idle = userdata;

        idle->waiting = false;
        if (idle->events->is_busy(idle->userdata))
                return 0;

        if (usec < idle_get_end(idle))
                idle_set_waiting(idle, true);
        else
                idle->events->idle(idle->userdata);
        return 0;
}

int idle_new(sd_event *event, uint64_t timeout_usec, const IdleEvents *events, void *userdata, Idle **ret) {
        _cleanup_(idle_freep) Idle *idle = NULL;
        int r;

        idle = calloc(1, sizeof(*idle));
        if (!idle)
                return -ENOMEM;

        idle->event = sd_event_ref(event);
        idle->events = events;
        idle->userdata = userdata;
        idle->timeout_usec = timeout_usec;

        r = sd_event_add_time(event, &idle->timer, CLOCK_MONOTONIC, 0, 0, on_timer, idle);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(idle->timer, SD_EVENT_OFF);
        if (r < 0)
                return r;

        /* Other events of the same iteration of the loop come first. */
        r = sd_event_source_set_priority(idle->timer, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                return r;

        r = sd_event_add_post(event, &idle->post, on_post, idle);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(idle);
        return 0;
}

Idle *idle_free(Idle *idle) {
        if (!idle)
                return NULL;

        sd_event_source_disable_unref(idle->post);
        sd_event_source_disable_unref(idle->timer);
        sd_event_unref(idle->event);
        free(idle);
        return NULL;
}

void idle_set_timeout(Idle *idle, uint64_t timeout_usec) {
        idle->timeout_usec = timeout_usec;
        idle_set_waiting(idle, false);
        idle_update(idle);
}

/* Only stores the time, as it is called for each call; the timer compares it when it elapses. */
void idle_touch(Idle *idle) {
        (void) sd_event_now(idle->event, CLOCK_MONOTONIC, &idle->touched_usec);
}
