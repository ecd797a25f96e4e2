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

/* The last one of a question, and the one that ends dialogs. */
static sd_event_source *timer, *turn;

__typeof__(sd_event_add_time_relative) __real_sd_event_add_time_relative, __wrap_sd_event_add_time_relative;
__typeof__(sd_event_add_time) __real_sd_event_add_time, __wrap_sd_event_add_time;
__typeof__(clock_gettime) __real_clock_gettime, __wrap_clock_gettime;

/* How much later it is for the service. */
static time_t elapsed_sec;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        int r = __real_clock_gettime(clock, ret);

        ret->tv_sec += elapsed_sec;
        return r;
}

int __wrap_sd_event_add_time(sd_event *event,
                             sd_event_source **ret,
                             clockid_t clock,
                             uint64_t usec,
                             uint64_t accuracy,
                             sd_event_time_handler_t handler,
                             void *userdata) {
        int r = __real_sd_event_add_time(event, ret, clock, usec, accuracy, handler, userdata);
        turn = *ret;
        return r;
}

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
        unsigned n_checks, n_dialogs, n_cancelled;
        sd_bus_message *dialogs[512];
        Polkit *polkit;
        PolkitQuestion question;
} Fixture;

typedef struct Question {
        PolkitQuery *query;
        sd_event_source *timer;
        bool is_answered;
        PolkitAnswer answer;
} Question;

/* The service numbers its dialogs from 1 on. */
static int cancel_dialog(Fixture *f, sd_bus_message *m) {
        const char *id;
        unsigned n;

        must(sd_bus_message_read(m, "s", &id));
        n = (unsigned) atoi(id) - 1;
        g_assert_cmpuint(n, <, f->n_dialogs);
        f->n_cancelled++;
        if (f->hangs)
                return 1;
        must(sd_bus_reply_method_errorf(f->dialogs[n], "org.freedesktop.PolicyKit1.Error.Cancelled",
                                        "Cancelled"));
        return 1;
}

static void answer_dialog(Fixture *f, unsigned n) {
        must(sd_bus_reply_method_return(f->dialogs[n], "(bba{ss})", true, false, 0));
}

