/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Saves files that a peer sends. None replaces another: if the name is taken, the file gets a similar one. */

#include <libsoup/soup.h>

#include "share-transfer.h"

/* The name without path, leading dot, control characters and characters that reverse the text after them; or
 * NULL if it is empty or too long. */
char *share_upload_get_safe_name(const char *name);

/* After the headers. name: of the file that is the body; NULL: the body is a form with files.
 * transfers: gets a ShareTransfer. Fails if there is no usable name, or no form. */
gboolean share_upload_start(SoupServerMessage *message,
                            GFile *folder,
                            const char *name,
                            GListStore *transfers);
/* After the body of a message that was started. */
void share_upload_end(SoupServerMessage *message);
