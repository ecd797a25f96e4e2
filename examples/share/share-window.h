/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The window: takes files, shares them on a port of TssListener, and shows the address and the transfers. */

#include <adwaita.h>

#define SHARE_TYPE_WINDOW (share_window_get_type())
G_DECLARE_FINAL_TYPE(ShareWindow, share_window, SHARE, WINDOW, AdwApplicationWindow)

/* upload_folder: for files that other devices send. */
ShareWindow *share_window_new(GtkApplication *application, GFile *upload_folder);

/* Starts to share, if it does not yet. */
void share_window_add_file(ShareWindow *self, GFile *file);
