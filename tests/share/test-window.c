/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The window of the example Share on a display of its own, with the real service: files are dropped, keys are
 * pressed, and peers download. TEST_SHARE_PICTURES: a directory for pictures of the window. */

#include <glib-unix.h>
#include <glib/gstdio.h>
#include <gtk/gtk.h>
#include <libsoup/soup.h>
#include <sched.h>

#include "bus/authority.h"
#include "bus/fixture.h"
#include "display.h"
#include "share-application.h"
#include "share-window.h"

#define TEST_WINDOW(sentence) TEST_OF_IF(f->window, sentence, ShareFixture, f, set_up, tear_down, NULL)

/* Runs the main loop until the condition is true. */
#define loop_until(condition)                                                                      \
        do {                                                                                       \
                uint64_t _deadline = test_deadline(TEST_DEADLINE_MS);                              \
                while (!(condition)) {                                                             \
                        if (test_now() > _deadline)                                                \
                                g_error("%s:%d: not in time: %s", __FILE__, __LINE__, #condition); \
                        g_main_context_iteration(NULL, TRUE);                                      \
                }                                                                                  \
        } while (0)

typedef struct ShareFixture {
        TestBus *bus;
        TestClient *polkit; /* NULL: there is none */
        TestAnswer answer;  /* of polkit, for ports below 1024 */
        unsigned n_questions;
        TestService *service;
        char *folder;
        GtkApplication *application;
        ShareWindow *window; /* NULL: there is no display */
} ShareFixture;

static const char *no_display; /* why */

/* The harness has an event loop of its own. */
static gboolean run_harness(gpointer data) {
        test_process_pending();
        return G_SOURCE_CONTINUE;
}

static char *path_of(ShareFixture *f, const char *name) {
        return g_build_filename(f->folder, name, NULL);
}

static char *received_path(const char *name) {
        return g_build_filename(display_get_home(), "Downloads", name, NULL);
}

static void delete_received(void) {
        g_autofree char *folder = received_path(NULL);
        g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
        const char *name;

        while ((name = g_dir_read_name(directory))) {
                g_autofree char *path = received_path(name);

                g_assert_cmpint(g_unlink(path), ==, 0);
        }
}

static TestAnswer answer(const TestQuestion *question, void *data) {
        ShareFixture *f = data;

        if (!g_str_has_suffix(question->action, "-privileged"))
                return TEST_ANSWER_YES;
        f->n_questions++;
        return f->answer == TEST_ANSWER_CHALLENGE && question->interactive ? TEST_ANSWER_YES : f->answer;
}

static void set_up(ShareFixture *f, const void *data) {
        static const char *const names[] = { "Holiday.jpg", "Letter & more.txt" };
        g_autofree char *folder = NULL;
        g_autofree char *received = NULL;
        g_autoptr(GFile) upload_folder = NULL;
        g_autoptr(GError) error = NULL;

        if (no_display) {
                g_test_skip(no_display);
                return;
        }

        f->bus = test_bus_new(geteuid() == 0 ? TEST_AUTHORITY_XML : NULL);
        if (geteuid() == 0)
                f->polkit = test_authority_new(f->bus, answer, f);
        f->service = test_service_new(f->bus, data);
        g_assert_true(g_setenv("DBUS_SYSTEM_BUS_ADDRESS", test_bus_address(f->bus), TRUE));

        f->folder = test_make_directory("share");
        for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = path_of(f, names[i]);

                g_assert_true(g_file_set_contents(path, "content", -1, NULL));
        }
        folder = path_of(f, "Music");
        received = received_path(NULL);
        g_assert_cmpint(g_mkdir(folder, 0755), ==, 0);
        (void) g_mkdir(received, 0755);
        upload_folder = g_file_new_for_path(received);

        f->application = share_application_new();
        g_application_set_flags(G_APPLICATION(f->application),
                                G_APPLICATION_NON_UNIQUE | G_APPLICATION_HANDLES_OPEN);
        g_assert_true(g_application_register(G_APPLICATION(f->application), NULL, &error));
        f->window = share_window_new(f->application, upload_folder);
        gtk_window_set_default_size(GTK_WINDOW(f->window), 480, 860);
        gtk_window_present(GTK_WINDOW(f->window));
        loop_until(gtk_widget_get_width(GTK_WIDGET(f->window)) > 0);
}

static void tear_down(ShareFixture *f, const void *data) {
        if (f->polkit)
                g_assert_cmpint(seteuid(0), ==, 0);
        if (!no_display)
                delete_received();
        if (f->window)
                gtk_window_destroy(GTK_WINDOW(f->window));
        while (g_main_context_iteration(NULL, FALSE)) {}
        g_clear_object(&f->application);
        g_clear_pointer(&f->service, test_service_free);
        g_clear_pointer(&f->polkit, test_client_free);
        g_clear_pointer(&f->bus, test_bus_free);
        g_free(f->folder);
}

