/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/receipt.h"

#define CHECK_ROUNDS 3

static void receipt_check_ask(ReceiptCheck *check);

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        ReceiptCheck *check = userdata;
        Receipt *receipt;

        check->question = sd_bus_slot_unref(check->question);

        if (check->rounds == 0 && bus_driver_is_sender(m) && !sd_bus_message_is_method_error(m, NULL))
                while ((receipt = TAILQ_FIRST(&check->hung)) && receipt->hung <= check->until)
                        receipt->receipts->events->read(receipt, receipt->receipts->userdata);

        receipt_check_ask(check);
        return 0;
}

static void receipt_check_ask(ReceiptCheck *check) {
        int r;

        if (check->question || TAILQ_EMPTY(&check->hung))
                return;

        if (check->rounds == 0) {
                check->rounds = CHECK_ROUNDS;
                check->until = check->n_hung;
        }
        check->rounds--;

        r = bus_driver_call(check->bus, &check->question, "org.freedesktop.DBus", "GetId", NULL, on_answer,
                            check);
        if (r < 0)
                log_error("Failed to call GetId of the bus: %s", strerror(-r));
}

void receipt_check_init(ReceiptCheck *check, sd_bus *bus) {
        *check = (ReceiptCheck) { .bus = bus };
        TAILQ_INIT(&check->hung);
}

void receipt_check_done(ReceiptCheck *check) {
        check->question = sd_bus_slot_unref(check->question);
}

static int on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Receipt *receipt = userdata;
        Receipts *receipts = receipt->receipts;
        ReceiptCheck *check = receipts->check;

        receipt->source = sd_event_source_disable_unref(receipt->source);
        credit_return_extra(receipts->credit, receipt->in_window, receipt->slot);

        receipt->hung = ++check->n_hung;
        TAILQ_INSERT_TAIL(&check->hung, receipt, hung_link);
        receipt_check_ask(check);
        receipts->events->hung(receipt, receipts->userdata);
        return 0;
}

void receipts_init(Receipts *receipts,
                   ReceiptCheck *check,
                   Credit *credit,
                   const ReceiptEvents *events,
                   void *userdata) {
        *receipts = (Receipts) {
                .check = check,
                .credit = credit,
                .events = events,
                .userdata = userdata,
        };
        TAILQ_INIT(&receipts->list);
}

void receipts_done(Receipts *receipts) {
        Receipt *receipt;

        while ((receipt = TAILQ_FIRST(&receipts->list)))
                (void) receipt_free(receipt);
}

int receipts_add(Receipts *receipts, bool in_window, int *ret_fd, Receipt **ret) {
        Credit *credit = receipts->credit;
        Receipt *receipt;
        UserSlot slot;
        int ends[2], r;

        if (!credit_take_extra(credit, in_window, &slot))
                return 0;

        receipt = calloc(1, sizeof(*receipt));
        if (!receipt || pipe2(ends, O_CLOEXEC) < 0) {
                r = receipt ? -errno : -ENOMEM;
                free(receipt);
                credit_return_extra(credit, in_window, slot);
                return r;
        }

        receipt->receipts = receipts;
        receipt->in_window = in_window;
        receipt->slot = slot;
        receipt->fd = ends[0];
        TAILQ_INSERT_TAIL(&receipts->list, receipt, link);

        /* Without EPOLLIN, because the client may write into the pipe. */
        r = sd_event_add_io(sd_bus_get_event(receipts->check->bus), &receipt->source, receipt->fd, 0,
                            on_hang_up, receipt);
        if (r < 0) {
                (void) receipt_free(receipt);
                (void) close_fd(ends[1]);
                return r;
        }

        *ret_fd = ends[1];
        *ret = receipt;
        return 1;
}

bool receipt_went_with(const Receipt *receipt, uint64_t position) {
        return position >= receipt->first && position <= receipt->position;
}

Receipt *receipts_find(Receipts *receipts, uint64_t position) {
        Receipt *receipt;

        TAILQ_FOREACH(receipt, &receipts->list, link)
                if (receipt_went_with(receipt, position))
                        return receipt;

        return NULL;
}

Receipt *receipt_free(Receipt *receipt) {
        Receipts *receipts;

        if (!receipt)
                return NULL;

        receipts = receipt->receipts;
        if (receipts->probe == receipt)
                receipts->probe = NULL;
        if (receipts->open == receipt)
                receipts->open = NULL;
        TAILQ_REMOVE(&receipts->list, receipt, link);

        if (receipt->hung > 0)
                TAILQ_REMOVE(&receipts->check->hung, receipt, hung_link);
        else
                credit_return_extra(receipts->credit, receipt->in_window, receipt->slot);
        sd_event_source_disable_unref(receipt->source);
        (void) close_fd(receipt->fd);
        free(receipt);
        return NULL;
}
