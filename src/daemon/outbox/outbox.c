/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/eventfd.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/linger.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/handoff.h"
#include "daemon/outbox/outbox.h"
#include "daemon/outbox/traffic.h"
#include "daemon/policy/credit.h"
#include "daemon/store/store.h"

/* Until the next question to the bus, while descriptors wait in it. */
#define PAUSE_MIN_USEC (UINT64_C(1) * 1000)
#define PAUSE_MAX_USEC (UINT64_C(500) * 1000)

/* A question costs the bus and the service as much as two messages. So while messages follow each other, it
 * waits for so many of them, or for this time. */
#define ASK_MIN 16
#define ASK_USEC (UINT64_C(1) * 1000)

/* Until the next attempt, after a failure. */
#define RETRY_USEC (UINT64_C(250) * 1000)

/* Several, so that the client can answer one while the next are on their way. */
#define CALLS_PER_CLIENT_MAX 8

typedef TAILQ_HEAD(OutboxQueue, OutboxEntry) OutboxQueue;

struct Outbox {
        Traffic *traffic;
        char *destination;
        Credit credit;
        Credit calls;

        TAILQ_HEAD(, OutboxCall) unanswered;
        OutboxQueue entries;   /* in the order of sending; with credit that was not returned yet */
        uint64_t last_sent;    /* position */
        uint64_t last_passed;  /* up to this position, the bus has passed the messages on */
        TrafficMember member;  /* joined while there are messages after last_passed */
        sd_bus_slot *question; /* about the messages up to the position 'asked' */
        uint64_t asked;
        bool counts;  /* the question is how many descriptors wait */
        bool is_busy; /* the last question was about several messages */
        sd_event_source *ask_timer;
        uint64_t ask_position; /* the timer runs for the messages up to it; 0: it does not run */

        sd_event_source *pause; /* no question is asked until then */
        uint64_t pause_usec;    /* 0: no descriptor waited, said the last answer */
        uint64_t last_counted;  /* up to this position, the last answer says, messages have left the bus */
        bool retries;           /* after a failure; nothing is sent until then either */

        OutboxSupport support;
        uint64_t support_cookie; /* of the message that finds it out */
        uint64_t support_position;
        sd_bus_slot *support_answer;

        Waiters support_waiters;
        Waiters room_waiters;
        Waiters call_waiters;
        Waiters signal_waiters;
        Waiters end_waiters; /* for the client to leave the bus */
};

DEFINE_CLEANUP(Outbox, outbox_free)

static void outbox_ask(Outbox *outbox);
static void outbox_send_support_message(Outbox *outbox);
static void outbox_end_call(Outbox *outbox, OutboxCall *call);

static void outbox_wake(Outbox *outbox) {
        credit_wake(&outbox->credit);
        credit_wake(&outbox->calls);
}

/* Less room than a waiter wants is enough if no answer of the bus can make it more. */
static uint32_t outbox_request_credit(Outbox *outbox, const Waiter *waiter) {
        uint32_t room = outbox->retries ? 0 : credit_request_room(&outbox->credit);

        return room >= waiter->wanted || TAILQ_EMPTY(&outbox->entries) ? room : 0;
}

/* Each waiter uses room at once or needs none; see budget_wake(). */
static void outbox_serve_waiters(void *userdata) {
        Outbox *outbox = userdata;
        Waiter *waiter;

        if (outbox->support == OUTBOX_SUPPORT_UNKNOWN && !TAILQ_EMPTY(&outbox->support_waiters))
                outbox_send_support_message(outbox);

        while ((waiter = TAILQ_FIRST(&outbox->room_waiters)) && outbox_request_credit(outbox, waiter) > 0)
                waiters_serve_one(&outbox->room_waiters);
}

/* Each waiter makes a call, or waits for room for a descriptor instead. */
static void outbox_serve_callers(void *userdata) {
        Outbox *outbox = userdata;

        while (!outbox->retries && !TAILQ_EMPTY(&outbox->call_waiters) &&
               credit_request_room(&outbox->calls) > 0)
                waiters_serve_one(&outbox->call_waiters);
}

/* The bus has released the descriptor. Frees the entry and returns its handoff, or NULL. */
static Handoff *outbox_remove(Outbox *outbox, OutboxEntry *entry) {
        Handoff *handoff = entry->handoff;

        TAILQ_REMOVE(&outbox->entries, entry, link);
        if (handoff)
                handoff->entry = NULL;
        credit_return(&outbox->credit, entry->slot);
        free(entry);
        return handoff;
}

