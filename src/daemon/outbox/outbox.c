/* SPDX-License-Identifier: LGPL-2.1-or-later */

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

struct Outbox {
        Traffic *traffic;
        char *destination;
        Credit credit;

        HandoffQueue on_bus; /* in the order they were sent */
        uint64_t last_position;
        TrafficMember member;   /* while something is under way */
        sd_event_source *timer; /* tries something again */

        Probe probe;
        Barriers barriers;
        Receipts receipts;

        Waiters waiters;
        Waiters not_admitted;
        Waiters end_waiters; /* for the client's end */
};

DEFINE_CLEANUP(Outbox, outbox_free)

/* Whoever is called takes what it needs at once; see budget_wake(). */
static void outbox_serve_waiters(void *userdata) {
        Outbox *outbox = userdata;
        Waiter *waiter;

        if (outbox->probe.state != PROBE_PASSED) {
                /* It waits for nothing but a place for the probe. */
                if (outbox->probe.state == PROBE_NEW && (waiter = TAILQ_FIRST(&outbox->waiters)))
                        (void) outbox_request_room(outbox, waiter);
                return;
        }

        while (!outbox->timer && !TAILQ_EMPTY(&outbox->waiters) && credit_get_room(&outbox->credit) > 0)
                waiters_serve_one(&outbox->waiters);
}

/* The bus no longer holds it. */
static void outbox_remove(Outbox *outbox, Handoff *handoff) {
        TAILQ_REMOVE(&outbox->on_bus, handoff, outbox_link);
        handoff->outbox = NULL;
        if (!handoff->returned)
                credit_return(&outbox->credit, handoff->pool);

        if (TAILQ_EMPTY(&outbox->on_bus) && outbox->probe.state != PROBE_SENT)
                traffic_leave(outbox->traffic, &outbox->member);
}

