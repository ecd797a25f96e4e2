/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The web server of the example Share, with real requests over the loopback interface. */

#include <fcntl.h>
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "register.h"
#include "share-server.h"

#define TEST(sentence) TEST_OF(sentence, Fixture, f, set_up, tear_down, NULL)

typedef struct Fixture {
        char *directory; /* with "shared" and "received" */
        ShareServer *server;
        GSocketService *service;
        guint16 port;
        const char *source; /* of connect_to(); NULL: any */
        SoupSession *session;
} Fixture;

static char *path_of(Fixture *f, const char *name) {
        return g_build_filename(f->directory, name, NULL);
}

static void write_file(Fixture *f, const char *name, const char *content) {
        g_autofree char *path = path_of(f, name);
        g_autofree char *folder = g_path_get_dirname(path);

        g_assert_cmpint(g_mkdir_with_parents(folder, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, content, -1, NULL));
}

/* The content of a file of a megabyte and an odd number of bytes, all different. */
static GBytes *make_content(gsize size) {
        guint8 *data = g_malloc(size);
        guint32 state = 1;

        for (gsize i = 0; i < size; i++) {
                state = state * 1664525 + 1013904223;
                data[i] = (guint8) (state >> 24);
        }
        return g_bytes_new_take(data, size);
}

static GBytes *write_large_file(Fixture *f, const char *name, gsize size) {
        GBytes *content = make_content(size);
        g_autofree char *path = path_of(f, name);

        g_assert_true(g_file_set_contents(path, g_bytes_get_data(content, NULL), (gssize) size, NULL));
        return content;
}

static void on_added(GObject *source, GAsyncResult *result, gpointer data) {
        *(GAsyncResult **) data = g_object_ref(result);
}

static gboolean add_file(Fixture *f, GFile *file, GError **error) {
        g_autoptr(GAsyncResult) result = NULL;

        share_server_add_file_async(f->server, file, on_added, &result);
        while (!result)
                g_main_context_iteration(NULL, TRUE);
        return share_server_add_file_finish(f->server, result, error);
}

static void share(Fixture *f, const char *name) {
        g_autofree char *path = path_of(f, name);
        g_autoptr(GFile) file = g_file_new_for_path(path);
        g_autoptr(GError) error = NULL;

        add_file(f, file, &error);
        g_assert_no_error(error);
}

static gboolean on_incoming(GSocketService *service,
                            GSocketConnection *connection,
                            GObject *source,
                            Fixture *f) {
        share_server_accept(f->server, connection);
        return TRUE;
}

static void listen_on_loopback(Fixture *f) {
        g_autoptr(GSocketAddress) any = g_inet_socket_address_new_from_string("127.0.0.1", 0);
        g_autoptr(GSocketAddress) address = NULL;
        g_autoptr(GError) error = NULL;

        f->service = g_socket_service_new();
        g_socket_listener_set_backlog(G_SOCKET_LISTENER(f->service), 200);
        g_socket_listener_add_address(G_SOCKET_LISTENER(f->service), any, G_SOCKET_TYPE_STREAM,
                                      G_SOCKET_PROTOCOL_TCP, NULL, &address, &error);
        g_assert_no_error(error);
        f->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(address));
        g_signal_connect(f->service, "incoming", G_CALLBACK(on_incoming), f);
}

static void stop_listening(Fixture *f) {
        g_socket_service_stop(f->service);
        g_socket_listener_close(G_SOCKET_LISTENER(f->service));
        g_clear_object(&f->service);
}

static void set_up(Fixture *f, const void *data) {
        g_autoptr(GFile) received = NULL;
        g_autofree char *path = NULL;

        f->directory = g_dir_make_tmp("share-XXXXXX", NULL);
        path = path_of(f, "received");
        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        received = g_file_new_for_path(path);
        write_file(f, "shared/hello.txt", "hello");
        write_file(f, "secret.txt", "secret");

        f->server = share_server_new(received);
        listen_on_loopback(f);
        f->session = soup_session_new();
}

static void remove_tree(const char *path) {
        g_autoptr(GDir) directory = NULL;
        const char *name;
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
                directory = g_dir_open(path, 0, NULL);
                while ((name = g_dir_read_name(directory))) {
                        g_autofree char *child = g_build_filename(path, name, NULL);

                        remove_tree(child);
                }
        }
        g_assert_cmpint(remove(path), ==, 0);
}

static void tear_down(Fixture *f, const void *data) {
        soup_session_abort(f->session);
        g_clear_object(&f->session);
        stop_listening(f);
        share_server_stop(f->server);
        /* No transfer or connection keeps the server. */
        g_object_add_weak_pointer(G_OBJECT(f->server), (gpointer *) &f->server);
        g_object_unref(f->server);
        while (f->server)
                g_main_context_iteration(NULL, TRUE);
        remove_tree(f->directory);
        g_free(f->directory);
}

typedef struct Reply {
        guint status;
        GBytes *body; /* NULL: it was cut off */
        SoupMessage *message;
        gboolean done;
} Reply;

static void reply_free(Reply *self) {
        g_clear_pointer(&self->body, g_bytes_unref);
        g_clear_object(&self->message);
        g_free(self);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Reply, reply_free)

static void on_reply(GObject *source, GAsyncResult *result, gpointer data) {
        Reply *reply = data;

        reply->body = soup_session_send_and_read_finish(SOUP_SESSION(source), result, NULL);
        reply->status = soup_message_get_status(reply->message);
        reply->done = TRUE;
}

static Reply *start_request(Fixture *f, SoupMessage *message) {
        Reply *reply = g_new0(Reply, 1);

        reply->message = message;
        soup_session_send_and_read_async(f->session, message, G_PRIORITY_DEFAULT, NULL, on_reply, reply);
        return reply;
}

static void wait_for(const gboolean *done) {
        while (!*done)
                g_main_context_iteration(NULL, TRUE);
}

static SoupMessage *new_message(Fixture *f, const char *method, const char *path) {
        g_autofree char *address = g_strdup_printf("http://127.0.0.1:%u%s", f->port, path);
        g_autoptr(GUri) uri = g_uri_parse(address, G_URI_FLAGS_ENCODED, NULL);

        return soup_message_new_from_uri(method, uri);
}

