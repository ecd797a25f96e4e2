/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shares files over HTTP, with the connections that the caller accepts.
 *
 *     GET /                      a page with the items
 *     GET /files/ID/NAME         a file, or a page with the files of a folder
 *     GET /files/ID/NAME/…       the same for a file or folder in it
 *     GET /zip/ID/NAME/…         a folder as a zip archive; GET /zip: all items
 *     GET /downloads             the progress of the downloads of this peer, for the page
 *     PUT /upload/NAME           saves a file
 */

#include "share-item.h"
#include "share-transfer.h"

#define SHARE_TYPE_SERVER (share_server_get_type())
G_DECLARE_FINAL_TYPE(ShareServer, share_server, SHARE, SERVER, GObject)

/* upload_folder: for files that peers send. */
ShareServer *share_server_new(GFile *upload_folder);

/* Does nothing for a file that is shared already. Is cancelled by share_server_stop(). */
void share_server_add_file_async(ShareServer *self,
                                 GFile *file,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data);
/* Fails if the file cannot be read, or is neither a file nor a folder. */
gboolean share_server_add_file_finish(ShareServer *self, GAsyncResult *result, GError **error);
void share_server_remove_item(ShareServer *self, ShareItem *item);

/* The default is TRUE. */
void share_server_set_uploads(ShareServer *self, gboolean uploads);

GListModel *share_server_get_items(ShareServer *self);     /* of ShareItem */
GListModel *share_server_get_transfers(ShareServer *self); /* of ShareTransfer, the newest first */

/* Closes the connection if there are too many, or too many of this peer. */
void share_server_accept(ShareServer *self, GSocketConnection *connection);
/* Ends all connections, and removes all items. */
void share_server_stop(ShareServer *self);

/* In seconds: a connection without progress is closed. The default is a minute. */
void share_server_set_timeout(ShareServer *self, guint timeout);
