/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/bus/access.h"
#include "daemon/bus/bus-error.h"
#include "daemon/bus/call.h"
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

/* A method gets what find_object() found, a listener; but it has to look it up again when it acts. */
static CallQueue *get_calls(sd_bus_message *m) {
        return sd_bus_slot_get_userdata(sd_bus_get_current_slot(sd_bus_message_get_bus(m)));
}

/* A reply that nobody expects is not sent, which sd-bus does not tell, and what would have been in it is
 * lost. */
static int check_expects_reply(Call *call, sd_bus_error *error) {
        if (sd_bus_message_get_expect_reply(call->message) > 0)
                return 0;

        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "The call must have a reply");
}

static int set_wrong_delivery_error(const Listener *l, const char *member, sd_bus_error *error) {
        return sd_bus_error_setf(error, ERROR_WRONG_DELIVERY,
                                 "%s is not for the listener %s, whose delivery is \"%s\"", member, l->path,
                                 delivery_kind_to_string(l->options->delivery));
}

static void need_close(Call *call, CallNeed *need) {
        access_need_manage(call, need, ACCESS_CLOSE,
                           N_("Authentication is required to close another user's listener on port $(port)."),
                           true);
}

static int act_close(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_CLOSE, &l, error);
        if (r < 0)
                return r;

        listener_close(l, access_owns(call->client, l) ? LISTENER_END_OWNER : LISTENER_END_ADMINISTRATOR);
        return sd_bus_reply_method_return(call->message, NULL);
}

static int method_close(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .need = need_close, .act = act_close };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_adopt(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        if (l->owner)
                return sd_bus_error_setf(error, ERROR_HAS_OWNER, "The listener %s has an owner, %s", l->path,
                                         l->owner->name);

        /* What is promised is true also for the next process. */
        listener_save_owner(l, call->client->name);
        r = sd_bus_reply_method_return(call->message, NULL);
        if (r < 0) {
                listener_save_owner(l, NULL);
                return r;
        }

        manager_own(call->manager, call->client, l);
        return 0;
}

static int method_adopt(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_adopt };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_pause(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;
        if (!delivery_kind_accepts(l->options->delivery))
                return set_wrong_delivery_error(l, "Pause", error);

        listener_pause(l);
        return sd_bus_reply_method_return(call->message, NULL);
}

static int method_pause(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_pause };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_resume(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;
        if (!delivery_kind_accepts(l->options->delivery))
                return set_wrong_delivery_error(l, "Resume", error);

        listener_resume(l);
        r = sd_bus_reply_method_return(call->message, NULL);
        listener_serve(l);
        return r < 0 ? r : 0;
}

static int method_resume(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_resume };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_acknowledge(Call *call, sd_bus_error *error) {
        uint64_t serial;
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = sd_bus_message_read_basic(call->message, 't', &serial);
        if (r < 0)
                return r;

        r = delivery_signal_acknowledge(l->delivery, serial);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_setf(error, ERROR_WRONG_DELIVERY,
                                         "The listener %s was not made with the option acknowledge", l->path);
        if (r == -ERANGE)
                return bus_error_from_errno(
                                error, r, "Argument serial is %llu; no connection with that serial was sent",
                                (unsigned long long) serial);
        if (r < 0)
                return r;

        return sd_bus_reply_method_return(call->message, NULL);
}

static int method_acknowledge(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_acknowledge };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_accept(Call *call, sd_bus_error *error) {
        uint32_t maximum, timeout_ms;
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = check_expects_reply(call, error);
        if (r < 0)
                return r;

        r = sd_bus_message_read(call->message, "uu", &maximum, &timeout_ms);
        if (r < 0)
                return r;
        if (maximum == 0)
                return bus_error_from_errno(error, -EINVAL, "Argument maximum is 0");
        if (timeout_ms > ACCEPT_TIMEOUT_MAX_MS)
                return bus_error_from_errno(error, -EINVAL, "Argument timeoutMs is %u; %u is the most",
                                            timeout_ms, ACCEPT_TIMEOUT_MAX_MS);

        r = delivery_pull_accept(l->delivery, call->client->outbox, call->message, maximum, timeout_ms);
        if (r == -EOPNOTSUPP)
                return set_wrong_delivery_error(l, "Accept", error);
        if (r == -EDQUOT)
                return bus_error_from_errno(error, r,
                                            "%u calls of Accept wait for the listener %s, which is the most",
                                            DELIVERY_PULL_CALLS_MAX, l->path);

        return r;
}

