/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/macros.h"
#include "daemon/bus/unit.h"

/* A small part of the 128 pending calls that dbus-daemon allows a client; see polkit.c. */
#define QUESTIONS_MAX 4

struct UnitQuestion {
        Units *units;
        UnitCallback callback; /* NULL: the question is forgotten, only its answer is pending */
        void *userdata;
        sd_bus_slot *slot;
        TAILQ_ENTRY(UnitQuestion) link;
};

static void question_free(UnitQuestion *question) {
        TAILQ_REMOVE(&question->units->questions, question, link);
        question->units->n--;
        sd_bus_slot_unref(question->slot);
        free(question);
}

void units_init(Units *units, sd_bus *bus) {
        *units = (Units) { .bus = bus };
        TAILQ_INIT(&units->questions);
}

void units_done(Units *units) {
        UnitQuestion *question;

        while ((question = TAILQ_FIRST(&units->questions)))
                question_free(question);
}

static int on_unit(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *unit = NULL;
        UnitQuestion *question = userdata;
        UnitCallback callback = question->callback;
        void *data = question->userdata;
        const char *path;

        question_free(question);

        if (!sd_bus_message_is_method_error(answer, NULL) &&
            sd_bus_message_read_basic(answer, 'o', &path) > 0)
                (void) sd_bus_path_decode(path, "/org/freedesktop/systemd1/unit", &unit);

        if (callback)
                callback(unit, data);
        return 0;
}

static int question_send(UnitQuestion *question, uint32_t pid) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = question->units->bus;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "GetUnitByPID");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'u', &pid);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_call_async(bus, &question->slot, m, on_unit, question, UINT64_MAX);

        return r;
}

int unit_ask(Units *units, uint32_t pid, UnitCallback callback, void *userdata, UnitQuestion **ret) {
        UnitQuestion *question;
        int r;

        if (units->n >= QUESTIONS_MAX)
                return -EBUSY;

        question = calloc(1, sizeof(*question));
        if (!question)
                return -ENOMEM;

        question->units = units;
        question->callback = callback;
        question->userdata = userdata;
        TAILQ_INSERT_TAIL(&units->questions, question, link);
        units->n++;

        r = question_send(question, pid);
        if (r < 0) {
                question_free(question);
                return r;
        }

        *ret = question;
        return 0;
}

UnitQuestion *unit_question_forget(UnitQuestion *question) {
        if (question)
                question->callback = NULL;
        return NULL;
}
