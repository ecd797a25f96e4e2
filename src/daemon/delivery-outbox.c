/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <sys/random.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/linger.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/delivery-outbox.h"
#include "daemon/delivery.h"
#include "daemon/store.h"

#define RETRY_USEC (UINT64_C(250) * 1000)
#define CHECK_ROUNDS 3

/* The first stands for whatever there is. While it is under way, a second is sent for half a window, so that the client
 * takes the one half while we see to the other. No client with a small window has two, for dbus-daemon lets us wait for
 * few answers in all. */
#define BARRIERS_MAX 2
#define SECOND_BARRIER_MIN 8

/* Whether the client has negotiated to take descriptors. */
typedef enum OutboxState {
        OUTBOX_NEW,
        OUTBOX_PROBED,  /* has been sent one */
        OUTBOX_OPEN,
        OUTBOX_REFUSED,
} OutboxState;

/* A pipe whose other end goes along with a message. It hangs up when the last copy is closed, which is when the
 * client's library frees the message: what was sent before has been read then. Nobody can pretend that, and it needs
 * no answer. */
struct Receipt {
        Outbox *outbox;
        int fd;
        uint64_t position; /* all up to here it stands for */
        bool in_window;    /* the probe's is not: who forks may keep a copy open in a child for long */
        CreditPool pool;   /* that its descriptor is charged to */
        sd_event_source *source;
        TAILQ_ENTRY(Receipt) link;

        uint64_t hung;     /* 0: not yet */
        TAILQ_ENTRY(Receipt) hung_link;
};

/* A Ping that is under way. */
typedef struct Barrier {
        Outbox *outbox;
        sd_bus_slot *call;
        uint64_t position; /* all up to here it stands for */
} Barrier;

struct Outbox {
        Traffic *traffic;
        char *destination;
        OutboxState state;
        Credit credit;

        HandoffQueue on_bus;       /* in the order they were sent */
        uint64_t last_position;
        bool is_listed;            /* among the traffic's outboxes */
        TAILQ_ENTRY(Outbox) link;

        uint64_t probe_cookie;
        sd_bus_slot *probe_call;   /* the probe, where it wants an answer */
        sd_bus_slot *probe_answer; /* the bus has dealt with the probe */

        Barrier barriers[BARRIERS_MAX];
        uint64_t barrier_position; /* all up to here has a barrier behind it, or a receipt */
        Receipt *probe_receipt;
        Receipt *open_receipt;     /* goes with the message that is being made */
        sd_event_source *timer;    /* tries something again */

        TAILQ_HEAD(, Receipt) receipts;

        TAILQ_HEAD(, OutboxWaiter) waiters;
        TAILQ_HEAD(, OutboxGuest) guests;
};

DEFINE_CLEANUP(Outbox, outbox_free)

static Receipt *receipt_free(Receipt *receipt);

/* Whoever is called takes what it needs at once; see budget_wake(). */
static void outbox_serve_waiters(void *userdata) {
        Outbox *outbox = userdata;
        OutboxWaiter *waiter;

        if (outbox->state != OUTBOX_OPEN) {
                /* It waits for nothing but a place for the probe. */
                if (outbox->state == OUTBOX_NEW && (waiter = TAILQ_FIRST(&outbox->waiters)))
                        (void) outbox_get_room(outbox, waiter);
                return;
        }

        while (!outbox->timer && (waiter = TAILQ_FIRST(&outbox->waiters)) && credit_get_room(&outbox->credit) > 0) {
                outbox_stop_waiting(waiter);
                waiter->room(waiter);
        }
}

static void outbox_tell_refused(Outbox *outbox) {
        OutboxWaiter *waiter;

        while ((waiter = TAILQ_FIRST(&outbox->waiters))) {
                outbox_stop_waiting(waiter);
                waiter->refused(waiter);
        }
}

int outbox_new(Traffic *traffic, const char *destination, uid_t uid, uint32_t window_max, Outbox **ret) {
        _cleanup_(outbox_freep) Outbox *outbox = NULL;
        int r;

        outbox = calloc(1, sizeof(*outbox));
        if (!outbox)
                return -ENOMEM;

        outbox->traffic = traffic;
        for (size_t i = 0; i < BARRIERS_MAX; i++)
                outbox->barriers[i].outbox = outbox;
        TAILQ_INIT(&outbox->on_bus);
        TAILQ_INIT(&outbox->receipts);
        TAILQ_INIT(&outbox->waiters);
        TAILQ_INIT(&outbox->guests);

        r = credit_init(&outbox->credit, &traffic->budget, uid, window_max, outbox_serve_waiters, outbox);
        if (r < 0)
                return r;

        outbox->destination = strdup(destination);
        if (!outbox->destination)
                return -ENOMEM;

        *ret = TAKE_PTR(outbox);
        return 0;
}

