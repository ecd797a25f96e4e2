/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/error.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus/close-replies.h"
#include "daemon/outbox/error-reply.h"

struct CloseReply {
        sd_bus_message *call;
        uint64_t listener;
        TAILQ_ENTRY(CloseReply) link;
};

static void close_reply_free(CloseReplies *replies, CloseReply *reply) {
        TAILQ_REMOVE(&replies->waiting, reply, link);
        sd_bus_message_unref(reply->call);
        free(reply);
}

void close_replies_init(CloseReplies *replies) {
        TAILQ_INIT(&replies->waiting);
}

void close_replies_done(CloseReplies *replies) {
        CloseReply *reply;

        while ((reply = TAILQ_FIRST(&replies->waiting))) {
                (void) error_reply(reply->call, ERROR_SHUTTING_DOWN);
                close_reply_free(replies, reply);
        }
}

int close_replies_add(CloseReplies *replies, sd_bus_message *call, uint64_t listener) {
        CloseReply *reply;

        reply = malloc(sizeof(*reply));
        if (!reply)
                return -ENOMEM;

        *reply = (CloseReply) { .call = sd_bus_message_ref(call), .listener = listener };
        TAILQ_INSERT_TAIL(&replies->waiting, reply, link);
        return 0;
}

void close_replies_send(CloseReplies *replies, uint64_t listener) {
        CloseReply *reply, *next;
        int r;

        for (reply = TAILQ_FIRST(&replies->waiting); reply; reply = next) {
                next = TAILQ_NEXT(reply, link);
                if (reply->listener != listener)
                        continue;

                r = sd_bus_reply_method_return(reply->call, NULL);
                if (r < 0)
                        log_debug("Failed to reply to %s: %s", sd_bus_message_get_sender(reply->call),
                                  strerror(-r));
                close_reply_free(replies, reply);
        }
}
