/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions that are not answered in time. The test plays polkit at the other end of a socket, and ends the
 * waits itself. */

#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "daemon/bus/polkit.h"
#include "register.h"

#define ASKS_A_PERSON UINT32_C(1)

/* The last one. */
static sd_event_source *timer;

__typeof__(sd_event_add_time_relative) __real_sd_event_add_time_relative, __wrap_sd_event_add_time_relative;

int __wrap_sd_event_add_time_relative(sd_event *event,
                                      sd_event_source **ret,
                                      clockid_t clock,
                                      uint64_t usec,
                                      uint64_t accuracy,
                                      sd_event_time_handler_t handler,
                                      void *userdata) {
        int r = __real_sd_event_add_time_relative(event, ret, clock, usec, accuracy, handler, userdata);
        timer = *ret;
        return r;
}

typedef struct Fixture {
        sd_event *event;
        sd_bus *service, *authority;
        bool hangs;
        unsigned n_checks, n_dialogs;
        Polkit *polkit;
        PolkitQuestion question;
} Fixture;

typedef struct Question {
        PolkitQuery *query;
        sd_event_source *timer;
        bool is_answered;
        PolkitAnswer answer;
} Question;

static int on_question(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fixture *f = userdata;
        uint32_t flags;

        if (sd_bus_message_is_method_call(m, NULL, "CheckAuthorization") <= 0)
                return 0;
        must(sd_bus_message_skip(m, "(sa{sv})sa{ss}"));
        must(sd_bus_message_read(m, "u", &flags));
        if (flags & ASKS_A_PERSON) {
                f->n_dialogs++;
                return 1;
        }

        f->n_checks++;
        return f->hangs ? 1 : sd_bus_reply_method_return(m, "(bba{ss})", false, true, 0);
}

static sd_bus *new_bus(Fixture *f, int fd, bool is_server) {
        sd_bus *bus;

        must(sd_bus_new(&bus));
        must(sd_bus_set_fd(bus, fd, fd));
        if (is_server)
                must(sd_bus_set_server(bus, true,
                                       SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 0)));
        must(sd_bus_start(bus));
        must(sd_bus_attach_event(bus, f->event, SD_EVENT_PRIORITY_NORMAL));
        return bus;
}

static void fixture_set_up(Fixture *f, const void *data) {
        int fds[2];

        must(sd_event_new(&f->event));
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
        f->authority = new_bus(f, fds[0], true);
        f->service = new_bus(f, fds[1], false);
        must(sd_bus_add_filter(f->authority, NULL, on_question, f));
        g_assert_cmpint(polkit_new(f->service, &f->polkit), ==, 0);
        f->question.action = "org.example.TCPServerSocket.listen";
}

static void fixture_tear_down(Fixture *f, const void *data) {
        (void) polkit_free(f->polkit);
        sd_bus_close_unref(f->service);
        sd_bus_close_unref(f->authority);
        sd_event_unref(f->event);
}

#define TEST(sentence) TEST_OF(sentence, Fixture, f, fixture_set_up, fixture_tear_down, NULL)

static void on_answer(PolkitAnswer answer, void *userdata) {
        Question *q = userdata;

        q->is_answered = true;
        q->answer = answer;
        q->query = polkit_query_free(q->query);
}

static void ask(Fixture *f, Question *q) {
        g_assert_cmpint(polkit_ask(f->polkit, ":1.42", 1000, &f->question, on_answer, q, &q->query), ==, 0);
        q->timer = timer;
}

static void run_until(Fixture *f, const unsigned *counter, unsigned n) {
        while (*counter < n)
                must(sd_event_run(f->event, UINT64_MAX));
}

static void assert_late(Fixture *f, Question *q, PolkitAnswer answer) {
        g_assert_false(q->is_answered);
        must(sd_event_source_set_time(q->timer, 0));
        while (!q->is_answered)
                must(sd_event_run(f->event, UINT64_MAX));
        g_assert_cmpint(q->answer, ==, answer);
}

TEST("a polkit that hangs is unavailable") {
        Question q = {}, interactive = {}, waits = {};

        f->hangs = true;
        ask(f, &q);
        f->question.may_ask = true;
        ask(f, &interactive);
        ask(f, &waits);
        run_until(f, &f->n_checks, 2);

        assert_late(f, &waits, POLKIT_UNAVAILABLE);
        assert_late(f, &q, POLKIT_UNAVAILABLE);
        assert_late(f, &interactive, POLKIT_UNAVAILABLE);
        g_assert_cmpuint(f->n_dialogs, ==, 0);
}

TEST("a person who was asked did not answer") {
        Question q = {};

        f->question.may_ask = true;
        ask(f, &q);
        run_until(f, &f->n_dialogs, 1);
        assert_late(f, &q, POLKIT_TIMED_OUT);
}

TEST("a question behind another one was not asked") {
        Question first = {}, second = {}, third = {};

        f->question.may_ask = true;
        ask(f, &first);
        run_until(f, &f->n_dialogs, 1);
        ask(f, &second);
        ask(f, &third);
        run_until(f, &f->n_checks, 3);
        while (sd_event_run(f->event, 0) > 0) {}

        assert_late(f, &second, POLKIT_BUSY);
        assert_late(f, &first, POLKIT_TIMED_OUT);
        assert_late(f, &third, POLKIT_BUSY); /* the dialog of the first one is still open */
        g_assert_cmpuint(f->n_dialogs, ==, 1);
}