static void outbox_list(Outbox *outbox) {
        if (outbox->is_listed)
                return;

        TAILQ_INSERT_TAIL(&outbox->traffic->outboxes, outbox, link);
        outbox->is_listed = true;
}

static void outbox_unlist(Outbox *outbox) {
        if (!outbox->is_listed)
                return;

        TAILQ_REMOVE(&outbox->traffic->outboxes, outbox, link);
        outbox->is_listed = false;
}

/* The bus no longer holds it. */
static void outbox_remove(Outbox *outbox, Handoff *handoff) {
        TAILQ_REMOVE(&outbox->on_bus, handoff, outbox_link);
        handoff->outbox = NULL;
        if (!handoff->returned)
                credit_return(&outbox->credit, handoff->pool);

        if (TAILQ_EMPTY(&outbox->on_bus) && outbox->state != OUTBOX_PROBED)
                outbox_unlist(outbox);
}

Outbox *outbox_free(Outbox *outbox) {
        OutboxWaiter *waiter;
        OutboxGuest *guest;
        Handoff *handoff;
        Receipt *receipt;

        if (!outbox)
                return NULL;

        while ((guest = TAILQ_FIRST(&outbox->guests))) {
                outbox_remove_guest(guest);
                guest->left(guest);
        }
        while ((waiter = TAILQ_FIRST(&outbox->waiters)))
                outbox_stop_waiting(waiter);

        while ((handoff = TAILQ_FIRST(&outbox->on_bus))) {
                Delivery *d = handoff->delivery;

                outbox_remove(outbox, handoff);
                if (d) {
                        delivery_recall(d, handoff);
                        delivery_tell_room(d); /* somebody else may be waiting for it */
                } else
                        (void) handoff_free(handoff);
        }
        while ((receipt = TAILQ_FIRST(&outbox->receipts)))
                (void) receipt_free(receipt);

        outbox_unlist(outbox);
        sd_event_source_disable_unref(outbox->timer);
        sd_bus_slot_unref(outbox->probe_call);
        sd_bus_slot_unref(outbox->probe_answer);
        for (size_t i = 0; i < BARRIERS_MAX; i++)
                sd_bus_slot_unref(outbox->barriers[i].call);
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

static void outbox_start_waiting(Outbox *outbox, OutboxWaiter *waiter) {
        if (waiter->outbox)
                return;

        TAILQ_INSERT_TAIL(&outbox->waiters, waiter, link);
        waiter->outbox = outbox;
}

void outbox_stop_waiting(OutboxWaiter *waiter) {
        if (!waiter->outbox)
                return;

        TAILQ_REMOVE(&waiter->outbox->waiters, waiter, link);
        waiter->outbox = NULL;
}

void outbox_add_guest(Outbox *outbox, OutboxGuest *guest) {
        guest->outbox = outbox;
        TAILQ_INSERT_TAIL(&outbox->guests, guest, link);
}

void outbox_remove_guest(OutboxGuest *guest) {
        if (!guest->outbox)
                return;

        TAILQ_REMOVE(&guest->outbox->guests, guest, link);
        guest->outbox = NULL;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Outbox *outbox = userdata;

        outbox->timer = sd_event_source_disable_unref(outbox->timer);

        if (outbox->state == OUTBOX_REFUSED) {
                outbox_tell_refused(outbox);
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

        r = sd_event_add_time_relative(sd_bus_get_event(outbox->traffic->bus), &outbox->timer, CLOCK_MONOTONIC,
                                       usec, 0, on_timer, outbox);
        if (r < 0)
                log_error("Cannot set a timer for %s: %s", outbox->destination, strerror(-r));
}

static void outbox_refuse(Outbox *outbox) {
        outbox->state = OUTBOX_REFUSED;
        outbox->timer = sd_event_source_disable_unref(outbox->timer);
        outbox_set_timer(outbox, 0); /* whoever waits is told from the loop, as it may end then */
}

static void outbox_open(Outbox *outbox) {
        outbox->state = OUTBOX_OPEN;
        if (TAILQ_EMPTY(&outbox->on_bus))
                outbox_unlist(outbox);
}

/* Only the client's own answer, an error too, proves anything: the bus answers in its name when there is no
 * such client any more, which NameOwnerChanged will tell as well, and when it refused to pass the call on. */
static bool answer_is_the_clients(Outbox *outbox, sd_bus_message *answer) {
        const char *sender = sd_bus_message_get_sender(answer);

        return sender && streq(sender, outbox->destination);
}

/* Everything up to the position has been read. A receipt is not taken for the answer to a Ping: as long as that call
 * waits for its answer, something has to be charged for it. */
static void outbox_pass(Outbox *outbox, uint64_t position, bool receipt) {
        bool was_full = credit_is_full(&outbox->credit) || receipt;
        Handoff *handoff, *next;

        store_hold(outbox->traffic->store);
        for (handoff = TAILQ_FIRST(&outbox->on_bus); handoff && handoff->position <= position; handoff = next) {
                next = TAILQ_NEXT(handoff, outbox_link);
                if (receipt && !handoff->receipt)
                        continue;

                outbox_remove(outbox, handoff);
                if (!handoff->delivery)
                        (void) handoff_free(handoff);
                else if (handoff->by_barrier)
                        delivery_confirm(handoff->delivery, handoff);
        }
        store_release(outbox->traffic->store);

        /* The first proof of all counts as well: it is for the probe. */
        if (was_full || credit_is_new(&outbox->credit))
                credit_grow(&outbox->credit);

        outbox_flush(outbox, false);
        outbox_wake(outbox);
}

static int on_barrier(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        Barrier *barrier = userdata;
        Outbox *outbox = barrier->outbox;

        barrier->call = sd_bus_slot_unref(barrier->call);

        if (!answer_is_the_clients(outbox, answer)) {
                const sd_bus_error *error = sd_bus_message_get_error(answer);

                log_debug("No answer from %s: %s", outbox->destination, error ? error->message : "not its own");
                outbox->barrier_position = 0;
                outbox_set_timer(outbox, RETRY_USEC);
                return 0;
        }

        outbox_pass(outbox, barrier->position, false);
        return 0;
}

static Receipt *receipt_free(Receipt *receipt) {
        Outbox *outbox = receipt->outbox;

        if (outbox->probe_receipt == receipt)
                outbox->probe_receipt = NULL;
        if (outbox->open_receipt == receipt)
                outbox->open_receipt = NULL;
        if (receipt->hung > 0)
                TAILQ_REMOVE(&outbox->traffic->hung, receipt, hung_link);
        else
                credit_return_extra(&outbox->credit, receipt->in_window, receipt->pool);
        TAILQ_REMOVE(&outbox->receipts, receipt, link);
        sd_event_source_disable_unref(receipt->source);
        (void) close_fd(receipt->fd);
        free(receipt);
        return NULL;
}

static void traffic_check(Traffic *traffic);

static int on_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Traffic *traffic = userdata;
        Receipt *receipt;

        traffic->check = sd_bus_slot_unref(traffic->check);

        if (traffic->check_rounds == 0)
                while ((receipt = TAILQ_FIRST(&traffic->hung)) && receipt->hung <= traffic->check_until) {
                        Outbox *outbox = receipt->outbox;
                        uint64_t position = receipt->position;

                        (void) receipt_free(receipt);
                        outbox_pass(outbox, position, true);
                }

        traffic_check(traffic);
        return 0;
}

/* A message is also freed when its client dies with it unread, and that is seen before NameOwnerChanged tells. So the
 * bus is asked something first: what it knew before comes before its answer. It may find the first question in a batch of
 * events from before the client's end, and the second in the very batch that has the end in it, further back; hence three
 * times. */
static void traffic_check(Traffic *traffic) {
        int r;

        if (traffic->check || TAILQ_EMPTY(&traffic->hung))
                return;

        if (traffic->check_rounds == 0) {
                traffic->check_rounds = CHECK_ROUNDS;
                traffic->check_until = traffic->n_hung;
        }
        traffic->check_rounds--;

        r = sd_bus_call_method_async(traffic->bus, &traffic->check, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "GetId", on_check, traffic, NULL);
        if (r < 0)
                log_error("Cannot ask the bus: %s", strerror(-r));
}

static int on_receipt(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Receipt *receipt = userdata;
        Outbox *outbox = receipt->outbox;
        Traffic *traffic = outbox->traffic;
        Handoff *handoff;

        receipt->source = sd_event_source_disable_unref(receipt->source);

        /* Whatever became of the message, the bus is rid of it. */
        credit_return_extra(&outbox->credit, receipt->in_window, receipt->pool);
        TAILQ_FOREACH(handoff, &outbox->on_bus, outbox_link)
                if (handoff->receipt && !handoff->returned && handoff->position <= receipt->position) {
                        credit_return(&outbox->credit, handoff->pool);
                        handoff->returned = true;
                }

        receipt->hung = ++traffic->n_hung;
        TAILQ_INSERT_TAIL(&traffic->hung, receipt, hung_link);
        traffic_check(traffic);
        outbox_wake(outbox);
        return 0;
}

/* Returns 0 if the budget has no room for its descriptor; there will be a wake-up then. */
static int receipt_new(Outbox *outbox, bool in_window, int *ret_fd, Receipt **ret) {
        Receipt *receipt;
        CreditPool pool;
        int ends[2], r;

        if (!credit_take_extra(&outbox->credit, in_window, &pool))
                return 0;

        receipt = calloc(1, sizeof(*receipt));
        if (!receipt || pipe2(ends, O_CLOEXEC) < 0) {
                r = receipt ? -errno : -ENOMEM;
                free(receipt);
                credit_return_extra(&outbox->credit, in_window, pool);
                return r;
        }

        receipt->outbox = outbox;
        receipt->in_window = in_window;
        receipt->pool = pool;
        receipt->fd = ends[0];
        TAILQ_INSERT_TAIL(&outbox->receipts, receipt, link);

        /* No event is asked for, so that only the hang-up is told: the client could write something. */
        r = sd_event_add_io(sd_bus_get_event(outbox->traffic->bus), &receipt->source, receipt->fd, 0, on_receipt,
                            receipt);
        if (r < 0) {
                (void) receipt_free(receipt);
                (void) close_fd(ends[1]);
                return r;
        }

        *ret_fd = ends[1];
        *ret = receipt;
        return 1;
}

/* The cookie of a barrier must not be guessed, or a client could answer what it has not read. dbus-daemon lets
 * the answer pass as soon as the call waits to be read, and of one client that collects descriptors without
 * reading it takes so many that it stops reading from us. */
static int seal_with_secret_cookie(sd_bus_message *m) {
        uint32_t cookie;

        if (getrandom(&cookie, sizeof(cookie), 0) != sizeof(cookie))
                return -EIO;

        /* The upper half, where sd-bus's own never come, or not for very long. */
        return sd_bus_message_seal(m, cookie | UINT32_C(1) << 31, UINT64_MAX);
}

static int new_ping(Outbox *outbox, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(outbox->traffic->bus, ret, outbox->destination, "/",
                                              "org.freedesktop.DBus.Peer", "Ping");
}

/* A client may take all the time it wants to answer: it spends its own credit, nobody else's. */
static int outbox_send_barrier(Outbox *outbox, Barrier *barrier) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_ping(outbox, &m);
        if (r < 0)
                return r;

        r = seal_with_secret_cookie(m);
        if (r < 0)
                return r;

        r = sd_bus_call_async(outbox->traffic->bus, &barrier->call, m, on_barrier, barrier, UINT64_MAX);
        if (r < 0)
                return r;

        barrier->position = outbox->last_position;
        outbox->barrier_position = outbox->last_position;
        return 0;
}

