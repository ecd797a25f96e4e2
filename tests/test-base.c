/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <locale.h>

#include "base/episode.h"
#include "base/parse.h"
#include "base/socket.h"
#include "base/text.h"
#include "daemon/listener/listener-accept.h"
#include "daemon/listener/listener.h"
#include "register.h"

TEST_ALONE("text knows printable text") {
        g_assert_true(text_is_printable(""));
        g_assert_true(text_is_printable("my server, №1 — ok"));
        g_assert_true(text_is_printable("日本語 🦊"));
        g_assert_true(text_is_printable("\xf4\x8f\xbf\xbd")); /* U+10FFFD */
        /* Accents as separate characters, and a syllable with two vowel signs. */
        g_assert_true(text_is_printable("Vie\u0323\u0302t Nam, \u0e01\u0e35\u0e48"));
        g_assert_true(text_is_printable("a\u0300\u0301\u0302\u0303b\u0300\u0301\u0302\u0303"));
}

TEST_ALONE("text refuses control characters and invalid UTF-8") {
        static const char *const texts[] = {
                "a\nb",
                "\x1b[31m",
                "\x7f",
                "\xc2\x85" /* C1 */,
                "\xe2\x80\xae" /* right-to-left override */,
                "\xe2\x80\xa8" /* line separator */,
                "\xe2\x81\xa6" /* isolate */,
                "\xe2\x80\x8f" /* mark */,
                "\xff",
                "\xc3",
                "\xc0\x80" /* overlong */,
                "\xe0\x80\xaf",
                "\xed\xa0\x80" /* surrogate */,
                "\xf4\x90\x80\x80" /* beyond Unicode */,
                "\xef\xbf\xbf" /* noncharacter */,
                "a\xe2\x82",
                "we\u00adb" /* soft hyphen */,
                "we\u200bb" /* space without width */,
                "web\u2060" /* word joiner */,
                "\u3164" /* Hangul filler */,
                "web\ufe0f" /* variation selector */,
                "\ufeffweb" /* byte order mark */,
                "web\U000e0077" /* tag */,
                "a\u0300\u0301\u0302\u0303\u0304" /* more marks than text needs */,
                "\u0e01\u0e47\u0e47\u0e47\u0e47\u0e47" /* the same in Thai */,
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_test_message("text %zu", i);
                g_assert_false(text_is_printable(texts[i]));
        }
}

static void assert_escaped(const char *locale, const char *text, TextEscape escape, const char *expected) {
        locale_t l = newlocale(LC_ALL_MASK, locale, NULL), before;

        g_test_message("%s: %s", locale, text);
        g_assert_true(l != NULL);
        before = uselocale(l);
        g_autofree char *escaped = text_escape(text, escape);
        (void) uselocale(before);
        freelocale(l);
        g_assert_cmpstr(escaped, ==, expected);
}

TEST_ALONE("text escapes what the codeset of the terminal does not have") {
        assert_escaped("C.UTF-8", "f\u00fcr \u65e5", TEXT_ESCAPE_BYTES, "f\u00fcr \u65e5");
        assert_escaped("C", "f\u00fcr \u65e5", TEXT_ESCAPE_BYTES, "f\\xc3\\xbcr \\xe6\\x97\\xa5");
        assert_escaped("C.UTF-8", "f\u00fcr \U0001f98a", TEXT_ESCAPE_JSON, "f\u00fcr \U0001f98a");
        assert_escaped("C", "f\u00fcr \U0001f98a", TEXT_ESCAPE_JSON, "f\\u00fcr \\ud83e\\udd8a");
        /* The second byte of U+011B is CSI in a codeset of eight bits. */
        assert_escaped("C", "\u011b", TEXT_ESCAPE_BYTES, "\\xc4\\x9b");
        /* An unassigned character. */
        assert_escaped("C.UTF-8", "\u0378", TEXT_ESCAPE_BYTES, "\\xcd\\xb8");
}

TEST_ALONE("text escapes invisible characters and long runs of marks") {
        assert_escaped("C.UTF-8", "a\u200bb", TEXT_ESCAPE_BYTES, "a\\xe2\\x80\\x8bb");
        assert_escaped("C.UTF-8", "a\u200bb", TEXT_ESCAPE_JSON, "a\\u200bb");
        assert_escaped("C.UTF-8", "a\u0300\u0300\u0300\u0300\u0300\u0300b", TEXT_ESCAPE_BYTES,
                       "a\u0300\u0300\u0300\u0300\\xcc\\x80\\xcc\\x80b");
}

#define NS_PER_S UINT64_C(1000000000)

static void assert_pace(uint32_t rate, uint64_t at_most) {
        uint64_t now = 12345 * NS_PER_S, end = now + NS_PER_S;
        uint64_t n = 0;
        Pacer pacer;

        pacer_init(&pacer, rate);

        while (now < end) {
                pacer_count(&pacer, now);
                n++;
                now = MAX(now, pacer_get_next(&pacer));
        }

        g_assert_cmpint(n, >=, rate);
        g_assert_cmpint(n, <=, at_most);
}

