/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>
#include <libsoup/soup.h>

#include "share-download.h"
#include "share-page.h"
#include "share-server.h"
#include "share-upload.h"

#define MAX_TRANSFERS 50
/* A browser has six connections to a server. */
#define MAX_CONNECTIONS 128
#define MAX_CONNECTIONS_PER_PEER 32
#define TIMEOUT 60 /* s */

struct _ShareServer {
        GObject parent_instance;

        SoupServer *soup;       /* NULL: there was no connection since the start or stop */
        GPtrArray *connections; /* of Connection */
        guint timeout;          /* s, without progress of a connection */
        GListStore *items;
        GListStore *transfers;
        GFile *upload_folder;
        gboolean uploads;
        GCancellable *cancellable; /* of files that are being added */
        guint last_id;
};

G_DEFINE_TYPE(ShareServer, share_server, G_TYPE_OBJECT)

static void share_server_dispose(GObject *object) {
        ShareServer *self = SHARE_SERVER(object);

        share_server_stop(self);
        g_clear_object(&self->items);
        g_clear_object(&self->transfers);
        g_clear_object(&self->upload_folder);
        G_OBJECT_CLASS(share_server_parent_class)->dispose(object);
}

static void share_server_finalize(GObject *object) {
        ShareServer *self = SHARE_SERVER(object);

        g_ptr_array_unref(self->connections);
        g_clear_object(&self->cancellable);
        G_OBJECT_CLASS(share_server_parent_class)->finalize(object);
}

static void share_server_class_init(ShareServerClass *class) {
        G_OBJECT_CLASS(class)->dispose = share_server_dispose;
        G_OBJECT_CLASS(class)->finalize = share_server_finalize;
}

static void share_server_init(ShareServer *self) {
        self->items = g_list_store_new(SHARE_TYPE_ITEM);
        self->transfers = g_list_store_new(SHARE_TYPE_TRANSFER);
        self->connections = g_ptr_array_new();
        self->cancellable = g_cancellable_new();
        self->timeout = TIMEOUT;
        self->uploads = TRUE;
}

ShareServer *share_server_new(GFile *upload_folder) {
        ShareServer *self = g_object_new(SHARE_TYPE_SERVER, NULL);

        self->upload_folder = g_object_ref(upload_folder);
        return self;
}

static gboolean is_shared(ShareServer *self, GFile *file) {
        guint n_items = g_list_model_get_n_items(G_LIST_MODEL(self->items));

        for (guint i = 0; i < n_items; i++) {
                g_autoptr(ShareItem) item = g_list_model_get_item(G_LIST_MODEL(self->items), i);

                if (g_file_equal(share_item_get_file(item), file))
                        return TRUE;
        }
        return FALSE;
}

static int compare_ids(gconstpointer a, gconstpointer b, gpointer data) {
        guint id_a = share_item_get_id((gpointer) a), id_b = share_item_get_id((gpointer) b);

        return (id_a > id_b) - (id_a < id_b);
}

static void on_info(GObject *source, GAsyncResult *result, gpointer data) {
        GFile *file = G_FILE(source);
        g_autoptr(GTask) task = data;
        ShareServer *self = g_task_get_source_object(task);
        guint id = GPOINTER_TO_UINT(g_task_get_task_data(task));
        GError *error = NULL;
        g_autoptr(GFileInfo) info = g_file_query_info_finish(file, result, &error);
        g_autoptr(ShareItem) item = info ? share_item_new(file, info, id, &error) : NULL;

        if (!item) {
                g_task_return_error(task, error);
                return;
        }
        /* The answers for several files may come in any order. */
        if (!is_shared(self, file))
                g_list_store_insert_sorted(self->items, item, compare_ids, NULL);
        g_task_return_boolean(task, TRUE);
}

void share_server_add_file_async(ShareServer *self,
                                 GFile *file,
                                 GAsyncReadyCallback callback,
                                 gpointer user_data) {
        GTask *task = g_task_new(self, self->cancellable, callback, user_data);

        g_task_set_task_data(task, GUINT_TO_POINTER(++self->last_id), NULL);
        g_file_query_info_async(file, SHARE_ITEM_ATTRIBUTES, G_FILE_QUERY_INFO_NONE, G_PRIORITY_DEFAULT,
                                self->cancellable, on_info, task);
}

