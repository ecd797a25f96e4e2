/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The options of the command line: one table, from which they are read and --help is printed. */

#include "ctl/cli/context.h"

/* Those of Listen have these types on the bus. */
typedef struct ListenOption {
        const char *key;   /* as in binaryType */
        const char *value; /* as it was given, checked; several allowFrom with commas between; NULL: not given
                            */
        char type;         /* 's', 'b', 'u', 'h', or 'a' for "as" */
} ListenOption;

/* Reads them, before and after the verb; what is none goes to ret_argv, a new array with a NULL at the end
 * that the caller frees. What follows "--" is Context.command. Returns 1 to go on, 0 if there is nothing to
 * do but to print the help (Context.help) or everything is said, or a negative errno, and has said why. */
int options_parse(int argc, char *argv[], Context *c, int *ret_argc, char ***ret_argv);
void options_done(Context *c);

/* The i-th option of Listen, 0 to N_LISTEN_OPTIONS - 1. */
ListenOption options_get_listen(const Context *c, unsigned i);
/* What was given for a key, or NULL. */
const char *options_find_listen(const Context *c, const char *key);

/* Prints "  -h --help        Show this help" for each. */
void options_print_help(void);