static Reply *request(Fixture *f, SoupMessage *message) {
        Reply *reply = start_request(f, message);

        wait_for(&reply->done);
        return reply;
}

static Reply *get(Fixture *f, const char *path) {
        return request(f, new_message(f, "GET", path));
}

static Reply *put(Fixture *f, const char *name, GBytes *content) {
        g_autofree char *path = g_strconcat("/upload/", name, NULL);
        SoupMessage *message = new_message(f, "PUT", path);

        soup_message_set_request_body_from_bytes(message, NULL, content);
        return request(f, message);
}

static const char *header(Reply *reply, const char *name) {
        return soup_message_headers_get_one(soup_message_get_response_headers(reply->message), name);
}

static char *text_of(Reply *reply) {
        g_assert_nonnull(reply->body);
        return g_strndup(g_bytes_get_data(reply->body, NULL) ?: "", g_bytes_get_size(reply->body));
}

static void assert_contains(Reply *reply, const char *text) {
        g_autofree char *body = text_of(reply);

        if (!strstr(body, text))
                g_error("\"%s\" is not in: %s", text, body);
}

static void assert_contains_not(Reply *reply, const char *text) {
        g_autofree char *body = text_of(reply);

        if (strstr(body, text))
                g_error("\"%s\" is in: %s", text, body);
}

/* The peer saves the file under this name. libsoup 3.8 replaces characters that browsers replace as well. */
static void assert_name(Reply *reply, const char *name) {
        g_autoptr(GHashTable) parameters = NULL;
        g_autofree char *disposition = NULL, *expected = g_strdup(name);

        g_assert_true(soup_message_headers_get_content_disposition(
                        soup_message_get_response_headers(reply->message), &disposition, &parameters));
        g_assert_cmpstr(disposition, ==, "attachment");
        if (SOUP_CHECK_VERSION(3, 7, 0))
                (void) g_strdelimit(expected, "\"*/:<>?\\|~", '_');
        g_assert_cmpstr(g_hash_table_lookup(parameters, "filename"), ==, expected);
}

static void assert_status(Fixture *f, const char *path, guint status) {
        g_autoptr(Reply) reply = get(f, path);

        if (reply->status != status)
                g_error("GET %s: %u, not %u", path, reply->status, status);
}

static ShareTransfer *last_transfer(Fixture *f) {
        g_autoptr(ShareTransfer) transfer = g_list_model_get_item(share_server_get_transfers(f->server), 0);

        return transfer; /* the list keeps it */
}

static void wait_for_end(ShareTransfer *transfer) {
        while (share_transfer_get_state(transfer) == SHARE_TRANSFER_ACTIVE)
                g_main_context_iteration(NULL, TRUE);
}

/* A peer without libsoup. */
static GSocketConnection *connect_to(Fixture *f) {
        g_autoptr(GSocketClient) client = g_socket_client_new();
        g_autoptr(GSocketAddress) source = f->source ? g_inet_socket_address_new_from_string(f->source, 0)
                                                     : NULL;
        g_autoptr(GError) error = NULL;
        GSocketConnection *connection;

        g_socket_client_set_local_address(client, source);
        connection = g_socket_client_connect_to_host(client, "127.0.0.1", f->port, NULL, &error);

        g_assert_no_error(error);
        return connection;
}

static void on_line(GObject *source, GAsyncResult *result, gpointer data) {
        *(char **) data = g_data_input_stream_read_line_finish(G_DATA_INPUT_STREAM(source), result, NULL,
                                                               NULL)
                                          ?: g_strdup("");
}

/* The status of a request with this path, which libsoup would make simpler. */
static guint request_raw(Fixture *f, const char *method, const char *path) {
        g_autoptr(GSocketConnection) connection = connect_to(f);
        g_autoptr(GDataInputStream) stream = g_data_input_stream_new(
                        g_io_stream_get_input_stream(G_IO_STREAM(connection)));
        g_autofree char *text = g_strdup_printf(
                        "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", method, path);
        g_autofree char *line = NULL;
        guint status;

        g_assert_true(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), text,
                                                strlen(text), NULL, NULL, NULL));
        g_data_input_stream_read_line_async(stream, G_PRIORITY_DEFAULT, NULL, on_line, &line);
        while (!line)
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpint(sscanf(line, "HTTP/1.1 %u", &status), ==, 1);
        g_test_message("%s %s: %u", method, path, status);
        return status;
}

TEST("the page has a link to each file") {
        g_autoptr(Reply) reply = NULL;

        write_file(f, "shared/a & <b>.txt", "x");
        share(f, "shared/a & <b>.txt");
        share(f, "shared/hello.txt");
        share(f, "shared/hello.txt");
        share(f, "shared");
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_items(f->server)), ==, 3);

        reply = get(f, "/");
        g_assert_cmpuint(reply->status, ==, 200);
        assert_contains(reply, "href=\"/files/1/a%20%26%20%3Cb%3E.txt\"");
        assert_contains(reply, "a &amp; &lt;b&gt;.txt");
        assert_contains(reply, "href=\"/files/2/hello.txt\" download");
        assert_contains(reply, "href=\"/files/4/shared/\">");
        assert_contains_not(reply, "{{");
        g_assert_nonnull(strstr(header(reply, "Content-Security-Policy"), "default-src 'none'"));
}

TEST("a file arrives unchanged, with its name and its progress") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/größe.bin", 1234567);
        g_autoptr(Reply) reply = NULL;
        ShareTransfer *transfer;

        share(f, "shared/größe.bin");
        reply = get(f, "/files/1/gr%C3%B6%C3%9Fe.bin");
        g_assert_cmpuint(reply->status, ==, 200);
        g_assert_true(g_bytes_equal(reply->body, content));
        g_assert_cmpstr(header(reply, "Content-Length"), ==, "1234567");
        assert_name(reply, "größe.bin");
        g_assert_cmpstr(header(reply, "X-Content-Type-Options"), ==, "nosniff");

        transfer = last_transfer(f);
        wait_for_end(transfer);
        g_assert_cmpint(share_transfer_get_state(transfer), ==, SHARE_TRANSFER_DONE);
        g_assert_cmpint(share_transfer_get_done(transfer), ==, 1234567);
        g_assert_cmpint(share_transfer_get_size(transfer), ==, 1234567);
        g_assert_cmpstr(share_transfer_get_name(transfer), ==, "größe.bin");
        g_assert_cmpstr(share_transfer_get_peer(transfer), ==, "127.0.0.1");
        g_assert_false(share_transfer_get_is_upload(transfer));
}

