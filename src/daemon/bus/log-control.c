/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The bus policy says which callers may read; only root and the service's own user may set.
 *
 * sd-bus would check that by a synchronous question to the bus for the caller's credentials, during which the
 * service stands still. So Set is handled before the vtable, and waits until the caller is identified, like
 * any method. The properties stay privileged in the vtable, for introspection. The bus policy refuses Set as
 * well, but an administrator may have changed that file.
 */

#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus/call.h"
#include "daemon/bus/log-control.h"
#include "daemon/core/client.h"
#include "daemon/outbox/error-reply.h"

#define LOG_CONTROL_PATH "/org/freedesktop/LogControl1"
#define LOG_CONTROL_INTERFACE "org.freedesktop.LogControl1"

/* At the end of the file. */
static const sd_bus_vtable *get_log_control_vtable(void);

static int set_level(const char *value, Error *error) {
        int level;

        level = log_level_from_string(value);
        if (level < 0)
                return error_set(error, ERROR_NO_SUCH_LOG_LEVEL, value);

        log_set_level(level);
        return 0;
}

static int set_target(const char *value, Error *error) {
        int target;

        target = log_target_from_string(value);
        if (target < 0)
                return error_set(error, ERROR_NO_SUCH_LOG_TARGET, value);

        log_set_target((LogTarget) target);
        return 0;
}

static int set_property(const char *property, const char *value, Error *error) {
        if (streq(property, "LogLevel"))
                return set_level(value, error);
        if (streq(property, "LogTarget"))
                return set_target(value, error);
        if (streq(property, "SyslogIdentifier"))
                return error_set(error, ERROR_READ_ONLY_PROPERTY, property);

        return error_set(error, ERROR_UNKNOWN_PROPERTY);
}

static int act_set(Call *call) {
        const char *property, *value;
        uid_t uid = call->client->uid;
        int r;

        if (uid != 0 && uid != geteuid())
                return error_set(&call->error, ERROR_LOG_NOT_PERMITTED, uid);

        if (!sd_bus_message_has_signature(call->message, "ssv") ||
            sd_bus_message_read(call->message, "ssv", NULL, &property, "s", &value) < 0)
                return error_set(&call->error, ERROR_WRONG_ARGUMENTS, "ssv");

        r = set_property(property, value, &call->error);
        if (r < 0)
                return r;

        log_event(LOG_NOTICE, NULL,
                  &(LogFields) { .owner = call->client->name, .has_owner_uid = true, .owner_uid = uid },
                  "User %u has set %s to %s", (unsigned) uid, property, value);
        return sd_bus_reply_method_return(call->message, NULL);
}

static const CallMethod set_method = { .act = act_set };

/* Called before the vtable. */
static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *interface;
        int r;

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Set") <= 0)
                return 0;

        r = sd_bus_message_read_basic(m, 's', &interface);
        if (r < 0)
                return error_reply(m, ERROR_WRONG_ARGUMENTS, "ssv");

        r = sd_bus_message_rewind(m, true);
        if (r < 0)
                return r;

        /* sd-bus refuses the others, which have nothing to set. */
        if (!streq(interface, LOG_CONTROL_INTERFACE))
                return 0;

        return call_start(userdata, m, &set_method, NULL);
}

static int property_get(sd_bus *bus,
                        const char *path,
                        const char *interface,
                        const char *property,
                        sd_bus_message *reply,
                        void *userdata,
                        sd_bus_error *error) {
        const char *value = streq(property, "LogLevel")    ? log_level_to_string(log_get_level())
                            : streq(property, "LogTarget") ? log_target_to_string(log_get_target())
                                                           : log_get_identifier();

        return sd_bus_message_append_basic(reply, 's', value);
}

/* Never called, see on_call(). */
static int property_set(sd_bus *bus,
                        const char *path,
                        const char *interface,
                        const char *property,
                        sd_bus_message *value,
                        void *userdata,
                        sd_bus_error *error) {
        return -EACCES;
}

int log_control_bus_add(sd_bus *bus, CallQueue *calls, sd_bus_slot **ret_vtable, sd_bus_slot **ret_calls) {
        int r;

        r = sd_bus_add_object(bus, ret_calls, LOG_CONTROL_PATH, on_call, calls);
        if (r < 0)
                return r;

        return sd_bus_add_object_vtable(bus, ret_vtable, LOG_CONTROL_PATH, LOG_CONTROL_INTERFACE,
                                        get_log_control_vtable(), calls);
}

static const sd_bus_vtable log_control_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", property_get, property_set, 0, 0),
        SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", property_get, property_set, 0, 0),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", property_get, 0, 0),

        SD_BUS_VTABLE_END
};

static const sd_bus_vtable *get_log_control_vtable(void) {
        return log_control_vtable;
}
