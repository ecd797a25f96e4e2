/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>

#include "base/macros.h"
#include "config-root.h"

void config_root_set_up(ConfigRoot *f, const void *data) {
        f->root = g_dir_make_tmp("test-config-XXXXXX", NULL);
        g_assert_nonnull(f->root);
}

static void remove_tree(const char *path) {
        GDir *dir;
        const char *name;

        if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK) && (dir = g_dir_open(path, 0, NULL))) {
                while ((name = g_dir_read_name(dir))) {
                        g_autofree char *inner = g_build_filename(path, name, NULL);

                        remove_tree(inner);
                }
                g_dir_close(dir);
        }
        g_assert_cmpint(g_remove(path), ==, 0);
}

void config_root_tear_down(ConfigRoot *f, const void *data) {
        remove_tree(f->root);
        g_free(f->root);
        g_free(f->log);
        f->settings = settings_free(f->settings);
}

char *config_root_make_path(ConfigRoot *f, const char *name) {
        g_autofree char *directory = NULL;
        char *path;

        path = g_build_filename(f->root, name, NULL);
        directory = g_path_get_dirname(path);
        g_assert_cmpint(g_mkdir_with_parents(directory, 0755), ==, 0);
        return path;
}

void config_root_write_file(ConfigRoot *f, const char *name, const char *text, gssize length) {
        g_autofree char *path = config_root_make_path(f, name);

        g_assert_true(g_file_set_contents(path, text, length, NULL));
}

void config_root_write_settings(ConfigRoot *f, const char *name, const char *text) {
        g_autofree char *all = g_strdup_printf("[TCPServerSocket]\n%s", text);

        config_root_write_file(f, name, all, -1);
}

static char *leave_out(const char *text, const char *part) {
        g_auto(GStrv) parts = g_strsplit(text, part, 0);

        return g_strjoinv("", parts);
}

void config_root_load(ConfigRoot *f) {
        int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        g_autofree char *log = NULL;
        FILE *file = tmpfile();
        gsize length;

        g_assert_nonnull(file);
        g_assert_cmpint(copy, >=, 0);
        g_assert_cmpint(dup2(fileno(file), STDERR_FILENO), ==, STDERR_FILENO);
        f->settings = settings_free(f->settings);
        f->incomplete = settings_load(f->root, &f->settings);
        g_assert_cmpint(f->incomplete, >=, 0);
        g_assert_cmpint(dup2(copy, STDERR_FILENO), ==, STDERR_FILENO);
        close(copy);

        g_assert_cmpint(fseek(file, 0, SEEK_END), ==, 0);
        length = (gsize) ftell(file);
        rewind(file);
        log = g_malloc0(length + 1);
        g_assert_cmpint(fread(log, 1, length, file), ==, length);
        fclose(file);

        g_free(f->log);
        f->log = leave_out(log, f->root);
}

void config_root_assert_defaults(ConfigRoot *f) {
        Settings *s = f->settings;

        g_assert_cmpint(s->limits.listeners, ==, 16384);
        g_assert_cmpint(s->limits.listeners_per_user, ==, 1024);
        g_assert_cmpint(s->limits.channels, ==, 512);
        g_assert_cmpint(s->limits.channels_per_user, ==, 64);
        g_assert_cmpint(s->limits.pending_requests_per_user, ==, 64);
        g_assert_cmpint(s->limits.unacknowledged, ==, 56);
        g_assert_cmpint(s->limits.unacknowledged_per_client, ==, 20);
        g_assert_cmpint(s->idle_timeout_usec, ==, 30 * G_USEC_PER_SEC);
        g_assert_true(s->allow_socket_delivery);
        g_assert_null(s->allowed_ports);
        g_assert_null(s->allowed_addresses);
        g_assert_cmpint(s->n_prefixes, ==, 0);
        g_assert_true(settings_allow_port(s, 0));
        g_assert_true(settings_allow_port(s, 1));
        g_assert_true(settings_allow_port(s, 65535));
}
