/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus/polkit.h"

/* dbus-daemon allows a connection of the system bus 128 pending replies (max_replies_per_connection).
 * Calls of clients use up to 56 of them. */
#define CHECKS_MAX 24
#define DIALOGS_MAX 40

/* polkitd answers one question after the other, so that a user with many questions must not delay other
 * users. */
#define CHECKS_PER_USER_MAX 2

/* An agent asks one question at a time. polkit's text agent refuses a second one, which polkitd takes for a
 * denial. */
#define DIALOGS_PER_USER_MAX 1

/* sd-bus's default of 25 s is too short to type a password. */
#define ANSWER_USEC (UINT64_C(5) * 60 * 1000 * 1000)

/* If all dialogs are open, a question that has waited for this time ends one that has been open for this
 * time, so that users that do not answer cannot block the others. */
#define TURN_USEC (UINT64_C(60) * 1000 * 1000)

/* Users that have not answered a dialog come last for this time. */
#define LAPSES_MAX 256
#define LAPSE_USEC (UINT64_C(15) * 60 * 1000 * 1000)

/* Of org.freedesktop.PolicyKit1.Authority.CheckAuthorization. */
#define ALLOW_USER_INTERACTION UINT32_C(1)

typedef enum QueryState {
        QUERY_WAITS_FOR_CHECK,
        QUERY_CHECKS,
        QUERY_WAITS_FOR_DIALOG,
        QUERY_ASKS,
        _QUERY_STATE_MAX,
} QueryState;

typedef TAILQ_HEAD(QueryList, PolkitQuery) QueryList;

struct PolkitQuery {
        Polkit *polkit;
        char *caller;
        uid_t uid;
        const PolkitQuestion *question;
        PolkitCallback callback; /* NULL: the query is freed, only its answer is pending */
        void *userdata;

        QueryState state;
        uint64_t since_usec; /* in this state, on CLOCK_MONOTONIC */
        bool failed;         /* to be sent */
        uint64_t id;         /* for CancelCheckAuthorization; 0: nothing to cancel */
        sd_bus_slot *slot;
        sd_event_source *timer;
        TAILQ_ENTRY(PolkitQuery) link;
};

/* A dialog that its user has not answered. */
typedef struct Lapse {
        uid_t uid;
        uint64_t end_usec; /* 0: unused */
} Lapse;

struct Polkit {
        sd_bus *bus;
        QueryList lists[_QUERY_STATE_MAX]; /* in the order in which they entered the state */
        unsigned n[_QUERY_STATE_MAX];
        uint64_t last_id;
        Lapse lapses[LAPSES_MAX];
        sd_event_source *turn; /* ends a dialog for a question that waits */
};

DEFINE_CLEANUP(PolkitQuery, polkit_query_free)

void polkit_question_add(PolkitQuestion *question, const char *key, const char *value) {
        assert(question->n_details < POLKIT_DETAILS_MAX);

        question->details[question->n_details].key = key;
        question->details[question->n_details].value = value;
        question->n_details++;
}

const char *polkit_question_get(const PolkitQuestion *question, const char *key) {
        for (unsigned i = 0; i < question->n_details; i++)
                if (streq(question->details[i].key, key))
                        return question->details[i].value;

        return NULL;
}

void polkit_question_add_private(PolkitQuestion *question, const char *key, const char *value) {
        polkit_question_add(question, key, value);
        question->details[question->n_details - 1].is_private = true;
}

static int on_turn(sd_event_source *s, uint64_t usec, void *userdata);

DEFINE_CLEANUP(Polkit, polkit_free)

int polkit_new(sd_bus *bus, Polkit **ret) {
        _cleanup_(polkit_freep) Polkit *polkit = NULL;
        int r;

        polkit = calloc(1, sizeof(*polkit));
        if (!polkit)
                return -ENOMEM;

        polkit->bus = sd_bus_ref(bus);
        for (size_t i = 0; i < ELEMENTS(polkit->lists); i++)
                TAILQ_INIT(&polkit->lists[i]);

        r = sd_event_add_time(sd_bus_get_event(bus), &polkit->turn, CLOCK_MONOTONIC, UINT64_MAX, 0, on_turn,
                              polkit);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(polkit);
        return 0;
}

/* Frees a query in any state. */
static void query_destroy(PolkitQuery *query) {
        Polkit *polkit = query->polkit;

        TAILQ_REMOVE(&polkit->lists[query->state], query, link);
        polkit->n[query->state]--;

        sd_bus_slot_unref(query->slot);
        sd_event_source_disable_unref(query->timer);
        free(query->caller);
        free(query);
}