TEST("a file name with any characters arrives") {
        static const struct {
                const char *name, *path, *saved;
        } cases[] = {
                { "a \"b\" \\ c;d=%41&?#+.txt", "/files/1/a%20%22b%22%20%5C%20c;d=%2541&%3F%23+.txt",
                  "a \"b\" \\ c;d=%41&?#+.txt" },
                { "a\r\nX-Header: b", "/files/2/a%0D%0AX-Header:%20b", "a__X-Header: b" },
                { "{{rows}}<script>", "/files/3/%7B%7Brows%7D%7D%3Cscript%3E", "{{rows}}<script>" },
                { "\xFF.txt", "/files/4/%FF.txt", "\357\277\275.txt (invalid encoding)" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *path = g_strconcat("shared/", cases[i].name, NULL);
                g_autoptr(Reply) reply = NULL, page = NULL;

                write_file(f, path, "content");
                share(f, path);
                reply = get(f, cases[i].path);
                g_assert_cmpuint(reply->status, ==, 200);
                assert_contains(reply, "content");
                assert_name(reply, cases[i].saved);
                page = get(f, "/");
                assert_contains_not(page, "<script>");
        }
}

TEST("an empty file can be downloaded") {
        g_autoptr(Reply) reply = NULL;

        write_file(f, "shared/empty", "");
        share(f, "shared/empty");
        reply = get(f, "/files/1/empty");
        g_assert_cmpuint(reply->status, ==, 200);
        g_assert_cmpuint(g_bytes_get_size(reply->body), ==, 0);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_DONE);
}

static void assert_range(Fixture *f,
                         const char *range,
                         const char *if_range,
                         guint status,
                         const char *content,
                         const char *content_range) {
        SoupMessage *message = new_message(f, "GET", "/files/1/hello.txt");
        g_autoptr(Reply) reply = NULL;

        soup_message_headers_append(soup_message_get_request_headers(message), "Range", range);
        if (if_range)
                soup_message_headers_append(soup_message_get_request_headers(message), "If-Range", if_range);
        reply = request(f, message);
        g_test_message("%s", range);
        g_assert_cmpuint(reply->status, ==, status);
        g_assert_cmpstr(header(reply, "Content-Range"), ==, content_range);
        if (content)
                test_assert_text(text_of(reply), content);
}

TEST("an interrupted download can be resumed") {
        g_autoptr(Reply) head = NULL;
        const char *tag;

        share(f, "shared/hello.txt");
        head = request(f, new_message(f, "HEAD", "/files/1/hello.txt"));
        g_assert_cmpuint(head->status, ==, 200);
        g_assert_cmpstr(header(head, "Accept-Ranges"), ==, "bytes");
        g_assert_cmpstr(header(head, "Content-Length"), ==, "5");
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_transfers(f->server)), ==, 0);
        tag = header(head, "ETag");

        assert_range(f, "bytes=2-", NULL, 206, "llo", "bytes 2-4/5");
        assert_range(f, "bytes=2-", tag, 206, "llo", "bytes 2-4/5");
        assert_range(f, "bytes=2-", "\"other\"", 200, "hello", NULL);
        assert_range(f, "bytes=1-2", NULL, 206, "el", "bytes 1-2/5");
        assert_range(f, "bytes=-2", NULL, 206, "lo", "bytes 3-4/5");
        assert_range(f, "bytes=3-100", NULL, 206, "lo", "bytes 3-4/5");
        assert_range(f, "bytes=0-0,4-4", NULL, 200, "hello", NULL);
        /* libsoup 3.8 ignores a part that the file does not have. */
        if (SOUP_CHECK_VERSION(3, 7, 0))
                assert_range(f, "bytes=5-", NULL, 200, "hello", NULL);
        else
                assert_range(f, "bytes=5-", NULL, 416, NULL, "bytes */5");
        assert_range(f, "bytes=x", NULL, 200, "hello", NULL);
}

TEST("HEAD has no body, and starts no transfer") {
        static const char *const paths[] = {
                "/", "/downloads", "/zip", "/zip/1/shared/", "/files/1/shared/", "/files/1/shared/hello.txt"
        };

        share(f, "shared");
        for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
                g_autoptr(Reply) reply = request(f, new_message(f, "HEAD", paths[i]));

                g_assert_cmpuint(reply->status, ==, 200);
                g_assert_cmpuint(g_bytes_get_size(reply->body), ==, 0);
        }
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_transfers(f->server)), ==, 0);
}

TEST("a folder is shown as a page, with its folders") {
        g_autoptr(Reply) reply = NULL, deeper = NULL, file = NULL, redirect = NULL;
        SoupMessage *message = new_message(f, "GET", "/files/1/shared");

        write_file(f, "shared/inner/deep.txt", "deep");
        write_file(f, "shared/.invisible", "x");
        share(f, "shared");

        reply = get(f, "/files/1/shared/");
        g_assert_cmpuint(reply->status, ==, 200);
        assert_contains(reply, "href=\"/files/1/shared/hello.txt\" download");
        assert_contains(reply, "href=\"/files/1/shared/inner/\">");
        assert_contains(reply, "href=\"/zip/1/shared/\"");
        assert_contains_not(reply, "invisible");

        deeper = get(f, "/files/1/shared/inner/");
        assert_contains(deeper, "href=\"/files/1/shared/inner/deep.txt\"");
        file = get(f, "/files/1/shared/inner/deep.txt");
        assert_contains(file, "deep");

        soup_message_add_flags(message, SOUP_MESSAGE_NO_REDIRECT);
        redirect = request(f, message);
        g_assert_cmpuint(redirect->status, ==, 301);
        g_assert_true(g_str_has_suffix(header(redirect, "Location"), "/files/1/shared/"));
}