static gpointer child_of(ShareFixture *f, const char *name) {
        GObject *child = gtk_widget_get_template_child(GTK_WIDGET(f->window), SHARE_TYPE_WINDOW, name);

        g_assert_nonnull(child);
        return child;
}

static bool is_sharing(ShareFixture *f) {
        return g_str_equal(gtk_stack_get_visible_child_name(child_of(f, "stack")), "sharing");
}

static const char *get_url(ShareFixture *f) {
        return gtk_label_get_label(child_of(f, "address_label"));
}

static guint16 get_port(ShareFixture *f) {
        g_autoptr(GUri) uri = g_uri_parse(get_url(f), G_URI_FLAGS_NONE, NULL);

        return (guint16) (g_uri_get_port(uri) == -1 ? 80 : g_uri_get_port(uri));
}

static GtkWidget *get_row(ShareFixture *f, const char *list, int i) {
        return GTK_WIDGET(gtk_list_box_get_row_at_index(child_of(f, list), i));
}

static const char *get_title(GtkWidget *row) {
        return adw_preferences_row_get_title(ADW_PREFERENCES_ROW(row));
}

/* As a file manager does. */
static void drop(ShareFixture *f, const char *first, const char *second) {
        g_autofree char *first_path = path_of(f, first);
        g_autofree char *second_path = second ? path_of(f, second) : NULL;
        GFile *files[] = { g_file_new_for_path(first_path),
                           second ? g_file_new_for_path(second_path) : NULL };
        GdkFileList *list = gdk_file_list_new_from_array(files, second ? 2 : 1);
        g_autoptr(GListModel) controllers = gtk_widget_observe_controllers(GTK_WIDGET(f->window));
        g_auto(GValue) value = G_VALUE_INIT;
        gboolean accepted = FALSE;

        g_value_init(&value, GDK_TYPE_FILE_LIST);
        g_value_take_boxed(&value, list);
        for (guint i = 0; i < g_list_model_get_n_items(controllers); i++) {
                g_autoptr(GObject) controller = g_list_model_get_item(controllers, i);

                if (GTK_IS_DROP_TARGET(controller))
                        g_signal_emit_by_name(controller, "drop", &value, 10., 10., &accepted);
        }
        g_assert_true(accepted);
        g_clear_object(&files[0]);
        g_clear_object(&files[1]);
}

static void share(ShareFixture *f) {
        drop(f, "Holiday.jpg", "Letter & more.txt");
        loop_until(is_sharing(f) && get_row(f, "items", 1));
}

/* By real key events of the display; there is no window manager to set the focus. */
static void press_in(const char *title, const char *command, const char *keys) {
        g_autofree char *pattern = g_strconcat("^", title, "$", NULL);
        g_autoptr(GSubprocess) xdotool = NULL;
        g_autoptr(GError) error = NULL;

        xdotool = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &error, "xdotool", "search",
                                   "--onlyvisible", "--name", pattern, "windowfocus", "--sync", command, keys,
                                   NULL);
        g_assert_no_error(error);
        g_assert_true(g_subprocess_wait_check(xdotool, NULL, &error));
}

static void press(ShareFixture *f, const char *keys) {
        press_in("Share", "key", keys);
}

/* A visible window of the program with this title. */
static GtkWindow *find_window(const char *title) {
        GListModel *windows = gtk_window_get_toplevels();

        for (guint i = 0; i < g_list_model_get_n_items(windows); i++) {
                g_autoptr(GtkWindow) window = g_list_model_get_item(windows, i);

                if (gtk_widget_get_mapped(GTK_WIDGET(window)) &&
                    g_strcmp0(gtk_window_get_title(window), title) == 0)
                        return window;
        }
        return NULL;
}

/* The first widget of this type, in the order of the tree. */
static GtkWidget *find_widget(GtkWidget *parent, GType type) {
        if (G_TYPE_CHECK_INSTANCE_TYPE(parent, type))
                return parent;
        for (GtkWidget *child = gtk_widget_get_first_child(parent); child;
             child = gtk_widget_get_next_sibling(child)) {
                GtkWidget *found = find_widget(child, type);

                if (found)
                        return found;
        }
        return NULL;
}

