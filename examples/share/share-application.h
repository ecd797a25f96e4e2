/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The application: its window, its actions, and their keys. */

#include <gtk/gtk.h>

GtkApplication *share_application_new(void);