TEST("nothing outside of the shared folder can be read") {
        g_autofree char *link = path_of(f, "shared/link");
        g_autofree char *link_to_folder = path_of(f, "shared/folder");
        g_autofree char *fifo = path_of(f, "shared/fifo");
        g_autofree char *target = path_of(f, "secret.txt");
        const char *const paths[] = {
                "/files/1/shared/../secret.txt",
                "/files/1/../secret.txt",
                "/files/1/shared/%2e%2e/secret.txt",
                "/files/1/shared/..%2fsecret.txt",
                "/files/1/shared%2f..%2fsecret.txt",
                "/files/1/shared/..\\secret.txt",
                "/files/1/shared//hello.txt",
                "/files/1/shared/hello.txt/",
                "/files/1/shared/hello.txt/x",
                "/files/1/shared/hello.txt%00",
                "/files/1/shared/.hidden",
                "/files/1/shared/link",
                "/files/1/shared/folder/secret.txt",
                "/files/1/shared/fifo",
                "/files/1/secret.txt",
                "/files/1/",
                "/files/1",
                "/files/2/shared/",
                "/files/-1/shared/",
                "/files/18446744073709551617/shared/",
                "/files/1%2f/shared/",
                "/files//etc/passwd",
                "/etc/passwd",
                "/filesystem",
                "/zip/1/shared/../",
                "/zip/1/secret.txt",
                "/zip/1/shared/folder",
                "/upload/x",
        };

        write_file(f, "shared/.hidden", "hidden");
        g_assert_cmpint(symlink(target, link), ==, 0);
        g_assert_cmpint(symlink(f->directory, link_to_folder), ==, 0);
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        share(f, "shared");

        for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
                guint status = request_raw(f, "GET", paths[i]);

                g_assert_cmpuint(status, >=, 400);
                g_assert_cmpuint(status, <, 500);
        }
        /* They are right without that part. */
        assert_status(f, "/files/1/shared/hello.txt", 200);
        assert_status(f, "/zip/1/shared/", 200);
}

static void on_found(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(GError) error = NULL;
        g_autoptr(ShareFound) found = share_item_find_finish(SHARE_ITEM(source), result, &error);

        g_assert_null(found);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
        *(gboolean *) data = TRUE;
}

TEST("a path cannot leave the shared folder, even if the HTTP library lets it pass") {
        const char *const paths[] = { "shared/../secret.txt", "shared/%2e%2e/secret.txt",
                                      "shared/./hello.txt",   "../secret.txt",
                                      "shared/inner/..",      "shared/.." };

        share(f, "shared");
        for (gsize i = 0; i < G_N_ELEMENTS(paths); i++) {
                g_autoptr(ShareItem) item = g_list_model_get_item(share_server_get_items(f->server), 0);
                gboolean done = FALSE;

                g_test_message("%s", paths[i]);
                share_item_find_async(item, paths[i], NULL, on_found, &done);
                wait_for(&done);
        }
}

/* Runs a command, which must succeed, and returns its output. */
static char *run(const char *const *argv) {
        g_autoptr(GError) error = NULL;
        char *output;
        int status;

        g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, NULL, &status,
                     &error);
        g_assert_no_error(error);
        g_assert_true(g_spawn_check_wait_status(status, &error));
        return output;
}

/* The lines "NAME SIZE" of an archive in the file. */
static char *list_archive(const char *path) {
        const char *const argv[] = {
                "python3", "-c",
                "import sys, zipfile\n"
                "archive = zipfile.ZipFile(sys.argv[1])\n"
                "assert archive.testzip() is None\n"
                "print(*sorted(f'{e.filename} {e.file_size}' for e in archive.infolist()), sep='\\n', end='')",
                path, NULL
        };

        return run(argv);
}

static void assert_archive(Fixture *f, const char *path, const char *name, const char *list) {
        g_autofree char *archive = path_of(f, "archive.zip");
        g_autoptr(Reply) reply = get(f, path);

        g_assert_cmpuint(reply->status, ==, 200);
        g_assert_nonnull(reply->body);
        assert_name(reply, name);
        g_assert_true(g_file_set_contents(archive, g_bytes_get_data(reply->body, NULL),
                                          (gssize) g_bytes_get_size(reply->body), NULL));
        test_assert_text(list_archive(archive), list);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_DONE);
}

TEST("a folder, and all files, can be downloaded as a zip archive") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 3000001);
        g_autofree char *link = path_of(f, "shared/link");

        write_file(f, "shared/inner/größe.txt", "deep");
        write_file(f, "shared/.hidden", "hidden");
        g_assert_cmpint(symlink("hello.txt", link), ==, 0);
        share(f, "shared");
        share(f, "secret.txt");

        assert_archive(f, "/zip/1/shared/", "shared.zip",
                       "shared/ 0\nshared/hello.txt 5\nshared/inner/ 0\nshared/inner/größe.txt 4\n"
                       "shared/large.bin 3000001");
        assert_archive(f, "/zip/1/shared/inner", "inner.zip", "inner/ 0\ninner/größe.txt 4");
        assert_archive(f, "/zip", "Shared Files.zip",
                       "secret.txt 6\nshared/ 0\nshared/hello.txt 5\nshared/inner/ 0\nshared/inner/größe.txt 4\n"
                       "shared/large.bin 3000001");
}

TEST("an archive that cannot be completed is cut off") {
        g_autoptr(GFile) file = g_file_new_for_path("/proc/self/mem"); /* read() fails */
        g_autoptr(Reply) reply = NULL;

        g_assert_true(add_file(f, file, NULL));
        share(f, "shared/hello.txt");
        reply = get(f, "/zip");
        g_assert_null(reply->body);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
}

TEST("an archive names the files that could not be read") {
        g_autofree char *gone = path_of(f, "shared/gone");
        g_autofree char *secret = path_of(f, "shared/secret");

        write_file(f, "shared/gone", "x");
        write_file(f, "shared/secret", "x");
        share(f, "shared/gone");
        share(f, "shared");
        g_assert_cmpint(g_unlink(gone), ==, 0);
        g_assert_cmpint(g_chmod(secret, 0), ==, 0);

        if (geteuid() == 0) /* can read all files */
                assert_archive(f, "/zip", "Shared Files.zip",
                               "Files that could not be read.txt 5\nshared/ 0\nshared/hello.txt 5\nshared/secret 1");
        else
                assert_archive(f, "/zip", "Shared Files.zip",
                               "Files that could not be read.txt 19\nshared/ 0\nshared/hello.txt 5");
}

