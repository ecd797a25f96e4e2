/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/error.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "base/text.h"

#define DBUS_ERROR(name) "org.freedesktop.DBus.Error." name

static const ErrorInfo infos[] = {
        [ERROR_PORT_NOT_ALLOWED] = {
                "port-not-allowed",
                DBUS_ERROR("AccessDenied"),
                N_("The service's configuration does not allow port %s"),
                { { 'u', "port" } },
        },
        [ERROR_ADDRESS_NOT_ALLOWED] = {
                "address-not-allowed",
                DBUS_ERROR("AccessDenied"),
                N_("The service's configuration does not allow address %s"),
                { { 's', "address" } },
        },
        [ERROR_DELIVERY_NOT_ALLOWED] = {
                "delivery-not-allowed",
                DBUS_ERROR("AccessDenied"),
                N_("The service's configuration does not allow delivery \"%s\""),
                { { 's', "delivery" } },
        },

        [ERROR_PORT_IN_USE] = {
                "port-in-use",
                DBUS_ERROR("AddressInUse"),
                N_("Port %s of %s is in use"),
                { { 'u', "port" }, { 's', "address" } },
        },
        [ERROR_OPTION_DIFFERS] = {
                "option-differs",
                DBUS_ERROR("AddressInUse"),
                N_("The listener %s has this port, and another value of option %s"),
                { { 's', "listener" }, { 's', "option" } },
        },
        [ERROR_NO_PORT_LEFT] = {
                "no-port-left",
                DBUS_ERROR("AddressInUse"),
                N_("All ports of net.ipv4.ip_local_port_range are in use on %s, or reserved"),
                { { 's', "address" } },
        },
        [ERROR_NO_SUCH_ADDRESS] = {
                "no-such-address",
                ERROR_NAME_ADDRESS_NOT_AVAILABLE,
                N_("This host does not have the address %s"),
                { { 's', "address" } },
        },
        [ERROR_ADDRESS_TENTATIVE] = {
                "address-tentative",
                ERROR_NAME_ADDRESS_NOT_AVAILABLE,
                N_("The address %s is still tentative, duplicate address detection is running"),
                { { 's', "address" } },
        },
        [ERROR_ADDRESS_DUPLICATE] = {
                "address-duplicate",
                ERROR_NAME_ADDRESS_NOT_AVAILABLE,
                N_("Another host has the address %s, duplicate address detection failed"),
                { { 's', "address" } },
        },
        [ERROR_ADDRESS_FAMILY_NOT_SUPPORTED] = {
                "address-family-not-supported",
                ERROR_NAME_ADDRESS_NOT_AVAILABLE,
                N_("This host does not support addresses like %s"),
                { { 's', "address" } },
        },
        [ERROR_NO_SUCH_INTERFACE] = {
                "no-such-interface",
                ERROR_NAME_ADDRESS_NOT_AVAILABLE,
                N_("This host does not have the network interface %s"),
                { { 's', "interface" } },
        },
        [ERROR_NO_SUCH_SCOPE] = {
                "no-such-scope",
                ERROR_NAME_ADDRESS_NOT_AVAILABLE,
                N_("Option localAddress names a network interface that this host does not have"),
        },
        [ERROR_BIND_NOT_PERMITTED] = {
                "bind-not-permitted",
                DBUS_ERROR("AccessDenied"),
                N_("The service is not permitted to listen on port %s of %s"),
                { { 'u', "port" }, { 's', "address" } },
        },
        [ERROR_LISTEN_FAILED] = {
                "listen-failed",
                NULL,
                N_("Cannot listen on port %s of %s: %s"),
                { { 'u', "port" }, { 's', "address" }, { 's', "reason" } },
        },

        [ERROR_TOO_MANY_LISTENERS] = {
                "too-many-listeners",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many listeners (%s=%s)"),
                { { 's', "limit" }, { 'u', "value" } },
        },
        [ERROR_TOO_MANY_LISTENERS_PER_USER] = {
                "too-many-listeners-per-user",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many listeners for this user (%s=%s)"),
                { { 's', "limit" }, { 'u', "value" } },
        },
        [ERROR_TOO_MANY_CHANNELS] = {
                "too-many-channels",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many channels (%s=%s)"),
                { { 's', "limit" }, { 'u', "value" } },
        },
        [ERROR_TOO_MANY_CHANNELS_PER_USER] = {
                "too-many-channels-per-user",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many channels for this user (%s=%s)"),
                { { 's', "limit" }, { 'u', "value" } },
        },
        [ERROR_TOO_MANY_REQUESTS_PER_USER] = {
                "too-many-requests-per-user",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many pending requests for this user (%s=%s)"),
                { { 's', "limit" }, { 'u', "value" } },
        },
        [ERROR_TOO_MANY_CALLS] = {
                "too-many-calls",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many pending calls of this client (%s=%s)"),
                { { 's', "limit" }, { 'u', "value" } },
        },
        [ERROR_TOO_MANY_ACCEPT_CALLS] = {
                "too-many-accept-calls",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many pending calls of Accept for the listener %s (maximum %s)"),
                { { 's', "listener" }, { 'u', "maximum" } },
        },
        [ERROR_LIST_TOO_LONG] = {
                "list-too-long",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many listeners to list in one message (maximum %s)"),
                { { 'u', "maximum" } },
        },
        [ERROR_CALL_TOO_LONG] = {
                "call-too-long",
                DBUS_ERROR("LimitsExceeded"),
                N_("The names in the call are too long: %s bytes (maximum %s)"),
                { { 't', "bytes" }, { 't', "maximum" } },
        },
        [ERROR_UNREAD_BY_CALLER] = {
                "unread-by-caller",
                DBUS_ERROR("LimitsExceeded"),
                N_("The caller has %s bytes of unread messages (maximum %s)"),
                { { 't', "bytes" }, { 't', "maximum" } },
        },
        [ERROR_UNREAD_BY_USER] = {
                "unread-by-user",
                DBUS_ERROR("LimitsExceeded"),
                N_("Other programs of the caller's user have %s bytes of unread messages"),
                { { 't', "bytes" } },
        },
        [ERROR_NO_ROOM_FOR_DESCRIPTOR] = {
                "no-room-for-descriptor",
                DBUS_ERROR("LimitsExceeded"),
                N_("Too many descriptors on the bus that clients have not read (MaxUnacknowledged)"),
        },

        [ERROR_AUTHENTICATION_REQUIRED] = {
                "authentication-required",
                DBUS_ERROR("InteractiveAuthorizationRequired"),
                N_("Interactive authentication is required for %s"),
                { { 's', "action" } },
        },
        [ERROR_AUTHENTICATION_TIMED_OUT] = {
                "authentication-timed-out",
                DBUS_ERROR("AccessDenied"),
                N_("The request for authentication for %s was not answered"),
                { { 's', "action" } },
        },
        [ERROR_AUTHENTICATION_BUSY] = {
                "authentication-busy",
                DBUS_ERROR("AccessDenied"),
                N_("Earlier requests for authentication were not answered, so %s could not be "
                   "requested"),
                { { 's', "action" } },
        },
        [ERROR_POLKIT_UNAVAILABLE] = {
                "polkit-unavailable",
                DBUS_ERROR("AccessDenied"),
                N_("User %s needs an authorization for %s, but polkit does not answer"),
                { { 'u', "user" }, { 's', "action" } },
        },
        [ERROR_NOT_AUTHORIZED] = {
                "not-authorized",
                DBUS_ERROR("AccessDenied"),
                N_("User %s is not authorized for %s"),
                { { 'u', "user" }, { 's', "action" } },
        },
        [ERROR_NOT_CONTAINED] = {
                "not-contained",
                DBUS_ERROR("AccessDenied"),
                N_("The service is not contained, and its configuration requires that (RequireContainment=yes)"),
        },
        [ERROR_NOT_OWNER] = {
                "not-owner",
                DBUS_ERROR("AccessDenied"),
                N_("The listener %s belongs to another client"),
                { { 's', "listener" } },
        },
        [ERROR_CALLER_UNKNOWN] = {
                "caller-unknown",
                DBUS_ERROR("AccessDenied"),
                N_("Failed to get the user ID of the caller from the bus"),
        },

        [ERROR_PORT_OUT_OF_RANGE] = {
                "port-out-of-range",
                DBUS_ERROR("InvalidArgs"),
                N_("Argument localPort is %s; it must be a port from 1 to 65535, or -1 or 0 for one "
                   "that the kernel chooses"),
                { { 'i', "value" } },
        },
        [ERROR_BACKLOG_OUT_OF_RANGE] = {
                "backlog-out-of-range",
                DBUS_ERROR("InvalidArgs"),
                N_("Argument backlog is %s; it must be 0 or more, or -1 for the default"),
                { { 'i', "value" } },
        },
        [ERROR_UNKNOWN_OPTION] = {
                "unknown-option",
                DBUS_ERROR("InvalidArgs"),
                N_("There is no option %s"),
                { { 's', "option" } },
        },
        [ERROR_INVALID_OPTION_NAME] = {
                "invalid-option-name",
                DBUS_ERROR("InvalidArgs"),
                N_("The name of an option is not printable or longer than %s bytes"),
                { { 'u', "maximum" } },
        },
        [ERROR_DUPLICATE_OPTION] = {
                "duplicate-option",
                DBUS_ERROR("InvalidArgs"),
                N_("Option %s is given twice"),
                { { 's', "option" } },
        },
        [ERROR_WRONG_OPTION_TYPE] = {
                "wrong-option-type",
                DBUS_ERROR("InvalidArgs"),
                N_("Option %s must be of type %s"),
                { { 's', "option" }, { 's', "type" } },
        },
        [ERROR_OPTION_NOT_INTEGER] = {
                "option-not-integer",
                DBUS_ERROR("InvalidArgs"),
                N_("Option %s must be an integer, of type y, n, q, i, u, x or t"),
                { { 's', "option" } },
        },
        [ERROR_MALFORMED_OPTION] = {
                "malformed-option",
                DBUS_ERROR("InvalidArgs"),
                N_("Option %s has a malformed value"),
                { { 's', "option" } },
        },
        [ERROR_INVALID_BINARY_TYPE] = {
                "invalid-binary-type",
                DBUS_ERROR("InvalidArgs"),
                N_("Option binaryType is neither \"string\" nor \"arraybuffer\""),
        },
        [ERROR_INVALID_LOCAL_ADDRESS] = {
                "invalid-local-address",
                DBUS_ERROR("InvalidArgs"),
                N_("Option localAddress is not an IP address"),
        },
        [ERROR_MISSING_SCOPE] = {
                "missing-scope",
                DBUS_ERROR("InvalidArgs"),
                N_("Option localAddress is link-local and needs its interface, as in fe80::1%%eth0"),
        },
        [ERROR_INVALID_INTERFACE] = {
                "invalid-interface",
                DBUS_ERROR("InvalidArgs"),
                N_("Option interface is not the name of a network interface (1 to %s bytes)"),
                { { 'u', "maximum" } },
        },
        [ERROR_INTERFACE_CONTRADICTS_SCOPE] = {
                "interface-contradicts-scope",
                DBUS_ERROR("InvalidArgs"),
                N_("Options localAddress and interface name two different interfaces"),
        },
        [ERROR_IPV6_ONLY_CONTRADICTS_ADDRESS] = {
                "ipv6-only-contradicts-address",
                DBUS_ERROR("InvalidArgs"),
                N_("Option ipv6Only contradicts option localAddress, which is an IPv4 address"),
        },
        [ERROR_INVALID_DELIVERY] = {
                "invalid-delivery",
                DBUS_ERROR("InvalidArgs"),
                N_("Option delivery is none of \"signal\", \"call\", \"pull\", \"channel\", \"socket\""),
        },
        [ERROR_INVALID_HANDLER] = {
                "invalid-handler",
                DBUS_ERROR("InvalidArgs"),
                N_("Option handler is not an object path of at most %s bytes"),
                { { 'u', "maximum" } },
        },
        [ERROR_OPTION_CONTRADICTS_DELIVERY] = {
                "option-contradicts-delivery",
                DBUS_ERROR("InvalidArgs"),
                N_("Option %s contradicts option delivery, \"%s\""),
                { { 's', "option" }, { 's', "delivery" } },
        },
        [ERROR_OPTION_OUT_OF_RANGE] = {
                "option-out-of-range",
                DBUS_ERROR("InvalidArgs"),
                N_("Option %s is not between %s and %s"),
                { { 's', "option" }, { 'u', "minimum" }, { 'u', "maximum" } },
        },
        [ERROR_TOO_MANY_PREFIXES] = {
                "too-many-prefixes",
                DBUS_ERROR("InvalidArgs"),
                N_("Option allowFrom has more than %s prefixes"),
                { { 'u', "maximum" } },
        },
        [ERROR_INVALID_PREFIX] = {
                "invalid-prefix",
                DBUS_ERROR("InvalidArgs"),
                N_("Option allowFrom: entry %s is not an address prefix such as 192.0.2.0/24 or "
                   "2001:db8::/32"),
                { { 'u', "entry" } },
        },
        [ERROR_INVALID_NAME] = {
                "invalid-name",
                DBUS_ERROR("InvalidArgs"),
                N_("Option name is not printable text of at most %s bytes"),
                { { 'u', "maximum" } },
        },
        [ERROR_WRONG_ARGUMENTS] = {
                "wrong-arguments",
                DBUS_ERROR("InvalidArgs"),
                N_("The arguments must be of type %s"),
                { { 's', "type" } },
        },
        [ERROR_REPLY_REQUIRED] = {
                "reply-required",
                DBUS_ERROR("InvalidArgs"),
                N_("The call must have a reply"),
        },
        [ERROR_MAXIMUM_OUT_OF_RANGE] = {
                "maximum-out-of-range",
                DBUS_ERROR("InvalidArgs"),
                N_("Argument maximum is 0"),
        },
        [ERROR_TIMEOUT_OUT_OF_RANGE] = {
                "timeout-out-of-range",
                DBUS_ERROR("InvalidArgs"),
                N_("Argument timeoutMs is %s (maximum %s)"),
                { { 'u', "value" }, { 'u', "maximum" } },
        },
        [ERROR_NO_SUCH_SERIAL] = {
                "no-such-serial",
                DBUS_ERROR("InvalidArgs"),
                N_("Argument serial is %s; no connection with that serial was sent"),
                { { 't', "serial" } },
        },

        [ERROR_NO_SUCH_LISTENER] = {
                "no-such-listener",
                DBUS_ERROR("UnknownObject"),
                N_("There is no listener %s"),
                { { 's', "listener" } },
        },
        [ERROR_LISTENER_CLOSED] = {
                "listener-closed",
                DBUS_ERROR("UnknownObject"),
                N_("The listener %s is closed"),
                { { 's', "listener" } },
        },
        [ERROR_HAS_OWNER] = {
                "has-owner",
                ERROR_NAME_HAS_OWNER,
                N_("The listener %s has an owner, %s"),
                { { 's', "listener" }, { 's', "owner" } },
        },
        [ERROR_ALREADY_TAKEN] = {
                "already-taken",
                ERROR_NAME_ALREADY_TAKEN,
                N_("%s was called before for the listener %s"),
                { { 's', "member" }, { 's', "listener" } },
        },
        [ERROR_WRONG_DELIVERY] = {
                "wrong-delivery",
                ERROR_NAME_WRONG_DELIVERY,
                N_("%s is not for the listener %s with the delivery \"%s\""),
                { { 's', "member" }, { 's', "listener" }, { 's', "delivery" } },
        },
        [ERROR_WITHOUT_ACKNOWLEDGE] = {
                "without-acknowledge",
                ERROR_NAME_WRONG_DELIVERY,
                N_("The listener %s was created without the option acknowledge"),
                { { 's', "listener" } },
        },
        [ERROR_UNKNOWN_PROPERTY] = {
                "unknown-property",
                DBUS_ERROR("UnknownProperty"),
                N_("There is no such property"),
        },

        [ERROR_NO_SUCH_LOG_LEVEL] = {
                "no-such-log-level",
                DBUS_ERROR("InvalidArgs"),
                N_("There is no log level \"%s\""),
                { { 's', "level" } },
        },
        [ERROR_NO_SUCH_LOG_TARGET] = {
                "no-such-log-target",
                DBUS_ERROR("InvalidArgs"),
                N_("There is no log target \"%s\"; it can be auto, journal or console"),
                { { 's', "target" } },
        },
        [ERROR_READ_ONLY_PROPERTY] = {
                "read-only-property",
                DBUS_ERROR("PropertyReadOnly"),
                N_("Property %s cannot be set"),
                { { 's', "property" } },
        },
        [ERROR_LOG_NOT_PERMITTED] = {
                "log-not-permitted",
                DBUS_ERROR("AccessDenied"),
                N_("User %s may not change the log level or the log target"),
                { { 'u', "user" } },
        },

        [ERROR_NO_DESCRIPTORS] = {
                "no-descriptors",
                DBUS_ERROR("NotSupported"),
                N_("The caller's connection to the bus does not take file descriptors; enable them in its D-Bus library: "
                   "negotiate_unix_fd=True in dbus-next and dbus-fast, enable_fds=True in jeepney"),
        },
        [ERROR_SHUTTING_DOWN] = {
                "shutting-down",
                DBUS_ERROR("NoReply"),
                N_("The service is shutting down"),
        },
        [ERROR_CALL_FAILED] = {
                "call-failed",
                NULL,
                N_("The call failed: %s"),
                { { 's', "reason" } },
        },

        [ERROR_CONNECTION_LOST] = {
                "connection-lost",
                "",
                N_("Connection from %s port %s lost: %s"),
                { { 's', "address" }, { 'u', "port" }, { 's', "reason" } },
        },
        [ERROR_CONNECTION_LOST_AT_RESTART] = {
                "connection-lost-at-restart",
                "",
                N_("Connection that was accepted before the restart of the service lost: %s"),
                { { 's', "reason" } },
        },
        [ERROR_ACCEPT_SUSPENDED] = {
                "accept-suspended",
                "",
                N_("Failed to accept connections, trying again: %s"),
                { { 's', "reason" } },
        },
        [ERROR_CLIENT_STALLED] = {
                "client-stalled",
                "",
                N_("Stopped accepting, no connection could be sent to the client for 5 seconds"),
        },
        [ERROR_SOCKET_FAILED] = {
                "socket-failed",
                "",
                N_("Listener closed, its socket failed: %s"),
                { { 's', "reason" } },
        },
        [ERROR_INTERFACE_GONE] = {
                "interface-gone",
                "",
                N_("Listener closed, its network interface %s is gone"),
                { { 's', "interface" } },
        },
        [ERROR_WATCH_FAILED] = {
                "watch-failed",
                "",
                N_("Listener closed, failed to wait for connections: %s"),
                { { 's', "reason" } },
        },
        [ERROR_LIFELINE_WATCH_FAILED] = {
                "lifeline-watch-failed",
                "",
                N_("Listener closed, failed to wait for the end of its lifeline: %s"),
                { { 's', "reason" } },
        },
        [ERROR_NO_HANDLER] = {
                "no-handler",
                "",
                N_("Listener closed, its owner does not export an object %s with the interface %s and its "
                   "method %s"),
                { { 's', "object" }, { 's', "interface" }, { 's', "method" } },
        },
        [ERROR_CALL_NOT_ANSWERED] = {
                "call-not-answered",
                "",
                N_("The owner has not answered a call of %s for %s seconds"),
                { { 's', "method" }, { 'u', "seconds" } },
        },
};

