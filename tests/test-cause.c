/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <libintl.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "config.h"
#include "ctl/cause.h"

static void assert_known(const char *message) {
        g_autofree char *text = cause_translate(message);

        /* In English, it stays what it was. */
        g_assert_cmpstr(text, ==, message);
}

static void assert_unknown(const char *message) {
        g_assert_null(cause_translate(message));
}

static void test_keeps_the_values(void) {
        assert_known("Port 80 of :: is in use");
        assert_known("Cannot listen on port 80 of 192.0.2.1: No such device");
        assert_known("The service is shutting down");
        assert_known("User 1000 is not authorized for org.example.TCPServerSocket.listen-privileged");
        assert_known("The user has as many listeners as it may; the limit MaxListenersPerUser is 1024");
        assert_known("Option localAddress is link-local and needs its interface, as in fe80::1%eth0");
        assert_known("Option paused contradicts option delivery, \"socket\"");
        /* Values may look like what is around them. */
        assert_known("Port 80 of :: of :: is in use is in use");
        assert_known("There is no listener %s%n");
}

static void test_knows_what_it_knows(void) {
        g_autofree char *endless = g_strnfill(1 << 20, 'x');
        g_autofree char *listener = g_strconcat("There is no listener ", endless, NULL);

        assert_unknown("");
        assert_unknown("There is no listener ");
        assert_unknown("Port 80 of :: is in use by somebody");
        assert_unknown("The service is shutting down now");
        assert_unknown("%s");
        assert_unknown(listener);
}

/* A language that says it the other way round. */
static void test_keeps_the_values_in_their_places(void) {
        static const char catalogue[] =
                        "msgid \"\"\nmsgstr \"Content-Type: text/plain; charset=UTF-8\\n\"\n"
                        "#, c-format\nmsgid \"Port %s of %s is in use\"\nmsgstr \"100%% in use: %2$s, %1$s\"\n";
        g_autofree char *root = g_dir_make_tmp(NULL, NULL),
                        *directory = g_build_filename(root, "xx", "LC_MESSAGES", NULL),
                        *source = g_build_filename(root, "xx.po", NULL),
                        *compiled = g_build_filename(directory, GETTEXT_PACKAGE ".mo", NULL), *text = NULL;
        const char *const argv[] = { "msgfmt", "-o", compiled, source, NULL };
        int status;

        g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
        g_assert_true(g_file_set_contents(source, catalogue, -1, NULL));
        if (!setlocale(LC_ALL, "C.UTF-8") || !g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH,
                                                           NULL, NULL, NULL, NULL, &status, NULL)) {
                g_test_skip("needs the locale C.UTF-8, and msgfmt");
                return;
        }
        g_assert_cmpint(status, ==, 0);

        (void) g_setenv("LANGUAGE", "xx", true);
        (void) bindtextdomain(GETTEXT_PACKAGE, root);
        (void) textdomain(GETTEXT_PACKAGE);
        text = cause_translate("Port 80 of :: is in use");
        g_assert_cmpstr(text, ==, "100% in use: ::, 80");

        (void) unlink(compiled);
        (void) unlink(source);
        (void) rmdir(directory);
        *strrchr(directory, '/') = '\0';
        (void) rmdir(directory);
        (void) rmdir(root);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/cause/keeps the values", test_keeps_the_values);
        g_test_add_func("/cause/keeps the values in their places", test_keeps_the_values_in_their_places);
        g_test_add_func("/cause/knows what it knows, and nothing else", test_knows_what_it_knows);
        return g_test_run();
}
