/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Saves files that a peer sends, without paths, leading dots, control characters, and characters that reverse
 * the text after them in the name. None replaces another: if the name is taken, the file gets a similar one.
 */

#include <libsoup/soup.h>

#include "share-transfer.h"

/* After the headers. name: of the file that is the body, with any characters; NULL: the body is a form with
 * files. transfers: gets a ShareTransfer. Fails if the name is empty or too long, or there is no form. */
gboolean share_upload_start(SoupServerMessage *message,
                            GFile *folder,
                            const char *name,
                            GListStore *transfers);
/* After the body of a message that was started. */
void share_upload_end(SoupServerMessage *message);
