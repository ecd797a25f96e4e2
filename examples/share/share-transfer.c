/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "share-transfer.h"

struct _ShareTransfer {
        GObject parent_instance;

        char *name;
        char *peer;
        gboolean is_upload;
        goffset size;
        goffset done;
        ShareTransferState state;
};

G_DEFINE_TYPE(ShareTransfer, share_transfer, G_TYPE_OBJECT)

enum {
        PROP_0,
        PROP_NAME,
        PROP_DONE,
        PROP_STATE,
        N_PROPS,
};

static GParamSpec *props[N_PROPS];

static void share_transfer_get_property(GObject *object, guint id, GValue *value, GParamSpec *spec) {
        ShareTransfer *self = SHARE_TRANSFER(object);

        switch (id) {
        case PROP_NAME:
                g_value_set_string(value, self->name);
                break;
        case PROP_DONE:
                g_value_set_int64(value, self->done);
                break;
        case PROP_STATE:
                g_value_set_int(value, self->state);
                break;
        default:
                G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
        }
}

static void share_transfer_finalize(GObject *object) {
        ShareTransfer *self = SHARE_TRANSFER(object);

        g_free(self->name);
        g_free(self->peer);
        G_OBJECT_CLASS(share_transfer_parent_class)->finalize(object);
}

static void share_transfer_class_init(ShareTransferClass *class) {
        GObjectClass *object_class = G_OBJECT_CLASS(class);

        object_class->get_property = share_transfer_get_property;
        object_class->finalize = share_transfer_finalize;

        props[PROP_NAME] = g_param_spec_string("name", NULL, NULL, NULL,
                                               G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
        props[PROP_DONE] = g_param_spec_int64("done", NULL, NULL, 0, G_MAXINT64, 0,
                                              G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
        props[PROP_STATE] = g_param_spec_int("state", NULL, NULL, SHARE_TRANSFER_ACTIVE,
                                             SHARE_TRANSFER_FAILED, SHARE_TRANSFER_ACTIVE,
                                             G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
        g_object_class_install_properties(object_class, N_PROPS, props);
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
        self->done += (goffset) length;
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_DONE]);
}

void share_transfer_set_name(ShareTransfer *self, const char *name) {
        g_free(self->name);
        self->name = g_strdup(name);
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_NAME]);
}

void share_transfer_finish(ShareTransfer *self, gboolean success) {
        g_return_if_fail(self->state == SHARE_TRANSFER_ACTIVE);

        self->state = success ? SHARE_TRANSFER_DONE : SHARE_TRANSFER_FAILED;
        g_object_notify_by_pspec(G_OBJECT(self), props[PROP_STATE]);
}
