/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What tests of hostile clients start from: users without privileges, who may do as they like, and a client
 * that minds its own business, which is served all the while.
 *
 * A part of what they do is authorized, by a polkit that says yes or no as it likes. What is random follows
 * from the seed that GLib prints; "--seed" repeats it.
 */

#include "bus/fixture.h"

#define ATTACKERS 3U

typedef struct Hostile {
        Fixture fixture; /* its client is the one that minds its own business */
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

#define HOSTILE_TEST(sentence) TEST_OF(sentence, Hostile, h, hostile_set_up, hostile_tear_down, NULL)

void hostile_new_attackers(Hostile *h);
void hostile_free_attackers(Hostile *h);

/* A peer comes, is delivered, and is who it is. */
void hostile_assert_healthy(Hostile *h);
/* Frees the attackers: who has left has left nothing. */
void hostile_wait_clean(Hostile *h);
