/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>

#include "share-upload.h"

#define BLOCK (256 * 1024)
#define MAX_FILES 1000 /* of a form, and names that are tried for a file */
#define MAX_NAME 240   /* bytes; file systems have 255, and " (1000)" may be added */
#define MAX_BOUNDARY 70
#define MAX_HEADERS 8192
/* The disk is not filled up completely: a tenth of it, but not more than this, stays free. */
#define MAX_RESERVE (100 * 1024 * 1024)

/* The main loop gives the body in blocks to a thread, which may wait for the disk. The message is paused
 * until the thread has got the block, so that a fast peer does not fill the memory. */
typedef struct Upload {
        /* Main loop */
        SoupServerMessage *message; /* NULL: it is finished */
        ShareTransfer *transfer;
        GByteArray *received; /* not yet given to the thread */
        GThread *thread;
        gboolean is_received; /* the whole body */
        gboolean is_finished; /* the thread */

        /* Both */
        GAsyncQueue *blocks; /* of GBytes; an empty one is the end */
        gint is_complete;    /* atomic: the end is that of the body */

        /* Thread, and main loop when that is finished */
        GFile *folder;
        char *name;       /* PUT: of the file */
        char *delimiter;  /* POST: before and after each part of the form */
        GByteArray *data; /* not yet saved */
        GPtrArray *files; /* of GFile: that were created */
        GError *error;
} Upload;

static void upload_clear(gpointer data) {
        Upload *self = data;

        g_clear_object(&self->transfer);
        g_clear_object(&self->folder);
        g_clear_pointer(&self->received, g_byte_array_unref);
        g_clear_pointer(&self->blocks, g_async_queue_unref);
        g_clear_pointer(&self->data, g_byte_array_unref);
        g_clear_pointer(&self->files, g_ptr_array_unref);
        g_clear_error(&self->error);
        g_free(self->name);
        g_free(self->delimiter);
}

static void upload_unref(gpointer self) {
        g_atomic_rc_box_release_full(self, upload_clear);
}

/* Format characters, such as those that reverse the text after them, can hide the end of the name. */
static gboolean is_safe(gunichar c) {
        return c != '/' && c != '\\' && !g_unichar_iscntrl(c) && !(c >= 0x202A && c <= 0x202E) &&
               !(c >= 0x2066 && c <= 0x2069);
}

/* NULL if the name is empty or too long. */
static char *get_safe_name(const char *name) {
        g_autofree char *valid = g_utf8_make_valid(name, -1);
        g_autoptr(GString) safe = g_string_new(NULL);

        for (const char *p = valid; *p; p = g_utf8_next_char(p))
                g_string_append_unichar(safe, is_safe(g_utf8_get_char(p)) ? g_utf8_get_char(p) : '_');
        if (safe->str[0] == '.')
                safe->str[0] = '_';
        return safe->len > 0 && safe->len <= MAX_NAME ? g_strdup(safe->str) : NULL;
}

/* Thread */

static gboolean on_block_read(gpointer data) {
        Upload *self = data;

        if (self->message && !self->is_received)
                soup_server_message_unpause(self->message);
        return G_SOURCE_REMOVE;
}

static void run_in_main_loop(Upload *self, GSourceFunc function) {
        g_idle_add_full(G_PRIORITY_DEFAULT, function, g_atomic_rc_box_acquire(self), upload_unref);
}

/* Waits for the next block. Returns FALSE at the end. */
static gboolean read_block(Upload *self) {
        g_autoptr(GBytes) block = g_async_queue_pop(self->blocks);
        gsize size = g_bytes_get_size(block);

        if (size == 0)
                return FALSE;
        g_byte_array_append(self->data, g_bytes_get_data(block, NULL), (guint) size);
        run_in_main_loop(self, on_block_read);
        return TRUE;
}

static gboolean fail_incomplete(GError **error) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT, "The end is missing");
        return FALSE;
}