static void outbox_handle_probe_refusal(Outbox *outbox, const sd_bus_error *error) {
        log_debug("The bus did not pass a descriptor on to %s: %s", outbox->destination, error->message);

        outbox->probe_answer = sd_bus_slot_unref(outbox->probe_answer);
        if (outbox->probe_receipt)
                (void) receipt_free(outbox->probe_receipt);

        /* dbus-daemon and dbus-broker have different names for it. */
        if (streq(error->name, SD_BUS_ERROR_NOT_SUPPORTED) || streq(error->name, SD_BUS_ERROR_FAILED)) {
                outbox_refuse(outbox);
                return;
        }

        outbox->state = OUTBOX_NEW;
        outbox_unlist(outbox);
        outbox_set_timer(outbox, RETRY_USEC);
}

static int on_probe_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        Outbox *outbox = userdata;

        outbox->probe_call = sd_bus_slot_unref(outbox->probe_call);

        if (error && !answer_is_the_clients(outbox, m) && outbox->state == OUTBOX_PROBED)
                outbox_handle_probe_refusal(outbox, error);

        return 0;
}

/* A Ping with a receipt. dbus-daemon tells if it refuses one that wants no answer, and so its receipt is the answer: not
 * all clients answer Pings, and calls that wait for an answer are few there. dbus-broker only tells if one is wanted. */
