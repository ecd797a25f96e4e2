/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <gio/gunixinputstream.h>
#include <glib-unix.h>
#include <glib/gi18n.h>
#include <locale.h>
#include <unistd.h>

#include "share-item.h"
#include "share-zip.h"

#define BLOCK 65536
#define ATTRIBUTES \
        G_FILE_ATTRIBUTE_STANDARD_NAME "," G_FILE_ATTRIBUTE_STANDARD_TYPE "," G_FILE_ATTRIBUTE_TIME_MODIFIED

/* Shared by the stream and the thread that writes the archive into a pipe. */
typedef struct Zip {
        GPtrArray *files;
        struct archive *archive;
        GString *missing; /* the names of files that cannot be read */
        int fd;
        gboolean has_failed; /* the rest of the output is dropped */
        gint complete;       /* atomic */
} Zip;

static void zip_clear(gpointer data) {
        Zip *zip = data;

        g_ptr_array_unref(zip->files);
        g_string_free(zip->missing, TRUE);
}

static void zip_unref(gpointer data) {
        g_atomic_rc_box_release_full(data, zip_clear);
}

/* libarchive only frees the memory of an archive, 280 kB, when it has written its end. Therefore, this does
 * not tell it that the peer has left. */
static la_ssize_t write_block(struct archive *archive, void *data, const void *block, size_t length) {
        Zip *zip = data;
        const char *next = block, *end = next + length;

        while (!zip->has_failed && next < end) {
                ssize_t n = write(zip->fd, next, (size_t) (end - next));

                if (n >= 0)
                        next += n;
                else if (errno != EINTR)
                        zip->has_failed = TRUE;
        }
        return (la_ssize_t) length;
}

static gboolean write_entry(Zip *zip, const char *path, GFileInfo *info) {
        gboolean is_folder = g_file_info_get_file_type(info) == G_FILE_TYPE_DIRECTORY;
        g_autoptr(GDateTime) time = g_file_info_get_modification_date_time(info);
        struct archive_entry *entry = archive_entry_new();
        int r;

        /* Without a size, because the file may grow while it is read. */
        archive_entry_set_pathname_utf8(entry, path);
        archive_entry_set_filetype(entry, is_folder ? AE_IFDIR : AE_IFREG);
        archive_entry_set_perm(entry, is_folder ? 0755 : 0644);
        if (time)
                archive_entry_set_mtime(entry, g_date_time_to_unix(time), 0);
        r = archive_write_header(zip->archive, entry);
        archive_entry_free(entry);
        return r == ARCHIVE_OK && !zip->has_failed;
}

static gboolean write_content(Zip *zip, GInputStream *stream) {
        g_autofree char *buffer = g_malloc(BLOCK);
        gssize n;

        while ((n = g_input_stream_read(stream, buffer, BLOCK, NULL, NULL)) > 0)
                if (archive_write_data(zip->archive, buffer, (size_t) n) != n || zip->has_failed)
                        return FALSE;
        return n == 0;
}

static gboolean skip(Zip *zip, const char *path) {
        g_string_append_printf(zip->missing, "%s\n", path);
        return TRUE;
}

/* Files and folders that cannot be opened are skipped. */
static gboolean write_tree(Zip *zip, GFile *file, GFileInfo *info, const char *path) {
        g_autoptr(GFileEnumerator) children = NULL;
        g_autofree char *prefix = NULL;

        if (g_file_info_get_file_type(info) == G_FILE_TYPE_REGULAR) {
                g_autoptr(GFileInputStream) stream = g_file_read(file, NULL, NULL);

                return stream ? write_entry(zip, path, info) && write_content(zip, G_INPUT_STREAM(stream))
                              : skip(zip, path);
        }

        children = g_file_enumerate_children(file, ATTRIBUTES, G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS, NULL,
                                             NULL);
        if (!children)
                return skip(zip, path);

        prefix = g_strconcat(path, "/", NULL);
        if (!write_entry(zip, prefix, info))
                return FALSE;
        for (;;) {
                GFileInfo *child_info;
                GFile *child;
                g_autofree char *name = NULL, *child_path = NULL;

                if (!g_file_enumerator_iterate(children, &child_info, &child, NULL, NULL))
                        return FALSE;
                if (!child_info)
                        return TRUE;
                name = g_filename_display_name(g_file_info_get_name(child_info));
                child_path = g_strconcat(prefix, name, NULL);
                if (share_info_is_shared(child_info) && !write_tree(zip, child, child_info, child_path))
                        return FALSE;
        }
}

