/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Questions to polkit: may this caller do that?
 *
 * Each question is put twice at the most. First polkit decides by itself, which takes no time. Only if it
 * would have to ask a person, and the caller allows that, it is asked to do so, and that may take minutes.
 * The two kinds have places of their own, few of the second kind for each user, so that a person who does not
 * answer keeps nobody from what needs no answer, nor another person from being asked.
 */

#include <stdbool.h>
#include <sys/types.h>

typedef struct Polkit Polkit;
typedef struct PolkitQuery PolkitQuery;
typedef struct sd_bus sd_bus;

typedef enum PolkitAnswer {
        POLKIT_ALLOWED,
        POLKIT_DENIED,
        POLKIT_CHALLENGE,   /* a person would have to be asked, and the caller did not allow it */
        POLKIT_TIMED_OUT,   /* a person was asked and did not answer */
        POLKIT_BUSY,        /* others' questions came first, and nobody answered those */
        POLKIT_UNAVAILABLE, /* there is no polkit, or it failed or does not answer */
} PolkitAnswer;

#define POLKIT_DETAILS_MAX 8

/* What is asked. Everything is copied into the message when it is put. */
typedef struct PolkitQuestion {
        const char *action;
        bool may_ask; /* a person */
        struct {
                const char *key;
                const char *value;
        } details[POLKIT_DETAILS_MAX];
        unsigned n_details;
} PolkitQuestion;

void polkit_question_add(PolkitQuestion *question, const char *key, const char *value);

/* The query may be freed in it. */
typedef void (*PolkitCallback)(PolkitAnswer answer, void *userdata);

int polkit_new(sd_bus *bus, Polkit **ret);

/* No query is left. */
Polkit *polkit_free(Polkit *polkit);

/* 'caller' is a unique name on the bus. The question, and what it points to, must last until the answer. */
int polkit_ask(Polkit *polkit,
               const char *caller,
               uid_t uid,
               const PolkitQuestion *question,
               PolkitCallback callback,
               void *userdata,
               PolkitQuery **ret);

/* Without an answer yet: takes the question back, and polkit takes its dialog off the screen. */
PolkitQuery *polkit_query_free(PolkitQuery *query);
