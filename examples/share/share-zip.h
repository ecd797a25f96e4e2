/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files and folders as a zip archive, which is made while it is read. */

#include <gio/gio.h>

/* files: of GFile, in the top folder of the archive. */
GInputStream *share_zip_open(GPtrArray *files, GError **error);

/* At the end of the stream: whether all files could be read. */
gboolean share_zip_is_complete(GInputStream *stream);
