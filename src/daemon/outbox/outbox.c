/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/outbox/barrier.h"
#include "daemon/outbox/handoff.h"
#include "daemon/outbox/outbox.h"
#include "daemon/outbox/probe.h"
#include "daemon/outbox/receipt.h"
#include "daemon/outbox/traffic.h"
#include "daemon/outbox/waiter.h"
#include "daemon/store/store.h"

#define RETRY_USEC (UINT64_C(250) * 1000)

typedef TAILQ_HEAD(OutboxQueue, OutboxEntry) OutboxQueue;

struct Outbox {
        Traffic *traffic;
        char *destination;
        Credit credit;

        OutboxQueue on_bus; /* in the order of sending */
        uint64_t last_position;
        TrafficMember member;   /* joined while anything is on the bus */
        sd_event_source *timer; /* for the next attempt after a failure */

        Probe probe;
        Barriers barriers;
        Receipts receipts;

        Waiters room_waiters;
        Waiters signal_waiters;
        Waiters end_waiters; /* for the client to leave the bus */
};

DEFINE_CLEANUP(Outbox, outbox_free)

static void outbox_wake(Outbox *outbox) {
        credit_wake(&outbox->credit);
}

/* Each waiter uses room at once or needs none; see budget_wake(). */
static void outbox_serve_waiters(void *userdata) {
        Outbox *outbox = userdata;
        Waiter *waiter;

        if (outbox->probe.state != PROBE_PASSED) {
                /* Only the probe waits for room. */
                if (outbox->probe.state == PROBE_NEW && (waiter = TAILQ_FIRST(&outbox->room_waiters)))
                        (void) outbox_request_room(outbox, waiter);
                return;
        }

        while (!outbox->timer && !TAILQ_EMPTY(&outbox->room_waiters) &&
               credit_request_room(&outbox->credit) > 0)
                waiters_serve_one(&outbox->room_waiters);
}

/* The bus has released the descriptor. Frees the entry and returns its handoff, or NULL. */
static Handoff *outbox_remove(Outbox *outbox, OutboxEntry *entry) {
        Handoff *handoff = entry->handoff;

        TAILQ_REMOVE(&outbox->on_bus, entry, link);
        if (handoff)
                handoff->entry = NULL;
        if (entry->charged)
                credit_return(&outbox->credit, entry->slot);
        free(entry);

        if (TAILQ_EMPTY(&outbox->on_bus) && outbox->probe.state != PROBE_SENT)
                traffic_leave(outbox->traffic, &outbox->member);
        return handoff;
}

Outbox *outbox_free(Outbox *outbox) {
        OutboxEntry *entry;

        if (!outbox)
                return NULL;

        waiters_serve_all(&outbox->end_waiters);
        waiters_done(&outbox->room_waiters);
        waiters_done(&outbox->signal_waiters);

        while ((entry = TAILQ_FIRST(&outbox->on_bus))) {
                Handoff *handoff = outbox_remove(outbox, entry);

                if (handoff) {
                        const HandoffEvents *events = handoff->events;
                        Delivery *d = handoff->delivery;

                        events->recalled(d, handoff);
                        events->room(d); /* another caller of Accept may get it */
                }
        }

        receipts_done(&outbox->receipts);
        traffic_leave(outbox->traffic, &outbox->member);
        sd_event_source_disable_unref(outbox->timer);
        probe_done(&outbox->probe);
        barriers_done(&outbox->barriers);
        credit_done(&outbox->credit);
        free(outbox->destination);
        free(outbox);
        return NULL;
}

void outbox_set_window_max(Outbox *outbox, uint32_t window_max) {
        credit_set_window_max(&outbox->credit, window_max);
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

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Outbox *outbox = userdata;

        outbox->timer = sd_event_source_disable_unref(outbox->timer);

        if (outbox->probe.state == PROBE_REFUSED) {
                waiters_refuse(&outbox->room_waiters);
                outbox_wake(outbox); /* another client may use the room of the probe */
                return 0;
        }

        outbox_flush(outbox, false);
        outbox_wake(outbox);
        return 0;
}

static void outbox_set_timer(Outbox *outbox, uint64_t usec) {
        int r;

        if (outbox->timer)
                return;

        r = sd_event_add_time_relative(sd_bus_get_event(outbox->traffic->bus), &outbox->timer,
                                       CLOCK_MONOTONIC, usec, 1, on_timer, outbox);
        if (r < 0)
                log_error("Failed to set a timer for %s: %s", outbox->destination, strerror(-r));
}

static void outbox_refuse(Outbox *outbox) {
        outbox->probe.state = PROBE_REFUSED;
        outbox->timer = sd_event_source_disable_unref(outbox->timer);
        /* Waiters are called from the event loop, because their listeners may be closed in the call. */
        outbox_set_timer(outbox, 0);
}

/* The client has read everything up to the position. A receipt releases only messages that carry one. The
 * others belong to a barrier, an open call on the bus, and stay charged until it is answered. */