gboolean share_server_add_file_finish(ShareServer *self, GAsyncResult *result, GError **error) {
        return g_task_propagate_boolean(G_TASK(result), error);
}

void share_server_remove_item(ShareServer *self, ShareItem *item) {
        guint position;

        if (g_list_store_find(self->items, item, &position))
                g_list_store_remove(self->items, position);
}

void share_server_set_uploads(ShareServer *self, gboolean uploads) {
        self->uploads = uploads;
}

void share_server_set_timeout(ShareServer *self, guint timeout) {
        self->timeout = timeout;
}

GListModel *share_server_get_items(ShareServer *self) {
        return G_LIST_MODEL(self->items);
}

GListModel *share_server_get_transfers(ShareServer *self) {
        return G_LIST_MODEL(self->transfers);
}

static ShareItem *find_item(ShareServer *self, guint64 id) {
        guint n_items = g_list_model_get_n_items(G_LIST_MODEL(self->items));

        for (guint i = 0; i < n_items; i++) {
                g_autoptr(ShareItem) item = g_list_model_get_item(G_LIST_MODEL(self->items), i);

                if (share_item_get_id(item) == id)
                        return g_steal_pointer(&item);
        }
        return NULL;
}

/* Keeps the list short: the oldest transfers that have ended go first. */
static GListStore *get_transfers(ShareServer *self) {
        guint n = g_list_model_get_n_items(G_LIST_MODEL(self->transfers));

        for (guint i = n; n >= MAX_TRANSFERS && i > 0; i--) {
                g_autoptr(ShareTransfer)
                                transfer = g_list_model_get_item(G_LIST_MODEL(self->transfers), i - 1);

                if (share_transfer_get_state(transfer) != SHARE_TRANSFER_ACTIVE) {
                        g_list_store_remove(self->transfers, i - 1);
                        break;
                }
        }
        return self->transfers;
}

static void send_html(SoupServerMessage *message, char *html) {
        soup_message_headers_replace(soup_server_message_get_response_headers(message), "Cache-Control",
                                     "no-store");
        soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
        soup_server_message_set_response(message, "text/html; charset=utf-8", SOUP_MEMORY_TAKE, html,
                                         strlen(html));
}

/* found: NULL: the page with all items. */
static void send_page(ShareServer *self, SoupServerMessage *message, const ShareFound *found) {
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
        const char *peer = soup_server_message_get_remote_host(message);
        g_autofree char *nonce = g_uuid_string_random();
        g_autofree char *policy = share_page_get_policy(nonce);
        g_autofree char *downloads = share_page_for_downloads(G_LIST_MODEL(self->transfers), peer);
        const char *path = g_uri_get_path(soup_server_message_get_uri(message));

        soup_message_headers_replace(headers, "Content-Security-Policy", policy);
        send_html(message,
                  found ? share_page_for_folder(found, path, downloads, nonce)
                        : share_page_for_items(G_LIST_MODEL(self->items), downloads, self->uploads, nonce));
}

/* A web site that the user of this network visits can make its own name point to this host, and would then be
 * allowed to read the files. Therefore only addresses and the names of this host are served. */
static gboolean is_own_host(SoupServerMessage *message) {
        const char *host = g_uri_get_host(soup_server_message_get_uri(message));
        g_auto(GStrv) labels = g_strsplit(host ?: "", ".", 2);
        g_auto(GStrv) own_labels = g_strsplit(g_get_host_name(), ".", 2);

        if (!host)
                return FALSE;
        if (g_hostname_is_ip_address(host) || g_ascii_strcasecmp(host, "localhost") == 0)
                return TRUE;
        return g_ascii_strcasecmp(labels[0], own_labels[0]) == 0 &&
               (!labels[1] || g_ascii_strcasecmp(labels[1], "local") == 0 ||
                g_strcmp0(labels[1], own_labels[1]) == 0);
}

/* If libsoup has not read the body of a request, it closes the connection, but does not tell the peer. */
static void refuse(SoupServerMessage *message, guint status) {
        soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection",
                                     "close");
        soup_server_message_set_status(message, status, NULL);
}

/* Returns FALSE after it has answered. */
static gboolean check(SoupServerMessage *message, const char *method) {
        const char *own_method = soup_server_message_get_method(message);
        gboolean is_allowed = g_str_equal(own_method, method) ||
                              (g_str_equal(own_method, "HEAD") && g_str_equal(method, "GET"));

        if (!is_own_host(message))
                refuse(message, SOUP_STATUS_MISDIRECTED_REQUEST);
        else if (!is_allowed)
                refuse(message, SOUP_STATUS_METHOD_NOT_ALLOWED);
        else
                return TRUE;
        return FALSE;
}

