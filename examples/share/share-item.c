/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>

#include "share-item.h"

#define ATTRIBUTES                                                                                           \
        G_FILE_ATTRIBUTE_STANDARD_NAME "," G_FILE_ATTRIBUTE_STANDARD_DISPLAY_NAME                            \
                                       "," G_FILE_ATTRIBUTE_STANDARD_TYPE "," G_FILE_ATTRIBUTE_STANDARD_SIZE \
                                       "," G_FILE_ATTRIBUTE_STANDARD_FAST_CONTENT_TYPE                       \
                                       "," G_FILE_ATTRIBUTE_ETAG_VALUE

struct _ShareItem {
        GObject parent_instance;

        GFile *file;
        guint id;
        char *basename; /* in the encoding of the file system */
        char *name;
        GIcon *icon;
        gboolean is_folder;
        char *detail;
};

G_DEFINE_TYPE(ShareItem, share_item, G_TYPE_OBJECT)

static void share_item_finalize(GObject *object) {
        ShareItem *self = SHARE_ITEM(object);

        g_clear_object(&self->file);
        g_clear_object(&self->icon);
        g_free(self->basename);
        g_free(self->name);
        g_free(self->detail);
        G_OBJECT_CLASS(share_item_parent_class)->finalize(object);
}

static void share_item_class_init(ShareItemClass *class) {
        G_OBJECT_CLASS(class)->finalize = share_item_finalize;
}

static void share_item_init(ShareItem *self) {
}

static gboolean fail_not_shared(GError **error) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            _("This is neither a file nor a folder"));
        return FALSE;
}

static gboolean type_is_shared(GFileInfo *info) {
        GFileType type = g_file_info_get_file_type(info);

        return type == G_FILE_TYPE_REGULAR || type == G_FILE_TYPE_DIRECTORY;
}

ShareItem *share_item_new(GFile *file, GFileInfo *info, guint id, GError **error) {
        ShareItem *self;

        if (!type_is_shared(info)) {
                fail_not_shared(error);
                return NULL;
        }

        self = g_object_new(SHARE_TYPE_ITEM, NULL);
        self->file = g_object_ref(file);
        self->id = id;
        self->basename = g_file_get_basename(file);
        self->name = g_filename_display_name(self->basename);
        g_set_object(&self->icon, g_file_info_get_symbolic_icon(info));
        self->is_folder = g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY;
        self->detail = self->is_folder ? g_strdup(_("Folder"))
                                       : g_format_size((guint64) g_file_info_get_size(info));
        return self;
}

GFile *share_item_get_file(ShareItem *self) {
        return self->file;
}

guint share_item_get_id(ShareItem *self) {
        return self->id;
}

const char *share_item_get_name(ShareItem *self) {
        return self->name;
}

GIcon *share_item_get_icon(ShareItem *self) {
        return self->icon;
}

gboolean share_item_is_folder(ShareItem *self) {
        return self->is_folder;
}

const char *share_item_get_detail(ShareItem *self) {
        return self->detail;
}

void share_found_free(ShareFound *self) {
        g_clear_object(&self->file);
        g_clear_object(&self->info);
        g_clear_object(&self->stream);
        g_clear_pointer(&self->children, g_ptr_array_unref);
        g_free(self);
}

gboolean share_info_is_shared(GFileInfo *info) {
        return g_file_info_get_name(info)[0] != '.' && type_is_shared(info);
}

/* Follows the names in the path, one at a time, so that no name can leave the shared folder. */
static gboolean walk(ShareItem *self,
                     const char *path,
                     ShareFound *found,
                     GCancellable *cancellable,
                     GError **error) {
        g_auto(GStrv) names = g_strsplit(path, "/", -1);
        g_autofree char *first = g_uri_unescape_string(names[0], "/");
        guint n_names = g_strv_length(names);

        if (g_strcmp0(first, self->basename) != 0)
                return fail_not_shared(error);

        /* The user has chosen this file; it may be a symbolic link or hidden. */
        found->file = g_object_ref(self->file);
        found->info = g_file_query_info(found->file, ATTRIBUTES, G_FILE_QUERY_INFO_NONE, cancellable, error);
        if (!found->info)
                return FALSE;
        if (!type_is_shared(found->info))
                return fail_not_shared(error);

        for (guint i = 1; i < n_names; i++) {
                g_autofree char *name = g_uri_unescape_string(names[i], "/");
                g_autoptr(GFile) child = NULL;

                if (g_file_info_get_file_type(found->info) != G_FILE_TYPE_DIRECTORY)
                        return fail_not_shared(error);
                /* The address of a folder may end with a slash. */
                if (i == n_names - 1 && names[i][0] == '\0')
                        break;
                /* This includes "." and "..". */
                if (!name || name[0] == '\0' || name[0] == '.')
                        return fail_not_shared(error);

                child = g_file_get_child(found->file, name);
                g_set_object(&found->file, child);
                g_clear_object(&found->info);
                found->info = g_file_query_info(child, ATTRIBUTES, G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS,
                                                cancellable, error);
                if (!found->info)
                        return FALSE;
                if (!share_info_is_shared(found->info))
                        return fail_not_shared(error);
        }
        return TRUE;
}

static int compare_names(gconstpointer a, gconstpointer b) {
        g_autofree char *key_a = g_utf8_collate_key_for_filename(
                        g_file_info_get_display_name(*(GFileInfo **) a), -1);
        g_autofree char *key_b = g_utf8_collate_key_for_filename(
                        g_file_info_get_display_name(*(GFileInfo **) b), -1);

        return strcmp(key_a, key_b);
}

static gboolean list(ShareFound *found, GCancellable *cancellable, GError **error) {
        g_autoptr(GFileEnumerator) files = g_file_enumerate_children(
                        found->file, ATTRIBUTES, G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS, cancellable, error);

        if (!files)
                return FALSE;

        found->children = g_ptr_array_new_with_free_func(g_object_unref);
        for (;;) {
                GFileInfo *info;

                if (!g_file_enumerator_iterate(files, &info, NULL, cancellable, error))
                        return FALSE;
                if (!info)
                        break;
                if (share_info_is_shared(info))
                        g_ptr_array_add(found->children, g_object_ref(info));
        }
        g_ptr_array_sort(found->children, compare_names);
        return TRUE;
}

static gboolean open_or_list(ShareFound *found, GCancellable *cancellable, GError **error) {
        if (g_file_info_get_file_type(found->info) == G_FILE_TYPE_DIRECTORY)
                return list(found, cancellable, error);
        found->stream = g_file_read(found->file, cancellable, error);
        return found->stream != NULL;
}

static void find(GTask *task, gpointer source, gpointer data, GCancellable *cancellable) {
        g_autoptr(ShareFound) found = g_new0(ShareFound, 1);
        GError *error = NULL;

        if (walk(source, data, found, cancellable, &error) && open_or_list(found, cancellable, &error))
                g_task_return_pointer(task, g_steal_pointer(&found), (GDestroyNotify) share_found_free);
        else
                g_task_return_error(task, error);
}

void share_item_find_async(ShareItem *self,
                           const char *path,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           gpointer user_data) {
        g_autoptr(GTask) task = g_task_new(self, cancellable, callback, user_data);

        g_task_set_task_data(task, g_strdup(path), g_free);
        g_task_run_in_thread(task, find);
}

ShareFound *share_item_find_finish(ShareItem *self, GAsyncResult *result, GError **error) {
        return g_task_propagate_pointer(G_TASK(result), error);
}