Outbox *outbox_free(Outbox *outbox) {
        OutboxEntry *entry;
        OutboxCall *call;

        if (!outbox)
                return NULL;

        waiters_serve_all(&outbox->end_waiters);
        waiters_done(&outbox->support_waiters);
        waiters_done(&outbox->room_waiters);
        waiters_done(&outbox->call_waiters);
        waiters_done(&outbox->signal_waiters);

        while ((entry = TAILQ_FIRST(&outbox->entries))) {
                Handoff *handoff = outbox_remove(outbox, entry);

                if (handoff) {
                        const HandoffEvents *events = handoff->events;
                        Delivery *d = handoff->delivery;

                        events->recalled(d, handoff);
                        events->room(d); /* another caller of Accept may get it */
                }
        }

        while ((call = TAILQ_FIRST(&outbox->unanswered)))
                outbox_end_call(outbox, call);

        traffic_leave(outbox->traffic, &outbox->member);
        sd_event_source_disable_unref(outbox->pause);
        sd_event_source_disable_unref(outbox->ask_timer);
        sd_bus_slot_unref(outbox->question);
        sd_bus_slot_unref(outbox->support_answer);
        credit_done(&outbox->credit);
        credit_done(&outbox->calls);
        free(outbox->destination);
        free(outbox);
        return NULL;
}

void outbox_set_max(Outbox *outbox, uint32_t max) {
        credit_set_max(&outbox->credit, max);
}

sd_bus *outbox_get_bus(Outbox *outbox) {
        return outbox->traffic->bus;
}

const char *outbox_get_destination(Outbox *outbox) {
        return outbox->destination;
}

bool outbox_admit_signal(Outbox *outbox, uint64_t size, Waiter *waiter) {
        const Traffic *traffic = outbox->traffic;

        if (traffic->events->admit_signal(outbox->destination, size, traffic->userdata))
                return true;

        waiter_start(waiter, &outbox->signal_waiters);
        return false;
}

void outbox_admit_again(Outbox *outbox) {
        waiters_serve_all(&outbox->signal_waiters);
}

void outbox_await_end(Outbox *outbox, Waiter *waiter) {
        waiter_start(waiter, &outbox->end_waiters);
}

static void outbox_proceed(Outbox *outbox) {
        outbox_flush(outbox, false);
        outbox_wake(outbox);

        /* The credit is still used up, and only dbus-daemon says each time how much of it is free again. */
        if (!TAILQ_EMPTY(&outbox->room_waiters) && !TAILQ_EMPTY(&outbox->entries))
                outbox_ask(outbox);
}

static int on_pause_over(sd_event_source *s, uint64_t usec, void *userdata) {
        Outbox *outbox = userdata;

        outbox->pause = sd_event_source_disable_unref(outbox->pause);
        outbox->retries = false;
        if (outbox->pause_usec > 0)
                outbox_ask(outbox);
        outbox_proceed(outbox);
        return 0;
}

static void outbox_start_pause(Outbox *outbox, uint64_t usec) {
        int r;

        if (outbox->pause)
                return;

        r = sd_event_add_time_relative(sd_bus_get_event(outbox->traffic->bus), &outbox->pause,
                                       CLOCK_MONOTONIC, usec, 1, on_pause_over, outbox);
        if (r < 0 && r != -ESTALE) /* the service exits */
                log_error("Failed to set a timer for %s: %s", outbox->destination, strerror(-r));
}

static void outbox_retry_later(Outbox *outbox) {
        outbox->retries = true;
        outbox->pause = sd_event_source_disable_unref(outbox->pause);
        outbox_start_pause(outbox, RETRY_USEC);
        if (!outbox->pause)
                outbox->retries = false; /* too early rather than never */
}

/* ------------------------------------------------------------------------------- what waits in the bus */