static void save_picture(ShareFixture *f, const char *name) {
        const char *directory = g_getenv("TEST_SHARE_PICTURES");
        g_autofree char *path = g_build_filename(directory ?: f->folder, name, NULL);
        g_autoptr(GdkPaintable) paintable = gtk_widget_paintable_new(GTK_WIDGET(f->window));
        GtkSnapshot *snapshot = gtk_snapshot_new();
        g_autoptr(GskRenderNode) node = NULL;
        g_autoptr(GdkTexture) texture = NULL;
        uid_t uid = geteuid();

        gdk_paintable_snapshot(paintable, snapshot, gdk_paintable_get_intrinsic_width(paintable),
                               gdk_paintable_get_intrinsic_height(paintable));
        node = gtk_snapshot_free_to_node(snapshot);
        texture = gsk_renderer_render_texture(gtk_native_get_renderer(GTK_NATIVE(f->window)), node, NULL);
        if (f->polkit)
                g_assert_cmpint(seteuid(0), ==, 0);
        g_assert_true(gdk_texture_save_to_png(texture, path));
        g_assert_cmpint(seteuid(uid), ==, 0);
}

/* The brightness of the middle of the window, of 255. */
static guint get_brightness(ShareFixture *f, const char *picture) {
        g_autofree char *path = g_build_filename(g_getenv("TEST_SHARE_PICTURES") ?: f->folder, picture, NULL);
        g_autoptr(GdkPixbuf) pixbuf = gdk_pixbuf_new_from_file(path, NULL);
        const guint8 *pixels = gdk_pixbuf_read_pixels(pixbuf);

        return pixels[gdk_pixbuf_get_rowstride(pixbuf) * gdk_pixbuf_get_height(pixbuf) / 2 +
                      gdk_pixbuf_get_n_channels(pixbuf) * 30];
}

static void count_frame(GdkFrameClock *clock, guint *n) {
        (*n)++;
}

/* The window is drawn with its changes; animations are off. */
static void wait_for_frames(ShareFixture *f) {
        GdkFrameClock *clock = gtk_widget_get_frame_clock(GTK_WIDGET(f->window));
        guint n = 0;
        gulong handler = g_signal_connect(clock, "after-paint", G_CALLBACK(count_frame), &n);

        for (guint i = 1; i <= 3; i++) {
                gtk_widget_queue_draw(GTK_WIDGET(f->window));
                loop_until(n >= i);
        }
        g_signal_handler_disconnect(clock, handler);
}

typedef struct Reply {
        GBytes *body;
        gboolean done;
} Reply;

static void on_reply(GObject *source, GAsyncResult *result, gpointer data) {
        Reply *reply = data;

        reply->body = soup_session_send_and_read_finish(SOUP_SESSION(source), result, NULL);
        reply->done = TRUE;
}

static char *request(ShareFixture *f, const char *method, const char *path, const char *content) {
        g_autofree char *address = g_strdup_printf("http://127.0.0.1:%u%s", get_port(f), path);
        g_autoptr(SoupSession) session = soup_session_new();
        g_autoptr(SoupMessage) message = soup_message_new(method, address);
        g_autoptr(GBytes) body = content ? g_bytes_new(content, strlen(content)) : NULL;
        Reply reply = { 0 };
        char *text = NULL;

        if (body)
                soup_message_set_request_body_from_bytes(message, NULL, body);
        soup_session_send_and_read_async(session, message, G_PRIORITY_DEFAULT, NULL, on_reply, &reply);
        loop_until(reply.done);
        if (reply.body)
                text = g_strndup(g_bytes_get_data(reply.body, NULL) ?: "", g_bytes_get_size(reply.body));
        g_clear_pointer(&reply.body, g_bytes_unref);
        return text;
}

/* A peer that reads nothing. */
static GSocketConnection *start_download(ShareFixture *f, const char *path) {
        g_autoptr(GSocketClient) client = g_socket_client_new();
        GSocketConnection *connection = g_socket_client_connect_to_host(client, "127.0.0.1", get_port(f),
                                                                        NULL, NULL);
        g_autofree char *text = g_strdup_printf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);

        g_assert_nonnull(connection);
        g_assert_true(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), text,
                                                strlen(text), NULL, NULL, NULL));
        loop_until(get_row(f, "transfers", 1));
        return connection;
}

static bool is_open(guint16 port) {
        g_autoptr(GSocket) socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM,
                                                 G_SOCKET_PROTOCOL_TCP, NULL);
        g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string("127.0.0.1", port);

        return g_socket_connect(socket, address, NULL, NULL);
}