static gboolean check_space(Upload *self, GError **error) {
        g_autoptr(GFileInfo) info = g_file_query_filesystem_info(
                        self->folder, G_FILE_ATTRIBUTE_FILESYSTEM_FREE "," G_FILE_ATTRIBUTE_FILESYSTEM_SIZE,
                        NULL, NULL);
        guint64 available, size;

        if (!info || !g_file_info_has_attribute(info, G_FILE_ATTRIBUTE_FILESYSTEM_FREE))
                return TRUE;
        available = g_file_info_get_attribute_uint64(info, G_FILE_ATTRIBUTE_FILESYSTEM_FREE);
        size = g_file_info_get_attribute_uint64(info, G_FILE_ATTRIBUTE_FILESYSTEM_SIZE);
        if (available >= MIN(size / 10, MAX_RESERVE))
                return TRUE;
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "The disk is full");
        return FALSE;
}

/* Writes what comes before the delimiter, and removes both. delimiter: NULL: writes all. */
static gboolean read_until(Upload *self, const char *delimiter, GOutputStream *stream, GError **error) {
        gsize length = delimiter ? strlen(delimiter) : 0;

        for (;;) {
                guint8 *start = self->data->data;
                guint8 *found = length > 0 ? memmem(start, self->data->len, delimiter, length) : NULL;
                gsize n = self->data->len;

                /* The last bytes may be the start of the delimiter. */
                if (found)
                        n = (gsize) (found - start);
                else if (length > 0)
                        n -= MIN(n, length - 1);
                if (!check_space(self, error) ||
                    !g_output_stream_write_all(stream, start, n, NULL, NULL, error))
                        return FALSE;
                g_byte_array_remove_range(self->data, 0, (guint) (n + (found ? length : 0)));
                if (found)
                        return TRUE;
                if (!read_block(self))
                        return (length == 0 && g_atomic_int_get(&self->is_complete)) ||
                               fail_incomplete(error);
        }
}

/* "name.txt", "name (2).txt", … */
static char *get_numbered_name(const char *name, guint i) {
        const char *dot = strrchr(name, '.');
        int stem = dot ? (int) (dot - name) : (int) strlen(name);

        return i == 1 ? g_strdup(name) : g_strdup_printf("%.*s (%u)%s", stem, name, i, name + stem);
}

/* Never replaces a file, and does not follow a link. */
static GOutputStream *create_file(Upload *self, const char *name, GError **error) {
        g_autofree char *safe_name = get_safe_name(name);

        if (!safe_name) {
                g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME, "The name is too long");
                return NULL;
        }
        for (guint i = 1;; i++) {
                g_autofree char *numbered_name = get_numbered_name(safe_name, i);
                g_autoptr(GFile) file = g_file_get_child(self->folder, numbered_name);
                g_autoptr(GError) local_error = NULL;
                GFileOutputStream *stream = g_file_create(file, G_FILE_CREATE_NONE, NULL, &local_error);

                if (stream) {
                        g_ptr_array_add(self->files, g_steal_pointer(&file));
                        return G_OUTPUT_STREAM(stream);
                }
                if (i == MAX_FILES || !g_error_matches(local_error, G_IO_ERROR, G_IO_ERROR_EXISTS)) {
                        g_propagate_error(error, g_steal_pointer(&local_error));
                        return NULL;
                }
        }
}

static gboolean save_file(Upload *self, const char *name, GError **error) {
        g_autoptr(GOutputStream) stream = create_file(self, name, error);

        return stream && read_until(self, self->delimiter, stream, error) &&
               g_output_stream_close(stream, NULL, error);
}

/* Fails if the text is too long. */
static gboolean read_text(Upload *self,
                          const char *delimiter,
                          char text[static MAX_HEADERS],
                          GError **error) {
        g_autoptr(GOutputStream) stream = g_memory_output_stream_new(text, MAX_HEADERS - 1, NULL, NULL);
        gboolean success = read_until(self, delimiter, stream, error);
        gsize size = g_memory_output_stream_get_data_size(G_MEMORY_OUTPUT_STREAM(stream));

        text[size] = '\0';
        if (!success && size == MAX_HEADERS - 1) {
                g_clear_error(error);
                g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "A part is too long");
        }
        return success;
}

