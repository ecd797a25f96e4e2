/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages that a person sees, in the person's language. */

#include <libintl.h>

#define _(text) gettext(text)

/* Marks a message that somebody else translates later. */
#define N_(text) text
