/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Saves a file that a peer sends. */

#include <libsoup/soup.h>

#include "share-transfer.h"

/* Whether a file of this name can be saved: no other folder, no hidden file, no control characters. */
gboolean share_upload_is_safe_name(const char *name);

/* After the headers. The file never replaces another; name: if it is taken, the file gets a similar one.
 * transfers: gets a ShareTransfer. */
void share_upload_start(SoupServerMessage *message, GFile *folder, const char *name, GListStore *transfers);
/* After the body. */
void share_upload_end(SoupServerMessage *message);