TEST_WINDOW("dropped files are shared until the user stops") {
        guint16 port;

        g_assert_false(is_sharing(f));
        wait_for_frames(f);
        save_picture(f, "empty.png");
        share(f);
        port = get_port(f);
        if (test_require_private_network())
                g_assert_cmpuint(port, ==, 80);

        g_assert_cmpstr(get_title(get_row(f, "items", 0)), ==, "Holiday.jpg");
        g_assert_cmpstr(get_title(get_row(f, "items", 1)), ==, "Letter & more.txt");
        g_assert_null(get_row(f, "items", 2));
        test_assert_text(request(f, "GET", "/files/1/Holiday.jpg", NULL), "content");

        /* More files get the same address. */
        drop(f, "Music", NULL);
        loop_until(get_row(f, "items", 2));
        g_assert_cmpstr(get_title(get_row(f, "items", 2)), ==, "Music");
        g_assert_cmpuint(get_port(f), ==, port);

        g_assert_true(gtk_widget_activate_action(GTK_WIDGET(f->window), "win.stop", NULL));
        g_assert_false(is_sharing(f));
        g_assert_null(get_row(f, "items", 0));
        loop_until(!test_service_is_listening(f->service, port));
        g_assert_false(is_open(port));

        share(f);
        test_assert_text(request(f, "GET", "/files/4/Holiday.jpg", NULL), "content");
}

static bool shows_note(ShareFixture *f, const char *text) {
        GtkLabel *label = child_of(f, "note_label");

        return gtk_widget_get_visible(GTK_WIDGET(label)) && strstr(gtk_label_get_label(label), text);
}

TEST_WINDOW("another port is used if port 80 is not free, and the window says why") {
        g_autoptr(GSocket) socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM,
                                                 G_SOCKET_PROTOCOL_TCP, NULL);
        g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string("127.0.0.1", 80);

        if (!test_require_private_network())
                return;
        g_assert_true(g_socket_bind(socket, address, TRUE, NULL));
        g_assert_true(g_socket_listen(socket, NULL));

        share(f);
        g_assert_cmpuint(get_port(f), !=, 80);
        test_assert_text(request(f, "GET", "/files/1/Holiday.jpg", NULL), "content");
        g_assert_true(shows_note(f, "Another program uses port 80"));
        g_assert_false(gtk_widget_get_visible(child_of(f, "port_button")));
        wait_for_frames(f);
        save_picture(f, "port-taken.png");

        /* When it is free again, the next sharing uses it. */
        g_assert_true(g_socket_close(socket, NULL));
        gtk_widget_activate_action(GTK_WIDGET(f->window), "win.stop", NULL);
        share(f);
        g_assert_cmpuint(get_port(f), ==, 80);
        g_assert_false(gtk_widget_get_visible(child_of(f, "note_label")));
}

static GtkWidget *find_toast(ShareFixture *f) {
        GType type = g_type_from_name("AdwToastWidget");

        return type ? find_widget(GTK_WIDGET(f->window), type) : NULL;
}

/* The text of the toast on the window, or NULL. */
static const char *get_toast(ShareFixture *f) {
        GtkWidget *toast = find_toast(f);
        GtkWidget *label = toast ? find_widget(toast, GTK_TYPE_LABEL) : NULL;

        return label ? gtk_label_get_label(GTK_LABEL(label)) : NULL;
}

static void dismiss_toast(ShareFixture *f) {
        loop_until(find_toast(f));
        gtk_widget_activate_action(find_toast(f), "toast.dismiss", NULL);
        loop_until(!find_toast(f));
}

/* As an ordinary user, for whom the service asks polkit, until the end of the test. */
static void share_as_user(ShareFixture *f) {
        g_autoptr(GFile) file = g_file_new_for_path("/etc/passwd");

        g_assert_cmpint(seteuid(65534), ==, 0);
        share_window_add_file(f->window, file);
        loop_until(is_sharing(f) || get_toast(f));
        g_assert_cmpstr(get_toast(f), ==, NULL);
}

static bool can_ask(ShareFixture *f) {
        return f->window && test_require_root() && test_require_private_network();
}

#define TEST_POLKIT(sentence) TEST_OF_IF(can_ask(f), sentence, ShareFixture, f, set_up, tear_down, NULL)

TEST_POLKIT("another port is used if the user may not use port 80, and the window says so") {
        f->answer = TEST_ANSWER_NO;
        share_as_user(f);
        g_assert_cmpuint(f->n_questions, >, 0);
        g_assert_cmpuint(get_port(f), >=, 1024);
        g_assert_true(shows_note(f, "You are not allowed to use port 80"));
        g_assert_false(gtk_widget_get_visible(child_of(f, "port_button")));
        wait_for_frames(f);
        save_picture(f, "port-forbidden.png");
}