Polkit *polkit_free(Polkit *polkit) {
        PolkitQuery *query;

        if (!polkit)
                return NULL;

        /* Freed queries with a pending answer. */
        for (size_t i = 0; i < ELEMENTS(polkit->lists); i++)
                while ((query = TAILQ_FIRST(&polkit->lists[i])))
                        query_destroy(query);

        sd_event_source_disable_unref(polkit->turn);
        sd_bus_unref(polkit->bus);
        free(polkit);
        return NULL;
}

/* Returns NULL if the user has answered the last dialog, or none for a long time. */
static Lapse *find_lapse(Polkit *polkit, uid_t uid, uint64_t now_usec) {
        for (size_t i = 0; i < ELEMENTS(polkit->lapses); i++)
                if (polkit->lapses[i].uid == uid && polkit->lapses[i].end_usec > now_usec)
                        return &polkit->lapses[i];

        return NULL;
}

static void forget_lapse(Polkit *polkit, uid_t uid) {
        Lapse *lapse = find_lapse(polkit, uid, 0);

        if (lapse)
                *lapse = (Lapse) {};
}

/* Replaces the oldest lapse if there are too many. */
static void record_lapse(Polkit *polkit, uid_t uid) {
        Lapse *lapse = find_lapse(polkit, uid, 0);

        for (size_t i = 0; !lapse && i < ELEMENTS(polkit->lapses); i++)
                if (polkit->lapses[i].end_usec == 0)
                        lapse = &polkit->lapses[i];
        if (!lapse) {
                lapse = polkit->lapses;
                for (size_t i = 1; i < ELEMENTS(polkit->lapses); i++)
                        if (polkit->lapses[i].end_usec < lapse->end_usec)
                                lapse = &polkit->lapses[i];
        }

        *lapse = (Lapse) { .uid = uid, .end_usec = clock_get_usec() + LAPSE_USEC };
}

static void query_set_state(PolkitQuery *query, QueryState state) {
        Polkit *polkit = query->polkit;

        TAILQ_REMOVE(&polkit->lists[query->state], query, link);
        polkit->n[query->state]--;
        query->state = state;
        query->since_usec = clock_get_usec();
        TAILQ_INSERT_TAIL(&polkit->lists[state], query, link);
        polkit->n[state]++;
}

static int append_question(sd_bus_message *m, const PolkitQuery *query, uint32_t flags, const char *id) {
        const PolkitQuestion *question = query->question;
        int r;

        r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s", query->caller,
                                  question->action);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(m, 'a', "{ss}");
        if (r < 0)
                return r;
        for (unsigned i = 0; i < question->n_details; i++) {
                if (question->details[i].is_private && (flags & ALLOW_USER_INTERACTION))
                        continue;

                r = sd_bus_message_append(m, "{ss}", question->details[i].key, question->details[i].value);
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;

        return sd_bus_message_append(m, "us", flags, id);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error);

static int query_send(PolkitQuery *query, uint32_t flags) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char id[32] = "";
        int r;

        r = sd_bus_message_new_method_call(query->polkit->bus, &m, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
        if (r < 0)
                return r;

        if (flags & ALLOW_USER_INTERACTION) {
                query->id = ++query->polkit->last_id;
                (void) snprintf(id, sizeof(id), "%llu", (unsigned long long) query->id);
        }

        r = append_question(m, query, flags, id);
        if (r < 0)
                return r;

        return sd_bus_call_async(query->polkit->bus, &query->slot, m, on_answer, query, UINT64_MAX);
}

static void query_cancel(PolkitQuery *query) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char id[32];
        int r;

        (void) snprintf(id, sizeof(id), "%llu", (unsigned long long) query->id);

        r = sd_bus_message_new_method_call(query->polkit->bus, &m, "org.freedesktop.PolicyKit1",
                                           "/org/freedesktop/PolicyKit1/Authority",
                                           "org.freedesktop.PolicyKit1.Authority",
                                           "CancelCheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", id);
        if (r >= 0)
                r = sd_bus_message_set_expect_reply(m, false);
        if (r >= 0)
                r = sd_bus_send(query->polkit->bus, m, NULL);
        if (r < 0)
                log_debug("Failed to cancel a question to polkit: %s", strerror(-r));
}

/* The callback may free the query. */
static void query_answer(PolkitQuery *query, PolkitAnswer answer) {
        query->callback(answer, query->userdata);
}

