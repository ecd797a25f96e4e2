/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A download or an upload, and its progress. */

#include <gio/gio.h>

#define SHARE_TYPE_TRANSFER (share_transfer_get_type())
G_DECLARE_FINAL_TYPE(ShareTransfer, share_transfer, SHARE, TRANSFER, GObject)

typedef enum ShareTransferState {
        SHARE_TRANSFER_ACTIVE,
        SHARE_TRANSFER_DONE,
        SHARE_TRANSFER_FAILED,
} ShareTransferState;

/* size: in bytes; -1: unknown. */
ShareTransfer *share_transfer_new(const char *name, const char *peer, gboolean is_upload, goffset size);

const char *share_transfer_get_name(ShareTransfer *self);
/* The address of the other device. */
const char *share_transfer_get_peer(ShareTransfer *self);
gboolean share_transfer_get_is_upload(ShareTransfer *self);
goffset share_transfer_get_size(ShareTransfer *self);
goffset share_transfer_get_done(ShareTransfer *self);
ShareTransferState share_transfer_get_state(ShareTransfer *self);

/* These emit the signal "changed", add_done() ten times a second at most. */
void share_transfer_add_done(ShareTransfer *self, gsize length);
void share_transfer_set_name(ShareTransfer *self, const char *name);
void share_transfer_finish(ShareTransfer *self, gboolean success);