TEST_POLKIT("the user can enter a password for port 80") {
        guint16 port;

        f->answer = TEST_ANSWER_CHALLENGE;
        share_as_user(f);
        port = get_port(f);
        g_assert_cmpuint(port, >=, 1024);
        g_assert_true(shows_note(f, "Port 80 needs a password"));
        g_assert_true(gtk_widget_get_visible(child_of(f, "port_button")));
        wait_for_frames(f);
        save_picture(f, "port-password.png");

        /* The user dismisses the question. */
        f->answer = TEST_ANSWER_NO;
        f->n_questions = 0;
        gtk_widget_activate(child_of(f, "port_button"));
        loop_until(f->n_questions > 0);
        loop_until(shows_note(f, "You are not allowed to use port 80"));
        g_assert_true(gtk_widget_get_visible(child_of(f, "port_button")));
        g_assert_cmpuint(get_port(f), ==, port);
        g_assert_true(is_open(port));

        f->answer = TEST_ANSWER_CHALLENGE;
        gtk_widget_activate(child_of(f, "port_button"));
        loop_until(get_port(f) == 80);
        g_assert_false(gtk_widget_get_visible(child_of(f, "note_label")));
        g_assert_false(gtk_widget_get_visible(child_of(f, "port_button")));
        loop_until(!test_service_is_listening(f->service, port));
        g_free(request(f, "GET", "/files/1/passwd", NULL));
        g_assert_nonnull(get_row(f, "transfers", 0));
}

static void forbid_sockets(void *data) {
        test_mount_configuration("AllowSocketDelivery=no");
}

static const TestServiceOptions without_sockets = { .setup = forbid_sockets };

TEST_OF_IF(test_require_root() && f->window,
           "files are shared if programs do not get listening sockets",
           ShareFixture,
           f,
           set_up,
           tear_down,
           &without_sockets) {
        guint16 port;

        share(f);
        port = get_port(f);
        test_assert_text(request(f, "GET", "/files/1/Holiday.jpg", NULL), "content");
        gtk_widget_activate_action(GTK_WIDGET(f->window), "win.stop", NULL);
        loop_until(!test_service_is_listening(f->service, port));
}

TEST_WINDOW("transfers are shown with their progress") {
        GtkWidget *row;
        g_autofree char *sent = NULL, *received = NULL, *path = received_path("Photo.jpg");

        share(f);
        g_assert_false(gtk_widget_get_visible(child_of(f, "transfers_group")));
        sent = request(f, "GET", "/files/1/Holiday.jpg", NULL);
        received = request(f, "PUT", "/upload/Photo.jpg", "photo");
        g_assert_true(gtk_widget_get_visible(child_of(f, "transfers_group")));

        row = get_row(f, "transfers", 1);
        g_assert_cmpstr(get_title(row), ==, "Holiday.jpg");
        loop_until(g_strcmp0(adw_action_row_get_icon_name(ADW_ACTION_ROW(row)), "object-select-symbolic") ==
                   0);
        g_assert_cmpstr(adw_action_row_get_subtitle(ADW_ACTION_ROW(row)), ==, "7 bytes to 127.0.0.1");
        row = get_row(f, "transfers", 0);
        g_assert_cmpstr(get_title(row), ==, "Photo.jpg");
        loop_until(g_strcmp0(adw_action_row_get_icon_name(ADW_ACTION_ROW(row)), "object-select-symbolic") ==
                   0);
        g_assert_cmpstr(adw_action_row_get_subtitle(ADW_ACTION_ROW(row)), ==, "5 bytes from 127.0.0.1");
        test_assert_text(test_read_file(path), "photo");

        /* Then without uploads. */
        wait_for_frames(f);
        adw_action_row_activate(child_of(f, "uploads_row"));
        g_free(request(f, "PUT", "/upload/Other.jpg", "photo"));
        g_assert_null(get_row(f, "transfers", 2));
}

static bool clipboard_has(ShareFixture *f, const char *text) {
        GdkContentProvider *content = gdk_clipboard_get_content(
                        gtk_widget_get_clipboard(GTK_WIDGET(f->window)));
        g_auto(GValue) value = G_VALUE_INIT;

        g_value_init(&value, G_TYPE_STRING);
        return content && gdk_content_provider_get_value(content, &value, NULL) &&
               g_strcmp0(g_value_get_string(&value), text) == 0;
}

static void choose(ShareFixture *f, const char *keys, const char *title, const char *path) {
        press(f, keys);
        loop_until(find_window(title));
        wait_for_frames(f);
        press_in(title, "type", path);
        while (g_main_context_iteration(NULL, FALSE)) {}
        press_in(title, "key", "Return");
        loop_until(!find_window(title));
}