/* The bus has passed on the messages up to the position. */
static void outbox_pass(Outbox *outbox, uint64_t position) {
        OutboxEntry *entry;

        if (position < outbox->last_passed)
                return;

        outbox->last_passed = position;
        if (position == outbox->last_sent)
                traffic_leave(outbox->traffic, &outbox->member);

        store_hold(outbox->traffic->store);
        TAILQ_FOREACH(entry, &outbox->entries, link) {
                Handoff *handoff = entry->handoff;

                if (entry->position > position)
                        break;
                if (!handoff)
                        continue;

                entry->handoff = NULL;
                handoff->entry = NULL;
                handoff->events->passed(handoff->delivery, handoff);
        }
        store_release(outbox->traffic->store);
}

/* The answer to the last question: of what was sent before it, so many descriptors wait. Descriptors of other
 * senders may be among them. */
static void outbox_handle_count(Outbox *outbox, uint32_t waiting) {
        uint64_t usec = outbox->pause_usec * 2, passed = outbox->asked, seen = outbox->last_counted;
        OutboxEntry *entry;
        uint32_t n = 0;

        TAILQ_FOREACH_REVERSE(entry, &outbox->entries, OutboxQueue, link) {
                if (entry->position > outbox->asked)
                        continue;
                if (n == waiting)
                        break;
                passed = entry->position - 1;
                n++;
        }

        /* dbus-daemon empties the queue of a client that exits a moment before it releases the name. So what
         * has moved is only believed when the client is still there for the next answer. */
        outbox->last_counted = passed;
        if (outbox->traffic->is_daemon && outbox->pause_usec > 0 && passed > seen) {
                passed = seen;
                usec = 0;
        }

        outbox_pass(outbox, passed);
        while ((entry = TAILQ_FIRST(&outbox->entries)) && entry->position <= passed)
                (void) outbox_remove(outbox, entry);

        if (!entry || entry->position > outbox->asked) {
                outbox->pause_usec = 0;
                return;
        }

        outbox->pause_usec = usec < PAUSE_MIN_USEC   ? PAUSE_MIN_USEC
                             : usec > PAUSE_MAX_USEC ? PAUSE_MAX_USEC
                                                     : usec;
        outbox_start_pause(outbox, outbox->pause_usec);
}

static void outbox_set_support(Outbox *outbox, OutboxSupport support) {
        outbox->support = support;
        waiters_serve_all(&outbox->support_waiters);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Outbox *outbox = userdata;
        uint32_t waiting;
        int r;

        outbox->question = sd_bus_slot_unref(outbox->question);
        outbox->is_busy = outbox->asked > outbox->last_passed + 1;

        r = traffic_read_answer(outbox->traffic, outbox->destination, outbox->counts, m, &waiting);
        if (r < 0) {
                log_debug("The bus does not report what waits for %s: %s", outbox->destination, strerror(-r));
                outbox_retry_later(outbox);
                return 0;
        }

        if (!outbox->traffic->is_daemon)
                outbox_pass(outbox, outbox->asked);
        if (outbox->counts)
                outbox_handle_count(outbox, waiting);

        /* Last, because the waiters may send messages and ask about them. */
        if (outbox->support == OUTBOX_SUPPORT_ASKED && outbox->support_position <= outbox->asked)
                outbox_set_support(outbox, OUTBOX_SUPPORT_YES);
        outbox_proceed(outbox);
        return 0;
}

static void outbox_ask(Outbox *outbox) {
        int r;

        if (outbox->question || outbox->pause)
                return;

        outbox->asked = outbox->last_sent;
        outbox->counts = outbox->traffic->is_daemon || !TAILQ_EMPTY(&outbox->room_waiters);
        r = traffic_ask(outbox->traffic, outbox->destination, outbox->counts, &outbox->question, on_answer,
                        outbox);
        if (r < 0) {
                log_debug("Failed to ask the bus what waits for %s: %s", outbox->destination, strerror(-r));
                outbox_retry_later(outbox);
        }
}

static int on_ask(sd_event_source *s, uint64_t usec, void *userdata) {
        Outbox *outbox = userdata;
        uint64_t position = outbox->ask_position;

        outbox->ask_position = 0;
        if (outbox->last_passed < position)
                outbox_ask(outbox);
        else
                outbox_flush_later(outbox);
        return 0;
}

