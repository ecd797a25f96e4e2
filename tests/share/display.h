/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A display and a home of the test's own, for programs with GTK: Xvfb, no session bus, the accessibility
 * interface of GTK's test functions. */

#include <glib.h>

/* In main(), after test_init(): sets the environment of the test and of its children. Returns why there is no
 * display, or NULL. */
const char *display_start(void);
const char *display_get_home(void);
