/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The web page for the other devices. */

#include "share-item.h"
#include "share-transfer.h"

/* The header Content-Security-Policy: only the script of the page with this nonce runs, not that of a shared
 * file. */
char *share_page_get_policy(const char *nonce);

/* The downloads of this peer, a part of the pages. transfers: of ShareTransfer. */
char *share_page_for_downloads(GListModel *transfers, const char *peer);
/* items: of ShareItem. downloads: the part. uploads: are allowed. */
char *share_page_for_items(GListModel *items, const char *downloads, gboolean uploads, const char *nonce);
/* address: of the folder, with a slash at the end. */
char *share_page_for_folder(const ShareFound *folder,
                            const char *address,
                            const char *downloads,
                            const char *nonce);
