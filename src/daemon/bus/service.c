/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/bus/call.h"
#include "daemon/bus/listener-bus.h"
#include "daemon/bus/log-control.h"
#include "daemon/bus/manager-bus.h"
#include "daemon/bus/resources.h"
#include "daemon/bus/restore.h"
#include "daemon/bus/service.h"
#include "daemon/core/client.h"
#include "daemon/core/idle.h"
#include "daemon/core/manager-restore.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/policy/settings.h"
#include "daemon/store/store.h"

#define UNIT "tcpserversocketd.service"

/* While a stopping service has listeners again, it asks systemd for so much more time, and asks again at this
 * interval: see on_name_released(). */
#define EXTEND_USEC (UINT64_C(30) * 1000 * 1000)
#define EXTEND_CHECK_USEC (UINT64_C(1) * 1000 * 1000)

/* How long to wait for systemd to say whether it restarts the service. Without an answer it is a stop. */
#define TERMINATE_USEC (UINT64_C(2) * 1000 * 1000)

/* How many turns of listeners are followed by one message of the bus. */
#define TURNS_PER_MESSAGE 8

typedef enum ServiceState {
        SERVICE_RUNNING,
        SERVICE_TERMINATING,  /* after SIGTERM: waits for systemd to say whether it restarts the service */
        SERVICE_HANDING_OVER, /* the next process takes the listeners over */
        SERVICE_STOPPING,     /* all listeners are closed or in their grace period */
} ServiceState;

struct Service {
        sd_event *event;
        sd_bus *bus;
        Manager *manager;
        CallQueue calls;

        Idle *idle;
        sd_bus_slot *activity;

        Restore *restore; /* not NULL until the listeners are restored; the name is requested afterwards */
        ServiceState state;
        sd_bus_slot *job_answer; /* in SERVICE_TERMINATING: systemd's job for the unit */
        sd_event_source *give_up;

        sd_event_source *extend_timer; /* after STOPPING=1: asks systemd for more time */
        sd_bus_slot *listed_answer;

        sd_bus_slot *manager_object;
        sd_bus_slot *log_control;
        sd_bus_slot *log_control_calls;
        ListenerBus listener_objects;
        sd_bus_slot *name_owner_match;
        sd_bus_slot *name_answer; /* of the request or the release of the name */
};

DEFINE_CLEANUP(Service, service_free)

static void on_listener_error(Listener *l, const ListenerError *error, void *userdata) {
        CallQueue *calls = userdata;

        listener_bus_emit_error(calls, l, error);
}

static void on_listener_closed(Listener *l, ListenerEnd end, void *userdata) {
        CallQueue *calls = userdata;

        listener_bus_emit_closed(calls, l, listener_end_to_string(end));
}

static void on_listener_freed(Listener *l, void *userdata) {
        Service *s = CONTAINER_OF(userdata, Service, calls);

        logout_remove(&s->calls.logout, l);
        manager_forget_listener(s->manager, l);
        close_replies_send(&s->calls.close_replies, l->id);
        if (s->state == SERVICE_STOPPING && !s->manager->listeners)
                (void) sd_event_exit(s->event, 0);
}

/* The event loop gives every ready source one turn, so that many busy listeners would starve the bus. With a
 * higher priority for the bus, a client that calls all the time would starve the listeners. */
static void on_listener_turn(void *userdata) {
        CallQueue *calls = userdata;
        int r;

        if (++calls->n_turns % TURNS_PER_MESSAGE != 0)
                return;

        /* The message is lost. It may have been a call, or the report that a client has left. So the service
         * exits, as it does after the same error in the event loop. */
        r = sd_bus_process(calls->bus, NULL);
        if (r < 0) {
                log_error("Failed to process a message of the bus: %s", strerror(-r));
                (void) sd_event_exit(sd_bus_get_event(calls->bus), r);
        }
}

static const ListenerEvents listener_events = {
        .error = on_listener_error,
        .closed = on_listener_closed,
        .freed = on_listener_freed,
        .turn = on_listener_turn,
};

static bool on_signal(const char *destination, uint64_t size, void *userdata) {
        CallQueue *calls = userdata;

        return unread_bus_admit_signal(&calls->unread, destination, size);
}

static const TrafficEvents traffic_events = {
        .admit_signal = on_signal,
};

/* A connection has left the bus. One match covers all connections: a match for each client would delay its
 * first call, and slow the bus down. */
