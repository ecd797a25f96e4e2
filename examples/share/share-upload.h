/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Saves a file that a peer sends, without paths, leading dots, control characters, and characters that
 * reverse the text after them in the name. It replaces no other: if the name is taken, it gets a number. */

#include <libsoup/soup.h>

#include "share-transfer.h"

/* After the headers of a message that does not collect its body. name: with any characters. transfers: gets a
 * ShareTransfer. Fails if the name is empty or too long. */
gboolean share_upload_start(SoupServerMessage *message,
                            GFile *folder,
                            const char *name,
                            GListStore *transfers);
/* After the body of a message that was started. */
void share_upload_end(SoupServerMessage *message);
