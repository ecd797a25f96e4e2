/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib/gi18n.h>
#include <tss.h>

#include "share-address.h"
#include "share-server.h"
#include "share-window.h"

struct _ShareWindow {
        AdwApplicationWindow parent_instance;

        GtkStack *stack;
        GtkPicture *qr_code;
        GtkLabel *address_label;
        GtkListBox *items;
        GtkListBox *transfers;
        GtkWidget *transfers_group;
        GtkWidget *add_button;
        GtkWidget *choose_files_button;
        GtkWidget *copy_button;
        GtkLabel *note_label;
        GtkWidget *port_button;
        AdwActionRow *uploads_row;
        AdwToastOverlay *toasts;
        AdwToast *toast; /* the last one */

        GFile *upload_folder;
        ShareServer *server;
        GtkFileChooserNative *chooser;

        /* Both are NULL: nothing is shared. Only the first is set: the port is being opened. */
        GCancellable *cancellable;
        TssListener *listener;
        guint16 port;            /* that was asked for; 0: any */
        gboolean needs_password; /* a password allows port 80 */
        GError *port_80_error;   /* why it is another port than 80 */
        char *url;
        guint inhibit_cookie;
};

G_DEFINE_TYPE(ShareWindow, share_window, ADW_TYPE_APPLICATION_WINDOW)

/* Replaces the last one, so that many events do not make a long queue. */
static void show_toast_with_button(ShareWindow *self,
                                   const char *text,
                                   const char *label,
                                   const char *action) {
        g_autofree char *escaped = g_markup_escape_text(text, -1);

        if (self->toast)
                adw_toast_dismiss(self->toast);
        g_clear_object(&self->toast);
        self->toast = adw_toast_new(escaped);
        adw_toast_set_button_label(self->toast, label);
        adw_toast_set_action_name(self->toast, action);
        adw_toast_overlay_add_toast(self->toasts, g_object_ref(self->toast));
}

static void show_toast(ShareWindow *self, const char *text) {
        show_toast_with_button(self, text, NULL, NULL);
}

/* Port */

static void show_state(ShareWindow *self) {
        gboolean is_sharing = self->listener != NULL;

        gtk_stack_set_visible_child_name(self->stack, is_sharing ? "sharing" : "empty");
        gtk_widget_set_visible(self->add_button, is_sharing);
        gtk_widget_action_set_enabled(GTK_WIDGET(self), "win.stop", is_sharing);
        gtk_widget_action_set_enabled(GTK_WIDGET(self), "win.copy-address", is_sharing);
        gtk_widget_grab_focus(is_sharing ? self->copy_button : self->choose_files_button);
}

