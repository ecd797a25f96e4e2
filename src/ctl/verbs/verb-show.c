/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"
#include "ctl/show/pager.h"
#include "ctl/verbs/verbs.h"

/* Name=value, for scripts, as "systemctl show" has it. */
static int print_text(const Listener *l, bool first) {
        printf("%sPath=%s\n", first ? "" : "\n", l->path);

        for (size_t i = 0; i < n_listener_fields; i++) {
                _cleanup_free_ char *value = field_format(listener_fields + i, l), *text = NULL;

                text = value ? text_escape(value, TEXT_ESCAPE_BYTES) : NULL;
                if (!text)
                        return message_oom();
                printf("%s=%s\n", listener_fields[i].property, text);
        }

        return 0;
}

/* Goes on with the others when one fails, and fails in the end. */
int verb_show(int argc, char *argv[], Context *c) {
        json_object *array = NULL;
        int r, result = 0;
        bool first = true;

        if (c->json != JSON_OFF) {
                array = json_object_new_array();
                if (!array)
                        return message_oom();
        }

        for (int i = 1; i < argc; i++) {
                _cleanup_(listener_done) Listener l = {};
                _cleanup_free_ char *path = NULL;

                r = query_path(c, argv[i], &path);
                if (r >= 0)
                        r = query_listener(c, path, &l);
                if (r >= 0 && array) {
                        r = json_append(array, listener_to_json(&l));
                        if (r < 0)
                                (void) message_oom();
                } else if (r >= 0) {
                        pager_open(c);
                        r = print_text(&l, TAKE(first, false));
                }
                if (r < 0 && result == 0)
                        result = r;
        }

        if (array) {
                r = json_print(c, array);
                if (r < 0 && result == 0)
                        result = r;
        }

        return result;
}
