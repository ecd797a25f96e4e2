/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/i18n.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "base/names.h"
#include "daemon/bus/access.h"
#include "daemon/bus/call.h"
#include "daemon/bus/close-replies.h"
#include "daemon/bus/descriptor-reply.h"
#include "daemon/bus/listener-methods.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/delivery/delivery-pull.h"
#include "daemon/delivery/delivery-signal.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/listener/listener-accept.h"
#include "daemon/listener/listener-control.h"
#include "daemon/policy/options.h"

/* Shorter than the 25 s after which most D-Bus libraries give a call up. */
#define ACCEPT_TIMEOUT_MAX_MS UINT32_C(20000)

/* If the call has the flag NO_REPLY_EXPECTED, sd-bus silently drops the reply, and the connections or the
 * descriptor in it would be lost. */
static int check_expects_reply(Call *call) {
        if (sd_bus_message_get_expect_reply(call->message) > 0)
                return 0;

        return error_set(&call->error, ERROR_REPLY_REQUIRED);
}

static int set_wrong_delivery_error(Call *call, const Listener *l) {
        return error_set(&call->error, ERROR_WRONG_DELIVERY, sd_bus_message_get_member(call->message),
                         l->path, delivery_kind_to_string(l->options->delivery));
}

static void need_close(Call *call, CallNeed *need) {
        access_need_manage(call, need, ACCESS_CLOSE,
                           N_("Authentication is required to close listener $(listener), of another user."),
                           true);
}

static void log_closed(const Call *call, const Listener *l) {
        char address[ADDRESS_STRING_MAX];
        LogFields fields = listener_log_all_fields(l, address);
        const Client *caller = call->client;

        fields.owner_unit = l->owner ? l->owner->unit : NULL;
        fields.caller = caller->name;
        fields.caller_uid = caller->uid;
        fields.caller_pid = caller->pid;
        fields.action = call->authorized ? call->need.question.action : NULL;
        fields.kind = caller->uid == l->uid ? LOG_KIND_LISTENER : LOG_KIND_PRIVILEGED;
        log_event(LOG_NOTICE, MESSAGE_LISTENER_CLOSED_STR, &fields,
                  "User %u (PID %u) closed %s of user %u, port %u on %s", (unsigned) caller->uid, caller->pid,
                  l->path, (unsigned) l->uid, fields.port, address);
}

static int act_close(Call *call) {
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_CLOSE, &l);
        if (r < 0)
                return r;

        if (l->owner == call->client) {
                listener_close_now(l, LISTENER_END_OWNER);
                return sd_bus_reply_method_return(call->message, NULL);
        }

        r = close_replies_add(&call->queue->close_replies, call->message, l->id);
        if (r < 0)
                return r;

        /* A user that closes a persistent listener of its own, which waits for an owner, is the owner. */
        if (l->owner || !access_owns(call->client, l))
                log_closed(call, l);
        listener_close(l, access_owns(call->client, l) ? LISTENER_END_OWNER : LISTENER_END_ADMINISTRATOR);
        return 0;
}

static int act_adopt(Call *call) {
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        if (l->owner)
                return error_set(&call->error, ERROR_HAS_OWNER, l->path, l->owner->name);

        return access_adopt(call, l, NULL);
}

/* Finds the listener of Pause and Resume, which the delivery "socket" does not have. */
static int find_accepting(Call *call, Listener **ret) {
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;
        r = delivery_kind_accepts(l->options->delivery) ? 0 : set_wrong_delivery_error(call, l);
        if (r >= 0)
                *ret = l;
        return r;
}

static int act_pause(Call *call) {
        Listener *l;
        int r;

        r = find_accepting(call, &l);
        if (r < 0)
                return r;

        listener_pause(l);
        return sd_bus_reply_method_return(call->message, NULL);
}

static int act_resume(Call *call) {
        Listener *l;
        int r;

        r = find_accepting(call, &l);
        if (r < 0)
                return r;

        listener_resume(l);
        r = sd_bus_reply_method_return(call->message, NULL);
        listener_serve(l);
        return r < 0 ? r : 0;
}

static int act_acknowledge(Call *call) {
        uint64_t serial;
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        r = sd_bus_message_read_basic(call->message, 't', &serial);
        if (r < 0)
                return r;

        r = delivery_signal_acknowledge(l->delivery, serial);
        if (r == -EOPNOTSUPP)
                return error_set(&call->error, ERROR_WITHOUT_ACKNOWLEDGE, l->path);
        if (r == -ERANGE)
                return error_set(&call->error, ERROR_NO_SUCH_SERIAL, serial);
        if (r < 0)
                return r;

        return sd_bus_reply_method_return(call->message, NULL);
}

static int act_accept(Call *call) {
        uint32_t maximum, timeout_ms;
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        r = check_expects_reply(call);
        if (r < 0)
                return r;

        r = sd_bus_message_read(call->message, "uu", &maximum, &timeout_ms);
        if (r < 0)
                return r;
        if (maximum == 0)
                return error_set(&call->error, ERROR_MAXIMUM_OUT_OF_RANGE);
        if (timeout_ms > ACCEPT_TIMEOUT_MAX_MS)
                return error_set(&call->error, ERROR_TIMEOUT_OUT_OF_RANGE, timeout_ms, ACCEPT_TIMEOUT_MAX_MS);

        r = delivery_pull_accept(l->delivery, call->client->outbox, call->message, maximum, timeout_ms);
        if (r == -EOPNOTSUPP)
                return set_wrong_delivery_error(call, l);
        if (r == -EDQUOT)
                return error_set(&call->error, ERROR_TOO_MANY_ACCEPT_CALLS, l->path, DELIVERY_PULL_CALLS_MAX);

        return r;
}