static void on_page(SoupServer *soup,
                    SoupServerMessage *message,
                    const char *path,
                    GHashTable *query,
                    gpointer data) {
        if (!check(message, "GET"))
                return;
        if (g_str_equal(path, "/"))
                send_page(data, message, NULL);
        else
                soup_server_message_set_status(message, SOUP_STATUS_NOT_FOUND, NULL);
}

/* The script of the page asks for these while downloads run: the browser does not tell it their progress. */
static void on_downloads(SoupServer *soup,
                         SoupServerMessage *message,
                         const char *path,
                         GHashTable *query,
                         gpointer data) {
        ShareServer *self = data;

        if (check(message, "GET"))
                send_html(message, share_page_for_downloads(G_LIST_MODEL(self->transfers),
                                                            soup_server_message_get_remote_host(message)));
}

typedef struct Request {
        ShareServer *server;
        SoupServer *soup;
        SoupServerMessage *message;
        char *path;
        gboolean is_zip;
} Request;

static void request_free(Request *self) {
        g_object_unref(self->server);
        g_object_unref(self->soup);
        g_object_unref(self->message);
        g_free(self->path);
        g_free(self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Request, request_free)

static void on_found(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(Request) request = data;
        g_autoptr(ShareFound) found = share_item_find_finish(SHARE_ITEM(source), result, NULL);
        SoupServerMessage *message = request->message;

        /* The sharing may have been stopped meanwhile. */
        if (request->server->soup != request->soup)
                return;

        if (!found)
                soup_server_message_set_status(message, SOUP_STATUS_NOT_FOUND, NULL);
        else if (request->is_zip) {
                g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_object_unref);

                g_ptr_array_add(files, g_object_ref(found->file));
                share_download_zip(message, files, g_file_info_get_display_name(found->info),
                                   get_transfers(request->server));
                return;
        } else if (!found->children) {
                share_download_file(message, found, get_transfers(request->server));
                return;
        } else if (!g_str_has_suffix(request->path, "/")) {
                g_autofree char *address = g_strconcat(request->path, "/", NULL);

                soup_server_message_set_redirect(message, SOUP_STATUS_MOVED_PERMANENTLY, address);
        } else
                send_page(request->server, message, found);
        soup_server_message_unpause(message);
}

/* path: "/files/ID/NAME…" or "/zip/ID/NAME…". */
static void on_item(SoupServer *soup,
                    SoupServerMessage *message,
                    const char *path,
                    GHashTable *query,
                    gpointer data) {
        ShareServer *self = data;
        g_auto(GStrv) parts = g_strsplit(path, "/", 4); /* "", "files", ID, NAME… */
        g_autoptr(ShareItem) item = NULL;
        guint64 id;
        Request *request;

        if (!check(message, "GET"))
                return;
        if (g_strv_length(parts) == 4 && g_ascii_string_to_unsigned(parts[2], 10, 1, G_MAXUINT, &id, NULL))
                item = find_item(self, id);
        if (!item) {
                soup_server_message_set_status(message, SOUP_STATUS_NOT_FOUND, NULL);
                return;
        }

        request = g_new0(Request, 1);
        request->server = g_object_ref(self);
        request->soup = g_object_ref(soup);
        request->message = g_object_ref(message);
        request->path = g_strdup(path);
        request->is_zip = g_str_equal(parts[1], "zip");
        soup_server_message_pause(message);
        share_item_find_async(item, parts[3], NULL, on_found, request);
}

static void on_zip(SoupServer *soup,
                   SoupServerMessage *message,
                   const char *path,
                   GHashTable *query,
                   gpointer data) {
        ShareServer *self = data;
        guint n_items = g_list_model_get_n_items(G_LIST_MODEL(self->items));
        g_autoptr(GPtrArray) files = NULL;

        if (!g_str_equal(path, "/zip")) {
                on_item(soup, message, path, query, data);
                return;
        }
        if (!check(message, "GET"))
                return;

        files = g_ptr_array_new_with_free_func(g_object_unref);
        for (guint i = 0; i < n_items; i++) {
                g_autoptr(ShareItem) item = g_list_model_get_item(G_LIST_MODEL(self->items), i);

                g_ptr_array_add(files, g_object_ref(share_item_get_file(item)));
        }
        soup_server_message_pause(message);
        share_download_zip(message, files, _("Shared Files"), get_transfers(self));
}

