/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A file or folder that is shared, and the files in it that peers may read. */

#include <gio/gio.h>

#define SHARE_TYPE_ITEM (share_item_get_type())
G_DECLARE_FINAL_TYPE(ShareItem, share_item, SHARE, ITEM, GObject)

#define SHARE_ITEM_ATTRIBUTES                                             \
        G_FILE_ATTRIBUTE_STANDARD_TYPE "," G_FILE_ATTRIBUTE_STANDARD_SIZE \
                                       "," G_FILE_ATTRIBUTE_STANDARD_SYMBOLIC_ICON

/* info: with SHARE_ITEM_ATTRIBUTES. Fails if the file is neither a file nor a folder. */
ShareItem *share_item_new(GFile *file, GFileInfo *info, guint id, GError **error);

GFile *share_item_get_file(ShareItem *self);
/* The number in the addresses of its files, which no other item gets. */
guint share_item_get_id(ShareItem *self);
/* The name, in valid UTF-8. */
const char *share_item_get_name(ShareItem *self);
GIcon *share_item_get_icon(ShareItem *self);
gboolean share_item_is_folder(ShareItem *self);
/* "Folder", or the size of the file, translated. */
const char *share_item_get_detail(ShareItem *self);

/* A file or folder that a peer asks for. */
typedef struct ShareFound {
        GFile *file;
        GFileInfo *info;          /* its name, type, size, content type, entity tag */
        GFileInputStream *stream; /* NULL: it is a folder */
        GPtrArray *children;      /* of GFileInfo, sorted by name; NULL: it is no folder */
} ShareFound;

void share_found_free(ShareFound *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ShareFound, share_found_free)

/* Hidden files, symbolic links and special files in a shared folder are not shared. */
gboolean share_info_is_shared(GFileInfo *info);

/* path: from the address, still encoded: the name of the item, and for a file in a folder, further names
 * after slashes. */
void share_item_find_async(ShareItem *self,
                           const char *path,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data);
/* Fails with G_IO_ERROR_NOT_FOUND if nothing that is shared has this path. */
ShareFound *share_item_find_finish(ShareItem *self, GAsyncResult *result, GError **error);