TEST_WINDOW("the keyboard is enough") {
        g_autofree char *file = path_of(f, "Holiday.jpg"), *folder = path_of(f, "Music");
        GtkMenuButton *menu_button;
        guint16 port;

        if (!test_require_program("xdotool"))
                return;

        /* The button to choose files has the focus. */
        g_assert_true(gtk_widget_has_focus(child_of(f, "choose_files_button")));
        press(f, "Return");
        loop_until(find_window("Share Files"));
        press_in("Share Files", "key", "Escape");
        loop_until(!find_window("Share Files"));
        g_assert_false(is_sharing(f));

        choose(f, "ctrl+o", "Share Files", file);
        loop_until(is_sharing(f));
        port = get_port(f);
        choose(f, "ctrl+shift+o", "Share a Folder", folder);
        loop_until(get_row(f, "items", 1));
        g_assert_cmpstr(get_title(get_row(f, "items", 0)), ==, "Holiday.jpg");
        g_assert_cmpstr(get_title(get_row(f, "items", 1)), ==, "Music");

        /* An accidental second press of Return does not stop. */
        g_assert_true(gtk_window_get_focus(GTK_WINDOW(f->window)) == child_of(f, "copy_button"));
        press(f, "ctrl+shift+c");
        loop_until(clipboard_has(f, get_url(f)));

        press(f, "ctrl+question");
        loop_until(find_window("Keyboard Shortcuts"));
        wait_for_frames(f);
        press_in("Keyboard Shortcuts", "key", "Escape");
        loop_until(!find_window("Keyboard Shortcuts"));

        menu_button = GTK_MENU_BUTTON(find_widget(GTK_WIDGET(f->window), GTK_TYPE_MENU_BUTTON));
        /* The code of F10: new keymaps have this symbol with Alt, too, and xdotool would press both. */
        press(f, "76");
        loop_until(gtk_widget_get_mapped(GTK_WIDGET(gtk_menu_button_get_popover(menu_button))));
        wait_for_frames(f);
        press(f, "Escape");
        loop_until(!gtk_widget_get_mapped(GTK_WIDGET(gtk_menu_button_get_popover(menu_button))));

        wait_for_frames(f);
        press(f, "ctrl+e");
        loop_until(!is_sharing(f));
        loop_until(!test_service_is_listening(f->service, port));
        g_assert_false(is_open(port));
}

static void on_finalized(gpointer data, GObject *object) {
        *(ShareWindow **) data = NULL;
}

static void end_by_keys(ShareFixture *f, const char *keys) {
        guint16 port;

        if (!test_require_program("xdotool"))
                return;
        share(f);
        port = get_port(f);
        g_object_weak_ref(G_OBJECT(f->window), on_finalized, &f->window);
        press(f, keys);
        loop_until(!f->window);
        loop_until(!test_service_is_listening(f->service, port));
}

TEST_WINDOW("Ctrl+Q ends the program and the sharing") {
        end_by_keys(f, "ctrl+q");
}

TEST_WINDOW("Ctrl+W closes the window and ends the sharing") {
        end_by_keys(f, "ctrl+w");
}

/* The text of the focused button or row, or the tooltip around it. */
static const char *get_focus_name(ShareFixture *f) {
        GtkWidget *focus = gtk_window_get_focus(GTK_WINDOW(f->window));

        if (GTK_IS_BUTTON(focus) && gtk_button_get_label(GTK_BUTTON(focus)))
                return gtk_button_get_label(GTK_BUTTON(focus));
        for (GtkWidget *widget = focus; widget; widget = gtk_widget_get_parent(widget)) {
                if (gtk_widget_get_tooltip_text(widget))
                        return gtk_widget_get_tooltip_text(widget);
                if (ADW_IS_PREFERENCES_ROW(widget))
                        return get_title(widget);
        }
        return G_OBJECT_TYPE_NAME(gtk_widget_get_parent(focus));
}

TEST_WINDOW("Tab visits all buttons in order") {
        g_autoptr(GString) order = g_string_new(NULL);

        share(f);
        wait_for_frames(f); /* the order is that of the layout */
        for (;;) {
                const char *name = get_focus_name(f);

                if (order->len > 0 && g_str_has_prefix(order->str, name))
                        break;
                g_string_append_printf(order, "%s%s", order->len > 0 ? ", " : "", name);
                gtk_widget_child_focus(GTK_WIDGET(f->window), GTK_DIR_TAB_FORWARD);
        }
        g_assert_cmpstr(order->str, ==,
                        "Copy Address, _Stop Sharing, Holiday.jpg, Stop sharing Holiday.jpg, Letter & more.txt, "
                        "Stop sharing Letter & more.txt, Receive Files, Open Received Files, Receive Files, "
                        "Add Files, Main Menu");
}