static int on_name_gone(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Service *s = userdata;
        const char *name;
        Client *client;
        int r;

        /* Any client can send this signal: sd-bus does not check that a sender owns the well-known name of a
         * match. */
        if (!bus_driver_is_sender(m))
                return 0;

        r = sd_bus_message_read_basic(m, 's', &name);
        if (r < 0)
                return r;

        call_queue_cancel(&s->calls, name);
        client = manager_find_client(s->manager, name);
        if (client)
                manager_remove_client(s->manager, client);
        /* Last, because the calls above may still send it signals. */
        unread_bus_forget(&s->calls.unread, name);
        return 0;
}

static int on_match_added(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Service *s = userdata;

        if (!sd_bus_message_is_method_error(m, NULL))
                return 0;

        log_error("Failed to subscribe to NameOwnerChanged: %s", sd_bus_message_get_error(m)->message);
        return sd_event_exit(s->event, -EIO);
}

static int on_name_requested(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Service *s = userdata;
        uint32_t result = 0;

        s->name_answer = sd_bus_slot_unref(s->name_answer);

        if (sd_bus_message_is_method_error(m, NULL)) {
                log_error("Failed to request the name " BUS_NAME ": %s",
                          sd_bus_message_get_error(m)->message);
                return sd_event_exit(s->event, -EACCES);
        }

        (void) sd_bus_message_read_basic(m, 'u', &result);
        if (result != 1 /* primary owner, says the D-Bus specification, "RequestName" */) {
                log_error("Failed to request the name " BUS_NAME ": another process owns it");
                return sd_event_exit(s->event, -EEXIST);
        }

        s->manager->has_name = true;
        manager_restore_owners(s->manager);

        if (!s->extend_timer)
                resources_check(s->bus, &s->manager->limits, s->manager->store,
                                !s->manager->traffic.budget.is_unlimited);

        log_debug("Ready as " BUS_NAME);
        (void) sd_notify(false, "READY=1");
        return 0;
}

static int service_fail(Service *s, int error, const char *what) {
        log_error("%s: %s", what, strerror(-error));
        return sd_event_exit(s->event, error);
}

static int service_request_name(Service *s) {
        return sd_bus_request_name_async(s->bus, &s->name_answer, BUS_NAME, 0, on_name_requested, s);
}

static void service_restore_logouts(Service *s) {
        for (Listener *l = s->manager->listeners; l; l = l->hh.next)
                if (l->logout != LISTENER_LOGOUT_STAYS && l->state == LISTENER_OPEN)
                        logout_add(&s->calls.logout, l);
}

static void on_restored(int r, void *userdata) {
        Service *s = userdata;

        s->restore = restore_free(s->restore);
        if (r >= 0) {
                service_restore_logouts(s);
                r = service_request_name(s);
        }
        if (r < 0)
                (void) sd_event_exit(s->event, r);
}

static bool service_is_busy(void *userdata) {
        Service *s = userdata;

        return s->restore || s->manager->listeners || !TAILQ_EMPTY(&s->calls.calls) ||
               traffic_is_busy(&s->manager->traffic);
}

/* All calls that the bus has sent before the release are answered by now. */
static int on_name_given_up(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Service *s = userdata;

        s->name_answer = sd_bus_slot_unref(s->name_answer);
        return sd_event_exit(s->event, 0);
}

/* Leaves the listeners to the next process. After the release, the bus keeps new calls for that process. */
static void service_hand_over(Service *s) {
        int r;

        /* First the listeners: clients ignore signals of a sender that does not own the name. */
        log_debug("Leaving the listeners to the next process");
        s->state = SERVICE_HANDING_OVER;
        manager_freeze_all(s->manager);
        s->name_answer = sd_bus_slot_unref(s->name_answer);

        r = sd_bus_release_name_async(s->bus, &s->name_answer, BUS_NAME, on_name_given_up, s);
        if (r < 0)
                (void) sd_event_exit(s->event, 0);
}

static void service_close_listeners(Service *s) {
        /* If the bus ends now, the listeners still end after their grace periods. */
        s->state = SERVICE_STOPPING;
        (void) sd_bus_set_exit_on_disconnect(s->bus, false);
        s->give_up = sd_event_source_disable_unref(s->give_up);
        s->job_answer = sd_bus_slot_unref(s->job_answer);

        manager_close_all(s->manager);
        if (!s->manager->listeners)
                (void) sd_event_exit(s->event, 0);
}

/* Asks systemd for the job of the service's unit. The handler gets an error after timeout_usec. */
static int unit_ask_for_job(sd_bus *bus,
                            sd_bus_slot **slot,
                            uint64_t timeout_usec,
                            sd_bus_message_handler_t handler,
                            void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "ListUnitsByNames");
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 1, UNIT);
        if (r >= 0)
                r = sd_bus_call_async(bus, slot, m, handler, userdata, timeout_usec);

        return r;
}

