/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-event.h>

#include "base/macros.h"
#include "daemon/bus/call.h"
#include "daemon/bus/descriptor-reply.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/error-reply.h"
#include "daemon/outbox/outbox.h"

/* Well above the time that a client needs to read its messages, and below the 25 s that most callers wait. */
#define WAIT_USEC (UINT64_C(5) * 1000 * 1000)

typedef struct DescriptorReply {
        Call call; /* a copy, because the original is freed */
        DescriptorGet get;
        DescriptorSent sent;
        DescriptorSent failed;
        Waiter waiter;
        Waiter end; /* called when the client leaves */
        UserCharge charge;
        sd_event_source *timer;
} DescriptorReply;

static void reply_free(DescriptorReply *reply) {
        waiter_stop(&reply->waiter);
        waiter_stop(&reply->end);
        user_discharge(&reply->charge);
        sd_event_source_disable_unref(reply->timer);
        error_done(&reply->call.error);
        sd_bus_message_unref(reply->call.message);
        free(reply);
}

static int reply_send(DescriptorReply *reply) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Outbox *outbox = reply->call.client->outbox;
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = reply->get(&reply->call);
        if (fd < 0)
                return fd;

        r = sd_bus_message_new_method_return(reply->call.message, &m);
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'h', &fd);
        if (r >= 0)
                r = outbox_send(outbox, m, NULL, 1);
        if (r < 0) {
                reply->failed(&reply->call);
                return r;
        }

        outbox_flush(outbox, false);
        return 0;
}

static void on_room(Waiter *waiter) {
        DescriptorReply *reply = CONTAINER_OF(waiter, DescriptorReply, waiter);
        int r;

        r = reply_send(reply);
        if (r < 0)
                (void) error_reply_send(reply->call.message, r, &reply->call.error);
        else
                reply->sent(&reply->call);

        reply_free(reply);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        DescriptorReply *reply = userdata;

        (void) error_reply(reply->call.message, ERROR_NO_ROOM_FOR_DESCRIPTOR);
        reply_free(reply);

        return 0;
}

static void on_left(Waiter *end) {
        reply_free(CONTAINER_OF(end, DescriptorReply, end));
}

int descriptor_reply_start(Call *call, DescriptorGet get, DescriptorSent sent, DescriptorSent failed) {
        DescriptorReply *reply;
        int r;

        reply = calloc(1, sizeof(*reply));
        if (!reply)
                return -ENOMEM;

        r = user_charge(&call->manager->users, call->client->uid, USER_CALLS, 1,
                        call->manager->limits.pending_requests_per_user, &reply->charge);
        if (r < 0) {
                free(reply);
                return r;
        }

        reply->call = (Call) {
                .queue = call->queue,
                .manager = call->manager,
                .client = call->client, /* freed after the reply, see on_left() */
                .message = sd_bus_message_ref(call->message),
        };
        reply->get = get;
        reply->sent = sent;
        reply->failed = failed;
        reply->waiter = (Waiter) { .ready = on_room };
        reply->end = (Waiter) { .ready = on_left };
        outbox_await_end(call->client->outbox, &reply->end);

        r = sd_event_add_time_relative(sd_bus_get_event(outbox_get_bus(call->client->outbox)), &reply->timer,
                                       CLOCK_MONOTONIC, WAIT_USEC, 0, on_time, reply);
        if (r < 0) {
                reply_free(reply);
                return r;
        }

        if (outbox_request_room(call->client->outbox, &reply->waiter) > 0)
                on_room(&reply->waiter);
        return 0;
}
