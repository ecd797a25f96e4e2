/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib-unix.h>
#include <glib/gi18n.h>

#include "share-application.h"
#include "share-window.h"

/* Without a folder for downloads, xdg-user-dirs names the home directory. As browsers do, the first file that
 * is received creates a folder in it. */
static GFile *get_upload_folder(void) {
        g_autoptr(GFile) home = g_file_new_for_path(g_get_home_dir());
        const char *path = g_get_user_special_dir(G_USER_DIRECTORY_DOWNLOAD);
        g_autoptr(GFile) folder = path ? g_file_new_for_path(path) : g_object_ref(home);

        return g_file_equal(folder, home) ? g_file_get_child(home, _("Downloads")) : g_steal_pointer(&folder);
}

static GtkWindow *get_window(GtkApplication *application) {
        GtkWindow *window = gtk_application_get_active_window(application);
        g_autoptr(GFile) folder = window ? NULL : get_upload_folder();

        return window ?: GTK_WINDOW(share_window_new(application, folder));
}

static void on_activate(GtkApplication *application) {
        gtk_window_present(get_window(application));
}

static void on_open(GtkApplication *application, GFile **files, int n_files, const char *hint) {
        GtkWindow *window = get_window(application);

        for (int i = 0; i < n_files; i++)
                share_window_add_file(SHARE_WINDOW(window), files[i]);
        gtk_window_present(window);
}

static void show_about(GSimpleAction *action, GVariant *parameter, gpointer application) {
        adw_show_about_window(gtk_application_get_active_window(application), "application-name", _("Share"),
                              "application-icon", SHARE_ID, "developer-name", "TCPServerSocket", "version",
                              SHARE_VERSION, "license-type", GTK_LICENSE_LGPL_2_1,
                              /* Translators: your name, and your address if you like. */
                              "translator-credits", _("translator-credits"), NULL);
}

static void quit(GSimpleAction *action, GVariant *parameter, gpointer application) {
        GtkWindow *window = gtk_application_get_active_window(application);

        /* The window ends the sharing. */
        if (window)
                gtk_window_close(window);
        else
                g_application_quit(application);
}

/* Deletes files that are not complete. */
static gboolean on_signal(gpointer application) {
        g_action_group_activate_action(application, "quit", NULL);
        return G_SOURCE_REMOVE;
}

static void on_startup(GtkApplication *application) {
        static const GActionEntry actions[] = {
                { .name = "about", .activate = show_about },
                { .name = "quit", .activate = quit },
        };
        static const struct {
                const char *action;
                const char *keys[2];
        } keys[] = {
                { "win.add-files", { "<Control>o" } },
                { "win.add-folder", { "<Control><Shift>o" } },
                { "win.copy-address", { "<Control><Shift>c" } },
                { "win.stop", { "<Control>e" } },
                { "window.close", { "<Control>w" } },
                { "app.quit", { "<Control>q" } },
        };

        g_action_map_add_action_entries(G_ACTION_MAP(application), actions, G_N_ELEMENTS(actions),
                                        application);
        for (gsize i = 0; i < G_N_ELEMENTS(keys); i++)
                gtk_application_set_accels_for_action(application, keys[i].action, keys[i].keys);
        g_unix_signal_add(SIGTERM, on_signal, application);
        g_unix_signal_add(SIGINT, on_signal, application);
}

GtkApplication *share_application_new(void) {
        AdwApplication *application = adw_application_new(SHARE_ID, G_APPLICATION_HANDLES_OPEN);

        g_signal_connect(application, "startup", G_CALLBACK(on_startup), NULL);
        g_signal_connect(application, "activate", G_CALLBACK(on_activate), NULL);
        g_signal_connect(application, "open", G_CALLBACK(on_open), NULL);
        return GTK_APPLICATION(application);
}
