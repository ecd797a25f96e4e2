/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "ctl/service/client.h"
#include "ctl/service/query.h"
#include "ctl/verbs/verbs.h"

/* Goes on with the others when one fails, and fails in the end. */
static int call_each(int argc, char *argv[], Context *c, const char *member) {
        int r, result = 0;

        for (int i = 1; i < argc; i++) {
                _cleanup_free_ char *path = NULL;

                r = query_path(c, argv[i], &path);
                if (r >= 0)
                        r = client_call_listener(c, path, member);
                if (r < 0 && result == 0)
                        result = r;
        }

        return result;
}

int verb_close(int argc, char *argv[], Context *c) {
        int r;

        /* It may be somebody else's listener. */
        r = context_open_agent(c);
        return r < 0 ? r : call_each(argc, argv, c, "Close");
}

int verb_pause(int argc, char *argv[], Context *c) {
        return call_each(argc, argv, c, "Pause");
}

int verb_resume(int argc, char *argv[], Context *c) {
        return call_each(argc, argv, c, "Resume");
}