static int outbox_send_probe(Outbox *outbox) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Traffic *traffic = outbox->traffic;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = receipt_new(outbox, false, &fd, &outbox->probe_receipt);
        if (r <= 0)
                return r;

        r = new_ping(outbox, &m);
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'h', &fd);
        if (r >= 0 && traffic->tells_refusals) {
                r = sd_bus_message_set_expect_reply(m, false);
                if (r >= 0)
                        r = sd_bus_send(traffic->bus, m, &outbox->probe_cookie);
        } else if (r >= 0)
                r = sd_bus_call_async(traffic->bus, &outbox->probe_call, m, on_probe_answer, outbox, UINT64_MAX);
        if (r < 0) {
                (void) receipt_free(outbox->probe_receipt);
                return r;
        }

        return 1;
}

/* The bus answers after it has dealt with the probe. That it did not refuse it is enough to go on. */
static int on_probe_passed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Outbox *outbox = userdata;

        outbox->probe_answer = sd_bus_slot_unref(outbox->probe_answer);

        if (outbox->state == OUTBOX_PROBED) {
                outbox_open(outbox);
                outbox_wake(outbox);
        }

        return 0;
}

static void outbox_probe(Outbox *outbox) {
        int r;

        r = outbox_send_probe(outbox);
        if (r == 0)
                return;
        if (r > 0)
                r = sd_bus_call_method_async(outbox->traffic->bus, &outbox->probe_answer, "org.freedesktop.DBus",
                                             "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId",
                                             on_probe_passed, outbox, NULL);
        if (r < 0) {
                log_debug("Cannot send a descriptor to %s: %s", outbox->destination, strerror(-r));
                outbox_set_timer(outbox, RETRY_USEC);
                return;
        }

        outbox->state = OUTBOX_PROBED;
        outbox_list(outbox);
}

