/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <libintl.h>
#include <locale.h>
#include <systemd/sd-bus.h>

#include "base/error.h"
#include "base/macros.h"
#include "ctl/service/client.h"
#include "register.h"

__typeof__(gettext) __wrap_gettext;
__typeof__(dcgettext) __wrap_dcgettext;
__typeof__(strerror) __real_strerror, __wrap_strerror;

/* The catalogue of this test. It needs no locale: the C library does not translate for C.UTF-8, and no other
 * locale is on every machine. */
static bool is_translated;

/* With optimization, <libintl.h> makes this of gettext(). */
char *__wrap_dcgettext(const char *domain, const char *text, int category) {
        if (is_translated && streq(text, "Port %s of %s is in use"))
                return (char *) "100%% in use: %2$s, %1$s";
        if (is_translated && streq(text, "Connection from %s port %s lost: %s"))
                return (char *) "%3$s: %1$s/%2$s";

        return (char *) text;
}

char *__wrap_strerror(int error) {
        return is_translated && error == ENODEV ? (char *) "Kein passendes Gerät" : __real_strerror(error);
}

char *__wrap_gettext(const char *text) {
        return __wrap_dcgettext(NULL, text, LC_MESSAGES);
}

static void assert_shows(const char *message, const char *expected) {
        g_autofree char *text = client_translate_error(message);

        g_assert_cmpstr(text, ==, expected);
}

TEST_ALONE("translates by the identity") {
        is_translated = true;
        /* Only the identity counts. */
        assert_shows("Other wording [port-in-use port=80 address=::]", "100% in use: ::, 80");
        assert_shows("[port-in-use port=%25s address=a%20b%5d]", "100% in use: a b], %s");
        assert_shows("x [connection-lost address=::1 port=80 reason=No%20such%20device]",
                     "Kein passendes Gerät: ::1/80");
        assert_shows("x [connection-lost address=::1 port=80 reason=Unknown%20error]",
                     "Unknown error: ::1/80");
        is_translated = false;
        assert_shows("x [shutting-down]", "The service is shutting down");
}

TEST_ALONE("shows anything else as it came") {
        static const char *const messages[] = { "",
                                                "[",
                                                "]",
                                                "[]",
                                                "x []",
                                                "x [no-such-error]",
                                                "x [shutting-down",
                                                "x [shutting-down ]",
                                                "x [shutting-down a=b]",
                                                "x [shutting-down] ",
                                                "x [shutting]",
                                                "x [shutting-down-now]",
                                                "Port 80 of :: is in use",
                                                "x [port-in-use]",
                                                "x [port-in-use port=80]",
                                                "x [port-in-use port=80 ]",
                                                "x [port-in-use address=:: port=80]",
                                                "x [port-in-use port=80 address=:: more=1]",
                                                "x [port-in-use port=80  address=::]",
                                                "x [port-in-use port=80 address=%]",
                                                "x [port-in-use port=80 address=%2]",
                                                "x [port-in-use port=80 address=%zz]" };
        g_autofree char *endless = g_strnfill(1 << 20, '[');

        for (size_t i = 0; i < ELEMENTS(messages); i++)
                assert_shows(messages[i], messages[i]);
        assert_shows(endless, endless);
}

/* Counts the "%s" of a text. */
static unsigned count_values(const char *text) {
        unsigned n = 0;

        for (; (text = strchr(text, '%')); text += 2) {
                g_assert_true(text[1] == 's' || text[1] == '%');
                n += text[1] == 's';
        }

        return n;
}

TEST_ALONE("every error is complete") {
        for (ErrorId id = 0; id < _ERROR_ID_MAX; id++) {
                const ErrorInfo *info = error_get_info(id);
                unsigned n = 0;

                g_assert_nonnull(info->identifier);
                g_assert_nonnull(info->text);
                for (ErrorId other = 0; other < id; other++)
                        g_assert_cmpstr(error_get_info(other)->identifier, !=, info->identifier);
                g_assert_cmpuint(strspn(info->identifier, "abcdefghijklmnopqrstuvwxyz0123456789-"), ==,
                                 strlen(info->identifier));
                if (info->name && *info->name)
                        g_assert_true(sd_bus_interface_name_is_valid(info->name));

                while (n < ERROR_VALUES_MAX && info->values[n].type) {
                        g_assert_nonnull(strchr("siut", info->values[n].type));
                        g_assert_nonnull(info->values[n].key);
                        n++;
                }
                g_assert_cmpuint(count_values(info->text), ==, n);
                if (!info->name)
                        g_assert_cmpstr(info->values[n - 1].key, ==, "reason");
        }
}

static void assert_message(const Error *e, const char *expected) {
        _cleanup_(error_done) Error again = {};
        g_autofree char *message = error_to_message(e);

        g_assert_cmpstr(message, ==, expected);
        g_assert_cmpint(error_from_message(message, &again), ==, 0);
        g_assert_true(again.info == e->info);
        for (size_t i = 0; i < ERROR_VALUES_MAX; i++)
                g_assert_cmpstr(again.values[i], ==, e->values[i]);
}

TEST_ALONE("writes what it reads") {
        _cleanup_(error_done) Error e = {};

        g_assert_cmpint(error_set(&e, ERROR_PORT_IN_USE, 65535U, "::1"), ==, -EINVAL);
        assert_message(&e, "Port 65535 of ::1 is in use [port-in-use port=65535 address=::1]");

        /* It replaces the one before. */
        g_assert_cmpint(error_set(&e, ERROR_UNKNOWN_OPTION, "a [b%] \u00e4\x7f="), ==, -EINVAL);
        assert_message(&e, "There is no option a [b%] \u00e4\x7f= "
                           "[unknown-option option=a%20%5bb%25%5d%20\u00e4%7f=]");

        g_assert_cmpint(error_set(&e, ERROR_NO_SUCH_SERIAL, UINT64_MAX), ==, -EINVAL);
        g_assert_cmpstr(e.values[0], ==, "18446744073709551615");
        g_assert_cmpint(error_set(&e, ERROR_PORT_OUT_OF_RANGE, -2), ==, -EINVAL);
        g_assert_cmpstr(e.values[0], ==, "-2");

        g_assert_cmpint(error_set_errno(&e, -EMFILE, ERROR_LISTEN_FAILED, 80U, "::1"), ==, -EMFILE);
        g_assert_cmpint(e.error, ==, -EMFILE);
        assert_message(&e, "Cannot listen on port 80 of ::1: Too many open files "
                           "[listen-failed port=80 address=::1 reason=Too%20many%20open%20files]");
}