TEST_WINDOW("files that another program opens are added") {
        g_autofree char *path = path_of(f, "Holiday.jpg");
        g_autoptr(GFile) file = g_file_new_for_path(path);

        gtk_application_add_window(f->application, GTK_WINDOW(f->window));
        g_application_open(G_APPLICATION(f->application), &file, 1, "");
        loop_until(is_sharing(f));
        g_assert_cmpstr(get_title(get_row(f, "items", 0)), ==, "Holiday.jpg");
}

TEST_WINDOW("the user is told about a received file, and about a file that cannot be shared") {
        g_autoptr(GFile) missing = g_file_new_for_path("/nonexistent/<b>");

        share(f);
        for (guint i = 0; i < 20; i++)
                g_free(request(f, "PUT", "/upload/Photo%20%3Cb%3E.jpg", "photo"));
        loop_until(g_strcmp0(get_toast(f), "Photo &lt;b&gt; (20).jpg received") == 0);
        wait_for_frames(f);
        save_picture(f, "received.png");
        share_window_add_file(f->window, missing);
        loop_until(get_toast(f) && strstr(get_toast(f), "&lt;b&gt;"));
        g_assert_true(is_sharing(f));
}

TEST_WINDOW("many files fit") {
        for (guint i = 0; i < 40; i++) {
                g_autofree char *name = g_strdup_printf("%u.pdf", i);
                g_autofree char *path = path_of(f, name);

                g_assert_true(g_file_set_contents(path, "content", -1, NULL));
                drop(f, name, NULL);
        }
        loop_until(is_sharing(f) && get_row(f, "items", 39));
        wait_for_frames(f);
        save_picture(f, "many.png");
        test_assert_text(request(f, "GET", "/files/40/39.pdf", NULL), "content");
}

TEST_POLKIT("the address follows the network, and is the name of the computer without one") {
        g_autofree char *url = NULL, *name = g_strdup_printf("http://%s.local/", g_get_host_name());
        int network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

        share(f);
        url = g_strdup(get_url(f));
        g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
        g_signal_emit_by_name(g_network_monitor_get_default(), "network-changed", FALSE);
        g_assert_cmpstr(get_url(f), ==, name);
        g_assert_true(shows_note(f, "This computer does not know its address in the network"));
        wait_for_frames(f);
        save_picture(f, "no-network.png");

        g_assert_cmpint(setns(network, CLONE_NEWNET), ==, 0);
        g_assert_cmpint(close(network), ==, 0);
        g_signal_emit_by_name(g_network_monitor_get_default(), "network-changed", TRUE);
        g_assert_cmpstr(get_url(f), ==, url);
        g_assert_false(gtk_widget_get_visible(child_of(f, "note_label")));
}

TEST_WINDOW("without a folder for downloads, received files do not clutter the home directory") {
        gtk_window_destroy(GTK_WINDOW(f->window));
        g_application_activate(G_APPLICATION(f->application));
        f->window = SHARE_WINDOW(gtk_application_get_active_window(f->application));
        g_assert_cmpstr(adw_action_row_get_subtitle(child_of(f, "uploads_row")), ==, "~/Downloads");
}

TEST_WINDOW("long names do not make the window wider") {
        g_autofree char *name = g_strnfill(200, 'x');
        g_autofree char *path = path_of(f, name), *upload = g_strconcat("/upload/", name, NULL);
        int width = gtk_widget_get_width(GTK_WIDGET(f->window));

        g_assert_true(g_file_set_contents(path, "content", -1, NULL));
        drop(f, name, "Music");
        loop_until(is_sharing(f) && get_row(f, "items", 1));
        g_free(request(f, "PUT", upload, "photo"));
        gtk_window_set_default_size(GTK_WINDOW(f->window), 360, 860);
        wait_for_frames(f);
        save_picture(f, "long.png");
        g_assert_cmpint(gtk_widget_get_width(GTK_WIDGET(f->window)), <=, width);
        g_assert_cmpint(gtk_widget_get_height(get_row(f, "items", 0)), <, 100);
}

TEST_WINDOW("the port is closed with the window, and with the last file") {
        g_autoptr(GtkWidget) row = NULL;
        GtkWidget *button;
        guint16 port;

        drop(f, "Holiday.jpg", NULL);
        loop_until(is_sharing(f));
        port = get_port(f);
        row = g_object_ref(get_row(f, "items", 0));
        gtk_widget_child_focus(row, GTK_DIR_TAB_FORWARD);
        gtk_widget_child_focus(row, GTK_DIR_TAB_FORWARD);
        button = gtk_window_get_focus(GTK_WINDOW(f->window));
        g_assert_true(GTK_IS_BUTTON(button));
        g_assert_cmpstr(gtk_widget_get_tooltip_text(button), ==, "Stop sharing Holiday.jpg");
        gtk_widget_activate(button);
        loop_until(!is_sharing(f));
        loop_until(!test_service_is_listening(f->service, port));

        share(f);
        port = get_port(f);
        gtk_window_close(GTK_WINDOW(f->window));
        f->window = NULL;
        loop_until(!test_service_is_listening(f->service, port));
}

