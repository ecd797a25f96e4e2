/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tool was asked for: the options of one run, and the bus that it talks over. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

typedef enum JsonFormat {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonFormat;

/* How many options Listen has; options.c has their table. */
#define N_LISTEN_OPTIONS 17

typedef struct Context {
        bool help; /* asked for, by --help */

        bool user;           /* the session's bus */
        const char *machine; /* a container's */

        JsonFormat json;
        bool pager;
        bool legend;
        bool full;
        bool quiet;
        bool ask_password;

        /* For Listen, by their place in the table; NULL: not given. */
        char *listen[N_LISTEN_OPTIONS];
        int32_t backlog; /* -1: as much as the kernel allows */

        /* For "listen". */
        bool accept;
        bool inetd;
        uint32_t max_connections;            /* 0: as many as come */
        uint32_t max_connections_per_source; /* the same */

        /* The last of those that are given and not for every verb; NULL: there is none. */
        const char *command_option; /* for "listen" */
        const char *listen_option;  /* for "listen" and "relay" */

        char **command; /* what comes after "--", with a NULL at the end; NULL: there was no "--" */

        sd_bus *bus; /* NULL before context_connect() in client.h */
} Context;