TEST_ALONE("pacer keeps the rate in any second") {
        assert_pace(1, 2);
        assert_pace(10, 11);
        assert_pace(1000, 1011);
        assert_pace(100000, 101001);
}

TEST_ALONE("pacer does not accumulate unused time") {
        Pacer pacer;

        pacer_init(&pacer, 10);
        pacer_count(&pacer, 1 * NS_PER_S);
        /* After a minute without an event, the second one still has to wait. */
        pacer_count(&pacer, 61 * NS_PER_S);
        g_assert_cmpint(pacer_get_next(&pacer), >, 61 * NS_PER_S + NS_PER_S / 20);
}

TEST_ALONE("socket classifies errors of accept()") {
        g_assert_cmpint(socket_classify_accept_error(EAGAIN), ==, ACCEPT_AGAIN);
        g_assert_cmpint(socket_classify_accept_error(ECONNABORTED), ==, ACCEPT_SKIP);
        g_assert_cmpint(socket_classify_accept_error(EPROTO), ==, ACCEPT_SKIP);
        g_assert_cmpint(socket_classify_accept_error(EMFILE), ==, ACCEPT_EXHAUSTED);
        g_assert_cmpint(socket_classify_accept_error(ENFILE), ==, ACCEPT_EXHAUSTED);
        g_assert_cmpint(socket_classify_accept_error(ENOBUFS), ==, ACCEPT_EXHAUSTED);
        g_assert_cmpint(socket_classify_accept_error(ENOMEM), ==, ACCEPT_EXHAUSTED);
        g_assert_cmpint(socket_classify_accept_error(EINVAL), ==, ACCEPT_BROKEN);
        g_assert_cmpint(socket_classify_accept_error(EBADF), ==, ACCEPT_BROKEN);
}

TEST_ALONE("episode ends when there was no failure for a while") {
        Episode episode = {};

        g_assert_true(episode_add_failure(&episode, 1000, 10));
        g_assert_false(episode_add_failure(&episode, 1009, 10));
        g_assert_false(episode_add_failure(&episode, 1018, 10));
        g_assert_true(episode_add_failure(&episode, 1028, 10));
}

TEST_ALONE("parse reads booleans") {
        static const char *const yes[] = { "1", "yes", "Yes", "y", "true", "T", "ON" };
        static const char *const no[] = { "0", "no", "N", "false", "F", "off" };
        static const char *const neither[] = { "", "2", "yess", " yes", "enable" };
        bool value;

        for (size_t i = 0; i < G_N_ELEMENTS(yes); i++) {
                value = false;
                g_assert_cmpint(parse_boolean(yes[i], &value), ==, 0);
                g_assert_true(value);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(no); i++) {
                value = true;
                g_assert_cmpint(parse_boolean(no[i], &value), ==, 0);
                g_assert_false(value);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(neither); i++)
                g_assert_cmpint(parse_boolean(neither[i], &value), ==, -EINVAL);
}

TEST_ALONE("parse reads time spans") {
        static const struct {
                const char *text;
                uint64_t usec;
        } right[] = {
                { "0", 0 },
                { "30", 30000000 },
                { "30s", 30000000 },
                { "30 sec", 30000000 },
                { " 5min ", 300000000 },
                { "5m 20", 320000000 },
                { "1h1min1s", 3661000000 },
                { "1.5h", 5400000000 },
                { "0.25", 250000 },
                { "2.5us", 2 },
                { "250ms", 250000 },
                { "7\xc2\xb5s", 7 },
                { "1d", UINT64_C(86400000000) },
                { "1w", UINT64_C(604800000000) },
                { "1M", UINT64_C(2629800000000) },
                { "1y", UINT64_C(31557600000000) },
                { "18446744073709551614us", UINT64_MAX - 1 },
                { "infinity", UINT64_MAX },
        };
        static const char *const wrong[] = { "",
                                             " ",
                                             "s",
                                             "-1",
                                             "1.",
                                             ".5",
                                             "1..5",
                                             "1,5",
                                             "5 minuten",
                                             "1e3",
                                             "infinite",
                                             "infinity 1",
                                             "5s!",
                                             "18446744073709551615us",
                                             "18446744073709551616",
                                             "584543y",
                                             "18446744073709551614us 1us" };
        uint64_t usec;

        for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
                g_test_message("%s", right[i].text);
                g_assert_cmpint(parse_time_span(right[i].text, &usec), ==, 0);
                g_assert_cmpuint(usec, ==, right[i].usec);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_test_message("%s", wrong[i]);
                usec = 42;
                g_assert_cmpint(parse_time_span(wrong[i], &usec), <, 0);
                g_assert_cmpuint(usec, ==, 42);
        }
}