/* Returns the type of the job, such as "stop" or "restart", which lasts as long as the answer; "" if there is
 * no job, or no systemd. */
static const char *unit_read_job(sd_bus_message *answer) {
        const char *job;

        if (sd_bus_message_is_method_error(answer, NULL) ||
            sd_bus_message_enter_container(answer, 'a', "(ssssssouso)") < 0 ||
            sd_bus_message_read(answer, "(ssssssouso)", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, &job,
                                NULL) <= 0)
                return "";

        return job;
}

static int on_job(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *job = unit_read_job(m);
        Service *s = userdata;

        s->job_answer = sd_bus_slot_unref(s->job_answer);

        if (streq(job, "restart"))
                service_hand_over(s);
        else
                service_close_listeners(s);
        return 0;
}

static int on_give_up(sd_event_source *source, uint64_t usec, void *userdata) {
        Service *s = userdata;

        if (s->state == SERVICE_HANDING_OVER)
                return sd_event_exit(s->event, 0);

        service_close_listeners(s);
        return 0;
}

void service_stop(Service *s) {
        if (s->state == SERVICE_RUNNING)
                service_close_listeners(s);
        else
                (void) sd_event_exit(s->event, 0);
}

/* systemd sends SIGTERM for a stop, which closes all listeners, and for a restart, which keeps them. */
void service_terminate(Service *s) {
        int r;

        /* The second signal, or nothing to keep. */
        if (s->state != SERVICE_RUNNING || !s->manager->store || (!s->restore && !s->manager->listeners)) {
                service_stop(s);
                return;
        }

        s->state = SERVICE_TERMINATING;
        r = sd_event_add_time_relative(s->event, &s->give_up, CLOCK_MONOTONIC, TERMINATE_USEC, 0, on_give_up,
                                       s);
        if (r >= 0)
                r = unit_ask_for_job(s->bus, &s->job_answer, TERMINATE_USEC, on_job, s);
        if (r < 0)
                service_close_listeners(s);
}

static int on_unit_listed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *job = unit_read_job(m);
        Service *s = userdata;

        s->listed_answer = sd_bus_slot_unref(s->listed_answer);

        if (s->state != SERVICE_RUNNING)
                return 0;

        /* Other jobs, such as "start", wait until this process exits. */
        if (streq(job, "restart"))
                service_hand_over(s);
        else if (streq(job, "stop"))
                service_close_listeners(s);

        return 0;
}

/* After STOPPING=1, systemd sends no SIGTERM for a stop or a restart, and would wait as long as the service
 * asks. So the service looks for such a job itself. */
static void service_ask_for_job(Service *s) {
        if (s->listed_answer)
                return;

        (void) unit_ask_for_job(s->bus, &s->listed_answer, 0, on_unit_listed, s);
}