TEST("files of the same name do not replace each other in an archive") {
        write_file(f, "shared/inner/hello.txt", "other");
        write_file(f, "hello.txt", "third one");
        share(f, "shared/hello.txt");
        share(f, "shared/inner/hello.txt");
        share(f, "hello.txt");
        assert_archive(f, "/zip", "Shared Files.zip", "2 hello.txt 5\n3 hello.txt 9\nhello.txt 5");
}

static bool is_slow(void) {
        if (!g_test_slow())
                g_test_skip("only with -m slow");
        return g_test_slow();
}

TEST_OF_IF(is_slow(), "an archive may have files of more than 4 GiB", Fixture, f, set_up, tear_down, NULL) {
        g_autofree char *path = path_of(f, "shared/film.mp4");

        write_file(f, "shared/film.mp4", "");
        g_assert_cmpint(truncate(path, 4294967297), ==, 0);
        write_file(f, "shared/z.txt", "after it");
        share(f, "shared");
        assert_archive(f, "/zip/1/shared/", "shared.zip",
                       "shared/ 0\nshared/film.mp4 4294967297\nshared/hello.txt 5\nshared/z.txt 8");
}

TEST("a folder may have thousands of files") {
        g_autoptr(Reply) page = NULL, archive = NULL;
        g_autofree char *text = NULL;
        guint n = 0;

        for (guint i = 0; i < 5000; i++) {
                g_autofree char *name = g_strdup_printf("shared/%u.txt", i);

                write_file(f, name, "x");
        }
        share(f, "shared");
        page = get(f, "/files/1/shared/");
        text = text_of(page);
        for (const char *p = text; (p = strstr(p, "<li>")); p++)
                n++;
        g_assert_cmpuint(n, ==, 5001);

        archive = get(f, "/zip/1/shared/");
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_DONE);
}

static char *received(Fixture *f, const char *name) {
        g_autofree char *path = g_build_filename(f->directory, "received", name, NULL);
        char *content = NULL;

        g_file_get_contents(path, &content, NULL, NULL);
        return content;
}

static guint count_received(Fixture *f) {
        g_autofree char *path = path_of(f, "received");
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        guint n = 0;

        while (g_dir_read_name(directory))
                n++;
        return n;
}

TEST("a file that a peer sends is saved unchanged") {
        g_autoptr(GBytes) content = make_content(1234567);
        g_autoptr(Reply) reply = put(f, "photo%20%C3%A4.jpg", content);
        g_autofree char *path = path_of(f, "received/photo ä.jpg");
        g_autofree char *saved = NULL;
        ShareTransfer *transfer = last_transfer(f);
        gsize size;

        g_assert_cmpuint(reply->status, ==, 201);
        g_assert_true(g_file_get_contents(path, &saved, &size, NULL));
        g_assert_cmpmem(saved, size, g_bytes_get_data(content, NULL), g_bytes_get_size(content));

        wait_for_end(transfer);
        g_assert_cmpint(share_transfer_get_state(transfer), ==, SHARE_TRANSFER_DONE);
        g_assert_cmpint(share_transfer_get_done(transfer), ==, 1234567);
        g_assert_cmpint(share_transfer_get_size(transfer), ==, 1234567);
        g_assert_true(share_transfer_get_is_upload(transfer));
}

TEST("a received file does not replace another") {
        g_autoptr(GBytes) first = g_bytes_new_static("first", 5);
        g_autoptr(GBytes) second = g_bytes_new_static("second", 6);
        g_autoptr(GBytes) empty = g_bytes_new_static("", 0);
        g_autofree char *link = path_of(f, "received/link");
        g_autoptr(Reply) a = NULL, b = NULL, c = NULL, d = NULL, e = NULL;

        g_assert_cmpint(symlink("../secret.txt", link), ==, 0);
        a = put(f, "a.tar.gz", first);
        b = put(f, "a.tar.gz", second);
        c = put(f, "name", first);
        d = put(f, "name", empty);
        e = put(f, "link", first);
        g_assert_cmpuint(a->status, ==, 201);
        g_assert_cmpuint(b->status, ==, 201);
        g_assert_cmpuint(d->status, ==, 201);
        g_assert_cmpuint(e->status, ==, 201);

        test_assert_text(received(f, "a.tar.gz"), "first");
        test_assert_text(received(f, "a.tar (2).gz"), "second");
        test_assert_text(received(f, "name"), "first");
        test_assert_text(received(f, "name (2)"), "");
        test_assert_text(received(f, "link (2)"), "first");
        test_assert_text(received(f, "../secret.txt"), "secret");
        g_assert_cmpstr(share_transfer_get_name(last_transfer(f)), ==, "link (2)");
}

TEST("a received file is not executable, and its folder is created if it is missing") {
        g_autoptr(GBytes) content = g_bytes_new_static("#!/bin/sh", 9);
        g_autofree char *folder = path_of(f, "received");
        g_autofree char *path = path_of(f, "received/script.sh");
        g_autoptr(Reply) reply = NULL;
        struct stat st;

        g_assert_cmpint(g_rmdir(folder), ==, 0);
        reply = put(f, "script.sh", content);
        g_assert_cmpuint(reply->status, ==, 201);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 0111, ==, 0);
}