static int on_question(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fixture *f = userdata;
        uint32_t flags;

        if (sd_bus_message_is_method_call(m, NULL, "CancelCheckAuthorization") > 0)
                return cancel_dialog(f, m);
        if (sd_bus_message_is_method_call(m, NULL, "CheckAuthorization") <= 0)
                return 0;
        must(sd_bus_message_skip(m, "(sa{sv})sa{ss}"));
        must(sd_bus_message_read(m, "u", &flags));
        if (flags & ASKS_A_PERSON) {
                g_assert_cmpuint(f->n_dialogs, <, ELEMENTS(f->dialogs));
                f->dialogs[f->n_dialogs++] = sd_bus_message_ref(m);
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
        for (unsigned i = 0; i < f->n_dialogs; i++)
                sd_bus_message_unref(f->dialogs[i]);
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

static void ask_as(Fixture *f, uid_t uid, Question *q) {
        *q = (Question) {};
        g_assert_cmpint(polkit_ask(f->polkit, ":1.42", uid, &f->question, on_answer, q, &q->query), ==, 0);
        q->timer = timer;
}

static void ask(Fixture *f, Question *q) {
        ask_as(f, 1000, q);
}

static void run_until(Fixture *f, const unsigned *counter, unsigned n) {
        while (*counter < n)
                must(sd_event_run(f->event, UINT64_MAX));
}

static void run_all(Fixture *f) {
        while (sd_event_run(f->event, 0) > 0) {}
}

/* Returns whether the service waits for a time to end a dialog, and runs it at that time. */
static bool run_turn(Fixture *f) {
        int enabled;

        must(sd_event_source_get_enabled(turn, &enabled));
        if (enabled)
                must(sd_event_source_set_time(turn, 0));
        run_all(f);
        return enabled;
}

/* Returns whether the service waited for that. */
static bool pass_seconds(Fixture *f, time_t sec) {
        unsigned n;
        bool waited;

        elapsed_sec += sec;
        n = f->n_cancelled;
        waited = run_turn(f);
        for (; f->n_cancelled > n; n++)
                (void) run_turn(f);
        return waited;
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

/* As many as there are dialogs. */
#define N_DIALOGS 40U
#define HONEST_UID 999
#define LAPSED_UID 900

static void open_dialogs(Fixture *f, Question questions[N_DIALOGS]) {
        unsigned n = f->n_dialogs;

        f->question.may_ask = true;
        for (unsigned i = 0; i < N_DIALOGS; i++)
                ask_as(f, 1000 + i, &questions[i]);
        run_until(f, &f->n_dialogs, n + N_DIALOGS);
}

static unsigned count_answered(const Question questions[N_DIALOGS]) {
        unsigned n = 0;

        for (unsigned i = 0; i < N_DIALOGS; i++)
                n += questions[i].is_answered;
        return n;
}

static void free_all(Question questions[N_DIALOGS]) {
        for (unsigned i = 0; i < N_DIALOGS; i++)
                questions[i].query = polkit_query_free(questions[i].query);
}

TEST("dialogs of other users delay a question by a minute") {
        Question others[N_DIALOGS], q, next;

        open_dialogs(f, others);
        g_assert_false(pass_seconds(f, 50));
        ask_as(f, HONEST_UID, &q);
        run_all(f);
        g_assert_true(pass_seconds(f, 59));
        g_assert_cmpuint(f->n_dialogs, ==, N_DIALOGS);
        g_assert_true(pass_seconds(f, 2));
        g_assert_cmpuint(f->n_dialogs, ==, N_DIALOGS + 1);

        /* The oldest one has ended, and no other. */
        g_assert_cmpuint(count_answered(others), ==, 1);
        g_assert_true(others[0].is_answered);
        g_assert_cmpint(others[0].answer, ==, POLKIT_TIMED_OUT);

        answer_dialog(f, N_DIALOGS);
        while (!q.is_answered)
                must(sd_event_run(f->event, UINT64_MAX));
        g_assert_cmpint(q.answer, ==, POLKIT_ALLOWED);

        /* A place is free now. */
        ask_as(f, HONEST_UID, &next);
        run_until(f, &f->n_dialogs, N_DIALOGS + 2);
        next.query = polkit_query_free(next.query);
        free_all(others);
}

TEST("each dialog is open for a minute at least") {
        Question others[N_DIALOGS], more[N_DIALOGS], last;

        open_dialogs(f, others);
        for (unsigned i = 0; i < N_DIALOGS; i++)
                ask_as(f, 2000 + i, &more[i]);
        ask_as(f, HONEST_UID, &last);
        run_all(f);
        g_assert_true(pass_seconds(f, 61));
        run_until(f, &f->n_dialogs, 2 * N_DIALOGS);
        g_assert_cmpuint(count_answered(others), ==, N_DIALOGS);
        g_assert_true(pass_seconds(f, 59));
        g_assert_cmpuint(f->n_dialogs, ==, 2 * N_DIALOGS);
        g_assert_cmpuint(count_answered(more), ==, 0);
        g_assert_true(pass_seconds(f, 2));
        g_assert_cmpuint(f->n_dialogs, ==, 2 * N_DIALOGS + 1);
        g_assert_cmpuint(count_answered(more), ==, 1);

        last.query = polkit_query_free(last.query);
        free_all(more);
}

TEST("one dialog ends for one question, also if polkit is slow") {
        Question others[N_DIALOGS], q;

        open_dialogs(f, others);
        ask_as(f, HONEST_UID, &q);
        run_all(f);
        f->hangs = true;
        g_assert_true(pass_seconds(f, 61));
        g_assert_false(pass_seconds(f, 61));
        g_assert_cmpuint(count_answered(others), ==, 1);
        g_assert_cmpuint(f->n_dialogs, ==, N_DIALOGS);

        answer_dialog(f, 0);
        run_until(f, &f->n_dialogs, N_DIALOGS + 1);
        f->hangs = false;
        q.query = polkit_query_free(q.query);
        free_all(others);
}

/* The user does not answer. */
static void let_lapse(Fixture *f, uid_t uid) {
        unsigned n = f->n_dialogs;
        Question q;

        f->question.may_ask = true;
        ask_as(f, uid, &q);
        run_until(f, &f->n_dialogs, n + 1);
        assert_late(f, &q, POLKIT_TIMED_OUT);
        run_all(f);
}

/* Another dialog ends, and the next one is this one. */
static void assert_is_next(Fixture *f, unsigned ending, Question *q) {
        unsigned n = f->n_dialogs;

        answer_dialog(f, ending);
        run_until(f, &f->n_dialogs, n + 1);
        g_assert_false(q->is_answered);
        answer_dialog(f, n);
        while (!q->is_answered)
                must(sd_event_run(f->event, UINT64_MAX));
        g_assert_cmpint(q->answer, ==, POLKIT_ALLOWED);
}

TEST("a question of a user that has not answered waits behind all others") {
        Question others[N_DIALOGS], lapsed, first, second;

        let_lapse(f, LAPSED_UID);
        open_dialogs(f, others);
        ask_as(f, LAPSED_UID, &lapsed);
        /* It ends no dialog. */
        run_all(f);
        g_assert_false(pass_seconds(f, 61));

        ask_as(f, HONEST_UID, &first);
        ask_as(f, HONEST_UID - 1, &second);
        run_all(f);
        assert_is_next(f, 1, &first);
        run_until(f, &f->n_dialogs, N_DIALOGS + 3);
        answer_dialog(f, N_DIALOGS + 2);
        run_until(f, &f->n_dialogs, N_DIALOGS + 4);
        g_assert_true(second.is_answered);
        g_assert_false(lapsed.is_answered);
        lapsed.query = polkit_query_free(lapsed.query);
        free_all(others);
}

TEST("a dialog of a user that has not answered ends first") {
        Question others[N_DIALOGS], lapsed, q;

        let_lapse(f, LAPSED_UID);
        open_dialogs(f, others);
        answer_dialog(f, 1);
        ask_as(f, LAPSED_UID, &lapsed);
        run_until(f, &f->n_dialogs, N_DIALOGS + 2);

        ask_as(f, HONEST_UID, &q);
        run_all(f);
        g_assert_true(pass_seconds(f, 61));
        g_assert_true(lapsed.is_answered);
        g_assert_cmpuint(count_answered(others), ==, 1);
        q.query = polkit_query_free(q.query);
        free_all(others);
}

TEST("a dialog without an answer is forgotten after an answer, and after a quarter of an hour") {
        Question others[N_DIALOGS], answered, late, q;

        let_lapse(f, LAPSED_UID);
        let_lapse(f, LAPSED_UID - 1);
        ask_as(f, LAPSED_UID, &answered);
        run_until(f, &f->n_dialogs, 3);
        answer_dialog(f, 2);
        while (!answered.is_answered)
                must(sd_event_run(f->event, UINT64_MAX));

        open_dialogs(f, others);
        ask_as(f, LAPSED_UID - 1, &late);
        ask_as(f, LAPSED_UID, &answered);
        run_all(f);
        assert_is_next(f, 3, &answered);
        run_until(f, &f->n_dialogs, N_DIALOGS + 5);
        late.query = polkit_query_free(late.query);
        run_all(f);

        elapsed_sec += 15 * 60 + 1;
        ask_as(f, LAPSED_UID - 2, &q); /* takes the place */
        run_until(f, &f->n_dialogs, N_DIALOGS + 6);
        ask_as(f, LAPSED_UID - 1, &late);
        run_all(f);
        g_assert_true(pass_seconds(f, 61));
        run_until(f, &f->n_dialogs, N_DIALOGS + 7);
        g_assert_false(late.is_answered);
        late.query = polkit_query_free(late.query);
        q.query = polkit_query_free(q.query);
        free_all(others);
}

TEST("at most 256 users that have not answered are remembered") {
        Question others[N_DIALOGS], forgotten, remembered;

        for (unsigned i = 0; i < 257; i++)
                let_lapse(f, 5000 + i);
        open_dialogs(f, others);
        ask_as(f, 5001, &remembered);
        run_all(f);
        g_assert_false(pass_seconds(f, 61));
        ask_as(f, 5000, &forgotten);
        run_all(f);
        g_assert_true(pass_seconds(f, 61));
        remembered.query = polkit_query_free(remembered.query);
        forgotten.query = polkit_query_free(forgotten.query);
        free_all(others);
}
