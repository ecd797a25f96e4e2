/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <glib.h>

#include "base/episode.h"
#include "base/socket.h"
#include "base/text.h"
#include "daemon/listener/listener-accept.h"
#include "daemon/listener/listener.h"

static void test_text(void) {
        g_assert_true(text_is_printable(""));
        g_assert_true(text_is_printable("my server, №1 — ok"));
        g_assert_true(text_is_printable("日本語 🦊"));
        g_assert_true(text_is_printable("\xf4\x8f\xbf\xbd")); /* U+10FFFD */
}

static void test_text_refuses(void) {
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
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_test_message("text %zu", i);
                g_assert_false(text_is_printable(texts[i]));
        }
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

static void test_pacer(void) {
        assert_pace(1, 2);
        assert_pace(10, 11);
        assert_pace(1000, 1011);
        assert_pace(100000, 101001);
}

static void test_pacer_does_not_accumulate(void) {
        Pacer pacer;

        pacer_init(&pacer, 10);
        pacer_count(&pacer, 1 * NS_PER_S);
        /* After a minute without an event, the second one still has to wait. */
        pacer_count(&pacer, 61 * NS_PER_S);
        g_assert_cmpint(pacer_get_next(&pacer), >, 61 * NS_PER_S + NS_PER_S / 20);
}

static void test_accept_errors(void) {
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

static void test_an_episode_ends_when_it_is_quiet(void) {
        Episode episode = {};

        g_assert_true(episode_add_failure(&episode, 1000, 10));
        g_assert_false(episode_add_failure(&episode, 1009, 10));
        g_assert_false(episode_add_failure(&episode, 1018, 10));
        g_assert_true(episode_add_failure(&episode, 1028, 10));
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/text/knows printable text", test_text);
        g_test_add_func("/text/refuses control characters and invalid UTF-8", test_text_refuses);
        g_test_add_func("/pacer/keeps the rate in any second", test_pacer);
        g_test_add_func("/pacer/does not accumulate unused time", test_pacer_does_not_accumulate);
        g_test_add_func("/episode/ends when there was no failure for a while",
                        test_an_episode_ends_when_it_is_quiet);
        g_test_add_func("/socket/classifies errors of accept()", test_accept_errors);

        return g_test_run();
}
