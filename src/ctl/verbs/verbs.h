/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The verbs. argv[0] is the verb. Each returns the exit status, or prints an error message and returns a
 * negative errno. */

typedef struct Context Context;

int verb_close(int argc, char *argv[], Context *c);
int verb_list(int argc, char *argv[], Context *c);
int verb_listen(int argc, char *argv[], Context *c);
int verb_monitor(int argc, char *argv[], Context *c);
int verb_pause(int argc, char *argv[], Context *c);
int verb_relay(int argc, char *argv[], Context *c);
int verb_resume(int argc, char *argv[], Context *c);
int verb_run(int argc, char *argv[], Context *c);
int verb_show(int argc, char *argv[], Context *c);
int verb_status(int argc, char *argv[], Context *c);