static int on_extend(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long) EXTEND_USEC);
        service_ask_for_job(userdata);

        (void) sd_event_source_set_time_relative(source, EXTEND_CHECK_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* All calls that came before the release have been handled. Usually there were none, and the service exits.
 * If one of them has created a listener, the service requests the name again, and asks systemd, which knows
 * it as stopping, for more time. */
static int on_name_released(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Service *s = userdata;
        int r;

        s->name_answer = sd_bus_slot_unref(s->name_answer);

        if (!service_is_busy(s))
                return sd_event_exit(s->event, 0);

        log_debug("Not exiting: a call came before the name was released");
        if (!s->extend_timer) {
                r = sd_event_add_time_relative(s->event, &s->extend_timer, CLOCK_MONOTONIC, 0, 0, on_extend,
                                               s);
                if (r < 0)
                        return service_fail(s, r, "Failed to set a timer");
        }

        r = service_request_name(s);
        return r < 0 ? service_fail(s, r, "Failed to request the name " BUS_NAME " again") : 0;
}

/* systemd is notified first, so that it starts a new process for calls after the release, instead of
 * regarding this one as running. Then the name is released; calls that came before are still handled. */
static void on_idle(void *userdata) {
        Service *s = userdata;
        int r;

        if (s->name_answer)
                return; /* a request or a release is pending */

        log_debug("Idle, exiting");
        (void) sd_notify(false, "STOPPING=1");

        s->manager->has_name = false;
        r = sd_bus_release_name_async(s->bus, &s->name_answer, BUS_NAME, on_name_released, s);
        if (r < 0)
                (void) service_fail(s, r, "Failed to release the name " BUS_NAME);
}

static const IdleEvents idle_events = {
        .is_busy = service_is_busy,
        .idle = on_idle,
};

static int service_connect(Service *s) {
        int r;

        r = manager_bus_add(s->bus, s->manager, &s->manager_object);
        if (r < 0)
                return r;

        r = log_control_bus_add(s->bus, &s->calls, &s->log_control, &s->log_control_calls);
        if (r < 0)
                return r;

        r = listener_bus_init(&s->listener_objects, s->bus, &s->calls);
        if (r < 0)
                return r;

        /* Before the name is requested, so that no client can call and leave unnoticed. */
        r = sd_bus_add_match_async(s->bus, &s->name_owner_match,
                                   "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                   "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                                   on_name_gone, on_match_added, s);
        if (r < 0)
                return r;

        return s->manager->store ? restore_start(s->bus, s->manager, on_restored, s, &s->restore)
                                 : service_request_name(s);
}

/* Each call restarts the idle timeout. After STOPPING=1 it does not: the service exits as soon as it can. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Service *s = userdata;

        if (!s->extend_timer && sd_bus_message_is_method_call(m, NULL, NULL) > 0)
                idle_touch(s->idle);
        return 0;
}

static uint64_t get_idle_timeout(const Settings *settings) {
        return settings->idle_timeout_usec == UINT64_MAX ? 0 : settings->idle_timeout_usec;
}

int service_new(sd_event *event,
                sd_bus *bus,
                bool contained,
                Settings *settings,
                Store *store,
                Service **ret) {
        _cleanup_(service_freep) Service *s = NULL;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;

        s->event = sd_event_ref(event);
        s->bus = sd_bus_ref(bus);

        r = idle_new(event, get_idle_timeout(settings), &idle_events, s, &s->idle);
        if (r < 0)
                return r;

        r = manager_new(event, bus, contained, settings, store, &listener_events, &traffic_events, &s->calls,
                        &s->manager);
        if (r < 0)
                return r;

        r = call_queue_init(&s->calls, bus, s->manager);
        /* sd-bus runs the last filter first, so that this one sees messages that other filters consume. */
        if (r >= 0)
                r = sd_bus_add_filter(bus, &s->activity, on_message, s);
        if (r >= 0)
                r = service_connect(s);
        if (r < 0) {
                s->manager->settings = NULL; /* still the caller's */
                return r;
        }

        *ret = TAKE_PTR(s);
        return 0;
}

void service_set_settings(Service *s, Settings *settings) {
        manager_set_settings(s->manager, settings);
        idle_set_timeout(s->idle, get_idle_timeout(settings));
        manager_bus_emit_settings(s->bus);
}

static void service_withdraw(Service *s) {
        s->activity = sd_bus_slot_unref(s->activity);
        s->idle = idle_free(s->idle);
        s->restore = restore_free(s->restore);
        s->job_answer = sd_bus_slot_unref(s->job_answer);
        s->give_up = sd_event_source_disable_unref(s->give_up);
        s->extend_timer = sd_event_source_disable_unref(s->extend_timer);
        s->listed_answer = sd_bus_slot_unref(s->listed_answer);
        call_queue_done(&s->calls);
        s->manager_object = sd_bus_slot_unref(s->manager_object);
        s->log_control = sd_bus_slot_unref(s->log_control);
        s->log_control_calls = sd_bus_slot_unref(s->log_control_calls);
        listener_bus_done(&s->listener_objects);
        s->name_owner_match = sd_bus_slot_unref(s->name_owner_match);
        s->name_answer = sd_bus_slot_unref(s->name_answer);
}

void service_shut_down(Service *s, bool failed, uint64_t timeout_usec) {
        bool keep = s->manager->store &&
                    (s->state == SERVICE_HANDING_OVER || (failed && s->state != SERVICE_STOPPING));
        uint64_t queued, now, end = clock_get_usec() + timeout_usec;

        if (keep)
                manager_freeze_all(s->manager);
        else
                manager_close_all_now(s->manager);

        /* Errors that sd-bus creates for a lost connection must not count as confirmations. */
        if (keep && failed)
                store_seal(s->manager->store);
        service_withdraw(s);

        /* sd_bus_flush() has no timeout, and the bus may not read. */
        while (sd_bus_get_n_queued_write(s->bus, &queued) >= 0 && queued > 0 &&
               (now = clock_get_usec()) < end) {
                int r;

                r = sd_bus_process(s->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(s->bus, end - now);
                if (r < 0)
                        break;
        }

        if (keep)
                store_seal(s->manager->store);
}

Service *service_free(Service *s) {
        if (!s)
                return NULL;

        if (s->calls.manager)
                service_withdraw(s);
        s->manager = manager_free(s->manager);
        sd_bus_unref(s->bus);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}