void outbox_flush_later(Outbox *outbox) {
        int r;

        if (outbox->ask_position > 0 || outbox->last_passed == outbox->last_sent)
                return;

        if (!outbox->ask_timer)
                r = sd_event_add_time_relative(sd_bus_get_event(outbox->traffic->bus), &outbox->ask_timer,
                                               CLOCK_MONOTONIC, ASK_USEC, 1, on_ask, outbox);
        else {
                r = sd_event_source_set_time_relative(outbox->ask_timer, ASK_USEC);
                if (r >= 0)
                        r = sd_event_source_set_enabled(outbox->ask_timer, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                outbox_ask(outbox);
        else
                outbox->ask_position = outbox->last_sent;
}

void outbox_flush(Outbox *outbox, bool more) {
        uint64_t n = outbox->last_sent - outbox->last_passed;

        if (n >= ASK_MIN || (n > 0 && !more && !outbox->is_busy))
                outbox_ask(outbox);
        else if (!more)
                outbox_flush_later(outbox);
}

uint32_t outbox_request_room(Outbox *outbox, Waiter *waiter) {
        uint32_t room = outbox_request_credit(outbox, waiter);

        if (room == 0) {
                waiter_start(waiter, &outbox->room_waiters);
                if (!TAILQ_EMPTY(&outbox->entries))
                        outbox_ask(outbox);
        }

        return room;
}

/* -------------------------------------------------------------------------------------------- sending */

static void outbox_queue_done(OutboxQueue *queue) {
        OutboxEntry *entry;

        while ((entry = TAILQ_FIRST(queue))) {
                TAILQ_REMOVE(queue, entry, link);
                free(entry);
        }
}

static int outbox_queue_fill(OutboxQueue *queue, uint32_t n) {
        for (; n > 0; n--) {
                OutboxEntry *entry;

                entry = calloc(1, sizeof(*entry));
                if (!entry)
                        return -ENOMEM;
                TAILQ_INSERT_TAIL(queue, entry, link);
        }

        return 0;
}

static void outbox_add(Outbox *outbox, OutboxEntry *entry, Handoff *handoff, uint64_t cookie) {
        *entry = (OutboxEntry) {
                .handoff = handoff,
                .slot = credit_take(&outbox->credit),
                .cookie = cookie,
                .position = ++outbox->last_sent,
        };
        if (handoff)
                handoff->entry = entry;
        TAILQ_INSERT_TAIL(&outbox->entries, entry, link);
}

static int outbox_send_full(Outbox *outbox,
                            sd_bus_message *message,
                            Handoff *first,
                            uint32_t n,
                            sd_bus_slot **ret,
                            sd_bus_message_handler_t handler,
                            void *userdata) {
        OutboxQueue entries = TAILQ_HEAD_INITIALIZER(entries);
        Handoff *handoff = first;
        OutboxEntry *entry;
        uint64_t cookie;
        int r;

        assert(n > 0);

        /* Allocated first, because a message that was sent cannot be withdrawn. */
        r = outbox_queue_fill(&entries, n);
        if (r >= 0)
                r = handler ? sd_bus_call_async(outbox->traffic->bus, ret, message, handler, userdata,
                                                UINT64_MAX)
                            : sd_bus_send(outbox->traffic->bus, message, NULL);
        if (r >= 0)
                r = sd_bus_message_get_cookie(message, &cookie);
        if (r < 0) {
                outbox_queue_done(&entries);
                return r;
        }

        while ((entry = TAILQ_FIRST(&entries))) {
                assert(!first || (handoff && !handoff->entry && handoff->state == HANDOFF_WAITING));

                TAILQ_REMOVE(&entries, entry, link);
                outbox_add(outbox, entry, handoff, cookie);
                if (handoff)
                        handoff = TAILQ_NEXT(handoff, delivery_link);
        }

        traffic_join(outbox->traffic, &outbox->member);
        return 0;
}

int outbox_send(Outbox *outbox, sd_bus_message *message, Handoff *first, uint32_t n) {
        return outbox_send_full(outbox, message, first, n, NULL, NULL, NULL);
}

static void outbox_end_call(Outbox *outbox, OutboxCall *call) {
        if (call->handoff)
                handoff_ignore_answer(call->handoff);
        TAILQ_REMOVE(&outbox->unanswered, call, link);
        credit_return(&outbox->calls, call->charged);
        sd_bus_slot_unref(call->slot);
        free(call);
}

static int on_call_answered(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        OutboxCall *call = userdata;
        OutboxAnswered answered = call->answered;
        Handoff *handoff = call->handoff;
        Outbox *outbox = call->outbox;
        int r;

        linger_limit_begin(); /* dbus-broker has no policy for replies, which may carry descriptors */
        outbox_end_call(outbox, call);
        r = handoff ? answered(handoff, m) : 1;
        credit_wake(&outbox->calls);
        return r;
}

int outbox_call(Outbox *outbox, sd_bus_message *message, Handoff *handoff, OutboxAnswered answered) {
        OutboxCall *call;
        int r;

        call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;

        r = outbox_send_full(outbox, message, handoff, 1, &call->slot, on_call_answered, call);
        if (r < 0) {
                free(call);
                return r;
        }

        call->outbox = outbox;
        call->handoff = handoff;
        call->answered = answered;
        call->charged = credit_take(&outbox->calls);
        TAILQ_INSERT_TAIL(&outbox->unanswered, call, link);
        handoff->call = call;
        return 0;
}

void outbox_take_back(Outbox *outbox, Handoff *handoff) {
        if (handoff->entry)
                (void) outbox_remove(outbox, handoff->entry);
        outbox_retry_later(outbox);
}

uint32_t outbox_request_call_room(Outbox *outbox, Waiter *waiter) {
        uint32_t calls = credit_request_room(&outbox->calls), room;
        Waiters *queue = calls > 0 ? &outbox->room_waiters : &outbox->call_waiters;

        if (waiter->queue != queue)
                waiter_stop(waiter);

        if (calls == 0) {
                waiter_start(waiter, queue);
                return 0;
        }

        room = outbox_request_room(outbox, waiter);
        return room < calls ? room : calls;
}

/* ---------------------------------------------------------------------- whether it takes descriptors */

/* dbus-daemon and dbus-broker use different errors. */
static bool error_is_about_descriptors(const sd_bus_error *error) {
        return sd_bus_error_has_name(error, SD_BUS_ERROR_NOT_SUPPORTED) ||
               sd_bus_error_has_name(error, SD_BUS_ERROR_FAILED);
}

static void outbox_handle_support_refusal(Outbox *outbox, const sd_bus_error *error) {
        log_debug("The bus refused a descriptor for %s: %s", outbox->destination, error->message);

        if (error_is_about_descriptors(error)) {
                outbox_set_support(outbox, OUTBOX_SUPPORT_NO);
                return;
        }

        outbox->support = OUTBOX_SUPPORT_UNKNOWN;
        outbox_retry_later(outbox);
}

/* From the client, or from dbus-broker. */
static int on_support_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        Outbox *outbox = userdata;

        linger_limit_begin(); /* as in on_call_answered() */
        outbox->support_answer = sd_bus_slot_unref(outbox->support_answer);

        if (error && bus_driver_is_sender(m) && outbox->support == OUTBOX_SUPPORT_ASKED)
                outbox_handle_support_refusal(outbox, error);
        return 0;
}

/* dbus-daemon reports that it refuses a signal. A call would not do: GDBus answers calls that expect no
 * reply, too, which dbus-daemon rejects and logs. */
static int check_signal_new(Outbox *outbox, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(outbox->traffic->bus, &m, "/", CLIENT_INTERFACE, "CheckDescriptors");
        if (r >= 0)
                r = sd_bus_message_set_destination(m, outbox->destination);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(m);
        return 0;
}

static int outbox_send_check(Outbox *outbox) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        outbox->support_answer = sd_bus_slot_unref(outbox->support_answer);

        fd = eventfd(0, EFD_CLOEXEC);
        if (fd < 0)
                return -errno;

        /* dbus-broker reports a refusal only if a reply is expected. */
        if (outbox->traffic->is_daemon)
                r = check_signal_new(outbox, &m);
        else
                r = sd_bus_message_new_method_call(outbox->traffic->bus, &m, outbox->destination, "/",
                                                   "org.freedesktop.DBus.Peer", "Ping");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'h', &fd);
        if (r < 0)
                return r;

        r = outbox->traffic->is_daemon ? outbox_send(outbox, m, NULL, 1)
                                       : outbox_send_full(outbox, m, NULL, 1, &outbox->support_answer,
                                                          on_support_answer, outbox);
        if (r < 0)
                return r;

        return sd_bus_message_get_cookie(m, &outbox->support_cookie);
}

