/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "daemon/outbox/bus-driver.h"

#define DRIVER "org.freedesktop.DBus"
#define STATISTICS DRIVER ".Debug.Stats"

bool bus_driver_is_sender(sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);

        return sender && streq(sender, DRIVER);
}

int bus_driver_call(sd_bus *bus,
                    sd_bus_slot **ret,
                    const char *interface,
                    const char *member,
                    const char *name,
                    sd_bus_message_handler_t handler,
                    void *userdata) {
        return sd_bus_call_method_async(bus, ret, DRIVER, "/org/freedesktop/DBus", interface, member, handler,
                                        userdata, name ? "s" : NULL, name);
}

int bus_driver_ask_credentials(sd_bus *bus,
                               sd_bus_slot **ret,
                               const char *client,
                               sd_bus_message_handler_t handler,
                               void *userdata) {
        return bus_driver_call(bus, ret, DRIVER, "GetConnectionCredentials", client, handler, userdata);
}

int bus_driver_ask_waiting(sd_bus *bus,
                           sd_bus_slot **ret,
                           const char *client,
                           sd_bus_message_handler_t handler,
                           void *userdata) {
        return bus_driver_call(bus, ret, STATISTICS, "GetConnectionStats", client, handler, userdata);
}

int bus_driver_ask_waiting_for_all(sd_bus *bus,
                                   sd_bus_slot **ret,
                                   sd_bus_message_handler_t handler,
                                   void *userdata) {
        return bus_driver_call(bus, ret, STATISTICS, "GetStats", NULL, handler, userdata);
}

/* Other errors are temporary, or the client has left, which NameOwnerChanged reports. */
static int check_answer(sd_bus_message *answer) {
        static const char *const permanent[] = {
                SD_BUS_ERROR_FAILED, /* of dbus-broker, for GetConnectionStats */
                SD_BUS_ERROR_UNKNOWN_METHOD, SD_BUS_ERROR_UNKNOWN_INTERFACE,
                SD_BUS_ERROR_NOT_SUPPORTED,  SD_BUS_ERROR_ACCESS_DENIED,
        };

        if (!bus_driver_is_sender(answer))
                return -EIO;

        for (size_t i = 0; i < ELEMENTS(permanent); i++)
                if (sd_bus_message_is_method_error(answer, permanent[i]))
                        return -EOPNOTSUPP;

        return sd_bus_message_is_method_error(answer, NULL) ? -EIO : 0;
}

/* Enters the value of a key of a dictionary. Returns 0 if the dictionary does not have it. */
static int enter_value(sd_bus_message *m, const char *key, const char *type) {
        const char *k;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r <= 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &k);
                if (r < 0)
                        return r;
                if (streq(k, key))
                        return sd_bus_message_enter_container(m, 'v', type);

                r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        return r;
}

/* A key of a dictionary, and the place for its value, of type u. */
typedef struct Number {
        const char *key;
        uint32_t *value;
} Number;

/* Reads some keys of a dictionary, in one pass, because each key costs the service as much as a system call.
 * Returns how many it has. */
static int read_numbers(sd_bus_message *m, const Number *numbers, unsigned n) {
        unsigned n_found = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while (n_found < n && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                uint32_t *value = NULL;
                const char *key;

                r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;

                for (unsigned i = 0; i < n; i++)
                        if (streq(key, numbers[i].key))
                                value = numbers[i].value;

                r = value ? sd_bus_message_read(m, "v", "u", value) : sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
                n_found += value != NULL;
        }

        return r < 0 ? r : (int) n_found;
}

int bus_driver_read_credentials(sd_bus_message *answer, BusCredentials *ret) {
        BusCredentials credentials = { .uid = UINT32_MAX };
        const Number numbers[] = { { "UnixUserID", &credentials.uid }, { "ProcessID", &credentials.pid } };
        int r;

        if (!bus_driver_is_sender(answer) || sd_bus_message_is_method_error(answer, NULL))
                return -EIO;

        r = read_numbers(answer, numbers, ELEMENTS(numbers));
        if (r < 0)
                return r;
        if (credentials.uid == UINT32_MAX) /* no valid uid */
                return -ENODATA;

        *ret = credentials;
        return 0;
}

int bus_driver_read_waiting(sd_bus_message *answer, BusWaiting *ret) {
        BusWaiting waiting;
        const Number numbers[] = { { "OutgoingBytes", &waiting.bytes },
                                   { "OutgoingFDs", &waiting.descriptors } };
        int r;

        r = check_answer(answer);
        if (r < 0)
                return r;

        r = read_numbers(answer, numbers, ELEMENTS(numbers));
        if (r < 0)
                return r;
        if ((unsigned) r < ELEMENTS(numbers))
                return -EOPNOTSUPP;

        *ret = waiting;
        return 0;
}

static int read_accounting(sd_bus_message *m, BusWaiting *ret) {
        const char *key;
        uint32_t value;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{su}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_read(m, "{su}", &key, &value)) > 0)
                if (streq(key, "OutgoingBytes"))
                        ret->bytes = value;
                else if (streq(key, "OutgoingFds"))
                        ret->descriptors = value;

        return r;
}

int bus_driver_read_waiting_for_all(sd_bus_message *answer, const char *client, BusWaiting *ret) {
        BusWaiting waiting = {};
        const char *name;
        int r;

        r = check_answer(answer);
        if (r < 0)
                return r;

        r = enter_value(answer, "org.bus1.DBus.Debug.Stats.PeerAccounting", "a(sa{sv}a{su})");
        if (r <= 0)
                return r < 0 ? r : -EOPNOTSUPP;

        r = sd_bus_message_enter_container(answer, 'a', "(sa{sv}a{su})");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(answer, 'r', "sa{sv}a{su}")) > 0) {
                r = sd_bus_message_read_basic(answer, 's', &name);
                if (r >= 0)
                        r = sd_bus_message_skip(answer, "a{sv}");
                if (r < 0)
                        return r;

                if (streq(name, client)) {
                        r = read_accounting(answer, &waiting);
                        if (r >= 0)
                                *ret = waiting;
                        return r < 0 ? r : 0;
                }

                r = sd_bus_message_skip(answer, "a{su}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(answer);
                if (r < 0)
                        return r;
        }

        return r < 0 ? r : -ENOENT; /* the client has left */
}