/* Why the address is not the best one. */
static char *get_note(ShareWindow *self, gboolean is_name) {
        if (is_name)
                return g_strdup(_("This computer does not know its address in the network"));
        if (g_error_matches(self->port_80_error, TSS_ERROR, TSS_ERROR_AUTHENTICATION_REQUIRED))
                return g_strdup(_("Port 80 needs a password"));
        if (g_error_matches(self->port_80_error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
                return g_strdup(_("You are not allowed to use port 80"));
        if (g_error_matches(self->port_80_error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE))
                return g_strdup(_("Another program uses port 80"));
        return self->port_80_error ? g_strdup(self->port_80_error->message) : NULL;
}

static void show_address(ShareWindow *self) {
        g_autoptr(GdkTexture) texture = NULL;
        g_autofree char *description = NULL, *note = NULL;
        gboolean is_name;

        g_free(self->url);
        self->url = share_address_get_url(tss_listener_get_port(self->listener), &is_name);
        texture = share_address_create_qr_code(self->url);
        /* Translators: %s is an address, such as http://192.168.1.2/. */
        description = g_strdup_printf(_("QR code of the address %s"), self->url);

        gtk_label_set_label(self->address_label, self->url);
        gtk_picture_set_paintable(self->qr_code, GDK_PAINTABLE(texture));
        gtk_accessible_update_property(GTK_ACCESSIBLE(self->qr_code), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                       description, -1);

        note = get_note(self, is_name);
        gtk_label_set_label(self->note_label, note ?: "");
        gtk_widget_set_visible(GTK_WIDGET(self->note_label), note != NULL);
        gtk_widget_set_visible(self->port_button, self->needs_password && self->port_80_error);
}

/* The computer may have got another address. */
static void on_network_changed(GNetworkMonitor *monitor, gboolean is_available, ShareWindow *self) {
        if (self->listener)
                show_address(self);
}

static void close_listener(ShareWindow *self) {
        g_autoptr(TssListener) listener = g_steal_pointer(&self->listener);

        if (listener) {
                g_signal_handlers_disconnect_by_data(listener, self);
                tss_listener_close_async(listener, NULL, NULL, NULL);
        }
}

static void stop(ShareWindow *self) {
        GtkApplication *application = gtk_window_get_application(GTK_WINDOW(self));

        g_cancellable_cancel(self->cancellable);
        g_clear_object(&self->cancellable);
        close_listener(self);
        share_server_stop(self->server);
        g_clear_error(&self->port_80_error);
        self->needs_password = FALSE;
        g_clear_pointer(&self->url, g_free);
        if (self->inhibit_cookie != 0 && application)
                gtk_application_uninhibit(application, self->inhibit_cookie);
        self->inhibit_cookie = 0;
}

/* An administrator has closed the port, or the service has ended. */
static void on_closed(TssListener *listener, TssCloseReason reason, const char *message, ShareWindow *self) {
        stop(self);
        show_state(self);
        show_toast(self, message);
        adw_toast_set_timeout(self->toast, 0); /* the user may be away */
}

static void on_incoming(TssListener *listener, GSocketConnection *connection, ShareWindow *self) {
        share_server_accept(self->server, connection);
}

/* Instead of the listener on another port, if there is one. */
static void start(ShareWindow *self, TssListener *listener) {
        close_listener(self);
        self->listener = g_object_ref(listener);
        g_signal_connect_object(listener, "incoming", G_CALLBACK(on_incoming), self, 0);
        g_signal_connect_object(listener, "closed", G_CALLBACK(on_closed), self, 0);
        if (self->inhibit_cookie == 0)
                self->inhibit_cookie = gtk_application_inhibit(
                                gtk_window_get_application(GTK_WINDOW(self)), GTK_WINDOW(self),
                                GTK_APPLICATION_INHIBIT_SUSPEND, _("Files are shared"));
        show_address(self);
        show_state(self);
}

static void open_port(ShareWindow *self, guint16 port, TssListenFlags flags);

static void on_listening(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(ShareWindow) self = data;
        g_autoptr(GError) error = NULL;
        g_autoptr(TssListener) listener = tss_listen_finish(result, &error);

        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
                return; /* stopped meanwhile */

        if (self->port == 80) {
                g_clear_error(&self->port_80_error);
                self->port_80_error = g_steal_pointer(&error);
                self->needs_password |= g_error_matches(self->port_80_error, TSS_ERROR,
                                                        TSS_ERROR_AUTHENTICATION_REQUIRED);
        }
        if (listener)
                start(self, listener);
        else if (self->listener)
                show_address(self);
        else if (self->port == 80)
                open_port(self, 0, TSS_LISTEN_FLAGS_NONE);
        else {
                stop(self);
                show_toast(self, error->message);
        }
}

static void open_port(ShareWindow *self, guint16 port, TssListenFlags flags) {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "name", _("Share"), NULL);

        self->port = port;
        tss_listen_async(options, port, flags, self->cancellable, on_listening, g_object_ref(self));
}

/* Files */

static void on_added(GObject *source, GAsyncResult *result, gpointer data) {
        g_autoptr(ShareWindow) self = data;
        g_autoptr(GError) error = NULL;

        if (!share_server_add_file_finish(SHARE_SERVER(source), result, &error)) {
                if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
                        show_toast(self, error->message);
        } else if (!self->cancellable) {
                self->cancellable = g_cancellable_new();
                /* Without asking for a password. The address needs no number with this port. */
                open_port(self, 80, TSS_LISTEN_FLAGS_NONE);
        }
}

void share_window_add_file(ShareWindow *self, GFile *file) {
        share_server_add_file_async(self->server, file, on_added, g_object_ref(self));
}

static gboolean on_drop(GtkDropTarget *target, const GValue *value, double x, double y, ShareWindow *self) {
        GSList *files = gdk_file_list_get_files(g_value_get_boxed(value));

        for (GSList *l = files; l; l = l->next)
                share_window_add_file(self, l->data);
        g_slist_free(files);
        return TRUE;
}

static void on_chosen(GtkNativeDialog *dialog, int response, ShareWindow *self) {
        g_autoptr(GListModel) files = NULL;

        if (response == GTK_RESPONSE_ACCEPT) {
                files = gtk_file_chooser_get_files(GTK_FILE_CHOOSER(dialog));
                for (guint i = 0; i < g_list_model_get_n_items(files); i++) {
                        g_autoptr(GFile) file = g_list_model_get_item(files, i);

                        share_window_add_file(self, file);
                }
        }
        g_clear_object(&self->chooser);
}

static void choose(ShareWindow *self, GtkFileChooserAction action, const char *title) {
        /* The dialog of a portal leaves the keys of this window usable. */
        if (self->chooser)
                return;
        self->chooser = gtk_file_chooser_native_new(title, GTK_WINDOW(self), action, _("_Share"), NULL);
        gtk_file_chooser_set_select_multiple(GTK_FILE_CHOOSER(self->chooser), TRUE);
        gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(self->chooser), TRUE);
        g_signal_connect_object(self->chooser, "response", G_CALLBACK(on_chosen), self, 0);
        gtk_native_dialog_show(GTK_NATIVE_DIALOG(self->chooser));
}

