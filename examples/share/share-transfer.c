/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "share-transfer.h"

/* Rows are not drawn for each block. */
#define CHANGE_INTERVAL 100000 /* µs */

struct _ShareTransfer {
        GObject parent_instance;

        char *name;
        char *peer;
        gboolean is_upload;
        goffset size;
        goffset done;
        ShareTransferState state;
        gint64 changed; /* when, for the last time, in µs */
};

G_DEFINE_TYPE(ShareTransfer, share_transfer, G_TYPE_OBJECT)

static guint changed_signal;

static void share_transfer_finalize(GObject *object) {
        ShareTransfer *self = SHARE_TRANSFER(object);

        g_free(self->name);
        g_free(self->peer);
        G_OBJECT_CLASS(share_transfer_parent_class)->finalize(object);
}

static void share_transfer_class_init(ShareTransferClass *class) {
        G_OBJECT_CLASS(class)->finalize = share_transfer_finalize;

        changed_signal = g_signal_new("changed", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                      NULL, G_TYPE_NONE, 0);
}

static void share_transfer_init(ShareTransfer *self) {
}

ShareTransfer *share_transfer_new(const char *name, const char *peer, gboolean is_upload, goffset size) {
        ShareTransfer *self = g_object_new(SHARE_TYPE_TRANSFER, NULL);

        self->name = g_strdup(name);
        self->peer = g_strdup(peer);
        self->is_upload = is_upload;
        self->size = size;
        return self;
}

const char *share_transfer_get_name(ShareTransfer *self) {
        return self->name;
}

const char *share_transfer_get_peer(ShareTransfer *self) {
        return self->peer;
}

gboolean share_transfer_get_is_upload(ShareTransfer *self) {
        return self->is_upload;
}

goffset share_transfer_get_size(ShareTransfer *self) {
        return self->size;
}

goffset share_transfer_get_done(ShareTransfer *self) {
        return self->done;
}

ShareTransferState share_transfer_get_state(ShareTransfer *self) {
        return self->state;
}

void share_transfer_add_done(ShareTransfer *self, gsize length) {
        gint64 now = g_get_monotonic_time();

        self->done += (goffset) length;
        if (now < self->changed + CHANGE_INTERVAL)
                return;
        self->changed = now;
        g_signal_emit(self, changed_signal, 0);
}

void share_transfer_set_name(ShareTransfer *self, const char *name) {
        g_free(self->name);
        self->name = g_strdup(name);
        g_signal_emit(self, changed_signal, 0);
}

void share_transfer_finish(ShareTransfer *self, gboolean success) {
        g_return_if_fail(self->state == SHARE_TRANSFER_ACTIVE);

        self->state = success ? SHARE_TRANSFER_DONE : SHARE_TRANSFER_FAILED;
        g_signal_emit(self, changed_signal, 0);
}