/* The name in the headers of a part of a form, or NULL if it is not a file. */
static char *get_file_name(const char *text) {
        SoupMessageHeaders *headers = soup_message_headers_new(SOUP_MESSAGE_HEADERS_MULTIPART);
        g_autofree char *lines = g_strconcat(text, "\r\n", NULL);
        g_autoptr(GHashTable) parameters = NULL;
        g_autofree char *disposition = NULL;
        const char *name = NULL;

        /* This ignores the first line, which is the rest of that of the delimiter. */
        if (soup_headers_parse(lines, (int) strlen(lines), headers) &&
            soup_message_headers_get_content_disposition(headers, &disposition, &parameters))
                name = g_hash_table_lookup(parameters, "filename");
        soup_message_headers_unref(headers);
        return name && name[0] ? g_strdup(name) : NULL;
}

/* multipart/form-data, as browsers send it without JavaScript. SoupMultipart would need it in memory. */
static gboolean save_form(Upload *self, GError **error) {
        char text[MAX_HEADERS];

        g_byte_array_append(self->data, (const guint8 *) "\r\n", 2);
        if (!read_text(self, self->delimiter, text, error))
                return FALSE;
        for (guint i = 0; i < MAX_FILES; i++) {
                g_autofree char *name = NULL;

                while (self->data->len < 2)
                        if (!read_block(self))
                                return fail_incomplete(error);
                if (memcmp(self->data->data, "--", 2) == 0)
                        return TRUE;
                if (!read_text(self, "\r\n\r\n", text, error))
                        return FALSE;
                name = get_file_name(text);
                if (!(name ? save_file(self, name, error) : read_text(self, self->delimiter, text, error)))
                        return FALSE;
        }
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "Too many parts");
        return FALSE;
}

static gboolean on_thread_finished(gpointer data);

static gpointer run(gpointer data) {
        Upload *self = data;
        g_autofree char *path = g_file_get_path(self->folder);
        gboolean success;

        /* As other programs do, for users without a folder for downloads. */
        if (path)
                (void) g_mkdir_with_parents(path, 0755);
        success = self->name ? save_file(self, self->name, &self->error) : save_form(self, &self->error);
        for (guint i = 0; !success && i < self->files->len; i++)
                g_file_delete(self->files->pdata[i], NULL, NULL);

        run_in_main_loop(self, on_thread_finished);
        upload_unref(self);
        return NULL;
}

/* Main loop */

static guint get_status(const GError *error) {
        if (!error)
                return SOUP_STATUS_CREATED;
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE))
                return SOUP_STATUS_INSUFFICIENT_STORAGE;
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT) ||
            g_error_matches(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA) ||
            g_error_matches(error, G_IO_ERROR, G_IO_ERROR_INVALID_FILENAME))
                return SOUP_STATUS_BAD_REQUEST;
        return SOUP_STATUS_INTERNAL_SERVER_ERROR;
}

static void reply(Upload *self) {
        /* A page that is the reply to a form would send it again when it is reloaded. */
        if (!self->error && self->delimiter)
                soup_server_message_set_redirect(self->message, SOUP_STATUS_SEE_OTHER, "/?sent=1");
        else
                soup_server_message_set_status(self->message, get_status(self->error), NULL);
        soup_server_message_unpause(self->message);
}

static gboolean on_thread_finished(gpointer data) {
        Upload *self = data;

        self->is_finished = TRUE;
        if (!self->message)
                return G_SOURCE_REMOVE;
        if (self->is_received)
                reply(self);
        else
                soup_server_message_unpause(self->message); /* the peer sends the rest nevertheless */
        return G_SOURCE_REMOVE;
}