bool outbox_is_refused(const Outbox *outbox) {
        return outbox->state == OUTBOX_REFUSED;
}

bool outbox_is_being_probed(const Outbox *outbox) {
        return outbox->state == OUTBOX_PROBED;
}

uint32_t outbox_get_room(Outbox *outbox, OutboxWaiter *waiter) {
        uint32_t room = 0;

        if (outbox->state == OUTBOX_REFUSED)
                outbox_set_timer(outbox, 0);
        else if (outbox->timer)
                ; /* something did not work, and is tried again soon */
        else if (outbox->state == OUTBOX_NEW)
                outbox_probe(outbox);
        else if (outbox->state == OUTBOX_OPEN)
                room = credit_get_room(&outbox->credit);

        if (room == 0)
                outbox_start_waiting(outbox, waiter);

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
        handoff->receipt = outbox->open_receipt != NULL;
        handoff->position = ++outbox->last_position;
        TAILQ_INSERT_TAIL(&outbox->on_bus, handoff, outbox_link);
        outbox_list(outbox);
}

/* How many are on the bus with neither a receipt nor a barrier. */
static uint32_t outbox_count_open(Outbox *outbox) {
        Handoff *handoff;
        uint32_t n = 0;

        TAILQ_FOREACH_REVERSE(handoff, &outbox->on_bus, HandoffQueue, outbox_link) {
                if (handoff->position <= outbox->barrier_position)
                        break;
                if (!handoff->receipt)
                        n++;
        }

        return n;
}

