/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "share-upload.h"

#define BLOCK (256 * 1024)
#define MAX_NUMBER 1000
#define MAX_NAME 240 /* bytes; file systems have 255, and " (1000).part" may be added */
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
        char *name; /* of the file */
        GError *error;
} Upload;

static void upload_clear(gpointer data) {
        Upload *self = data;

        g_clear_object(&self->transfer);
        g_clear_object(&self->folder);
        g_clear_pointer(&self->received, g_byte_array_unref);
        g_clear_pointer(&self->blocks, g_async_queue_unref);
        g_clear_error(&self->error);
        g_free(self->name);
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

static gboolean write_blocks(Upload *self, GOutputStream *stream, GError **error) {
        for (;;) {
                g_autoptr(GBytes) block = g_async_queue_pop(self->blocks);
                gsize size = g_bytes_get_size(block);

                if (size == 0)
                        break;
                run_in_main_loop(self, on_block_read);
                if (!check_space(self, error) ||
                    !g_output_stream_write_all(stream, g_bytes_get_data(block, NULL), size, NULL, NULL,
                                               error))
                        return FALSE;
        }
        if (g_atomic_int_get(&self->is_complete))
                return TRUE;
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT, "The end is missing");
        return FALSE;
}

/* "name.txt", "name (2).txt", … */
static char *get_numbered_name(const char *name, guint i) {
        const char *dot = strrchr(name, '.');
        int stem = dot ? (int) (dot - name) : (int) strlen(name);

        return i == 1 ? g_strdup(name) : g_strdup_printf("%.*s (%u)%s", stem, name, i, name + stem);
}

/* Never replaces a file, and does not follow a link: the name gets a number if it is taken. */
static GOutputStream *create_file(GFile *folder, const char *name, GFile **ret_file, GError **error) {
        for (guint i = 1;; i++) {
                g_autofree char *numbered_name = get_numbered_name(name, i);
                g_autoptr(GFile) file = g_file_get_child(folder, numbered_name);
                g_autoptr(GError) local_error = NULL;
                GFileOutputStream *stream = g_file_create(file, G_FILE_CREATE_NONE, NULL, &local_error);

                if (stream) {
                        *ret_file = g_steal_pointer(&file);
                        return G_OUTPUT_STREAM(stream);
                }
                if (i == MAX_NUMBER || !g_error_matches(local_error, G_IO_ERROR, G_IO_ERROR_EXISTS)) {
                        g_propagate_error(error, g_steal_pointer(&local_error));
                        return NULL;
                }
        }
}

/* Replaces an empty file that it has created itself: there is no function to rename only if the name is free
 * that all file systems have. */
static gboolean rename_part(Upload *self, GFile *part, GError **error) {
        g_autoptr(GFile) file = NULL;
        g_autoptr(GOutputStream) stream = create_file(self->folder, self->name, &file, error);

        if (!stream)
                return FALSE;
        if (!g_file_move(part, file, G_FILE_COPY_OVERWRITE | G_FILE_COPY_NO_FALLBACK_FOR_MOVE, NULL, NULL,
                         NULL, error)) {
                g_file_delete(file, NULL, NULL);
                return FALSE;
        }
        g_free(self->name);
        self->name = g_file_get_basename(file);
        return TRUE;
}

/* The file has another name until it is complete, so that a part that remains when this program or the
 * computer crashes is not mistaken for the file. */
static gboolean save(Upload *self, GError **error) {
        g_autofree char *part_name = g_strconcat(self->name, ".part", NULL);
        g_autoptr(GFile) part = NULL;
        g_autoptr(GOutputStream) stream = create_file(self->folder, part_name, &part, error);

        if (!stream)
                return FALSE;
        if (write_blocks(self, stream, error) && g_output_stream_close(stream, NULL, error) &&
            rename_part(self, part, error))
                return TRUE;
        g_file_delete(part, NULL, NULL);
        return FALSE;
}

static gboolean on_thread_finished(gpointer data);

static gpointer run(gpointer data) {
        Upload *self = data;
        g_autofree char *path = g_file_get_path(self->folder);

        /* As other programs do, for users without a folder for downloads. */
        if (path)
                (void) g_mkdir_with_parents(path, 0755);
        (void) save(self, &self->error);
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
        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT))
                return SOUP_STATUS_BAD_REQUEST;
        return SOUP_STATUS_INTERNAL_SERVER_ERROR;
}

static void reply(Upload *self) {
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
        share_transfer_set_name(self->transfer, self->name);
        share_transfer_finish(self->transfer, !self->error);
        self->message = NULL;
        upload_unref(self);
}

static void on_finished(SoupServerMessage *message, Upload *self) {
        g_object_set_data(G_OBJECT(message), "upload", NULL);
}

gboolean share_upload_start(SoupServerMessage *message,
                            GFile *folder,
                            const char *name,
                            GListStore *transfers) {
        SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
        gboolean has_size = soup_message_headers_get_encoding(headers) == SOUP_ENCODING_CONTENT_LENGTH;
        g_autofree char *safe_name = get_safe_name(name);
        Upload *self;

        if (!safe_name)
                return FALSE;

        self = g_atomic_rc_box_new0(Upload);
        self->message = message;
        self->transfer = share_transfer_new(safe_name, soup_server_message_get_remote_host(message), TRUE,
                                            has_size ? soup_message_headers_get_content_length(headers) : -1);
        self->received = g_byte_array_new();
        self->blocks = g_async_queue_new_full((GDestroyNotify) g_bytes_unref);
        self->folder = g_object_ref(folder);
        self->name = g_steal_pointer(&safe_name);
        self->thread = g_thread_new("upload", run, g_atomic_rc_box_acquire(self));
        g_list_store_insert(transfers, 0, self->transfer);

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
