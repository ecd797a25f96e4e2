/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The web server of the example Share, with real requests over the loopback interface. */

#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "register.h"
#include "share-server.h"
#include "share-upload.h"

#define TEST(sentence) TEST_OF(sentence, Fixture, f, set_up, tear_down, NULL)

typedef struct Fixture {
        char *directory; /* with "shared" and "received" */
        ShareServer *server;
        GSocket *socket;
        guint16 port;
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

static void share(Fixture *f, const char *name) {
        g_autofree char *path = path_of(f, name);
        g_autoptr(GFile) file = g_file_new_for_path(path);
        g_autoptr(GError) error = NULL;

        share_server_add_file(f->server, file, &error);
        g_assert_no_error(error);
}

static GSocket *listen_on_loopback(guint16 *ret_port) {
        g_autoptr(GError) error = NULL;
        GSocket *socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP,
                                       &error);
        g_autoptr(GSocketAddress) any = g_inet_socket_address_new_from_string("127.0.0.1", 0);
        g_autoptr(GSocketAddress) address = NULL;

        g_assert_no_error(error);
        g_assert_true(g_socket_bind(socket, any, TRUE, &error));
        g_assert_true(g_socket_listen(socket, &error));
        address = g_socket_get_local_address(socket, NULL);
        *ret_port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(address));
        return socket;
}

static void set_up(Fixture *f, const void *data) {
        g_autoptr(GFile) received = NULL;
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;

        f->directory = g_dir_make_tmp("share-XXXXXX", NULL);
        path = path_of(f, "received");
        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        received = g_file_new_for_path(path);
        write_file(f, "shared/hello.txt", "hello");
        write_file(f, "secret.txt", "secret");

        f->server = share_server_new(received);
        f->socket = listen_on_loopback(&f->port);
        share_server_start(f->server, f->socket, &error);
        g_assert_no_error(error);
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
        share_server_stop(f->server);
        /* No transfer keeps the server. */
        while (g_main_context_iteration(NULL, FALSE)) {}
        g_assert_finalize_object(f->server);
        g_clear_object(&f->socket);
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
        GListModel *transfers = share_server_get_transfers(f->server);
        g_autoptr(ShareTransfer)
                        transfer = g_list_model_get_item(transfers, g_list_model_get_n_items(transfers) - 1);

        return transfer; /* the list keeps it */
}

static void wait_for_end(ShareTransfer *transfer) {
        while (share_transfer_get_state(transfer) == SHARE_TRANSFER_ACTIVE)
                g_main_context_iteration(NULL, TRUE);
}

