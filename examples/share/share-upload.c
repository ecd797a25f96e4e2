/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>

#include "share-upload.h"

/* The bytes that are written at once. */
#define BLOCK (256 * 1024)
#define MAX_NAMES 1000

typedef struct Upload {
        SoupServerMessage *message; /* NULL: finished */
        ShareTransfer *transfer;
        GFile *folder;
        char *name;
        guint n_names; /* that were tried */
        GFile *file;
        GOutputStream *stream;
        GByteArray *buffer;
        GCancellable *cancellable;
        gboolean is_received; /* the whole body */
        gboolean is_saved;
        gboolean has_failed;
} Upload;

static void upload_clear(gpointer data) {
        Upload *self = data;

        g_clear_object(&self->transfer);
        g_clear_object(&self->folder);
        g_clear_object(&self->file);
        g_clear_object(&self->stream);
        g_clear_object(&self->cancellable);
        g_clear_pointer(&self->buffer, g_byte_array_unref);
        g_free(self->name);
}

static void upload_unref(Upload *self) {
        g_rc_box_release_full(self, upload_clear);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Upload, upload_unref)

gboolean share_upload_is_safe_name(const char *name) {
        if (name[0] == '\0' || name[0] == '.' || strlen(name) > 200 || !g_utf8_validate(name, -1, NULL))
                return FALSE;
        for (const char *p = name; *p; p = g_utf8_next_char(p))
                if (*p == '/' || *p == '\\' || g_unichar_iscntrl(g_utf8_get_char(p)))
                        return FALSE;
        return TRUE;
}

/* A part of a file is of no use. Not asynchronous, because the program may be about to exit. */
static void delete_file(Upload *self) {
        if (self->file)
                g_file_delete(self->file, NULL, NULL);
}

/* The peer sends the rest nevertheless, and is then told about the failure. */
static void fail(Upload *self, GError *error) {
        self->has_failed = TRUE;
        delete_file(self);
        soup_server_message_set_status(self->message,
                                       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE)
                                                       ? SOUP_STATUS_INSUFFICIENT_STORAGE
                                                       : SOUP_STATUS_INTERNAL_SERVER_ERROR,
                                       NULL);
        soup_server_message_unpause(self->message);
}

static void on_closed(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(Upload) self = data;
        g_autoptr(GError) error = NULL;

        if (!g_output_stream_close_finish(self->stream, result, &error)) {
                if (self->message)
                        fail(self, error);
                return;
        }
        if (!self->message)
                return;

        self->is_saved = TRUE;
        soup_server_message_set_status(self->message, SOUP_STATUS_CREATED, NULL);
        soup_server_message_unpause(self->message);
}

static void on_written(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(Upload) self = data;
        g_autoptr(GError) error = NULL;
        gboolean written = g_output_stream_write_all_finish(self->stream, result, NULL, &error);

        if (!self->message)
                return;
        if (!written) {
                fail(self, error);
                return;
        }

        g_byte_array_set_size(self->buffer, 0);
        if (self->is_received)
                g_output_stream_close_async(self->stream, G_PRIORITY_DEFAULT, self->cancellable, on_closed,
                                            g_rc_box_acquire(self));
        else
                soup_server_message_unpause(self->message);
}

/* The message is paused meanwhile, so that a fast peer does not fill the memory. */
static void write_buffer(Upload *self) {
        soup_server_message_pause(self->message);
        g_output_stream_write_all_async(self->stream, self->buffer->data, self->buffer->len,
                                        G_PRIORITY_DEFAULT, self->cancellable, on_written,
                                        g_rc_box_acquire(self));
}

static void on_got_chunk(SoupServerMessage *message, GBytes *chunk, Upload *self) {
        gsize size = g_bytes_get_size(chunk);

        if (self->has_failed)
                return;

        share_transfer_add_done(self->transfer, size);
        g_byte_array_append(self->buffer, g_bytes_get_data(chunk, NULL), (guint) size);
        if (self->buffer->len >= BLOCK)
                write_buffer(self);
}

/* The message is finished, or freed without that if the server is stopped. */
static void end(gpointer data) {
        Upload *self = data;

        g_cancellable_cancel(self->cancellable);
        if (!self->is_saved && !self->has_failed)
                delete_file(self);
        share_transfer_finish(self->transfer, self->is_saved);
        self->message = NULL;
        upload_unref(self);
}

static void on_finished(SoupServerMessage *message, Upload *self) {
        g_object_set_data(G_OBJECT(message), "upload", NULL);
}

static char *get_next_name(Upload *self) {
        const char *dot = strrchr(self->name, '.');
        int stem = dot ? (int) (dot - self->name) : (int) strlen(self->name);

        if (self->n_names++ == 0)
                return g_strdup(self->name);
        return g_strdup_printf("%.*s (%u)%s", stem, self->name, self->n_names, self->name + stem);
}

static void create_file(Upload *self);

static void on_created(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(Upload) self = data;
        g_autoptr(GError) error = NULL;
        GFileOutputStream *stream = g_file_create_finish(G_FILE(source), result, &error);

        if (stream) {
                g_autofree char *name = g_file_get_basename(G_FILE(source));

                self->file = g_object_ref(G_FILE(source));
                self->stream = G_OUTPUT_STREAM(stream);
                if (self->message) {
                        share_transfer_set_name(self->transfer, name);
                        soup_server_message_unpause(self->message);
                } else
                        delete_file(self);
        } else if (!self->message)
                return;
        else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_EXISTS) && self->n_names < MAX_NAMES)
                create_file(self);
        else
                fail(self, error);
}

/* Fails if there is a file or link of this name. */
static void create_file(Upload *self) {
        g_autofree char *name = get_next_name(self);
        g_autoptr(GFile) file = g_file_get_child(self->folder, name);

        g_file_create_async(file, G_FILE_CREATE_NONE, G_PRIORITY_DEFAULT, self->cancellable, on_created,
                            g_rc_box_acquire(self));
}

void share_upload_start(SoupServerMessage *message, GFile *folder, const char *name, GListStore *transfers) {
        SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
        gboolean has_size = soup_message_headers_get_encoding(headers) == SOUP_ENCODING_CONTENT_LENGTH;
        Upload *self = g_rc_box_new0(Upload);

        self->message = message;
        self->folder = g_object_ref(folder);
        self->name = g_strdup(name);
        self->buffer = g_byte_array_new();
        self->cancellable = g_cancellable_new();
        self->transfer = share_transfer_new(name, soup_server_message_get_remote_host(message), TRUE,
                                            has_size ? soup_message_headers_get_content_length(headers) : -1);
        g_list_store_append(transfers, self->transfer);

        soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
        g_object_set_data_full(G_OBJECT(message), "upload", self, end);
        g_signal_connect(message, "got-chunk", G_CALLBACK(on_got_chunk), self);
        g_signal_connect(message, "finished", G_CALLBACK(on_finished), self);

        soup_server_message_pause(message);
        create_file(self);
}

void share_upload_end(SoupServerMessage *message) {
        Upload *self = g_object_get_data(G_OBJECT(message), "upload");

        self->is_received = TRUE;
        if (!self->has_failed)
                write_buffer(self);
}
