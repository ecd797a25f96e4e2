/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Translated messages. */

#include <libintl.h>

#define _(text) gettext(text)

/* Marks a message that is translated where it is shown. */
#define N_(text) text