static unsigned count_of_user(Polkit *polkit, QueryState state, uid_t uid) {
        PolkitQuery *query;
        unsigned n = 0;

        TAILQ_FOREACH(query, &polkit->lists[state], link)
                if (query->uid == uid)
                        n++;

        return n;
}

/* Returns the oldest query in a state that can go to the next state within the limit of its user. Users with
 * a lapse wait for dialogs behind all others. */
static PolkitQuery *find_waiting(Polkit *polkit, QueryState waits, QueryState next, unsigned max_per_user) {
        uint64_t now_usec = clock_get_usec();
        PolkitQuery *query, *last = NULL;

        TAILQ_FOREACH(query, &polkit->lists[waits], link) {
                if (count_of_user(polkit, next, query->uid) >= max_per_user)
                        continue;
                if (next != QUERY_ASKS || !find_lapse(polkit, query->uid, now_usec))
                        return query;
                if (!last)
                        last = query;
        }

        return last;
}

/* The same within the limit of all. */
static PolkitQuery *find_next(Polkit *polkit,
                              QueryState waits,
                              QueryState next,
                              unsigned max,
                              unsigned max_per_user) {
        if (polkit->n[next] >= max)
                return NULL;

        return find_waiting(polkit, waits, next, max_per_user);
}

/* Returns the dialog that ends for a question: the oldest one of a user with a lapse, or the oldest one. A
 * question of a user with a lapse ends no dialog of another user. */
static PolkitQuery *find_dialog_to_end(Polkit *polkit, const PolkitQuery *waiting) {
        uint64_t now_usec = clock_get_usec();
        PolkitQuery *query;

        TAILQ_FOREACH(query, &polkit->lists[QUERY_ASKS], link)
                if (find_lapse(polkit, query->uid, now_usec))
                        return query;

        return find_lapse(polkit, waiting->uid, now_usec) ? NULL : TAILQ_FIRST(&polkit->lists[QUERY_ASKS]);
}

/* Sends the question. A failure is reported by the timer, so that no query is freed during the call. */
static void query_put(PolkitQuery *query, QueryState state, uint32_t flags) {
        int r;

        query_set_state(query, state);

        r = query_send(query, flags);
        if (r >= 0)
                return;

        log_warning("Failed to call CheckAuthorization of polkit: %s", strerror(-r));
        query->failed = true;
        (void) sd_event_source_set_time(query->timer, 0);
}

static bool dialog_is_ending(Polkit *polkit) {
        PolkitQuery *query;

        TAILQ_FOREACH(query, &polkit->lists[QUERY_ASKS], link)
                if (!query->callback)
                        return true;

        return false;
}

/* Returns the dialog to end next, and the time. NULL: none, or one is about to end. */
static PolkitQuery *find_turn(Polkit *polkit, uint64_t *ret_usec) {
        PolkitQuery *waiting, *dialog;

        waiting = find_waiting(polkit, QUERY_WAITS_FOR_DIALOG, QUERY_ASKS, DIALOGS_PER_USER_MAX);
        if (!waiting || dialog_is_ending(polkit))
                return NULL;

        dialog = find_dialog_to_end(polkit, waiting);
        if (dialog)
                *ret_usec = TURN_USEC + (waiting->since_usec > dialog->since_usec ? waiting->since_usec
                                                                                  : dialog->since_usec);
        return dialog;
}

static void polkit_arm_turn(Polkit *polkit) {
        uint64_t usec;

        if (find_turn(polkit, &usec)) {
                (void) sd_event_source_set_time(polkit->turn, usec);
                (void) sd_event_source_set_enabled(polkit->turn, SD_EVENT_ONESHOT);
        } else
                (void) sd_event_source_set_enabled(polkit->turn, SD_EVENT_OFF);
}

static void polkit_dispatch(Polkit *polkit) {
        PolkitQuery *query;

        while ((query = find_next(polkit, QUERY_WAITS_FOR_CHECK, QUERY_CHECKS, CHECKS_MAX,
                                  CHECKS_PER_USER_MAX)))
                query_put(query, QUERY_CHECKS, 0);

        while ((query = find_next(polkit, QUERY_WAITS_FOR_DIALOG, QUERY_ASKS, DIALOGS_MAX,
                                  DIALOGS_PER_USER_MAX)))
                query_put(query, QUERY_ASKS, ALLOW_USER_INTERACTION);

        polkit_arm_turn(polkit);
}