static void give_block(Upload *self) {
        g_async_queue_push(self->blocks, g_byte_array_free_to_bytes(self->received));
        self->received = g_byte_array_new();
}

static void on_got_chunk(SoupServerMessage *message, GBytes *chunk, Upload *self) {
        gsize size = g_bytes_get_size(chunk);

        if (self->is_finished)
                return;
        share_transfer_add_done(self->transfer, size);
        g_byte_array_append(self->received, g_bytes_get_data(chunk, NULL), (guint) size);
        if (self->received->len >= BLOCK) {
                soup_server_message_pause(message);
                give_block(self);
        }
}

/* The message is finished, or freed without that if the server is stopped. Waits for the thread, which
 * deletes a part of a file, because the program may be about to exit. */
static void end(gpointer data) {
        Upload *self = data;

        g_async_queue_push(self->blocks, g_bytes_new(NULL, 0));
        g_thread_join(self->thread);
        if (self->files->len == 1) {
                g_autofree char *name = g_file_get_basename(self->files->pdata[0]);

                share_transfer_set_name(self->transfer, name);
        }
        share_transfer_finish(self->transfer, !self->error);
        self->message = NULL;
        upload_unref(self);
}

static void on_finished(SoupServerMessage *message, Upload *self) {
        g_object_set_data(G_OBJECT(message), "upload", NULL);
}

/* NULL if it has no form. */
static char *get_delimiter(SoupMessageHeaders *headers) {
        g_autoptr(GHashTable) parameters = NULL;
        const char *type = soup_message_headers_get_content_type(headers, &parameters);
        const char *boundary = parameters ? g_hash_table_lookup(parameters, "boundary") : NULL;

        return g_strcmp0(type, "multipart/form-data") == 0 && boundary && boundary[0] &&
                                               strlen(boundary) <= MAX_BOUNDARY
                               ? g_strconcat("\r\n--", boundary, NULL)
                               : NULL;
}

gboolean share_upload_start(SoupServerMessage *message,
                            GFile *folder,
                            const char *name,
                            GListStore *transfers) {
        SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
        gboolean has_size = soup_message_headers_get_encoding(headers) == SOUP_ENCODING_CONTENT_LENGTH;
        g_autofree char *safe_name = name ? get_safe_name(name) : g_strdup(_("Files"));
        g_autofree char *delimiter = name ? NULL : get_delimiter(headers);
        Upload *self;

        if (!safe_name || (!name && !delimiter))
                return FALSE;

        self = g_atomic_rc_box_new0(Upload);
        self->message = message;
        self->transfer = share_transfer_new(safe_name, soup_server_message_get_remote_host(message), TRUE,
                                            has_size ? soup_message_headers_get_content_length(headers) : -1);
        self->received = g_byte_array_new();
        self->blocks = g_async_queue_new_full((GDestroyNotify) g_bytes_unref);
        self->folder = g_object_ref(folder);
        self->name = g_strdup(name);
        self->delimiter = g_steal_pointer(&delimiter);
        self->data = g_byte_array_new();
        self->files = g_ptr_array_new_with_free_func(g_object_unref);
        self->thread = g_thread_new("upload", run, g_atomic_rc_box_acquire(self));
        g_list_store_insert(transfers, 0, self->transfer);

        soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
        g_object_set_data_full(G_OBJECT(message), "upload", self, end);
        g_signal_connect(message, "got-chunk", G_CALLBACK(on_got_chunk), self);
        g_signal_connect(message, "finished", G_CALLBACK(on_finished), self);
        return TRUE;
}

void share_upload_end(SoupServerMessage *message) {
        Upload *self = g_object_get_data(G_OBJECT(message), "upload");

        g_return_if_fail(self);
        self->is_received = TRUE;
        soup_server_message_pause(message);
        if (self->is_finished) {
                reply(self);
                return;
        }
        if (self->received->len > 0)
                give_block(self);
        g_atomic_int_set(&self->is_complete, TRUE);
        g_async_queue_push(self->blocks, g_bytes_new(NULL, 0));
}