TEST("an unsafe name is made safe") {
        static const struct {
                const char *name, *safe;
        } cases[] = {
                { "..%2Fsecret.txt", "_._secret.txt" },
                { ".profile", "_profile" },
                { "a%5Cb", "a_b" },
                { "a%0D%0Ab%C2%85c", "a__b_c" },
                { "photo%E2%80%AEgpj.exe", "photo_gpj.exe" }, /* would be shown as "photoexe.jpg" */
                { "%E2%81%A7a", "_a" },
                { "a%FFb", "a\357\277\275b" },
                { "%D7%A9%E2%80%8F.txt", "ש\342\200\217.txt" }, /* a mark that Hebrew needs */
        };
        static const char *const refused[] = { "", "a%00b", "a%2", "..", "%2E%2E", NULL };
        g_autoptr(GBytes) content = g_bytes_new_static("x", 1);
        g_autofree char *longest = g_strnfill(240, 'a'), *too_long = g_strnfill(241, 'a');
        g_autoptr(Reply) first = NULL, second = NULL, third = NULL;

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(Reply) reply = put(f, cases[i].name, content);

                g_test_message("%s", cases[i].name);
                g_assert_cmpuint(reply->status, ==, 201);
                test_assert_text(received(f, cases[i].safe), "x");
                g_assert_cmpstr(share_transfer_get_name(last_transfer(f)), ==, cases[i].safe);
        }
        test_assert_text(received(f, "../secret.txt"), "secret");

        for (gsize i = 0; refused[i]; i++) {
                g_autofree char *path = g_strconcat("/upload/", refused[i], NULL);

                g_assert_cmpuint(request_raw(f, "PUT", path), >=, 400);
        }
        first = put(f, longest, content);
        second = put(f, longest, content);
        third = put(f, too_long, content);
        g_assert_cmpuint(first->status, ==, 201);
        g_assert_cmpuint(second->status, ==, 201);
        g_assert_cmpuint(third->status, ==, 400);
        g_assert_cmpuint(count_received(f), ==, G_N_ELEMENTS(cases) + 2);
}

/* Only this thread and those that it creates see it. */
static bool mount_small_disk(const char *path) {
        return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("tmpfs", path, "tmpfs", 0, "size=8m") == 0;
}

TEST("an upload does not fill the disk") {
        g_autoptr(GBytes) small = make_content(1000000), large = make_content(20000000);
        g_autofree char *path = path_of(f, "received");
        g_autoptr(Reply) first = NULL, second = NULL;
        struct statvfs st;

        if (!mount_small_disk(path)) {
                g_test_skip("cannot mount a small disk");
                return;
        }
        first = put(f, "small", small);
        second = put(f, "large", large);
        g_assert_cmpuint(first->status, ==, 201);
        g_assert_cmpuint(second->status, ==, 507);
        g_assert_cmpuint(count_received(f), ==, 1);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);

        /* Nothing is saved that would leave less than a tenth. */
        for (guint i = 0; i < 9; i++)
                reply_free(put(f, "more", small));
        g_assert_cmpint(statvfs(path, &st), ==, 0);
        g_assert_cmpuint(st.f_bavail, >=, st.f_blocks / 20);
        g_assert_cmpint(umount(path), ==, 0);
}

TEST("an upload that cannot be written is deleted") {
        g_autoptr(GBytes) content = make_content(1000000);
        struct rlimit old_limit, limit;
        g_autoptr(Reply) reply = NULL;

        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old_limit), ==, 0);
        limit = old_limit;
        limit.rlim_cur = 300000;
        signal(SIGXFSZ, SIG_IGN);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
        reply = put(f, "a", content);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old_limit), ==, 0);
        g_assert_cmpuint(reply->status, ==, 500);
        g_assert_cmpuint(count_received(f), ==, 0);
}

TEST("uploads can be switched off") {
        g_autoptr(GBytes) content = make_content(100000);
        g_autoptr(Reply) reply = NULL, with = get(f, "/"), without = NULL;

        assert_contains(with, "data-uploads=\"allowed\"");
        share_server_set_uploads(f->server, FALSE);
        without = get(f, "/");
        assert_contains(without, "data-uploads=\"\"");
        reply = put(f, "a", content);
        g_assert_cmpuint(reply->status, ==, 403);
        g_assert_cmpuint(count_received(f), ==, 0);
}

TEST("an upload to a folder that cannot be written fails") {
        g_autoptr(GBytes) content = make_content(1000000);
        g_autofree char *path = path_of(f, "received");
        g_autoptr(Reply) reply = NULL;

        g_assert_cmpint(g_rmdir(path), ==, 0);
        write_file(f, "received", "a file");
        reply = put(f, "a", content);
        g_assert_cmpuint(reply->status, ==, 500);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
}

TEST("other methods, and names of other hosts, are refused") {
        static const struct {
                const char *method, *path, *host;
                guint status;
        } cases[] = {
                { "POST", "/", NULL, 405 },
                { "DELETE", "/files/1/hello.txt", NULL, 405 },
                { "POST", "/upload/a", NULL, 405 },
                { "POST", "/upload", NULL, 405 },
                { "PUT", "/upload", NULL, 400 },
                { "POST", "/downloads", NULL, 405 },
                { "GET", "/downloads", "attacker.example", 421 },
                { "POST", "/upload", "attacker.example", 421 },
                { "OPTIONS", "/upload/a", NULL, 405 },
                { "PUT", "/files/1/hello.txt", NULL, 405 },
                { "GET", "/", "attacker.example", 421 },
                { "GET", "/files/1/hello.txt", "attacker.example:80", 421 },
                { "GET", "/zip", "attacker.example", 421 },
                { "PUT", "/upload/a", "attacker.example", 421 },
                { "GET", "/", "localhost", 200 },
                { "GET", "/", "[::1]:80", 200 },
        };
        g_autofree char *local = g_strconcat(g_get_host_name(), ".local", NULL);
        g_autofree char *other = g_strconcat(g_get_host_name(), ".attacker.example", NULL);

        share(f, "shared/hello.txt");
        for (gsize i = 0; i < G_N_ELEMENTS(cases) + 2; i++) {
                const char *method = i < G_N_ELEMENTS(cases) ? cases[i].method : "GET";
                const char *path = i < G_N_ELEMENTS(cases) ? cases[i].path : "/";
                const char *host = i < G_N_ELEMENTS(cases)    ? cases[i].host
                                   : i == G_N_ELEMENTS(cases) ? local
                                                              : other;
                guint status = i < G_N_ELEMENTS(cases)    ? cases[i].status
                               : i == G_N_ELEMENTS(cases) ? 200
                                                          : 421;
                SoupMessage *message = new_message(f, method, path);
                g_autoptr(Reply) reply = NULL;

                if (host)
                        soup_message_headers_replace(soup_message_get_request_headers(message), "Host", host);
                reply = request(f, message);
                g_test_message("%s %s %s: %u", method, path, host, reply->status);
                g_assert_cmpuint(reply->status, ==, status);
        }
        g_assert_cmpuint(count_received(f), ==, 0);
}