static int method_accept(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_accept };

        return call_start(get_calls(m), m, &method, NULL);
}

/* What OpenChannel and TakeSocket have in common: they work once. */
static int set_descriptor_error(Call *call, const Listener *l, int r, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(call->message);

        if (r == -EOPNOTSUPP)
                return set_wrong_delivery_error(l, member, error);
        if (r == -EALREADY)
                return sd_bus_error_setf(error, ERROR_ALREADY_TAKEN,
                                         "%s was called before for the listener %s", member, l->path);
        return r;
}

static int get_channel(Call *call, sd_bus_error *error) {
        const Limits *limits = &call->manager->limits;
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = manager_open_channel(call->manager, l);
        if (r == -EDQUOT)
                return call_set_limit_error(call, "MaxChannelsPerUser", limits->channels_per_user,
                                            "The user has as many channels as it may", error);
        if (r == -ENOSPC)
                return call_set_limit_error(call, "MaxChannels", limits->channels,
                                            "The service has as many channels as it may", error);

        return r < 0 ? set_descriptor_error(call, l, r, error) : r;
}

static void on_channel_sent(Call *call) {
        Listener *l;

        l = access_find_listener(call->manager, sd_bus_message_get_path(call->message));
        if (l)
                listener_serve(l);
}

/* From now on it has been taken, for the next process as well. */
static void on_socket_sent(Call *call) {
        Listener *l;

        l = access_find_listener(call->manager, sd_bus_message_get_path(call->message));
        if (l)
                listener_save_state(l);
}

/* It did not get as far as the client. */
static void on_descriptor_failed(Call *call) {
        Listener *l;

        l = access_find_listener(call->manager, sd_bus_message_get_path(call->message));
        if (l)
                manager_take_back(l);
}

static int start_descriptor_reply(Call *call, DescriptorGet get, DescriptorSent sent, sd_bus_error *error) {
        int r;

        r = descriptor_reply_start(call, get, sent, on_descriptor_failed);
        if (r == -EDQUOT)
                return call_set_limit_error(call, "MaxPendingRequestsPerUser",
                                            call->manager->limits.pending_requests_per_user,
                                            "The user has as many requests waiting as it may", error);

        return r;
}

/* Denied at once, even if the caller may not be sent anything yet. */
static int act_open_channel(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = check_expects_reply(call, error);
        if (r < 0)
                return r;

        return start_descriptor_reply(call, get_channel, on_channel_sent, error);
}

static int method_open_channel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_open_channel };

        return call_start(get_calls(m), m, &method, NULL);
}

static int get_socket(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = delivery_socket_take(l->delivery, l->fd);
        return r < 0 ? set_descriptor_error(call, l, r, error) : r;
}

static int act_take_socket(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = access_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = check_expects_reply(call, error);
        if (r < 0)
                return r;

        return start_descriptor_reply(call, get_socket, on_socket_sent, error);
}

static int method_take_socket(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_take_socket };

        return call_start(get_calls(m), m, &method, NULL);
}

static const sd_bus_vtable method_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_METHOD("Close", NULL, NULL, method_close, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Adopt", NULL, NULL, method_adopt, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Pause", NULL, NULL, method_pause, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Resume", NULL, NULL, method_resume, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Acknowledge",
                                SD_BUS_ARGS("t", serial),
                                SD_BUS_NO_RESULT,
                                method_acknowledge,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Accept",
                                SD_BUS_ARGS("u", maximum, "u", timeoutMs),
                                SD_BUS_RESULT("a(hsqa{sv})", connections),
                                method_accept,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenChannel",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("h", channel),
                                method_open_channel,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("TakeSocket",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("h", socket),
                                method_take_socket,
                                SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END
};

int listener_methods_add(sd_bus *bus, CallQueue *calls, sd_bus_object_find_t find, sd_bus_slot **ret) {
        return sd_bus_add_fallback_vtable(bus, ret, LISTENER_PREFIX, LISTENER_INTERFACE, method_vtable, find,
                                          calls);
}