static void outbox_send_support_message(Outbox *outbox) {
        int r;

        assert(outbox->support == OUTBOX_SUPPORT_UNKNOWN);

        if (outbox->retries || credit_request_room(&outbox->credit) == 0)
                return; /* outbox_serve_waiters() follows */

        r = outbox_send_check(outbox);
        if (r < 0) {
                log_debug("Failed to send a descriptor to %s: %s", outbox->destination, strerror(-r));
                outbox_retry_later(outbox);
                return;
        }

        outbox->support = OUTBOX_SUPPORT_ASKED;
        outbox->support_position = outbox->last_sent;
        outbox_flush(outbox, false);
}

OutboxSupport outbox_request_support(Outbox *outbox, Waiter *waiter) {
        if (outbox->support == OUTBOX_SUPPORT_UNKNOWN)
                outbox_send_support_message(outbox);
        if (outbox->support == OUTBOX_SUPPORT_UNKNOWN || outbox->support == OUTBOX_SUPPORT_ASKED)
                waiter_start(waiter, &outbox->support_waiters);

        return outbox->support;
}

/* -------------------------------------------------------------------------------------------- refusals */

/* The bus has answered a message to the client with an error. */
static void outbox_handle_refusal(Outbox *outbox, uint64_t cookie, const sd_bus_error *error) {
        bool later = sd_bus_error_has_name(error, SD_BUS_ERROR_LIMITS_EXCEEDED) ||
                     sd_bus_error_has_name(error, SD_BUS_ERROR_NO_MEMORY);
        const HandoffEvents *events = NULL;
        Delivery *recalled = NULL;
        OutboxEntry *entry, *next;

        log_debug("The bus refused a message to %s: %s", outbox->destination, error->message);
        outbox_retry_later(outbox);

        for (entry = TAILQ_FIRST(&outbox->entries); entry; entry = next) {
                Handoff *handoff;

                next = TAILQ_NEXT(entry, link);
                if (entry->cookie != cookie)
                        continue;

                handoff = outbox_remove(outbox, entry);
                if (!handoff)
                        continue;

                recalled = handoff->delivery; /* one for all connections of a message */
                events = handoff->events;
                events->recalled(recalled, handoff);
                handoff->out_of_order = true;
                if (!later)
                        events->lost(recalled, handoff, EACCES);
        }

        /* Another caller of Accept may have room now; otherwise the next attempt follows the pause. */
        if (recalled)
                events->room(recalled);
}