/* Actions */

static void add_files(GtkWidget *widget, const char *name, GVariant *parameter) {
        choose(SHARE_WINDOW(widget), GTK_FILE_CHOOSER_ACTION_OPEN, _("Share Files"));
}

static void add_folder(GtkWidget *widget, const char *name, GVariant *parameter) {
        choose(SHARE_WINDOW(widget), GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER, _("Share a Folder"));
}

static void copy_address(GtkWidget *widget, const char *name, GVariant *parameter) {
        ShareWindow *self = SHARE_WINDOW(widget);

        gdk_clipboard_set_text(gtk_widget_get_clipboard(widget), self->url);
        show_toast(self, _("Address copied"));
}

static void open_received(GtkWidget *widget, const char *name, GVariant *parameter) {
        ShareWindow *self = SHARE_WINDOW(widget);
        g_autofree char *uri = g_file_get_uri(self->upload_folder);

        (void) g_file_make_directory_with_parents(self->upload_folder, NULL, NULL);
        gtk_show_uri(GTK_WINDOW(self), uri, GDK_CURRENT_TIME);
}

static void use_port_80(GtkWidget *widget, const char *name, GVariant *parameter) {
        ShareWindow *self = SHARE_WINDOW(widget);

        g_clear_error(&self->port_80_error);
        show_address(self);
        open_port(self, 80, TSS_LISTEN_FLAGS_INTERACTIVE);
}

static void stop_sharing(GtkWidget *widget, const char *name, GVariant *parameter) {
        ShareWindow *self = SHARE_WINDOW(widget);

        stop(self);
        show_state(self);
        show_toast(self, _("Nothing is shared any more"));
}

static void on_uploads_switched(ShareWindow *self, GParamSpec *spec, GtkSwitch *uploads_switch) {
        share_server_set_uploads(self->server, gtk_switch_get_active(uploads_switch));
}

/* Rows */

static GtkWidget *create_row(const char *title, const char *subtitle) {
        GtkWidget *row = adw_action_row_new();

        adw_preferences_row_set_use_markup(ADW_PREFERENCES_ROW(row), FALSE);
        adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), title);
        adw_action_row_set_subtitle(ADW_ACTION_ROW(row), subtitle);
        adw_action_row_set_title_lines(ADW_ACTION_ROW(row), 2);
        gtk_widget_set_tooltip_text(row, title);
        return row;
}

static void on_remove(GtkButton *button, ShareItem *item) {
        ShareWindow *self = SHARE_WINDOW(gtk_widget_get_root(GTK_WIDGET(button)));

        share_server_remove_item(self->server, item);
}

static GtkWidget *create_item_row(gpointer data, gpointer unused) {
        ShareItem *item = data;
        GtkWidget *row = create_row(share_item_get_name(item), share_item_get_detail(item));
        GtkWidget *button = gtk_button_new_from_icon_name("list-remove-symbolic");
        /* Translators: %s is the name of a file or folder. */
        g_autofree char *label = g_strdup_printf(_("Stop sharing %s"), share_item_get_name(item));

        gtk_widget_set_tooltip_text(button, label);
        gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_LABEL, label, -1);
        gtk_widget_set_valign(button, GTK_ALIGN_CENTER);
        gtk_widget_add_css_class(button, "flat");
        g_signal_connect_object(button, "clicked", G_CALLBACK(on_remove), item, 0);
        adw_action_row_add_prefix(ADW_ACTION_ROW(row), gtk_image_new_from_gicon(share_item_get_icon(item)));
        adw_action_row_add_suffix(ADW_ACTION_ROW(row), button);
        return row;
}

