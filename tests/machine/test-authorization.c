/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The authorization of callers in sessions of logind, in services, and elsewhere. */

#include "machine/session.h"

static void assert_listens(TestClient *client) {
        g_autofree char *listener = test_listen(client, 0, -1, NULL);

        test_assert_served(client, listener, "127.0.0.1");
        test_listener_call(client, listener, "Close");
}

MACHINE_TEST("a user with a session may listen") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        for (MachineSessionKind kind = MACHINE_SESSION_REMOTE; kind <= MACHINE_SESSION_SEAT; kind++) {
                MachineSession *session = machine_session_new(MACHINE_USER, kind);
                TestClient *client = machine_client_new_in(MACHINE_USER, machine_session_pid(session));

                g_assert_true(machine_user_is_known(MACHINE_USER));
                assert_listens(client);
                test_client_free(client);
                machine_session_free(session);
                test_wait_for(!machine_user_is_known(MACHINE_USER));
        }
}
