/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Connections have to wait because something has run out: tells the user once an episode. */

#include "base/episode.h"

/* To be called at every attempt that fails. */
void shortage_tell(Episode *episode, int error, const char *why);