static void update_transfer_row(GtkWidget *row, ShareTransfer *transfer) {
        GtkWidget *bar = g_object_get_data(G_OBJECT(row), "bar");
        goffset size = share_transfer_get_size(transfer), done = share_transfer_get_done(transfer);
        ShareTransferState state = share_transfer_get_state(transfer);
        g_autofree char *done_text = g_format_size((guint64) done);
        g_autofree char *subtitle = NULL;
        const char *icon_name;

        if (state == SHARE_TRANSFER_FAILED)
                subtitle = g_strdup(_("Interrupted"));
        else if (share_transfer_get_is_upload(transfer))
                /* Translators: the first %s is a number of bytes, the second the address of a device. */
                subtitle = g_strdup_printf(_("%s from %s"), done_text, share_transfer_get_peer(transfer));
        else
                /* Translators: the first %s is a number of bytes, the second the address of a device. */
                subtitle = g_strdup_printf(_("%s to %s"), done_text, share_transfer_get_peer(transfer));

        adw_preferences_row_set_title(ADW_PREFERENCES_ROW(row), share_transfer_get_name(transfer));
        gtk_widget_set_tooltip_text(row, share_transfer_get_name(transfer));
        adw_action_row_set_subtitle(ADW_ACTION_ROW(row), subtitle);
        if (size > 0)
                gtk_progress_bar_set_fraction(GTK_PROGRESS_BAR(bar), (double) done / (double) size);
        else
                gtk_progress_bar_pulse(GTK_PROGRESS_BAR(bar));
        gtk_widget_set_visible(bar, state == SHARE_TRANSFER_ACTIVE);
        if (state == SHARE_TRANSFER_ACTIVE)
                icon_name = share_transfer_get_is_upload(transfer) ? "go-down-symbolic" : "go-up-symbolic";
        else
                icon_name = state == SHARE_TRANSFER_DONE ? "object-select-symbolic"
                                                         : "dialog-warning-symbolic";
        adw_action_row_set_icon_name(ADW_ACTION_ROW(row), icon_name);
}

static GtkWidget *create_transfer_row(gpointer data, gpointer unused) {
        ShareTransfer *transfer = data;
        GtkWidget *row = create_row("", "");
        GtkWidget *bar = gtk_progress_bar_new();

        gtk_widget_set_valign(bar, GTK_ALIGN_CENTER);
        gtk_widget_set_size_request(bar, 100, -1);
        gtk_accessible_update_property(GTK_ACCESSIBLE(bar), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                       share_transfer_get_name(transfer), -1);
        adw_action_row_add_suffix(ADW_ACTION_ROW(row), bar);
        g_object_set_data(G_OBJECT(row), "bar", bar);
        g_signal_connect_object(transfer, "changed", G_CALLBACK(update_transfer_row), row, G_CONNECT_SWAPPED);
        update_transfer_row(row, transfer);
        return row;
}

static void on_items_changed(GListModel *items,
                             guint position,
                             guint removed,
                             guint added,
                             ShareWindow *self) {
        /* The last item was removed with its button. */
        if (self->listener && g_list_model_get_n_items(items) == 0)
                gtk_widget_activate_action(GTK_WIDGET(self), "win.stop", NULL);
}

static void on_transfer_changed(ShareTransfer *transfer, ShareWindow *self) {
        GtkApplication *application = gtk_window_get_application(GTK_WINDOW(self));
        g_autofree char *text = NULL;

        if (!application || !share_transfer_get_is_upload(transfer) ||
            share_transfer_get_state(transfer) != SHARE_TRANSFER_DONE)
                return;

        /* Translators: %s is the name of a file. */
        text = g_strdup_printf(_("%s received"), share_transfer_get_name(transfer));
        show_toast_with_button(self, text, _("_Open Folder"), "win.open-received");
        if (!gtk_window_is_active(GTK_WINDOW(self))) {
                g_autoptr(GNotification) notification = g_notification_new(text);

                /* It replaces the last one. */
                g_application_send_notification(G_APPLICATION(application), "received", notification);
        }
}

