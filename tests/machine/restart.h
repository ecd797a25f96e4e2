/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Restarts of the service, and the properties of a listener that must not change then. */

#include "machine/machine.h"

typedef struct Restart {
        const char *name;
        const char *version;       /* of the program that follows */
        void (*begin)(Machine *m); /* returns when the process is gone */
} Restart;

extern const Restart restart_crash;
extern const Restart restart_by_systemctl;
extern const Restart restart_upgrade;

/* Before the service starts. The new process waits until restart_finish(), so that peers can connect while no
 * process is running. */
void restart_prepare(void);
/* The process ends. */
void restart_begin(Machine *m, const Restart *how);
/* The next one comes. */
void restart_finish(Machine *m);

void restart_assert_version(Machine *m, const Restart *how);

/* The next connection is this peer's, as test_client_expect_accepted() has it of signals. */
void restart_assert_pulled(TestClient *client, const char *listener, int peer, uint64_t serial);
void restart_assert_in_channel(int channel, int peer, uint64_t serial);
void restart_assert_accepted(int listening, int peer);

/* The properties of a listener. */
typedef struct Seen {
        char *text;
} Seen;

Seen seen_look(TestClient *client, const char *listener);
void seen_assert_same(const Seen *before, TestClient *client, const char *listener);
void seen_clear(Seen *seen);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Seen, seen_clear)
