/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Questions to polkit about the authorization of a caller.
 *
 * Each question is sent at most twice. The first time polkit decides by its rules, which takes milliseconds.
 * If that requires a password, and the caller allows interaction, it is sent again with interaction, which
 * can take minutes. Each of the two kinds has its own limits, in all and for each user, so that an unanswered
 * password dialog delays neither questions without interaction nor dialogs of other users.
 *
 * If dialogs of so many users are open that no other can be, a question waits for a minute, and then ends one
 * that has been open for a minute. Users that have not answered a dialog come last: their questions wait
 * behind those of all others, and their dialogs end first.
 */

#include <stdbool.h>
#include <sys/types.h>

typedef struct Polkit Polkit;
typedef struct PolkitQuery PolkitQuery;
typedef struct sd_bus sd_bus;

typedef enum PolkitAnswer {
        POLKIT_ALLOWED,
        POLKIT_DENIED,
        POLKIT_CHALLENGE,   /* a password is required, and the caller does not allow interaction */
        POLKIT_TIMED_OUT,   /* the dialog was not answered in time */
        POLKIT_BUSY,        /* earlier dialogs were not answered */
        POLKIT_UNAVAILABLE, /* polkit is not there, failed or does not answer */
} PolkitAnswer;

#define POLKIT_DETAILS_MAX 8

/* All strings are borrowed until the answer. */
typedef struct PolkitQuestion {
        const char *action;
        bool may_ask; /* interaction is allowed */
        struct {
                const char *key;
                const char *value;
                bool is_private;
        } details[POLKIT_DETAILS_MAX];
        unsigned n_details;
} PolkitQuestion;

void polkit_question_add(PolkitQuestion *question, const char *key, const char *value);

/* Returns NULL without such a detail. */
const char *polkit_question_get(const PolkitQuestion *question, const char *key);

/* Adds a detail for polkit's rules only. It is left out with interaction, when polkit passes the details to
 * an agent, which may belong to the caller. */
void polkit_question_add_private(PolkitQuestion *question, const char *key, const char *value);

/* May free the query. */
typedef void (*PolkitCallback)(PolkitAnswer answer, void *userdata);

int polkit_new(sd_bus *bus, Polkit **ret);

/* All queries must be freed before. */
Polkit *polkit_free(Polkit *polkit);

/* 'caller' is a unique name on the bus. The question must last until the answer. */
int polkit_ask(Polkit *polkit,
               const char *caller,
               uid_t uid,
               const PolkitQuestion *question,
               PolkitCallback callback,
               void *userdata,
               PolkitQuery **ret);

/* Cancels a question without an answer, so that its dialog disappears. */
PolkitQuery *polkit_query_free(PolkitQuery *query);