static GSocketConnection *start_upload(Fixture *f) {
        GSocketConnection *connection = connect_to(f);
        g_autofree char *part = g_strnfill(400000, 'x');
        g_autofree char *text = g_strdup_printf(
                        "PUT /upload/part HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n%s",
                        part);
        guint n_before = g_list_model_get_n_items(share_server_get_transfers(f->server));

        g_assert_true(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), text,
                                                strlen(text), NULL, NULL, NULL));
        while (g_list_model_get_n_items(share_server_get_transfers(f->server)) == n_before)
                g_main_context_iteration(NULL, TRUE);
        while (share_transfer_get_done(last_transfer(f)) < 400000)
                g_main_context_iteration(NULL, TRUE);
        return connection;
}

static GSocketConnection *start_download(Fixture *f, const char *path) {
        GSocketConnection *connection = connect_to(f);
        g_autofree char *text = g_strdup_printf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
        guint n_before = g_list_model_get_n_items(share_server_get_transfers(f->server));

        g_assert_true(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), text,
                                                strlen(text), NULL, NULL, NULL));
        while (g_list_model_get_n_items(share_server_get_transfers(f->server)) == n_before)
                g_main_context_iteration(NULL, TRUE);
        while (share_transfer_get_done(last_transfer(f)) == 0)
                g_main_context_iteration(NULL, TRUE);
        return connection;
}

TEST("a part of a received file has another name, and is deleted if the peer leaves") {
        GSocketConnection *connection = start_upload(f);
        g_autofree char *part = received(f, "part.part");

        g_assert_nonnull(part);
        g_assert_cmpuint(count_received(f), ==, 1);
        g_object_unref(connection);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
        g_assert_cmpuint(count_received(f), ==, 0);
}

TEST("a download fails if the peer leaves") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        GSocketConnection *connection, *archive;

        share(f, "shared/large.bin");
        connection = start_download(f, "/files/1/large.bin");
        g_object_unref(connection);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);

        archive = start_download(f, "/zip");
        g_object_unref(archive);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
}

TEST("a file that becomes shorter during its download is cut off") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        g_autofree char *path = path_of(f, "shared/large.bin");
        g_autoptr(Reply) reply = NULL;

        share(f, "shared/large.bin");
        reply = start_request(f, new_message(f, "GET", "/files/1/large.bin"));
        while (g_list_model_get_n_items(share_server_get_transfers(f->server)) == 0)
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpint(truncate(path, 1024 * 1024), ==, 0);
        wait_for(&reply->done);
        g_assert_null(reply->body);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
}

TEST("a file that changes during its download is cut off") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        g_autofree char *path = path_of(f, "shared/large.bin");
        g_autoptr(Reply) reply = NULL;
        int fd;

        share(f, "shared/large.bin");
        reply = start_request(f, new_message(f, "GET", "/files/1/large.bin"));
        while (g_list_model_get_n_items(share_server_get_transfers(f->server)) == 0)
                g_main_context_iteration(NULL, TRUE);
        fd = g_open(path, O_WRONLY, 0);
        g_assert_cmpint(pwrite(fd, "other", 5, 19 * 1024 * 1024), ==, 5);
        g_close(fd, NULL);
        wait_for(&reply->done);
        g_assert_null(reply->body);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
}

TEST("the page shows the downloads of its device") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        g_autoptr(GSocketConnection) download = NULL;
        g_autoptr(Reply) none = get(f, "/downloads"), running = NULL, page = NULL, done = NULL;

        assert_contains_not(none, "<");
        write_file(f, "shared/a <b>", "content");
        share(f, "shared/large.bin");
        share(f, "shared/a <b>");
        download = start_download(f, "/files/1/large.bin");
        running = get(f, "/downloads");
        assert_contains(running, "max=\"20971520\"></progress>");
        assert_contains(running, " of 21.0\u00A0MB");
        page = get(f, "/");
        assert_contains(page, "</progress>");

        g_clear_object(&download);
        wait_for_end(last_transfer(f));
        reply_free(get(f, "/files/2/a%20%3Cb%3E"));
        wait_for_end(last_transfer(f));
        reply_free(put(f, "upload", content));
        done = get(f, "/downloads");
        assert_contains(done, "a &lt;b&gt;</span><span class=\"detail\">7 bytes<");
        assert_contains(done, "Interrupted");
        assert_contains_not(done, "progress");
        assert_contains_not(done, "upload");

        /* Not to other devices. */
        f->source = "127.0.0.2";
        g_assert_cmpuint(request_raw(f, "GET", "/files/2/a%20%3Cb%3E"), ==, 200);
        wait_for_end(last_transfer(f));
        g_assert_cmpstr(share_transfer_get_peer(last_transfer(f)), ==, "127.0.0.2");
        f->source = NULL;
        reply_free(g_steal_pointer(&done));
        done = get(f, "/downloads");
        {
                g_autofree char *text = text_of(done);

                g_assert_null(strstr(strstr(text, "7 bytes") + 1, "7 bytes"));
        }
}

/* Reads until the other side has closed the connection. */
static void on_read_end(GObject *source, GAsyncResult *result, gpointer data) {
        *(gssize *) data = g_input_stream_read_finish(G_INPUT_STREAM(source), result, NULL);
}

static void wait_for_close(GSocketConnection *connection) {
        GInputStream *stream = g_io_stream_get_input_stream(G_IO_STREAM(connection));
        static char buffer[4096];
        gssize n = 1;

        while (n > 0) {
                n = G_MAXSSIZE;
                g_input_stream_read_async(stream, buffer, sizeof(buffer), G_PRIORITY_DEFAULT, NULL,
                                          on_read_end, &n);
                while (n == G_MAXSSIZE)
                        g_main_context_iteration(NULL, TRUE);
        }
}

TEST("a device cannot take all connections") {
        g_autoptr(GPtrArray) connections = g_ptr_array_new_with_free_func(g_object_unref);
        g_autoptr(GSocketConnection) refused = NULL;

        for (guint i = 0; i < 32; i++)
                g_ptr_array_add(connections, connect_to(f));
        refused = connect_to(f);
        wait_for_close(refused);

        f->source = "127.0.0.2";
        g_assert_cmpuint(request_raw(f, "GET", "/"), ==, 200);

        /* All devices together neither. */
        for (guint i = 2; i <= 4; i++) {
                g_autofree char *source = g_strdup_printf("127.0.0.%u", i);

                f->source = source;
                for (guint j = 0; j < 32; j++)
                        g_ptr_array_add(connections, connect_to(f));
        }
        f->source = "127.0.0.5";
        g_clear_object(&refused);
        refused = connect_to(f);
        wait_for_close(refused);

        g_clear_pointer(&connections, g_ptr_array_unref);
        while (g_main_context_iteration(NULL, FALSE)) {}
        f->source = NULL;
        assert_status(f, "/", 200);
}

