/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/credit.h"
#include "daemon/delivery-outbox.h"
#include "daemon/delivery.h"

#define BARRIER_RETRY_USEC (UINT64_C(1000) * 1000)

struct Outbox {
        sd_bus *bus;
        char *destination;
        Credit credit;

        HandoffQueue sent;         /* in the order they were sent */
        uint32_t n_by_barrier;     /* of these, how many a barrier has to confirm */
        uint64_t last_position;

        sd_bus_slot *barrier;      /* under way */
        uint64_t barrier_position; /* all up to here it stands for */
        sd_event_source *retry;

        TAILQ_HEAD(, Delivery) hungry;
};

static void outbox_remove(Outbox *outbox, Handoff *handoff) {
        TAILQ_REMOVE(&outbox->sent, handoff, outbox_link);
        handoff->sent = false;
        if (handoff->by_barrier)
                outbox->n_by_barrier--;
}

/* Whoever is fed takes what it needs at once; see budget_wake(). */
static void on_credit(void *userdata) {
        Outbox *outbox = userdata;
        Delivery *d;

        while ((d = TAILQ_FIRST(&outbox->hungry)) && credit_get_room(&outbox->credit) > 0) {
                outbox_forget(outbox, d);
                d->events->room(d->userdata);
        }
}

int outbox_new(sd_bus *bus, const char *destination, Budget *budget, uint32_t window, Outbox **ret) {
        _cleanup_free_ Outbox *outbox = NULL;

        outbox = calloc(1, sizeof(*outbox));
        if (!outbox)
                return -ENOMEM;

        outbox->destination = strdup(destination);
        if (!outbox->destination)
                return -ENOMEM;

        outbox->bus = sd_bus_ref(bus);
        credit_init(&outbox->credit, budget, window, on_credit, outbox);
        TAILQ_INIT(&outbox->sent);
        TAILQ_INIT(&outbox->hungry);

        *ret = TAKE_PTR(outbox);
        return 0;
}

Outbox *outbox_free(Outbox *outbox) {
        Handoff *handoff;

        if (!outbox)
                return NULL;

        while ((handoff = TAILQ_FIRST(&outbox->sent))) {
                outbox_remove(outbox, handoff);
                (void) handoff_free(handoff);
        }

        sd_event_source_disable_unref(outbox->retry);
        sd_bus_slot_unref(outbox->barrier);
        credit_done(&outbox->credit);
        sd_bus_unref(outbox->bus);
        free(outbox->destination);
        free(outbox);
        return NULL;
}

void outbox_set_window(Outbox *outbox, uint32_t window) {
        credit_set_window(&outbox->credit, window);
}

sd_bus *outbox_get_bus(Outbox *outbox) {
        return outbox->bus;
}

const char *outbox_get_destination(Outbox *outbox) {
        return outbox->destination;
}

uint32_t outbox_get_room(Outbox *outbox, Delivery *delivery) {
        uint32_t room;

        room = credit_get_room(&outbox->credit);
        if (room == 0 && !delivery->hungry) {
                TAILQ_INSERT_TAIL(&outbox->hungry, delivery, hungry_link);
                delivery->hungry = true;
        }

        return room;
}

void outbox_forget(Outbox *outbox, Delivery *delivery) {
        if (!delivery->hungry)
                return;

        TAILQ_REMOVE(&outbox->hungry, delivery, hungry_link);
        delivery->hungry = false;
}

void outbox_add(Outbox *outbox, Handoff *handoff, bool by_barrier) {
        credit_take(&outbox->credit);

        handoff->sent = true;
        handoff->by_barrier = by_barrier;
        handoff->position = ++outbox->last_position;
        TAILQ_INSERT_TAIL(&outbox->sent, handoff, outbox_link);
        if (by_barrier)
                outbox->n_by_barrier++;
}

void outbox_confirm(Outbox *outbox, Handoff *handoff) {
        outbox_remove(outbox, handoff);
        if (handoff->delivery)
                delivery_confirm(handoff->delivery, handoff);
        (void) handoff_free(handoff);
}

void outbox_give_back(Outbox *outbox, uint32_t n) {
        credit_give_back(&outbox->credit, n);
}

void outbox_orphan(Outbox *outbox, Handoff *handoff) {
        handoff->delivery = NULL;
        /* The bus has a descriptor of its own. */
        handoff->fd = close_fd(handoff->fd);

        if (!handoff->by_barrier) {
                handoff->by_barrier = true;
                outbox->n_by_barrier++;
        }
}

void outbox_recall(Outbox *outbox, Handoff *handoff) {
        /* Its credit comes back when the outbox is freed: to give it back now would wake up others who send
         * to the client that has left. */
        outbox_remove(outbox, handoff);
}

static int on_barrier_retry(sd_event_source *s, uint64_t usec, void *userdata) {
        Outbox *outbox = userdata;

        outbox->retry = sd_event_source_disable_unref(outbox->retry);
        outbox_flush(outbox);
        return 0;
}

static void outbox_retry_later(Outbox *outbox) {
        int r;

        if (outbox->retry)
                return;

        r = sd_event_add_time_relative(sd_bus_get_event(outbox->bus), &outbox->retry, CLOCK_MONOTONIC,
                                       BARRIER_RETRY_USEC, 0, on_barrier_retry, outbox);
        if (r < 0)
                log_error("Cannot set a timer to ask %s again: %s", outbox->destination, strerror(-r));
}

/* Only the client's own answer, an error too, proves anything: the bus answers in its name when there is no
 * such client any more, which NameOwnerChanged will tell as well, and when it refused to pass the call on. */
static bool answer_is_the_clients(Outbox *outbox, sd_bus_message *answer) {
        const char *sender;

        sender = sd_bus_message_get_sender(answer);
        return sender && streq(sender, outbox->destination);
}

static int on_barrier(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        Outbox *outbox = userdata;
        Handoff *handoff, *next;
        uint32_t n = 0;

        outbox->barrier = sd_bus_slot_unref(outbox->barrier);

        if (!answer_is_the_clients(outbox, answer)) {
                log_debug("No answer from %s: %s", outbox->destination,
                          sd_bus_message_is_method_error(answer, NULL)
                                          ? sd_bus_message_get_error(answer)->message : "not its own");
                outbox_retry_later(outbox);
                return 0;
        }

        for (handoff = TAILQ_FIRST(&outbox->sent);
             handoff && handoff->position <= outbox->barrier_position;
             handoff = next) {
                next = TAILQ_NEXT(handoff, outbox_link);
                if (!handoff->by_barrier)
                        continue;

                outbox_confirm(outbox, handoff);
                n++;
        }

        outbox_flush(outbox);
        outbox_give_back(outbox, n);
        return 0;
}

static int outbox_send_barrier(Outbox *outbox) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int r;

        r = sd_bus_message_new_method_call(outbox->bus, &message, outbox->destination, "/",
                                           "org.freedesktop.DBus.Peer", "Ping");
        if (r < 0)
                return r;

        /* A client may take all the time it wants to answer: it spends its own credit, nobody else's. */
        r = sd_bus_call_async(outbox->bus, &outbox->barrier, message, on_barrier, outbox, UINT64_MAX);
        if (r < 0)
                return r;

        outbox->barrier_position = outbox->last_position;
        return 0;
}

void outbox_flush(Outbox *outbox) {
        int r;

        if (outbox->barrier || outbox->retry || outbox->n_by_barrier == 0)
                return;

        r = outbox_send_barrier(outbox);
        if (r < 0) {
                log_debug("Cannot ask %s whether it has its connections: %s", outbox->destination, strerror(-r));
                outbox_retry_later(outbox);
        }
}