static void outbox_pass(Outbox *outbox, uint64_t position, bool receipt) {
        bool was_full = credit_is_full(&outbox->credit) || receipt;
        OutboxEntry *entry, *next;

        store_hold(outbox->traffic->store);
        for (entry = TAILQ_FIRST(&outbox->on_bus); entry && entry->position <= position; entry = next) {
                Handoff *handoff;

                next = TAILQ_NEXT(entry, link);
                if (receipt && !entry->receipt)
                        continue;

                handoff = outbox_remove(outbox, entry);
                if (handoff)
                        handoff->events->read(handoff->delivery, handoff);
        }
        store_release(outbox->traffic->store);

        /* The window also grows after the first barrier, which covers the probe. */
        if (was_full || credit_is_new(&outbox->credit))
                credit_grow(&outbox->credit);

        outbox_flush(outbox, false);
        outbox_wake(outbox);
}

static void on_barrier_passed(uint64_t position, void *userdata) {
        outbox_pass(userdata, position, false);
}

static void on_barrier_failed(void *userdata) {
        outbox_set_timer(userdata, RETRY_USEC);
}

static const BarrierEvents barrier_events = {
        .passed = on_barrier_passed,
        .failed = on_barrier_failed,
};

static void on_receipt_hung(Receipt *receipt, void *userdata) {
        Outbox *outbox = userdata;
        OutboxEntry *entry;

        /* Earlier messages may still be on the bus, because it may have refused this one. */
        TAILQ_FOREACH(entry, &outbox->on_bus, link)
                if (entry->charged && receipt_went_with(receipt, entry->position)) {
                        credit_return(&outbox->credit, entry->slot);
                        entry->charged = false;
                        if (entry->handoff)
                                entry->handoff->state = HANDOFF_RELEASED;
                }

        outbox_wake(outbox);
}

static void on_receipt_read(Receipt *receipt, void *userdata) {
        uint64_t position = receipt->position;
        Outbox *outbox = userdata;

        (void) receipt_free(receipt);
        outbox_pass(outbox, position, true);
}

static const ReceiptEvents receipt_events = {
        .hung = on_receipt_hung,
        .read = on_receipt_read,
};

static void on_probe_passed(void *userdata) {
        Outbox *outbox = userdata;

        if (TAILQ_EMPTY(&outbox->on_bus))
                traffic_leave(outbox->traffic, &outbox->member);
        outbox_wake(outbox);
}

static void on_probe_refused(void *userdata) {
        Outbox *outbox = userdata;

        (void) receipt_free(outbox->receipts.probe);

        if (outbox->probe.state == PROBE_REFUSED) {
                outbox_refuse(outbox);
                return;
        }

        traffic_leave(outbox->traffic, &outbox->member);
        outbox_set_timer(outbox, RETRY_USEC);
}

static const ProbeEvents probe_events = {
        .passed = on_probe_passed,
        .refused = on_probe_refused,
};

static void outbox_probe(Outbox *outbox) {
        Traffic *traffic = outbox->traffic;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = receipts_add(&outbox->receipts, false, &fd, &outbox->receipts.probe);
        if (r == 0)
                return;
        if (r > 0) {
                r = probe_send(&outbox->probe, traffic->bus, fd, traffic->tells_refusals);
                if (r < 0)
                        (void) receipt_free(outbox->receipts.probe);
                else
                        r = probe_wait(&outbox->probe, traffic->bus);
        }
        if (r < 0) {
                log_debug("Failed to probe %s for descriptor passing: %s", outbox->destination, strerror(-r));
                outbox_set_timer(outbox, RETRY_USEC);
                return;
        }

        traffic_join(traffic, &outbox->member);
}

bool outbox_is_refused(const Outbox *outbox) {
        return outbox->probe.state == PROBE_REFUSED;
}

bool outbox_is_being_probed(const Outbox *outbox) {
        return outbox->probe.state == PROBE_SENT;
}

uint32_t outbox_request_room(Outbox *outbox, Waiter *waiter) {
        uint32_t room = 0;

        if (outbox->probe.state == PROBE_REFUSED)
                outbox_set_timer(outbox, 0);
        else if (outbox->timer)
                ; /* the next attempt wakes the waiters */
        else if (outbox->probe.state == PROBE_NEW)
                outbox_probe(outbox);
        else if (outbox->probe.state == PROBE_PASSED)
                room = credit_request_room(&outbox->credit);

        if (room == 0)
                waiter_start(waiter, &outbox->room_waiters);

        return room;
}

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
                .receipt = outbox->receipts.open,
                .charged = true,
                .slot = credit_take(&outbox->credit),
                .cookie = cookie,
                .position = ++outbox->last_position,
        };
        if (handoff)
                handoff->entry = entry;
        TAILQ_INSERT_TAIL(&outbox->on_bus, entry, link);
}

int outbox_send(Outbox *outbox, sd_bus_message *message, Handoff *first, uint32_t n) {
        OutboxQueue entries = TAILQ_HEAD_INITIALIZER(entries);
        Handoff *handoff = first;
        OutboxEntry *entry;
        uint64_t cookie;
        int r;

        /* Allocated first, because a message that was sent cannot be withdrawn. */
        r = outbox_queue_fill(&entries, n);
        if (r >= 0)
                r = sd_bus_send(outbox->traffic->bus, message, &cookie);
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

        if (n > 0)
                traffic_join(outbox->traffic, &outbox->member);
        return 0;
}

