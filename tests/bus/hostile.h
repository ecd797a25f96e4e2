/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The fixture of tests of hostile clients: attackers without privileges, and a client that is served
 * meanwhile. Their calls are authorized by a polkit that answers at random. "--seed" repeats a run with the
 * seed that GLib has printed.
 */

#include "bus/fixture.h"

#define ATTACKERS 3U

typedef struct Hostile {
        Fixture fixture; /* its client is the one that must be served */
        TestClient *polkit;
        TestClient *attackers[ATTACKERS];
        char *listener;
        uint16_t port;
        unsigned fds;
        unsigned n_served;
        bool skipped;
} Hostile;

void hostile_set_up(Hostile *h, const void *data);
/* Also fails when the client was not served, or the attackers have left something. */
void hostile_tear_down(Hostile *h, const void *data);

#define HOSTILE_TEST(sentence) \
        TEST_OF_IF(!h->skipped, sentence, Hostile, h, hostile_set_up, hostile_tear_down, NULL)

void hostile_new_attackers(Hostile *h);
void hostile_free_attackers(Hostile *h);

/* The connection of another peer arrives at the client. */
void hostile_assert_healthy(Hostile *h);
/* Frees the attackers, and waits until the service has freed all of their resources. */
void hostile_wait_clean(Hostile *h);
