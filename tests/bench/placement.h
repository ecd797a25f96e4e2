/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where processes run while one thing at a time is measured: the load on one CPU, all the others on another.
 *
 * That is how it is with a peer on another machine. Left alone, the scheduler puts them together or apart as
 * it happens, and to wake a process up on another CPU takes longer than most of what is measured here: the
 * figures would jump by half from one round to the next. Where there is one CPU only, nothing is done.
 */

#include <sys/types.h>

/* This process: the load. */
void place_load(void);
/* That process, unless it is 0, and children that it starts from now on. */
void place_server(pid_t pid);
/* It may run everywhere again. */
void place_anywhere(pid_t pid);