/* Returns how many descriptors are on the bus with neither a receipt nor a barrier. */
static uint32_t outbox_count_open(Outbox *outbox) {
        OutboxEntry *entry;
        uint32_t n = 0;

        TAILQ_FOREACH_REVERSE(entry, &outbox->on_bus, OutboxQueue, link) {
                if (entry->position <= outbox->barriers.position)
                        break;
                if (!entry->receipt)
                        n++;
        }

        return n;
}

void outbox_flush(Outbox *outbox, bool more) {
        Barrier *barrier;
        int r;

        if (outbox->timer)
                return;

        barrier = barriers_choose(&outbox->barriers, outbox_count_open(outbox),
                                  credit_get_window(&outbox->credit), more);
        if (!barrier)
                return;

        r = barrier_send(barrier, outbox->last_position);
        if (r < 0) {
                log_debug("Failed to send a barrier to %s: %s", outbox->destination, strerror(-r));
                outbox_set_timer(outbox, RETRY_USEC);
        }
}

void outbox_expect_receipts(Outbox *outbox) {
        credit_expect_receipts(&outbox->credit);
}

int outbox_attach_receipt(Outbox *outbox, Waiter *waiter, int *ret_fd) {
        int r;

        assert(!outbox->receipts.open);

        r = receipts_add(&outbox->receipts, true, ret_fd, &outbox->receipts.open);
        if (r > 0)
                outbox->receipts.open->first = outbox->last_position + 1;
        else if (r == 0)
                waiter_start(waiter, &outbox->room_waiters);

        return r;
}

void outbox_detach_receipt(Outbox *outbox) {
        (void) receipt_free(outbox->receipts.open);
}

void outbox_seal_receipt(Outbox *outbox) {
        assert(outbox->receipts.open);

        TAKE_PTR(outbox->receipts.open)->position = outbox->last_position;
}

/* The bus has answered a message to the client with an error. */
static void outbox_handle_refusal(Outbox *outbox, uint64_t cookie, const sd_bus_error *error) {
        bool later = streq(error->name, SD_BUS_ERROR_LIMITS_EXCEEDED) ||
                     streq(error->name, SD_BUS_ERROR_NO_MEMORY);
        const HandoffEvents *events = NULL;
        Delivery *recalled = NULL;
        OutboxEntry *entry, *next;

        log_debug("The bus refused a message to %s: %s", outbox->destination, error->message);
        if (streq(error->name, SD_BUS_ERROR_NOT_SUPPORTED))
                outbox_refuse(outbox);
        else
                outbox_set_timer(outbox, RETRY_USEC);

        for (entry = TAILQ_FIRST(&outbox->on_bus); entry; entry = next) {
                Handoff *handoff;

                next = TAILQ_NEXT(entry, link);
                if (entry->cookie != cookie)
                        continue;

                /* Its receipt hangs up although the client has not read the message. */
                (void) receipt_free(receipts_find(&outbox->receipts, entry->position));
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

        /* Another caller of Accept may have room now; otherwise the timer starts the next attempt. */
        if (recalled)
                events->room(recalled);
}

static bool on_refused(TrafficMember *member, uint64_t cookie, const sd_bus_error *error) {
        Outbox *outbox = CONTAINER_OF(member, Outbox, member);
        OutboxEntry *entry;

        if (probe_handle_refusal(&outbox->probe, cookie, error))
                return true;

        TAILQ_FOREACH(entry, &outbox->on_bus, link)
                if (entry->cookie == cookie) {
                        outbox_handle_refusal(outbox, cookie, error);
                        return true;
                }

        return false;
}

int outbox_new(Traffic *traffic, const char *destination, uid_t uid, uint32_t window_max, Outbox **ret) {
        _cleanup_(outbox_freep) Outbox *outbox = NULL;
        int r;

        outbox = calloc(1, sizeof(*outbox));
        if (!outbox)
                return -ENOMEM;

        outbox->traffic = traffic;
        outbox->member.refused = on_refused;
        TAILQ_INIT(&outbox->on_bus);
        TAILQ_INIT(&outbox->room_waiters);
        TAILQ_INIT(&outbox->signal_waiters);
        TAILQ_INIT(&outbox->end_waiters);

        r = credit_init(&outbox->credit, &traffic->budget, uid, window_max, outbox_serve_waiters, outbox);
        if (r < 0)
                return r;

        outbox->destination = strdup(destination);
        if (!outbox->destination)
                return -ENOMEM;

        receipts_init(&outbox->receipts, &traffic->receipts, &outbox->credit, &receipt_events, outbox);
        barriers_init(&outbox->barriers, traffic->bus, outbox->destination, &barrier_events, outbox);
        outbox->probe = (Probe) {
                .destination = outbox->destination,
                .events = &probe_events,
                .userdata = outbox,
        };

        *ret = TAKE_PTR(outbox);
        return 0;
}