_Static_assert(ELEMENTS(infos) == _ERROR_ID_MAX, "every error is in the table");

const ErrorInfo *error_get_info(ErrorId id) {
        assert(id < _ERROR_ID_MAX);

        return &infos[id];
}

const char *error_describe_errno(int error) {
        return strerrordesc_np(error) ?: "Unknown error";
}

/* The identifier need not end with a null byte. */
static const ErrorInfo *find_info(const char *identifier, size_t length) {
        for (size_t i = 0; i < ELEMENTS(infos); i++)
                if (strlen(infos[i].identifier) == length &&
                    strncmp(infos[i].identifier, identifier, length) == 0)
                        return &infos[i];

        return NULL;
}

static size_t count_values(const ErrorInfo *info) {
        size_t n = 0;

        while (n < ERROR_VALUES_MAX && info->values[n].type)
                n++;

        return n;
}

static char *format_value(char type, va_list *arguments) {
        char *text;
        int n;

        switch (type) {

        case 's':
                return strdup(va_arg(*arguments, const char *));

        case 'i':
                n = asprintf(&text, "%i", va_arg(*arguments, int));
                break;

        case 'u':
                n = asprintf(&text, "%u", va_arg(*arguments, unsigned));
                break;

        default:
                assert(type == 't');
                n = asprintf(&text, "%" PRIu64, va_arg(*arguments, uint64_t));
                break;
        }

        return n < 0 ? NULL : text;
}

