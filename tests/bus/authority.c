/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "bus/authority.h"
#include "bus/call.h"
#include "register.h"

typedef struct Authority {
        TestRule rule;
        void *data;
} Authority;

static char *read_details(sd_bus_message *message) {
        GString *details = g_string_new(NULL);
        const char *key, *value;

        must(sd_bus_message_enter_container(message, 'a', "{ss}"));
        while (sd_bus_message_read(message, "{ss}", &key, &value) > 0)
                g_string_append_printf(details, "%s%s=%s", details->len > 0 ? " " : "", key, value);
        must(sd_bus_message_exit_container(message));
        return g_string_free(details, false);
}

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const Authority *a = userdata;
        TestAnswer answer = TEST_ANSWER_YES;
        TestQuestion question;
        uint32_t flags;

        if (sd_bus_message_is_method_call(message, "org.freedesktop.PolicyKit1.Authority",
                                          "CheckAuthorization") <= 0)
                return 0;

        must(sd_bus_message_skip(message, "(sa{sv})"));
        must(sd_bus_message_read(message, "s", &question.action));
        g_autofree char *details = read_details(message);
        must(sd_bus_message_read(message, "u", &flags));
        question.details = details;
        question.interactive = flags & 1;
        if (a->rule)
                answer = a->rule(&question, a->data);
        if (answer == TEST_ANSWER_ERROR)
                return sd_bus_reply_method_errorf(message, SD_BUS_ERROR_FAILED, "Not today");

        return sd_bus_reply_method_return(message, "(bba{ss})", answer == TEST_ANSWER_YES,
                                          answer == TEST_ANSWER_CHALLENGE, 0);
}

TestClient *test_authority_new(TestBus *bus, TestRule rule, void *data) {
        TestClient *polkit = test_client_new_full(bus, (uid_t) -1, TEST_CLIENT_NO_MATCH);
        Authority *a = g_new(Authority, 1);
        sd_bus_slot *slot;

        *a = (Authority) { .rule = rule, .data = data };
        must(sd_bus_add_filter(test_client_bus(polkit), &slot, on_question, a));
        must(sd_bus_slot_set_destroy_callback(slot, g_free));
        must(sd_bus_slot_set_floating(slot, true));
        sd_bus_slot_unref(slot);
        test_call_driver(polkit, "RequestName", "su", "org.freedesktop.PolicyKit1", 0);
        return polkit;
}