Outbox *outbox_free(Outbox *outbox) {
        Handoff *handoff;

        if (!outbox)
                return NULL;

        waiters_serve_all(&outbox->end_waiters);
        waiters_done(&outbox->waiters);
        waiters_done(&outbox->not_admitted);

        while ((handoff = TAILQ_FIRST(&outbox->on_bus))) {
                Delivery *d = handoff->delivery;

                outbox_remove(outbox, handoff);
                if (d) {
                        handoff->events->recalled(d, handoff);
                        handoff->events->room(d); /* somebody else may be waiting for it */
                } else
                        (void) handoff_free(handoff);
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

        waiter_start(waiter, &outbox->not_admitted);
        return false;
}

void outbox_admit_again(Outbox *outbox) {
        waiters_serve_all(&outbox->not_admitted);
}

void outbox_await_end(Outbox *outbox, Waiter *waiter) {
        waiter_start(waiter, &outbox->end_waiters);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Outbox *outbox = userdata;

        outbox->timer = sd_event_source_disable_unref(outbox->timer);

        if (outbox->probe.state == PROBE_REFUSED) {
                waiters_refuse(&outbox->waiters);
                outbox_wake(outbox); /* the room of the probe is somebody else's */
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
                log_error("Cannot set a timer for %s: %s", outbox->destination, strerror(-r));
}

static void outbox_refuse(Outbox *outbox) {
        outbox->probe.state = PROBE_REFUSED;
        outbox->timer = sd_event_source_disable_unref(outbox->timer);
        outbox_set_timer(outbox, 0); /* whoever waits is told from the loop, as it may end then */
}

/* Everything up to the position has been read. A receipt is not taken for the answer to a Ping: as long as
 * that call waits for its answer, something has to be charged for it. */
static void outbox_pass(Outbox *outbox, uint64_t position, bool receipt) {
        bool was_full = credit_is_full(&outbox->credit) || receipt;
        Handoff *handoff, *next;

        store_hold(outbox->traffic->store);
        for (handoff = TAILQ_FIRST(&outbox->on_bus); handoff && handoff->position <= position;
             handoff = next) {
                next = TAILQ_NEXT(handoff, outbox_link);
                if (receipt && !handoff->receipt)
                        continue;

                outbox_remove(outbox, handoff);
                if (!handoff->delivery)
                        (void) handoff_free(handoff);
                else if (handoff->by_barrier)
                        handoff->events->confirmed(handoff->delivery, handoff);
        }
        store_release(outbox->traffic->store);

        /* The first proof of all counts as well: it is for the probe. */
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
        Handoff *handoff;

        /* What went before may still be on the bus: it may have refused this one. */
        TAILQ_FOREACH(handoff, &outbox->on_bus, outbox_link)
                if (!handoff->returned && receipt_went_with(receipt, handoff->position)) {
                        credit_return(&outbox->credit, handoff->pool);
                        handoff->returned = true;
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
                log_debug("Cannot send a descriptor to %s: %s", outbox->destination, strerror(-r));
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
                ; /* something did not work, and is tried again soon */
        else if (outbox->probe.state == PROBE_NEW)
                outbox_probe(outbox);
        else if (outbox->probe.state == PROBE_PASSED)
                room = credit_get_room(&outbox->credit);

        if (room == 0)
                waiter_start(waiter, &outbox->waiters);

        return room;
}

int outbox_send(Outbox *outbox, sd_bus_message *message, uint64_t *ret_cookie) {
        return sd_bus_send(outbox->traffic->bus, message, ret_cookie);
}

void outbox_add(Outbox *outbox, Handoff *handoff, uint64_t cookie, bool by_barrier) {
        handoff->outbox = outbox;
        handoff->pool = credit_take(&outbox->credit);
        handoff->returned = false;
        handoff->cookie = cookie;
        handoff->by_barrier = by_barrier;
        handoff->receipt = outbox->receipts.open != NULL;
        handoff->position = ++outbox->last_position;
        TAILQ_INSERT_TAIL(&outbox->on_bus, handoff, outbox_link);
        traffic_join(outbox->traffic, &outbox->member);
}

/* How many are on the bus with neither a receipt nor a barrier. */
static uint32_t outbox_count_open(Outbox *outbox) {
        Handoff *handoff;
        uint32_t n = 0;

        TAILQ_FOREACH_REVERSE(handoff, &outbox->on_bus, HandoffQueue, outbox_link) {
                if (handoff->position <= outbox->barriers.position)
                        break;
                if (!handoff->receipt)
                        n++;
        }

        return n;
}

int outbox_add_descriptor(Outbox *outbox, uint64_t cookie) {
        Address none = address_any(AF_INET);
        Handoff *handoff;
        int r;

        r = handoff_new(-EBADF, &none, &none, 0, &handoff);
        if (r < 0)
                return r;

        outbox_add(outbox, handoff, cookie, true);
        outbox_flush(outbox, false);
        return 0;
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
                log_debug("Cannot ask %s whether it has its connections: %s", outbox->destination,
                          strerror(-r));
                outbox_set_timer(outbox, RETRY_USEC);
        }
}

void outbox_expect_receipts(Outbox *outbox) {
        credit_expect_receipts(&outbox->credit);
}

int outbox_attach_receipt(Outbox *outbox, Waiter *waiter, int *ret_fd) {
        int r;

        r = receipts_add(&outbox->receipts, true, ret_fd, &outbox->receipts.open);
        if (r > 0)
                outbox->receipts.open->first = outbox->last_position + 1;
        else if (r == 0)
                waiter_start(waiter, &outbox->waiters);

        return r;
}

void outbox_detach_receipt(Outbox *outbox) {
        (void) receipt_free(outbox->receipts.open);
}

void outbox_seal_receipt(Outbox *outbox) {
        TAKE_PTR(outbox->receipts.open)->position = outbox->last_position;
}

void outbox_wake(Outbox *outbox) {
        credit_wake(&outbox->credit);
}

void outbox_orphan(Outbox *outbox, Handoff *handoff) {
        handoff->delivery = NULL;
        /* The bus has a descriptor of its own. */
        handoff_let_go(handoff);
}

/* The bus did not pass a message on, and says why. */
static void outbox_handle_refusal(Outbox *outbox, uint64_t cookie, const sd_bus_error *error) {
        bool later = streq(error->name, SD_BUS_ERROR_LIMITS_EXCEEDED) ||
                     streq(error->name, SD_BUS_ERROR_NO_MEMORY);
        const HandoffEvents *events = NULL;
        Delivery *recalled = NULL;
        Handoff *handoff, *next;

        log_debug("The bus did not pass a message on to %s: %s", outbox->destination, error->message);
        if (streq(error->name, SD_BUS_ERROR_NOT_SUPPORTED))
                outbox_refuse(outbox);
        else
                outbox_set_timer(outbox, RETRY_USEC);

        for (handoff = TAILQ_FIRST(&outbox->on_bus); handoff; handoff = next) {
                Delivery *d = handoff->delivery;

                next = TAILQ_NEXT(handoff, outbox_link);
                if (handoff->cookie != cookie)
                        continue;

                /* Nobody has read it, though it hangs up. */
                (void) receipt_free(receipts_find(&outbox->receipts, handoff->position));
                outbox_remove(outbox, handoff);
                if (!d) {
                        (void) handoff_free(handoff);
                        continue;
                }

                events = handoff->events;
                events->recalled(d, handoff);
                handoff->refused = true;
                if (!later)
                        events->lost(d, handoff, EACCES);
                recalled = d; /* all of them are in one delivery */
        }

        /* Somebody else may have room; otherwise they wait for the next attempt. */
        if (recalled)
                events->room(recalled);
}

static bool on_refused(TrafficMember *member, uint64_t cookie, const sd_bus_error *error) {
        Outbox *outbox = CONTAINER_OF(member, Outbox, member);
        Handoff *handoff;

        if (probe_handle_refusal(&outbox->probe, cookie, error))
                return true;

        TAILQ_FOREACH(handoff, &outbox->on_bus, outbox_link)
                if (handoff->cookie == cookie) {
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
        TAILQ_INIT(&outbox->waiters);
        TAILQ_INIT(&outbox->not_admitted);
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