static void on_transfers_changed(GListModel *transfers,
                                 guint position,
                                 guint removed,
                                 guint added,
                                 ShareWindow *self) {
        gtk_widget_set_visible(self->transfers_group, g_list_model_get_n_items(transfers) > 0);
        for (guint i = position; i < position + added; i++) {
                g_autoptr(ShareTransfer) transfer = g_list_model_get_item(transfers, i);

                g_signal_connect_object(transfer, "changed", G_CALLBACK(on_transfer_changed), self, 0);
        }
}

/* Object */

static void share_window_dispose(GObject *object) {
        ShareWindow *self = SHARE_WINDOW(object);

        if (self->server) {
                g_signal_handlers_disconnect_by_data(share_server_get_items(self->server), self);
                stop(self);
        }
        g_clear_object(&self->server);
        g_clear_object(&self->upload_folder);
        g_clear_object(&self->chooser);
        g_clear_object(&self->toast);
        G_OBJECT_CLASS(share_window_parent_class)->dispose(object);
}

static void share_window_class_init(ShareWindowClass *class) {
        GtkWidgetClass *widget_class = GTK_WIDGET_CLASS(class);

        G_OBJECT_CLASS(class)->dispose = share_window_dispose;

        gtk_widget_class_set_template_from_resource(widget_class,
                                                    "/org/example/TCPServerSocket/Share/share-window.ui");
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, stack);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, qr_code);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, address_label);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, items);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, transfers);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, transfers_group);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, add_button);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, choose_files_button);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, copy_button);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, note_label);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, port_button);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, uploads_row);
        gtk_widget_class_bind_template_child(widget_class, ShareWindow, toasts);
        gtk_widget_class_bind_template_callback(widget_class, on_uploads_switched);

        gtk_widget_class_install_action(widget_class, "win.add-files", NULL, add_files);
        gtk_widget_class_install_action(widget_class, "win.add-folder", NULL, add_folder);
        gtk_widget_class_install_action(widget_class, "win.copy-address", NULL, copy_address);
        gtk_widget_class_install_action(widget_class, "win.open-received", NULL, open_received);
        gtk_widget_class_install_action(widget_class, "win.use-port-80", NULL, use_port_80);
        gtk_widget_class_install_action(widget_class, "win.stop", NULL, stop_sharing);
}

static void share_window_init(ShareWindow *self) {
        GtkDropTarget *target = gtk_drop_target_new(GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);

        gtk_widget_init_template(GTK_WIDGET(self));
        g_signal_connect(target, "drop", G_CALLBACK(on_drop), self);
        gtk_widget_add_controller(GTK_WIDGET(self), GTK_EVENT_CONTROLLER(target));
}

/* "~/Downloads" */
static char *get_short_path(GFile *folder) {
        g_autoptr(GFile) home = g_file_new_for_path(g_get_home_dir());
        g_autofree char *relative = g_file_get_relative_path(home, folder);
        g_autofree char *name = relative ? g_filename_display_name(relative) : NULL;

        return name ? g_strconcat("~/", name, NULL) : g_file_get_parse_name(folder);
}

ShareWindow *share_window_new(GtkApplication *application, GFile *upload_folder) {
        ShareWindow *self = g_object_new(SHARE_TYPE_WINDOW, "application", application, NULL);
        g_autofree char *folder_name = get_short_path(upload_folder);
        GListModel *items, *transfers;

        self->upload_folder = g_object_ref(upload_folder);
        self->server = share_server_new(upload_folder);
        items = share_server_get_items(self->server);
        transfers = share_server_get_transfers(self->server);
        gtk_list_box_bind_model(self->items, items, create_item_row, NULL, NULL);
        gtk_list_box_bind_model(self->transfers, transfers, create_transfer_row, NULL, NULL);
        g_signal_connect_object(items, "items-changed", G_CALLBACK(on_items_changed), self, 0);
        g_signal_connect_object(transfers, "items-changed", G_CALLBACK(on_transfers_changed), self, 0);
        g_signal_connect_object(g_network_monitor_get_default(), "network-changed",
                                G_CALLBACK(on_network_changed), self, 0);
        adw_action_row_set_subtitle(self->uploads_row, folder_name);
        show_state(self);
        return self;
}