/* The errors of OpenChannel, OpenLifeline and TakeSocket, which work once. */
static int set_descriptor_error(Call *call, const Listener *l, int r) {
        if (r == -EOPNOTSUPP)
                return set_wrong_delivery_error(call, l);
        if (r == -EALREADY)
                return error_set(&call->error, ERROR_ALREADY_TAKEN, sd_bus_message_get_member(call->message),
                                 l->path);
        return r;
}

static int get_channel(Call *call) {
        const Limits *limits = &call->manager->limits;
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        r = manager_open_channel(call->manager, l);
        if (r == -EDQUOT)
                return call_set_limit_error(call, ERROR_TOO_MANY_CHANNELS_PER_USER, "MaxChannelsPerUser",
                                            limits->channels_per_user);
        if (r == -ENOSPC)
                return call_set_limit_error(call, ERROR_TOO_MANY_CHANNELS, "MaxChannels", limits->channels);

        return r < 0 ? set_descriptor_error(call, l, r) : r;
}

/* Returns NULL if the listener was closed since the call. */
static Listener *find_listener(const Call *call) {
        return access_find_listener(call->manager, sd_bus_message_get_path(call->message));
}

static void on_channel_sent(Call *call) {
        Listener *l = find_listener(call);

        if (l)
                listener_serve(l);
}

/* So that the next process knows that the socket is taken. */
static void on_socket_sent(Call *call) {
        Listener *l = find_listener(call);

        if (l)
                listener_save_state(l);
}

/* The descriptor was not sent, so that the client can call again. */
static void on_descriptor_failed(Call *call) {
        Listener *l = find_listener(call);

        if (l)
                manager_take_back(l);
}

/* Errors are replied immediately, without waiting for credit. */
static int start_descriptor_reply(Call *call, DescriptorGet get, DescriptorSent sent, DescriptorSent failed) {
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        r = check_expects_reply(call);
        if (r < 0)
                return r;

        r = descriptor_reply_start(call, get, sent, failed);
        if (r == -EDQUOT)
                return call_set_limit_error(call, ERROR_TOO_MANY_REQUESTS_PER_USER,
                                            "MaxPendingRequestsPerUser",
                                            call->manager->limits.pending_requests_per_user);

        return r;
}

static int act_open_channel(Call *call) {
        return start_descriptor_reply(call, get_channel, on_channel_sent, on_descriptor_failed);
}

static int get_socket(Call *call) {
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        r = delivery_socket_take(l->delivery, l->fd);
        return r < 0 ? set_descriptor_error(call, l, r) : r;
}

static int act_take_socket(Call *call) {
        return start_descriptor_reply(call, get_socket, on_socket_sent, on_descriptor_failed);
}

static int get_lifeline(Call *call) {
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_USE, &l);
        if (r < 0)
                return r;

        r = listener_open_lifeline(l);
        return r < 0 ? set_descriptor_error(call, l, r) : r;
}

static void on_lifeline_sent(Call *call) {
        Listener *l = find_listener(call);

        if (l)
                listener_set_lifeline_sent(l);
}

static void on_lifeline_failed(Call *call) {
        Listener *l = find_listener(call);

        if (l)
                lifeline_close(&l->lifeline);
}

static int act_open_lifeline(Call *call) {
        return start_descriptor_reply(call, get_lifeline, on_lifeline_sent, on_lifeline_failed);
}

static const struct {
        const char *member;
        CallMethod method;
} methods[] = {
        { "Close", { .need = need_close, .act = act_close } },
        { "Adopt", { .act = act_adopt, .needs_descriptors = true } },
        { "Pause", { .act = act_pause } },
        { "Resume", { .act = act_resume } },
        { "Acknowledge", { .act = act_acknowledge } },
        { "Accept", { .act = act_accept, .needs_descriptors = true } },
        { "OpenLifeline", { .act = act_open_lifeline, .needs_descriptors = true } },
        { "OpenChannel", { .act = act_open_channel, .needs_descriptors = true } },
        { "TakeSocket", { .act = act_take_socket, .needs_descriptors = true } },
};

/* The handler of all methods. The listener is looked up when the call is acted on, which may be later. */
static int on_method(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        CallQueue *calls = sd_bus_slot_get_userdata(sd_bus_get_current_slot(sd_bus_message_get_bus(m)));
        const char *member = sd_bus_message_get_member(m);
        size_t i = 0;

        while (!streq(methods[i].member, member)) {
                i++;
                assert(i < ELEMENTS(methods));
        }

        return call_start(calls, m, &methods[i].method, NULL);
}

static const sd_bus_vtable method_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_METHOD("Close", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Adopt", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Pause", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Resume", NULL, NULL, on_method, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Acknowledge",
                                SD_BUS_ARGS("t", serial),
                                SD_BUS_NO_RESULT,
                                on_method,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Accept",
                                SD_BUS_ARGS("u", maximum, "u", timeoutMs),
                                SD_BUS_RESULT("a(hsqa{sv})", connections),
                                on_method,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenLifeline",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("h", lifeline),
                                on_method,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenChannel",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("h", channel),
                                on_method,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("TakeSocket",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("h", socket),
                                on_method,
                                SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END
};

int listener_methods_add(sd_bus *bus, CallQueue *calls, sd_bus_object_find_t find, sd_bus_slot **ret) {
        return sd_bus_add_fallback_vtable(bus, ret, LISTENER_PREFIX, LISTENER_INTERFACE, method_vtable, find,
                                          calls);
}
