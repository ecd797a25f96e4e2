/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/clock.h"
#include "base/i18n.h"
#include "ctl/cli/message.h"
#include "ctl/serve/shortage.h"

/* Longer than anybody waits for the next attempt. */
#define EPISODE_QUIET_USEC (UINT64_C(10) * 1000 * 1000)

void shortage_tell(Shortage *s, int error, const char *why) {
        uint64_t now = clock_get_usec();

        if (now >= s->episode_end_usec)
                (void) message_error(error, _("Connections have to wait: %s."), why);
        s->episode_end_usec = now + EPISODE_QUIET_USEC;
}
