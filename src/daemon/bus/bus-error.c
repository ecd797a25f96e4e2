/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>

#include "base/names.h"
#include "daemon/bus/bus-error.h"

static const char *errno_to_name(int error) {
        switch (error) {

        case EADDRINUSE:
                return SD_BUS_ERROR_ADDRESS_IN_USE;

        case EADDRNOTAVAIL:
        case EAFNOSUPPORT:
        case ENODEV:
        case ENETUNREACH:
                return ERROR_ADDRESS_NOT_AVAILABLE;

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

int bus_error_from_errno(sd_bus_error *error, int r, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        (void) sd_bus_error_setfv(error, errno_to_name(-r), format, arguments);
        va_end(arguments);

        return r;
}