int error_setv(Error *e, int error, ErrorId id, va_list arguments) {
        _cleanup_(error_done) Error new = { .info = error_get_info(id), .error = error };
        size_t n = count_values(new.info);
        va_list copy;

        assert(error <= 0);
        assert(error == 0 || (n > 0 && streq(new.info->values[n - 1].key, "reason")));

        va_copy(copy, arguments);
        for (size_t i = 0; i < n; i++) {
                new.values[i] = error < 0 && i + 1 == n ? strdup(error_describe_errno(-error))
                                                        : format_value(new.info->values[i].type, &copy);
                if (!new.values[i]) {
                        va_end(copy);
                        return -ENOMEM;
                }
        }
        va_end(copy);

        error_done(e);
        *e = TAKE(new, (Error) {});
        return error < 0 ? error : -EINVAL;
}

int error_set(Error *e, ErrorId id, ...) {
        va_list arguments;
        int r;

        va_start(arguments, id);
        r = error_setv(e, 0, id, arguments);
        va_end(arguments);

        return r;
}

int error_set_errno(Error *e, int error, ErrorId id, ...) {
        va_list arguments;
        int r;

        assert(error < 0);

        va_start(arguments, id);
        r = error_setv(e, error, id, arguments);
        va_end(arguments);

        return r;
}