/* A peer without libsoup. */
static GSocketConnection *connect_to(Fixture *f) {
        g_autoptr(GSocketClient) client = g_socket_client_new();
        g_autoptr(GError) error = NULL;
        GSocketConnection *connection = g_socket_client_connect_to_host(client, "127.0.0.1", f->port, NULL,
                                                                        &error);

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
        assert_contains(reply, "href=\"/files/3/shared/\">");
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

TEST("a folder is shown as a page, with its folders") {
        g_autoptr(Reply) reply = NULL, deeper = NULL, file = NULL, redirect = NULL;
        SoupMessage *message = new_message(f, "GET", "/files/1/shared");

        write_file(f, "shared/inner/deep.txt", "deep");
        write_file(f, "shared/.hidden", "hidden");
        share(f, "shared");

        reply = get(f, "/files/1/shared/");
        g_assert_cmpuint(reply->status, ==, 200);
        assert_contains(reply, "href=\"/files/1/shared/hello.txt\" download");
        assert_contains(reply, "href=\"/files/1/shared/inner/\">");
        assert_contains(reply, "href=\"/zip/1/shared/\"");
        assert_contains_not(reply, "hidden.");
        assert_contains_not(reply, ".hidden");

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
        g_autofree char *path = path_of(f, "shared/gone");
        g_autoptr(Reply) reply = NULL;

        write_file(f, "shared/gone", "x");
        share(f, "shared/gone");
        share(f, "shared/hello.txt");
        g_assert_cmpint(g_unlink(path), ==, 0);

        reply = get(f, "/zip");
        g_assert_null(reply->body);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
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

TEST("a file cannot be saved under an unsafe name") {
        const char *const names[] = {
                "",      ".",     "..",    ".profile", "a%2Fb", "..%2Fsecret.txt", "a/b", "../secret.txt",
                "a%5Cb", "a%00b", "a%0Ab", "a%C2%85b", "a%FF",
        };
        g_autoptr(GBytes) content = g_bytes_new_static("x", 1);
        g_autofree char *long_name = g_strnfill(201, 'a');
        g_autoptr(Reply) reply = NULL;

        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = g_strconcat("/upload/", names[i], NULL);
                guint status = request_raw(f, "PUT", path);

                g_assert_cmpuint(status, >=, 400);
                g_assert_cmpuint(status, <, 500);
        }
        reply = put(f, long_name, content);
        g_assert_cmpuint(reply->status, ==, 400);
        g_assert_cmpuint(count_received(f), ==, 0);
        test_assert_text(received(f, "../secret.txt"), "secret");
}

TEST("uploads can be switched off") {
        g_autoptr(GBytes) content = make_content(100000);
        g_autoptr(Reply) reply = NULL, with = get(f, "/"), without = NULL;

        assert_contains(with, "<section >");
        share_server_set_uploads(f->server, FALSE);
        without = get(f, "/");
        assert_contains(without, "<section hidden>");
        reply = put(f, "a", content);
        g_assert_cmpuint(reply->status, ==, 403);
        g_assert_cmpuint(count_received(f), ==, 0);
}

TEST("an upload to a folder that cannot be written fails") {
        g_autoptr(GBytes) content = make_content(1000000);
        g_autofree char *path = path_of(f, "received");
        g_autoptr(Reply) reply = NULL;

        g_assert_cmpint(g_rmdir(path), ==, 0);
        reply = put(f, "a", content);
        g_assert_cmpuint(reply->status, ==, 500);
        wait_for_end(last_transfer(f));
        g_assert_cmpint(share_transfer_get_state(last_transfer(f)), ==, SHARE_TRANSFER_FAILED);
        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
}

TEST("other methods, and names of other hosts, are refused") {
        static const struct {
                const char *method, *path, *host;
                guint status;
        } cases[] = {
                { "POST", "/", NULL, 405 },
                { "DELETE", "/files/1/hello.txt", NULL, 405 },
                { "POST", "/upload/a", NULL, 405 },
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

TEST("a part of a received file is deleted if the peer leaves") {
        GSocketConnection *connection = start_upload(f);

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

TEST("after a stop, transfers end and the port is closed") {
        g_autoptr(GBytes) content = write_large_file(f, "shared/large.bin", 20 * 1024 * 1024);
        g_autoptr(GSocketConnection) download = NULL, upload = NULL;
        g_autoptr(GSocketClient) client = g_socket_client_new();
        g_autoptr(GError) error = NULL;
        ShareTransfer *transfer;
        guint16 port;

        share(f, "shared/large.bin");
        upload = start_upload(f);
        download = start_download(f, "/files/1/large.bin");
        transfer = last_transfer(f);

        share_server_stop(f->server);
        g_clear_object(&f->socket);
        wait_for_end(transfer);
        g_assert_cmpint(share_transfer_get_state(transfer), ==, SHARE_TRANSFER_FAILED);
        g_assert_cmpuint(count_received(f), ==, 0);
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_items(f->server)), ==, 0);
        g_assert_null(g_socket_client_connect_to_host(client, "127.0.0.1", f->port, NULL, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);

        /* It can be started again. The address of an item is never used again. */
        f->socket = listen_on_loopback(&port);
        f->port = port;
        g_assert_true(share_server_start(f->server, f->socket, NULL));
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

        g_assert_false(share_server_add_file(f->server, missing, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
        g_assert_false(share_server_add_file(f->server, device, &other_error));
        g_assert_nonnull(other_error);
}

TEST("the list of transfers stays short") {
        share(f, "shared/hello.txt");
        for (guint i = 0; i < 60; i++)
                assert_status(f, "/files/1/hello.txt", 200);
        g_assert_cmpuint(g_list_model_get_n_items(share_server_get_transfers(f->server)), ==, 50);
}