/* The files may have the same name, because they come from different folders. */
static gboolean write_file(Zip *zip, GFile *file, GHashTable *names) {
        g_autofree char *basename = g_file_get_basename(file);
        g_autofree char *name = g_filename_display_name(basename);
        g_autoptr(GFileInfo) info = g_file_query_info(file, ATTRIBUTES, G_FILE_QUERY_INFO_NONE, NULL, NULL);
        g_autofree char *unique = g_strdup(name);

        for (guint i = 2; g_hash_table_contains(names, unique); i++) {
                g_free(unique);
                unique = g_strdup_printf("%u %s", i, name);
        }
        g_hash_table_add(names, g_strdup(unique));
        return info ? write_tree(zip, file, info, unique) : skip(zip, unique);
}

/* Tells the peer which files are missing. */
static gboolean write_missing(Zip *zip) {
        g_autofree char *path = g_strconcat(_("Files that could not be read"), ".txt", NULL);
        g_autoptr(GInputStream) stream = g_memory_input_stream_new_from_data(
                        zip->missing->str, (gssize) zip->missing->len, NULL);
        g_autoptr(GFileInfo) info = g_file_info_new();

        g_file_info_set_file_type(info, G_FILE_TYPE_REGULAR);
        return zip->missing->len == 0 || (write_entry(zip, path, info) && write_content(zip, stream));
}

static gpointer write_archive(gpointer data) {
        /* libarchive 3.8 finds the charset of names in the locale. The messages stay translated. */
        locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", duplocale(LC_GLOBAL_LOCALE));
        locale_t previous = uselocale(locale);
        Zip *zip = data;
        g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        gboolean complete;

        /* The fastest compression: most large files are compressed already. */
        zip->archive = archive_write_new();
        archive_write_set_format_zip(zip->archive);
        archive_write_set_options(zip->archive, "zip:compression-level=1,zip:hdrcharset=UTF-8");
        archive_write_set_bytes_in_last_block(zip->archive, 1);
        complete = archive_write_open(zip->archive, zip, NULL, write_block, NULL) == ARCHIVE_OK;

        for (guint i = 0; complete && i < zip->files->len; i++)
                complete = write_file(zip, zip->files->pdata[i], names);
        /* An archive without its end cannot be mistaken for a complete one. */
        if (!complete || !write_missing(zip))
                zip->has_failed = TRUE;
        complete = archive_write_close(zip->archive) == ARCHIVE_OK && !zip->has_failed;
        archive_write_free(zip->archive);
        (void) uselocale(previous);
        if (locale)
                freelocale(locale);

        g_atomic_int_set(&zip->complete, complete);
        close(zip->fd);
        zip_unref(zip);
        return NULL;
}

GInputStream *share_zip_open(GPtrArray *files, GError **error) {
        GInputStream *stream;
        GThread *thread;
        Zip *zip;
        int fds[2];

        /* If the stream is closed early, write() fails with EPIPE; GSocket ignores the signal. */
        if (!g_unix_open_pipe(fds, FD_CLOEXEC, error))
                return NULL;

        stream = g_unix_input_stream_new(fds[0], TRUE);
        zip = g_atomic_rc_box_new0(Zip);
        zip->files = g_ptr_array_ref(files);
        zip->missing = g_string_new(NULL);
        zip->fd = fds[1];
        g_object_set_data_full(G_OBJECT(stream), "zip", zip, zip_unref);

        thread = g_thread_try_new("zip", write_archive, g_atomic_rc_box_acquire(zip), error);
        if (!thread) {
                close(fds[1]);
                zip_unref(zip);
                g_object_unref(stream);
                return NULL;
        }
        g_thread_unref(thread);
        return stream;
}

gboolean share_zip_is_complete(GInputStream *stream) {
        return g_atomic_int_get(&((Zip *) g_object_get_data(G_OBJECT(stream), "zip"))->complete);
}