void error_done(Error *e) {
        for (size_t i = 0; i < ELEMENTS(e->values); i++)
                free(e->values[i]);
        *e = (Error) {};
}

static void print_text(FILE *f, const Error *e, const char *text) {
        size_t next = 0;

        for (; *text; text++) {
                size_t i;

                if (*text != '%' || text[1] == '%') {
                        (void) fputc(*text, f);
                        text += *text == '%';
                        continue;
                }

                i = next++;
                if (isdigit((unsigned char) text[1])) {
                        i = (size_t) (text[1] - '1');
                        text += 2;
                }
                text++;
                if (i < ERROR_VALUES_MAX && e->values[i])
                        (void) fputs(e->values[i], f);
        }
}

char *error_format(const Error *e, const char *text) {
        char *result = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&result, &size);
        if (!f)
                return NULL;

        print_text(f, e, text);
        return text_finish(f, &result);
}

/* A value ends at the next space or bracket. */
static void print_value(FILE *f, const char *value) {
        for (const char *s = value; *s; s++)
                if (strchr(" %[]", *s) || iscntrl((unsigned char) *s))
                        (void) fprintf(f, "%%%02x", (unsigned) (unsigned char) *s);
                else
                        (void) fputc(*s, f);
}

char *error_to_message(const Error *e) {
        char *result = NULL;
        size_t size;
        FILE *f;

        assert(error_is_set(e));

        f = open_memstream(&result, &size);
        if (!f)
                return NULL;

        print_text(f, e, e->info->text);
        (void) fprintf(f, " [%s", e->info->identifier);
        for (size_t i = 0; i < count_values(e->info); i++) {
                (void) fprintf(f, " %s=", e->info->values[i].key);
                print_value(f, e->values[i]);
        }
        (void) fputc(']', f);
        return text_finish(f, &result);
}

