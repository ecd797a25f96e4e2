/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <libintl.h>
#include <locale.h>

#include "base/macros.h"
#include "ctl/service/error-text.h"

__typeof__(gettext) __wrap_gettext;
__typeof__(dcgettext) __wrap_dcgettext;

/* The catalogue of this test. It needs no locale: the C library does not translate for C.UTF-8, and no other
 * locale is on every machine. */
static bool is_translated;

/* With optimization, <libintl.h> makes this of gettext(). */
char *__wrap_dcgettext(const char *domain, const char *text, int category) {
        return (char *) (is_translated && streq(text, "Port %s of %s is in use") ? "100%% in use: %2$s, %1$s"
                                                                                 : text);
}

char *__wrap_gettext(const char *text) {
        return __wrap_dcgettext(NULL, text, LC_MESSAGES);
}

static void assert_known(const char *message) {
        g_autofree char *text = error_text_translate(message);

        /* In English, it stays what it was. */
        g_assert_cmpstr(text, ==, message);
}

static void assert_unknown(const char *message) {
        g_assert_null(error_text_translate(message));
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
        g_autofree char *text = NULL;

        is_translated = true;
        text = error_text_translate("Port 80 of :: is in use");
        is_translated = false;
        g_assert_cmpstr(text, ==, "100% in use: ::, 80");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/error-text/keeps the values", test_keeps_the_values);
        g_test_add_func("/error-text/keeps the values in their places",
                        test_keeps_the_values_in_their_places);
        g_test_add_func("/error-text/knows what it knows, and nothing else", test_knows_what_it_knows);
        return g_test_run();
}
