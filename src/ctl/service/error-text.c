/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/error-text.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/macros.h"

/* Above all numbers of Linux. */
#define ERRNO_MAX 255

/* The service's own reasons are in the catalogue of the tool, and the descriptions of errors in that of the C
 * library. */
static const char *translate_reason(const char *reason) {
        for (int error = 1; error <= ERRNO_MAX; error++) {
                const char *description = strerrordesc_np(error);

                if (description && streq(description, reason))
                        return strerror(error);
        }

        return _(reason);
}

char *error_text_translate(const char *message) {
        _cleanup_(error_done) Error e = {};
        char *reason;

        if (error_from_message(message, &e) < 0)
                return strdup(message);

        for (size_t i = 0; i < ERROR_VALUES_MAX && e.info->values[i].type; i++)
                if (streq(e.info->values[i].key, "reason") && *e.values[i] &&
                    (reason = strdup(translate_reason(e.values[i])))) {
                        free(e.values[i]);
                        e.values[i] = reason;
                }

        return error_format(&e, _(e.info->text));
}