static int on_turn(sd_event_source *s, uint64_t usec, void *userdata) {
        Polkit *polkit = userdata;
        PolkitQuery *query;
        uint64_t turn_usec;

        query = find_turn(polkit, &turn_usec);
        if (query && turn_usec <= clock_get_usec()) {
                record_lapse(polkit, query->uid);
                query_answer(query, POLKIT_TIMED_OUT);
        }

        polkit_arm_turn(polkit);
        return 0;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        PolkitQuery *query = userdata;
        int r, authorized, challenge;

        query->slot = sd_bus_slot_unref(query->slot);

        if (!query->callback) {
                Polkit *polkit = query->polkit;

                query_destroy(query);
                polkit_dispatch(polkit);
                return 0;
        }

        if (sd_bus_message_is_method_error(m, NULL)) {
                log_debug("CheckAuthorization of polkit for %s failed: %s", query->caller,
                          sd_bus_message_get_error(m)->message);
                query->id = 0;
                query_answer(query, POLKIT_UNAVAILABLE);
                return 0;
        }

        r = sd_bus_message_enter_container(m, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(m, "bb", &authorized, &challenge);
        query->id = 0;
        if (r < 0) {
                query_answer(query, POLKIT_UNAVAILABLE);
                return 0;
        }

        /* Without an agent, polkit repeats that a password is required. */
        if (query->state == QUERY_ASKS && (authorized || !challenge))
                forget_lapse(query->polkit, query->uid);

        if (authorized)
                query_answer(query, POLKIT_ALLOWED);
        else if (!challenge || query->state == QUERY_ASKS)
                query_answer(query, POLKIT_DENIED);
        else if (!query->question->may_ask)
                query_answer(query, POLKIT_CHALLENGE);
        else {
                Polkit *polkit = query->polkit;

                query_set_state(query, QUERY_WAITS_FOR_DIALOG);
                polkit_dispatch(polkit);
        }

        return 0;
}

/* POLKIT_TIMED_OUT means that the user did not answer, so it requires that the dialog was shown. */
static PolkitAnswer query_get_late_answer(const PolkitQuery *query) {
        if (query->failed)
                return POLKIT_UNAVAILABLE;

        switch (query->state) {

        case QUERY_WAITS_FOR_DIALOG:
                return POLKIT_BUSY;

        case QUERY_ASKS:
                return POLKIT_TIMED_OUT;

        default:
                return POLKIT_UNAVAILABLE;
        }
}

static int on_time_out(sd_event_source *s, uint64_t usec, void *userdata) {
        PolkitQuery *query = userdata;
        PolkitAnswer answer = query_get_late_answer(query);

        if (answer == POLKIT_TIMED_OUT)
                record_lapse(query->polkit, query->uid);
        query_answer(query, answer);
        return 0;
}

int polkit_ask(Polkit *polkit,
               const char *caller,
               uid_t uid,
               const PolkitQuestion *question,
               PolkitCallback callback,
               void *userdata,
               PolkitQuery **ret) {
        _cleanup_(polkit_query_freep) PolkitQuery *query = NULL;
        int r;

        query = calloc(1, sizeof(*query));
        if (!query)
                return -ENOMEM;

        query->polkit = polkit;
        query->uid = uid;
        query->question = question;
        query->callback = callback;
        query->userdata = userdata;
        query->since_usec = clock_get_usec();
        TAILQ_INSERT_TAIL(&polkit->lists[QUERY_WAITS_FOR_CHECK], query, link);
        polkit->n[QUERY_WAITS_FOR_CHECK]++;

        query->caller = strdup(caller);
        if (!query->caller)
                return -ENOMEM;

        r = sd_event_add_time_relative(sd_bus_get_event(polkit->bus), &query->timer, CLOCK_MONOTONIC,
                                       ANSWER_USEC, 0, on_time_out, query);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(query);
        polkit_dispatch(polkit);
        return 0;
}

PolkitQuery *polkit_query_free(PolkitQuery *query) {
        Polkit *polkit;

        if (!query)
                return NULL;

        polkit = query->polkit;

        if (query->state == QUERY_ASKS && query->id != 0)
                query_cancel(query);

        /* The bus counts the pending reply until polkit answers, so the query stays in its list. Otherwise a
         * client that calls and leaves repeatedly could use up the pending replies of the service, and
         * barriers would fail. */
        if (query->slot) {
                query->callback = NULL;
                query->question = NULL;
                query->timer = sd_event_source_disable_unref(query->timer);
                return NULL;
        }

        query_destroy(query);
        polkit_dispatch(polkit);
        return NULL;
}