static int digit_to_int(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -EINVAL;
}

static int read_value(const char *s, size_t length, char **ret) {
        _cleanup_free_ char *value = NULL;
        size_t n = 0;

        value = malloc(length + 1);
        if (!value)
                return -ENOMEM;

        for (size_t i = 0; i < length; i++)
                if (s[i] == '%') {
                        int high = i + 2 < length ? digit_to_int(s[i + 1]) : -EINVAL;
                        int low = high < 0 ? -EINVAL : digit_to_int(s[i + 2]);

                        if (low < 0)
                                return -EINVAL;
                        value[n++] = (char) (high << 4 | low);
                        i += 2;
                } else
                        value[n++] = s[i];
        value[n] = '\0';

        *ret = TAKE_PTR(value);
        return 0;
}

/* Reads "[identifier key=value ...]" at the end of the message. */
static int error_read(Error *e, const char *message) {
        const char *s = strrchr(message, '['), *end;
        size_t n;
        int r;

        end = s ? strchr(s, ']') : NULL;
        if (!end || end[1] != '\0')
                return -EINVAL;

        s++;
        n = strcspn(s, " ]");
        e->info = find_info(s, n);
        if (!e->info)
                return -EINVAL;
        s += n;

        for (size_t i = 0; i < count_values(e->info); i++) {
                size_t length = strlen(e->info->values[i].key);

                if (*s++ != ' ' || strncmp(s, e->info->values[i].key, length) != 0 || s[length] != '=')
                        return -EINVAL;
                s += length + 1;

                n = strcspn(s, " ]");
                r = read_value(s, n, &e->values[i]);
                if (r < 0)
                        return r;
                s += n;
        }

        return s == end ? 0 : -EINVAL;
}

int error_from_message(const char *message, Error *ret) {
        _cleanup_(error_done) Error e = {};
        int r;

        r = error_read(&e, message);
        if (r < 0)
                return r;

        *ret = TAKE(e, (Error) {});
        return 0;
}

/* Above all numbers of Linux. */
#define ERRNO_MAX 255

/* The service's own reasons are in the catalogue, and the descriptions of errors in that of the C library. */
const char *error_translate_reason(const char *reason, const char *domain) {
        for (int error = 1; error <= ERRNO_MAX; error++) {
                const char *description = strerrordesc_np(error);

                if (description && streq(description, reason))
                        return strerror(error);
        }

        return dcgettext(domain, reason, LC_MESSAGES);
}