TEST("a device that does nothing is disconnected") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        g_autoptr(GSocketConnection) silent = NULL, upload = NULL, download = NULL;

        share_server_set_timeout(f->server, 1);
        share(f, "shared/large.bin");
        silent = connect_to(f);
        upload = start_upload(f);
        download = start_download(f, "/files/1/large.bin");
        wait_for_close(silent);
        wait_for_close(upload);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
        g_assert_cmpuint(count_received(f), ==, 0);
}

TEST("after a stop, transfers end and the port is closed") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        g_autoptr(GSocketConnection) download = NULL, upload = NULL;
        g_autoptr(GSocketClient) client = g_socket_client_new();
        g_autoptr(GError) error = NULL;
        ShareTransfer *transfer;

        share(f, "shared/large.bin");
        upload = start_upload(f);
        download = start_download(f, "/files/1/large.bin");
        transfer = last_transfer(f);

        stop_listening(f);
        share_server_stop(f->server);
        wait_for_end(transfer);
        g_assert_cmpint(share_transfer_get_state(transfer), ==, SHARE_TRANSFER_FAILED);
        g_assert_cmpuint(count_received(f), ==, 0);
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_items(f->server)), ==, 0);
        g_assert_null(g_socket_client_connect_to_host(client, "127.0.0.1", f->port, NULL, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);

        /* It can be started again. The address of an item is never used again. */
        listen_on_loopback(f);
        share(f, "shared/large.bin");
        assert_status(f, "/files/1/large.bin", 404);
        assert_status(f, "/files/2/large.bin", 200);
}

TEST("a removed item is not shared any more") {
        g_autoptr(ShareItem) item = NULL;

        share(f, "shared/hello.txt");
        assert_status(f, "/files/1/hello.txt", 200);
        item = g_list_model_get_item(share_server_get_items(f->server), 0);
        share_server_remove_item(f->server, item);
        assert_status(f, "/files/1/hello.txt", 404);
}

TEST("a file that does not exist, or is none, cannot be shared") {
        g_autoptr(GFile) missing = g_file_new_for_path("/nonexistent/file");
        g_autoptr(GFile) device = g_file_new_for_path("/dev/null");
        g_autoptr(GError) error = NULL, other_error = NULL;

        g_assert_false(add_file(f, missing, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
        g_assert_false(add_file(f, device, &other_error));
        g_assert_nonnull(other_error);
}

static gint64 get_memory(void) {
        g_autofree char *text = NULL;

        g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
        return strtol(strchr(text, ' '), NULL, 10) * sysconf(_SC_PAGESIZE);
}

TEST("the body of a request that needs none does not fill the memory") {
        gsize size = 100000000;
        gint64 before = get_memory();
        g_autofree char *body = g_strnfill(1000000, 'x');
        g_autoptr(GSocketConnection) connection = connect_to(f);
        GOutputStream *stream = g_io_stream_get_output_stream(G_IO_STREAM(connection));
        g_autofree char *head = g_strdup_printf(
                        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %" G_GSIZE_FORMAT "\r\n\r\n",
                        size);

        g_assert_true(g_output_stream_write_all(stream, head, strlen(head), NULL, NULL, NULL));
        g_socket_set_blocking(g_socket_connection_get_socket(connection), FALSE);
        for (gsize sent = 0; sent < size - 1;) {
                gssize n = g_pollable_output_stream_write_nonblocking(G_POLLABLE_OUTPUT_STREAM(stream), body,
                                                                      MIN(1000000, size - 1 - sent), NULL,
                                                                      NULL);

                sent += n > 0 ? (gsize) n : 0;
                g_main_context_iteration(NULL, FALSE);
        }
        g_assert_cmpint(get_memory() - before, <, 75000000); /* AddressSanitizer keeps some blocks */
}

TEST("archives that a peer does not read to the end do not fill the memory") {
        gint64 before;

        g_bytes_unref(write_large_file(f, "shared/large", 3000000));
        share(f, "shared");
        before = get_memory();
        for (guint i = 0; i < 300; i++) {
                g_object_unref(start_download(f, "/zip"));
                wait_for_end(last_transfer(f));
                g_list_store_remove_all(G_LIST_STORE(share_server_get_transfers(f->server)));
        }
        g_assert_cmpint(get_memory() - before, <, 40000000);
}

TEST("files keep their order, and a stop forgets those that are being added") {
        g_autoptr(GFile) root = g_file_new_for_path(f->directory);
        g_autoptr(GFile) first = g_file_get_child(root, "secret.txt");
        g_autoptr(GFile) second = g_file_get_child(root, "shared");
        g_autoptr(GAsyncResult) first_result = NULL, second_result = NULL, third_result = NULL;
        g_autoptr(GError) error = NULL;
        g_autoptr(ShareItem) item = NULL;

        share_server_add_file_async(f->server, first, on_added, &first_result);
        share_server_add_file_async(f->server, second, on_added, &second_result);
        while (!first_result || !second_result)
                g_main_context_iteration(NULL, TRUE);
        item = g_list_model_get_item(share_server_get_items(f->server), 1);
        g_assert_true(g_file_equal(share_item_get_file(item), second));

        share_server_stop(f->server);
        share_server_add_file_async(f->server, first, on_added, &third_result);
        share_server_stop(f->server);
        while (!third_result)
                g_main_context_iteration(NULL, TRUE);
        g_assert_false(share_server_add_file_finish(f->server, third_result, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_items(f->server)), ==, 0);
}

TEST("the list of transfers stays short") {
        share(f, "shared/hello.txt");
        for (guint i = 0; i < 60; i++)
                assert_status(f, "/files/1/hello.txt", 200);
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_transfers(f->server)), ==, 50);
}
