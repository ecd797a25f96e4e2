/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Processes of this host, as /proc and their cgroups describe them. */

#include <stdbool.h>
#include <sys/types.h>

/* Members are NULL if they are unknown: the process has ended, belongs to another user on a host that hides
 * those, or has no unit. */
typedef struct Process {
        char *command; /* as the kernel stores it: at most 15 bytes, which the process can change */
        char *server;  /* of a process of this tool: the program that it runs on its ports, from its arguments
                        */
        char *command_line; /* its arguments, separated by spaces; the first ones if there are many */
        char *unit;         /* of the user's service manager, else of the system's */
        char *application;  /* the name that Flatpak, Snap or the desktop has put into the name of the unit */
} Process;

/* All members remain NULL if the process does not run as that user: it has then got the ID of a process of
 * the user that has ended. A process of root may have become another user; (uid_t) -1: of any user. Returns
 * 0, or -ENOMEM. */
int process_query(pid_t pid, uid_t uid, Process *ret);
void process_done(Process *p);

/* Whether the process is a child of the other one, or of a child of it, and so on. */
bool process_descends_from(pid_t pid, pid_t ancestor);
/* All processes that do. Returns their number and a new array, or a negative errno. */
int process_list_descendants(pid_t ancestor, pid_t **ret);

/* Whether the thread has ended, as the first one of a process can before the others. */
bool process_thread_has_ended(pid_t thread);

/* Parses the name of a unit: "app-flatpak-org.example.Maps-4711.scope", "snap.maps.maps-UUID.scope". Returns
 * a new string in *ret, or NULL there if the unit is not one of an application; or -ENOMEM. */
int process_parse_application(const char *unit, char **ret);
