/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The errors that the service reports to its clients, by an error as the answer to a call or by the signal
 * Error.
 *
 * Each has a stable identifier, a text in English, and named values. A client gets one string: the text,
 * then in brackets the identifier and the values, as in "Port 80 of :: is in use [port-in-use port=80
 * address=::]". So the wording may change, and the tool translates by the identifier. Further arguments of
 * the D-Bus error would be cleaner, but GDBus shows no text if there is more than a string.
 * org.example.TCPServerSocket(5) has the same table.
 */

#include <stdarg.h>
#include <stdbool.h>

#define ERROR_VALUES_MAX 3

typedef enum ErrorId {
        /* Refused by the configuration. */
        ERROR_PORT_NOT_ALLOWED,
        ERROR_ADDRESS_NOT_ALLOWED,
        ERROR_DELIVERY_NOT_ALLOWED,

        /* The port cannot be bound. */
        ERROR_PORT_IN_USE,
        ERROR_OPTION_DIFFERS,
        ERROR_NO_PORT_LEFT,
        ERROR_NO_SUCH_ADDRESS,
        ERROR_ADDRESS_TENTATIVE,
        ERROR_ADDRESS_DUPLICATE,
        ERROR_ADDRESS_FAMILY_NOT_SUPPORTED,
        ERROR_NO_SUCH_INTERFACE,
        ERROR_NO_SUCH_SCOPE,
        ERROR_BIND_NOT_PERMITTED,
        ERROR_LISTEN_FAILED,

        /* Limits. */
        ERROR_TOO_MANY_LISTENERS,
        ERROR_TOO_MANY_LISTENERS_PER_USER,
        ERROR_TOO_MANY_CHANNELS,
        ERROR_TOO_MANY_CHANNELS_PER_USER,
        ERROR_TOO_MANY_REQUESTS_PER_USER,
        ERROR_TOO_MANY_CALLS,
        ERROR_TOO_MANY_ACCEPT_CALLS,
        ERROR_LIST_TOO_LONG,
        ERROR_CALL_TOO_LONG,
        ERROR_UNREAD_BY_CALLER,
        ERROR_UNREAD_BY_USER,
        ERROR_NO_ROOM_FOR_DESCRIPTOR,

        /* Authorization. */
        ERROR_AUTHENTICATION_REQUIRED,
        ERROR_AUTHENTICATION_TIMED_OUT,
        ERROR_AUTHENTICATION_BUSY,
        ERROR_POLKIT_UNAVAILABLE,
        ERROR_NOT_AUTHORIZED,
        ERROR_NOT_CONTAINED,
        ERROR_NOT_OWNER,
        ERROR_CALLER_UNKNOWN,

        /* Arguments and options. */
        ERROR_PORT_OUT_OF_RANGE,
        ERROR_BACKLOG_OUT_OF_RANGE,
        ERROR_UNKNOWN_OPTION,
        ERROR_INVALID_OPTION_NAME,
        ERROR_DUPLICATE_OPTION,
        ERROR_WRONG_OPTION_TYPE,
        ERROR_OPTION_NOT_INTEGER,
        ERROR_MALFORMED_OPTION,
        ERROR_INVALID_BINARY_TYPE,
        ERROR_INVALID_LOCAL_ADDRESS,
        ERROR_MISSING_SCOPE,
        ERROR_INVALID_INTERFACE,
        ERROR_INTERFACE_CONTRADICTS_SCOPE,
        ERROR_IPV6_ONLY_CONTRADICTS_ADDRESS,
        ERROR_INVALID_DELIVERY,
        ERROR_INVALID_HANDLER,
        ERROR_OPTION_CONTRADICTS_DELIVERY,
        ERROR_OPTION_OUT_OF_RANGE,
        ERROR_TOO_MANY_PREFIXES,
        ERROR_INVALID_PREFIX,
        ERROR_INVALID_NAME,
        ERROR_WRONG_ARGUMENTS,
        ERROR_REPLY_REQUIRED,
        ERROR_MAXIMUM_OUT_OF_RANGE,
        ERROR_TIMEOUT_OUT_OF_RANGE,
        ERROR_NO_SUCH_SERIAL,

        /* The state of a listener. */
        ERROR_NO_SUCH_LISTENER,
        ERROR_LISTENER_CLOSED,
        ERROR_HAS_OWNER,
        ERROR_ALREADY_TAKEN,
        ERROR_WRONG_DELIVERY,
        ERROR_WITHOUT_ACKNOWLEDGE,
        ERROR_UNKNOWN_PROPERTY,

        /* org.freedesktop.LogControl1. */
        ERROR_NO_SUCH_LOG_LEVEL,
        ERROR_NO_SUCH_LOG_TARGET,
        ERROR_READ_ONLY_PROPERTY,
        ERROR_LOG_NOT_PERMITTED,

        /* Everything else. */
        ERROR_NO_DESCRIPTORS,
        ERROR_SHUTTING_DOWN,
        ERROR_CALL_FAILED,

        /* Reported by the signal Error. */
        ERROR_CONNECTION_LOST,
        ERROR_CONNECTION_LOST_AT_RESTART,
        ERROR_ACCEPT_SUSPENDED,
        ERROR_CLIENT_STALLED,
        ERROR_SOCKET_FAILED,
        ERROR_INTERFACE_GONE,
        ERROR_WATCH_FAILED,
        ERROR_LIFELINE_WATCH_FAILED,
        ERROR_NO_HANDLER,
        ERROR_CALL_NOT_ANSWERED,

        _ERROR_ID_MAX,
} ErrorId;

typedef struct ErrorInfo {
        const char *identifier;
        const char *name; /* of the D-Bus error; NULL: it follows from an errno; "": an error of the signal */
        const char *text; /* each "%s" stands for the next value */
        struct {
                char type; /* 's', 'i', 'u', 't', or 0 after the last value */
                const char *key;
        } values[ERROR_VALUES_MAX];
} ErrorInfo;

/* An error with its values as text. Zero: none. */
typedef struct Error {
        const ErrorInfo *info;
        int error; /* the negative errno that is described by the value "reason", or 0 */
        char *values[ERROR_VALUES_MAX];
} Error;

const ErrorInfo *error_get_info(ErrorId id);

/* Describes a positive errno in English. Unlike the text of strerror(), it does not depend on the locale, and
 * is valid UTF-8, which the bus requires. */
const char *error_describe_errno(int error);

/* Takes the values in the types and the order of the table. Returns -EINVAL, or -ENOMEM and sets nothing. An
 * error that is set already is replaced. */
int error_set(Error *e, ErrorId id, ...);

/* The same for an error with "reason" as its last value, which describes a negative errno. Returns the errno,
 * or -ENOMEM. */
int error_set_errno(Error *e, int error, ErrorId id, ...);

/* Either of them; with an error of 0 it is error_set(). */
int error_setv(Error *e, int error, ErrorId id, va_list arguments);

static inline bool error_is_set(const Error *e) {
        return e->info;
}

void error_done(Error *e);

/* Puts the values into the text, or into a translation, which may have them in another order, as in "%2$s".
 * Returns a new string, or NULL if there is no memory. */
char *error_format(const Error *e, const char *text);

/* Returns the message for a client: a new string, or NULL if there is no memory. */
char *error_to_message(const Error *e);

/* Reads such a message. Returns -EINVAL if it is another text, or one of an error that is not in the table or
 * has other values there. */
int error_from_message(const char *message, Error *ret);

/* Translates the value "reason", with the catalogue of the text domain, or of the default one (NULL). */
const char *error_translate_reason(const char *reason, const char *domain);