static bool on_refused(TrafficMember *member, uint64_t cookie, const sd_bus_error *error) {
        Outbox *outbox = CONTAINER_OF(member, Outbox, member);
        OutboxEntry *entry;

        TAILQ_FOREACH(entry, &outbox->entries, link)
                if (entry->cookie == cookie) {
                        if (outbox->support == OUTBOX_SUPPORT_ASKED && cookie == outbox->support_cookie) {
                                (void) outbox_remove(outbox, entry);
                                outbox_handle_support_refusal(outbox, error);
                        } else
                                outbox_handle_refusal(outbox, cookie, error);
                        return true;
                }

        return false;
}

int outbox_new(Traffic *traffic, const char *destination, uid_t uid, uint32_t max, Outbox **ret) {
        _cleanup_(outbox_freep) Outbox *outbox = NULL;
        int r;

        outbox = calloc(1, sizeof(*outbox));
        if (!outbox)
                return -ENOMEM;

        outbox->traffic = traffic;
        outbox->member.refused = on_refused;
        TAILQ_INIT(&outbox->unanswered);
        TAILQ_INIT(&outbox->entries);
        TAILQ_INIT(&outbox->support_waiters);
        TAILQ_INIT(&outbox->room_waiters);
        TAILQ_INIT(&outbox->call_waiters);
        TAILQ_INIT(&outbox->signal_waiters);
        TAILQ_INIT(&outbox->end_waiters);

        r = credit_init(&outbox->credit, &traffic->budget, uid, max, outbox_serve_waiters, outbox);
        if (r < 0)
                return r;

        r = credit_init(&outbox->calls, &traffic->calls, uid, CALLS_PER_CLIENT_MAX, outbox_serve_callers,
                        outbox);
        if (r < 0)
                return r;

        outbox->destination = strdup(destination);
        if (!outbox->destination)
                return -ENOMEM;

        *ret = TAKE_PTR(outbox);
        return 0;
}
