/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tool can do, a file each. argv[0] is the verb. Each has said what went wrong when it returns a
 * negative errno; otherwise it returns the exit status. */

typedef struct Context Context;

int verb_close(int argc, char *argv[], Context *c);
int verb_list(int argc, char *argv[], Context *c);
int verb_listen(int argc, char *argv[], Context *c);
int verb_monitor(int argc, char *argv[], Context *c);
int verb_pause(int argc, char *argv[], Context *c);
int verb_relay(int argc, char *argv[], Context *c);
int verb_resume(int argc, char *argv[], Context *c);
int verb_show(int argc, char *argv[], Context *c);
int verb_status(int argc, char *argv[], Context *c);
