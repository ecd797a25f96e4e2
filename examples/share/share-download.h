/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Sends a file or a zip archive to a peer. */

#include <libsoup/soup.h>

#include "share-item.h"
#include "share-transfer.h"

/* The message must be paused, and is continued. transfers: gets a ShareTransfer. */
void share_download_file(SoupServerMessage *message, const ShareFound *found, GListStore *transfers);
/* files: of GFile. name: that of the archive, without ".zip". */
void share_download_zip(SoupServerMessage *message,
                        GPtrArray *files,
                        const char *name,
                        GListStore *transfers);
