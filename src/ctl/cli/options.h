/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The options of the command line: one table for the parser and for --help. */

#include "ctl/cli/context.h"

/* An option of Listen. */
typedef struct ListenOption {
        const char *key;   /* such as binaryType */
        const char *value; /* checked; several allowFrom joined by commas; NULL: not given */
        char type;         /* on the bus: 's', 'b', 'u', or 'a' for "as" */
} ListenOption;

/* Parses the options, before and after the verb. The other arguments go to ret_argv, a new array with a NULL
 * at the end that the caller frees; those after "--", or after the first argument of "run", to
 * Context.command. Returns 1; 0 if the tool has nothing to do but to print the help (if Context.help is set);
 * or prints an error message and returns a negative errno. */
int options_parse(int argc, char *argv[], Context *c, int *ret_argc, char ***ret_argv);
void options_done(Context *c);

/* Refuses options that the verb does not have. Prints an error message when it returns a negative errno. */
int options_check_verb(const Context *c, const char *verb);

/* Whether the option with this long name was given. */
bool options_is_given(const Context *c, const char *name);

/* The defaults of --max-connections=, with --accept and --inetd, and of "relay". */
#define MAX_CONNECTIONS_OF_LISTEN 64
#define MAX_CONNECTIONS_OF_RELAY 512

unsigned options_get_max_connections(const Context *c, unsigned by_default);

/* Returns the option of Listen with this index, 0 to N_LISTEN_OPTIONS - 1. */
ListenOption options_get_listen(const Context *c, unsigned i);
/* Returns the value that was given for a key, or NULL. */
const char *options_find_listen(const Context *c, const char *key);
/* As it is written, without the hyphens: "allow-from" for the key "allowFrom". NULL: the tool does not have
 * it. */
const char *options_get_name(const char *key);
/* Whether an option that is a boolean was given with a true value. */
bool options_listen_is_true(const Context *c, const char *key);

/* Prints a line such as "  -h --help        Show this help" for each option. */
void options_print_help(void);