/* NULL if another one is not worth it, or cannot be had. */
static Barrier *outbox_find_barrier(Outbox *outbox, bool more) {
        Barrier *idle = NULL;
        uint32_t n_open = outbox_count_open(outbox), n_busy = 0, half;

        for (size_t i = 0; i < BARRIERS_MAX; i++)
                if (outbox->barriers[i].call)
                        n_busy++;
                else
                        idle = &outbox->barriers[i];

        if (!more && n_busy == 0)
                return n_open > 0 ? idle : NULL;

        half = credit_get_window(&outbox->credit) / 2;
        return n_open >= half && n_open >= SECOND_BARRIER_MIN ? idle : NULL;
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

        barrier = outbox_find_barrier(outbox, more);
        if (!barrier)
                return;

        r = outbox_send_barrier(outbox, barrier);
        if (r < 0) {
                log_debug("Cannot ask %s whether it has its connections: %s", outbox->destination, strerror(-r));
                outbox_set_timer(outbox, RETRY_USEC);
        }
}

void outbox_expect_receipts(Outbox *outbox) {
        credit_expect_receipts(&outbox->credit);
}

int outbox_attach_receipt(Outbox *outbox, OutboxWaiter *waiter, int *ret_fd) {
        int r;

        r = receipt_new(outbox, true, ret_fd, &outbox->open_receipt);
        if (r == 0)
                outbox_start_waiting(outbox, waiter);

        return r;
}

void outbox_detach_receipt(Outbox *outbox) {
        if (outbox->open_receipt)
                (void) receipt_free(outbox->open_receipt);
}

void outbox_seal_receipt(Outbox *outbox) {
        TAKE_PTR(outbox->open_receipt)->position = outbox->last_position;
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
        bool later = streq(error->name, SD_BUS_ERROR_LIMITS_EXCEEDED) || streq(error->name, SD_BUS_ERROR_NO_MEMORY);
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

                outbox_remove(outbox, handoff);
                if (!d) {
                        (void) handoff_free(handoff);
                        continue;
                }

                delivery_recall(d, handoff);
                handoff->refused = true;
                if (!later)
                        delivery_lose(d, handoff, -EACCES);
                (void) d->ops->get_room(d); /* there is none, so it waits for the next attempt */
        }
}

/* dbus-daemon answers a signal that it could not pass on with an error, like a call. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Traffic *traffic = userdata;
        const sd_bus_error *error;
        const char *sender;
        Outbox *outbox;
        uint64_t cookie;

        linger_limit(); /* whatever comes with it is closed in the end */

        error = sd_bus_message_get_error(m);
        if (!error || sd_bus_message_get_reply_cookie(m, &cookie) < 0)
                return 0;

        sender = sd_bus_message_get_sender(m);
        if (!sender || !streq(sender, "org.freedesktop.DBus"))
                return 0;

        if (cookie == traffic->test_cookie) {
                traffic->tells_refusals = true;
                return 1;
        }

        TAILQ_FOREACH(outbox, &traffic->outboxes, link) {
                Handoff *handoff;

                if (outbox->state == OUTBOX_PROBED && outbox->probe_cookie == cookie) {
                        outbox_handle_probe_refusal(outbox, error);
                        return 1;
                }

                TAILQ_FOREACH(handoff, &outbox->on_bus, outbox_link)
                        if (handoff->cookie == cookie) {
                                outbox_handle_refusal(outbox, cookie, error);
                                return 1;
                        }
        }

        return 0;
}

/* Finds out whether the bus tells of a signal that it could not pass on, by one to nobody. */
static int traffic_test_bus(Traffic *traffic) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(traffic->bus, &m, MANAGER_PATH, MANAGER_INTERFACE, "Test");
        if (r >= 0)
                r = sd_bus_message_set_destination(m, BUS_NAME ".Nobody");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_send(traffic->bus, m, &traffic->test_cookie);

        return r;
}

int traffic_init(Traffic *traffic, sd_bus *bus, Store *store, uint32_t limit) {
        int r;

        *traffic = (Traffic) { .bus = sd_bus_ref(bus), .store = store };
        TAILQ_INIT(&traffic->outboxes);
        TAILQ_INIT(&traffic->hung);
        budget_init(&traffic->budget, limit);

        r = sd_bus_add_filter(bus, &traffic->errors, on_message, traffic);
        if (r < 0)
                return r;

        return traffic_test_bus(traffic);
}

void traffic_done(Traffic *traffic) {
        if (!traffic->bus)
                return;

        budget_done(&traffic->budget);
        traffic->errors = sd_bus_slot_unref(traffic->errors);
        traffic->check = sd_bus_slot_unref(traffic->check);
        traffic->bus = sd_bus_unref(traffic->bus);
}
