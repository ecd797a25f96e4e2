/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "base/names.h"
#include "daemon/outbox/error-reply.h"

/* The one place that turns an errno into a D-Bus error, so that no raw one reaches a client. */
static const char *errno_to_name(int error) {
        switch (error) {

        case EADDRINUSE:
                return SD_BUS_ERROR_ADDRESS_IN_USE;

        case EADDRNOTAVAIL:
        case EAFNOSUPPORT:
        case ENODEV:
        case ENETUNREACH:
                return ERROR_NAME_ADDRESS_NOT_AVAILABLE;

        case EACCES:
        case EPERM:
                return SD_BUS_ERROR_ACCESS_DENIED;

        case EBADMSG:
        case EINVAL:
        case ENXIO:
        case ERANGE:
                return SD_BUS_ERROR_INVALID_ARGS;

        case EOPNOTSUPP:
                return SD_BUS_ERROR_NOT_SUPPORTED;

        case EDQUOT:
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOSPC:
        case ETOOMANYREFS:
                return SD_BUS_ERROR_LIMITS_EXCEEDED;

        case ENOMEM:
                return SD_BUS_ERROR_NO_MEMORY;

        default:
                return SD_BUS_ERROR_FAILED;
        }
}

int error_reply_new(sd_bus_message *call, const Error *error, sd_bus_message **ret) {
        const char *name = error->info->name ?: errno_to_name(-error->error);
        _cleanup_free_ char *text = NULL;

        assert(*name != '\0');

        text = error_to_message(error);
        if (!text)
                return -ENOMEM;

        return sd_bus_message_new_method_error(call, ret, &SD_BUS_ERROR_MAKE_CONST(name, text));
}

int error_reply_send(sd_bus_message *call, int r, const Error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(error_done) Error failed = {};

        if (!error_is_set(error)) {
                (void) error_set_errno(&failed, r, ERROR_CALL_FAILED);
                error = &failed;
        }
        if (!error_is_set(error))
                return sd_bus_reply_method_errno(call, -ENOMEM, NULL);

        r = error_reply_new(call, error, &m);
        if (r < 0)
                return r;

        return sd_bus_send(NULL, m, NULL);
}

int error_reply(sd_bus_message *call, ErrorId id, ...) {
        _cleanup_(error_done) Error error = {};
        va_list arguments;
        int r;

        va_start(arguments, id);
        r = error_setv(&error, 0, id, arguments);
        va_end(arguments);

        return error_reply_send(call, r, &error);
}