/* After the headers: the body is not read if this sets a status. Browsers do not send PUT for other web sites
 * without our permission. */
static void on_upload(SoupServer *soup,
                      SoupServerMessage *message,
                      const char *path,
                      GHashTable *query,
                      gpointer data) {
        ShareServer *self = data;
        g_autofree char *name = g_str_has_prefix(path, "/upload/")
                                                ? g_uri_unescape_string(path + strlen("/upload/"), NULL)
                                                : NULL;

        if (!check(message, "PUT"))
                return;
        if (!self->uploads)
                refuse(message, SOUP_STATUS_FORBIDDEN);
        else if (!name || !share_upload_start(message, self->upload_folder, name, get_transfers(self)))
                refuse(message, SOUP_STATUS_BAD_REQUEST);
}

static void on_uploaded(SoupServer *soup,
                        SoupServerMessage *message,
                        const char *path,
                        GHashTable *query,
                        gpointer data) {
        share_upload_end(message);
}

/* Otherwise, libsoup keeps the whole body in memory, which a peer may send with any request. */
static void on_request_started(SoupServer *soup, SoupServerMessage *message, gpointer data) {
        soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
}

static SoupServer *create_soup(ShareServer *self) {
        SoupServer *soup = soup_server_new("server-header", "Share ", "raw-paths", TRUE, NULL);

        g_signal_connect(soup, "request-started", G_CALLBACK(on_request_started), NULL);
        soup_server_add_handler(soup, NULL, on_page, self, NULL);
        soup_server_add_handler(soup, "/downloads", on_downloads, self, NULL);
        soup_server_add_handler(soup, "/files", on_item, self, NULL);
        soup_server_add_handler(soup, "/zip", on_zip, self, NULL);
        soup_server_add_early_handler(soup, "/upload", on_upload, self, NULL);
        soup_server_add_handler(soup, "/upload", on_uploaded, self, NULL);
        return soup;
}

typedef struct Connection {
        ShareServer *server;
        char *peer;
} Connection;

static void connection_free(gpointer data) {
        Connection *self = data;

        g_ptr_array_remove_fast(self->server->connections, self);
        g_object_unref(self->server);
        g_free(self->peer);
        g_free(self);
}

/* Returns FALSE if there are too many connections. */
static gboolean add_connection(ShareServer *self, GSocketConnection *stream, GSocketAddress *remote) {
        GInetAddress *address = g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(remote));
        g_autofree char *peer = g_inet_address_to_string(address);
        Connection *connection;
        guint n = 0;

        for (guint i = 0; i < self->connections->len; i++) {
                Connection *other = self->connections->pdata[i];

                n += g_str_equal(other->peer, peer);
        }
        if (n >= MAX_CONNECTIONS_PER_PEER || self->connections->len >= MAX_CONNECTIONS)
                return FALSE;

        connection = g_new0(Connection, 1);
        connection->server = g_object_ref(self);
        connection->peer = g_steal_pointer(&peer);
        g_ptr_array_add(self->connections, connection);
        g_object_set_data_full(G_OBJECT(stream), "connection", connection, connection_free);
        return TRUE;
}

void share_server_accept(ShareServer *self, GSocketConnection *connection) {
        g_autoptr(GSocketAddress) local = g_socket_connection_get_local_address(connection, NULL);
        g_autoptr(GSocketAddress) remote = g_socket_connection_get_remote_address(connection, NULL);

        /* The peer may have left already. */
        if (!local || !remote || !add_connection(self, connection, remote))
                return;

        g_socket_set_timeout(g_socket_connection_get_socket(connection), self->timeout);
        if (!self->soup)
                self->soup = create_soup(self);
        soup_server_accept_iostream(self->soup, G_IO_STREAM(connection), local, remote, NULL);
}

void share_server_stop(ShareServer *self) {
        g_autoptr(SoupServer) soup = g_steal_pointer(&self->soup);

        g_cancellable_cancel(self->cancellable);
        g_object_unref(self->cancellable);
        self->cancellable = g_cancellable_new();
        if (soup)
                soup_server_disconnect(soup);
        if (self->items)
                g_list_store_remove_all(self->items);
}
