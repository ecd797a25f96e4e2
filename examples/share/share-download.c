/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "share-download.h"
#include "share-zip.h"

#define BLOCK (256 * 1024)

typedef struct Download {
        SoupServerMessage *message; /* NULL: finished */
        ShareTransfer *transfer;
        GInputStream *stream;
        GCancellable *cancellable;
        goffset left; /* bytes that the stream has to give; -1: until its end */
        char *tag;    /* the version of the file; NULL: none */
        gboolean is_reading;
        gboolean has_written; /* everything */
        gboolean has_failed;
} Download;

static void download_clear(gpointer data) {
        Download *self = data;

        g_clear_object(&self->transfer);
        g_clear_object(&self->stream);
        g_clear_object(&self->cancellable);
        g_free(self->tag);
}

static void download_unref(Download *self) {
        g_rc_box_release_full(self, download_clear);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Download, download_unref)

static void complete(Download *self) {
        self->left = 0;
        soup_message_body_complete(soup_server_message_get_response_body(self->message));
        soup_server_message_unpause(self->message);
}

/* Ends the connection, so that the peer sees that the file is not complete. */
static void fail(Download *self) {
        g_autoptr(GIOStream) connection = NULL;

        self->has_failed = TRUE;
        connection = soup_server_message_steal_connection(self->message);
        g_io_stream_close(connection, NULL, NULL);
}

/* Without the last block, the peer sees that it does not have the whole file. */
static gboolean has_changed(Download *self) {
        g_autoptr(GFileInfo) info = NULL;

        if (!self->tag)
                return FALSE;
        info = g_file_input_stream_query_info(G_FILE_INPUT_STREAM(self->stream), G_FILE_ATTRIBUTE_ETAG_VALUE,
                                              NULL, NULL);
        return !info || g_strcmp0(g_file_info_get_etag(info), self->tag) != 0;
}

static void on_read(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(Download) self = data;
        g_autoptr(GBytes) bytes = g_input_stream_read_bytes_finish(self->stream, result, NULL);
        gsize size = bytes ? g_bytes_get_size(bytes) : 0;

        self->is_reading = FALSE;
        if (!self->message)
                return;

        if (self->left > 0)
                self->left -= (goffset) size;
        if (size > 0 && !(self->left == 0 && has_changed(self))) {
                soup_message_body_append_bytes(soup_server_message_get_response_body(self->message), bytes);
                soup_server_message_unpause(self->message);
        } else if (bytes && self->left < 0 && share_zip_is_complete(self->stream))
                complete(self);
        else
                fail(self); /* the file has become shorter, or cannot be read */
}

static void read_block(Download *self) {
        if (self->left == 0 || self->is_reading)
                return;

        self->is_reading = TRUE;
        g_input_stream_read_bytes_async(self->stream, self->left < 0 ? BLOCK : (gsize) MIN(self->left, BLOCK),
                                        G_PRIORITY_DEFAULT, self->cancellable, on_read,
                                        g_rc_box_acquire(self));
}

static void on_wrote_body_data(SoupServerMessage *message, guint size, Download *self) {
        share_transfer_add_done(self->transfer, size);
}

static void on_wrote_body(SoupServerMessage *message, Download *self) {
        self->has_written = TRUE;
}

/* The message is finished, or freed without that if the server is stopped. */
static void end(gpointer data) {
        Download *self = data;

        g_cancellable_cancel(self->cancellable);
        share_transfer_finish(self->transfer, self->has_written && !self->has_failed);
        self->message = NULL;
        download_unref(self);
}

static void on_finished(SoupServerMessage *message, Download *self) {
        g_object_set_data(G_OBJECT(message), "download", NULL);
}

/* Consumes the stream. length: -1: until its end. tag: NULL: the content has no version. */
static void start(SoupServerMessage *message,
                  GInputStream *stream,
                  goffset length,
                  const char *tag,
                  const char *name,
                  GListStore *transfers) {
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
        Download *self = g_rc_box_new0(Download);

        self->message = message;
        self->stream = stream;
        self->left = length;
        self->tag = g_strdup(tag);
        self->cancellable = g_cancellable_new();
        self->transfer = share_transfer_new(name, soup_server_message_get_remote_host(message), FALSE,
                                            length);
        g_list_store_insert(transfers, 0, self->transfer);

        if (length < 0)
                soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
        else
                soup_message_headers_set_content_length(headers, length);
        /* Each block is freed when it is written. */
        soup_message_body_set_accumulate(soup_server_message_get_response_body(message), FALSE);
        g_object_set_data_full(G_OBJECT(message), "download", self, end);
        g_signal_connect_swapped(message, "wrote-chunk", G_CALLBACK(read_block), self);
        g_signal_connect(message, "wrote-body-data", G_CALLBACK(on_wrote_body_data), self);
        g_signal_connect(message, "wrote-body", G_CALLBACK(on_wrote_body), self);
        g_signal_connect(message, "finished", G_CALLBACK(on_finished), self);

        if (length == 0)
                complete(self);
        else
                read_block(self);
}