TEST_WINDOW("the window says so if the service ends the sharing") {
        share(f);
        test_service_stop(f->service);
        loop_until(!is_sharing(f));
        g_assert_null(get_row(f, "items", 0));
        loop_until(get_toast(f));
        wait_for_frames(f);
        save_picture(f, "ended.png");
        g_clear_pointer(&f->service, test_service_free);
}

TEST_WINDOW("a screen reader gets names") {
        GtkWidget *button;
        g_autofree char *expected = NULL;

        share(f);
        gtk_test_accessible_assert_role(child_of(f, "qr_code"), GTK_ACCESSIBLE_ROLE_IMG);
        gtk_test_accessible_assert_role(child_of(f, "copy_button"), GTK_ACCESSIBLE_ROLE_BUTTON);
        gtk_test_accessible_assert_property(child_of(f, "copy_button"), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                            "Copy Address");
        gtk_test_accessible_assert_property(child_of(f, "add_button"), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                            "Add Files");
        button = find_widget(get_row(f, "items", 0), GTK_TYPE_BUTTON);
        gtk_test_accessible_assert_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                            "Stop sharing Holiday.jpg");
        expected = g_strdup_printf("QR code of the address %s", get_url(f));
        gtk_test_accessible_assert_property(child_of(f, "qr_code"), GTK_ACCESSIBLE_PROPERTY_LABEL, expected);
}

TEST_WINDOW("the window is light or dark, and the QR code can be read in both") {
        static const AdwColorScheme schemes[] = { ADW_COLOR_SCHEME_FORCE_LIGHT, ADW_COLOR_SCHEME_FORCE_DARK };
        static const char *const names[] = { "light.png", "dark.png" };
        g_autofree char *zbarimg = g_find_program_in_path("zbarimg");
        g_autofree char *film = path_of(f, "Holiday film.mp4");
        g_autofree char *photo = g_strnfill(2345678, 'x');
        g_autoptr(GSocketConnection) download = NULL;

        g_assert_true(g_file_set_contents(film, "", 0, NULL));
        g_assert_cmpint(truncate(film, 8000000), ==, 0);
        drop(f, "Holiday film.mp4", "Music");
        loop_until(is_sharing(f) && get_row(f, "items", 1));
        g_free(request(f, "PUT", "/upload/Photo.jpg", photo));
        download = start_download(f, "/files/1/Holiday%20film.mp4");
        dismiss_toast(f);
        for (gsize i = 0; i < G_N_ELEMENTS(schemes); i++) {
                adw_style_manager_set_color_scheme(adw_style_manager_get_default(), schemes[i]);
                wait_for_frames(f);
                save_picture(f, names[i]);

                if (zbarimg) {
                        g_autofree char *path = g_build_filename(g_getenv("TEST_SHARE_PICTURES") ?: f->folder,
                                                                 names[i], NULL);
                        g_autofree char *expected = g_strconcat(get_url(f), "\n", NULL);
                        g_autofree char *output = NULL;
                        const char *argv[] = { zbarimg, "--quiet", "--nodbus", "--raw", path, NULL };

                        g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL,
                                                   &output, NULL, NULL, NULL));
                        g_assert_cmpstr(output, ==, expected);
                } else
                        g_test_message("no zbarimg: the QR code is not read");
        }
        g_assert_cmpuint(get_brightness(f, "light.png"), >, 200);
        g_assert_cmpuint(get_brightness(f, "dark.png"), <, 100);
        adw_style_manager_set_color_scheme(adw_style_manager_get_default(), ADW_COLOR_SCHEME_DEFAULT);
}

/* GDK 4.24 warns of each frame of a popover on X11; all other warnings end the test. */
static GLogWriterOutput write_log(GLogLevelFlags level,
                                  const GLogField *fields,
                                  gsize n_fields,
                                  gpointer data) {
        g_autofree char *text = g_log_writer_format_fields(level, fields, n_fields, FALSE);

        return strstr(text, "gdk_frame_timings_submitted() called on submitted frame")
                               ? G_LOG_WRITER_HANDLED
                               : g_log_writer_default(level, fields, n_fields, data);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        g_log_set_writer_func(write_log, NULL, NULL);
        (void) test_enter_private_network();
        no_display = display_start();
        if (!no_display) {
                adw_init();
                g_object_set(gtk_settings_get_default(), "gtk-enable-animations", FALSE, NULL);
                g_timeout_add(20, run_harness, NULL);
        }
        return test_run();
}
