/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/clock.h"
#include "base/i18n.h"
#include "ctl/cli/message.h"
#include "ctl/serve/shortage.h"

/* Longer than the pause before the next attempt. */
#define EPISODE_QUIET_USEC (UINT64_C(10) * 1000 * 1000)

void shortage_tell(Episode *episode, int error, const char *why) {
        if (episode_add_failure(episode, clock_get_usec(), EPISODE_QUIET_USEC))
                (void) message_error(error, _("Connections have to wait: %s."), why);
}