/* Shared files are saved, not shown: a page among them must not run in our origin. */
static void set_headers(SoupServerMessage *message, const char *type, const char *name) {
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
        g_autoptr(GHashTable) parameters = g_hash_table_new(g_str_hash, g_str_equal);
        g_autofree char *safe_name = g_strdup(name);

        /* libsoup writes the name as it is; with a line feed, it would be another header. */
        for (char *p = safe_name; *p; p++)
                if (g_ascii_iscntrl(*p))
                        *p = '_';
        g_hash_table_insert(parameters, (gpointer) "filename", safe_name);
        soup_message_headers_set_content_type(headers, type, NULL);
        soup_message_headers_set_content_disposition(headers, "attachment", parameters);
        soup_message_headers_replace(headers, "X-Content-Type-Options", "nosniff");
        soup_message_headers_replace(headers, "Cross-Origin-Resource-Policy", "same-origin");
}

static gboolean is_head(SoupServerMessage *message) {
        return soup_server_message_get_method(message) == SOUP_METHOD_HEAD;
}

/* The part that the peer asks for, if it asks for one part, and has the same version of the file. */
static gboolean get_range(SoupServerMessage *message,
                          goffset size,
                          const char *tag,
                          goffset *ret_start,
                          goffset *ret_end) {
        SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
        const char *expected_tag = soup_message_headers_get_one(headers, "If-Range");
        SoupRange *ranges;
        gboolean found;
        int n;

        if (expected_tag && g_strcmp0(expected_tag, tag) != 0)
                return FALSE;
        if (!soup_message_headers_get_ranges(headers, size, &ranges, &n))
                return FALSE;

        found = n == 1;
        if (found) {
                *ret_start = MAX(ranges[0].start, 0);
                *ret_end = MIN(ranges[0].end, size - 1);
        }
        soup_message_headers_free_ranges(headers, ranges);
        return found;
}

void share_download_file(SoupServerMessage *message, const ShareFound *found, GListStore *transfers) {
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
        const char *name = g_file_info_get_display_name(found->info);
        const char *type = g_file_info_get_attribute_string(found->info,
                                                            G_FILE_ATTRIBUTE_STANDARD_FAST_CONTENT_TYPE);
        g_autofree char *mime = type ? g_content_type_get_mime_type(type) : NULL;
        const char *version = g_file_info_get_etag(found->info);
        g_autofree char *tag = version ? g_strdup_printf("\"%s\"", version) : NULL;
        goffset size = g_file_info_get_size(found->info), first = 0, last = size - 1;

        set_headers(message, mime ?: "application/octet-stream", name);
        soup_message_headers_replace(headers, "Accept-Ranges", "bytes");
        if (tag)
                soup_message_headers_replace(headers, "ETag", tag);

        if (!get_range(message, size, tag, &first, &last))
                soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
        else if (first > last) {
                g_autofree char *range = g_strdup_printf("bytes */%" G_GOFFSET_FORMAT, size);

                soup_message_headers_replace(headers, "Content-Range", range);
                soup_server_message_set_status(message, SOUP_STATUS_REQUESTED_RANGE_NOT_SATISFIABLE, NULL);
                soup_server_message_unpause(message);
                return;
        } else {
                soup_message_headers_set_content_range(headers, first, last, size);
                soup_server_message_set_status(message, SOUP_STATUS_PARTIAL_CONTENT, NULL);
        }

        if (is_head(message)) {
                soup_message_headers_set_content_length(headers, last + 1 - first);
                soup_server_message_unpause(message);
                return;
        }

        if (!g_seekable_seek(G_SEEKABLE(found->stream), first, G_SEEK_SET, NULL, NULL)) {
                soup_message_headers_clear(headers);
                soup_server_message_set_status(message, SOUP_STATUS_INTERNAL_SERVER_ERROR, NULL);
                soup_server_message_unpause(message);
                return;
        }
        start(message, g_object_ref(G_INPUT_STREAM(found->stream)), last + 1 - first, version, name,
              transfers);
}

void share_download_zip(SoupServerMessage *message,
                        GPtrArray *files,
                        const char *name,
                        GListStore *transfers) {
        g_autofree char *file_name = g_strconcat(name, ".zip", NULL);
        GInputStream *stream;

        set_headers(message, "application/zip", file_name);
        soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
        if (is_head(message)) {
                soup_server_message_unpause(message);
                return;
        }

        stream = share_zip_open(files, NULL);
        if (!stream) {
                soup_server_message_set_status(message, SOUP_STATUS_INTERNAL_SERVER_ERROR, NULL);
                soup_server_message_unpause(message);
                return;
        }
        start(message, stream, -1, NULL, file_name, transfers);
}
