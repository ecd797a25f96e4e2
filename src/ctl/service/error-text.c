/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/error-text.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/macros.h"

char *error_text_translate(const char *message) {
        _cleanup_(error_done) Error e = {};
        char *reason;

        if (error_from_message(message, &e) < 0)
                return strdup(message);

        /* Some of the reasons are the service's own, and have a translation. */
        for (size_t i = 0; i < ERROR_VALUES_MAX && e.info->values[i].type; i++)
                if (streq(e.info->values[i].key, "reason") && *e.values[i] &&
                    (reason = strdup(_(e.values[i])))) {
                        free(e.values[i]);
                        e.values[i] = reason;
                }

        return error_format(&e, _(e.info->text));
}
