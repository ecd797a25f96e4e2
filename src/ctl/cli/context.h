/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The options of one run of the tool, and its connection to the bus. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

typedef enum JsonFormat {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonFormat;

typedef enum ProxyProtocol {
        PROXY_PROTOCOL_OFF,
        PROXY_PROTOCOL_V1,
        PROXY_PROTOCOL_V2,
} ProxyProtocol;

/* The number of options of Listen; options.c has their table. */
#define N_LISTEN_OPTIONS 17

/* As TimeoutStopSec= of systemd. */
#define KILL_AFTER_USEC_DEFAULT (UINT64_C(90) * 1000 * 1000)

/* The processes of COMMAND that end with the tool. */
typedef enum KillMode {
        KILL_MODE_GROUP,   /* all of them */
        KILL_MODE_PROCESS, /* the first one */
} KillMode;

/* Ordered by meaning, as there is only one. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct Context {
        bool help; /* --help was given */

        bool user;           /* the session bus */
        const char *machine; /* the bus of this container */

        JsonFormat json;
        bool pager;
        bool legend;
        bool full;
        bool quiet;
        bool verbose; /* of "listen", "relay" and "run"; the last one of -q and -v wins */
        bool ask_password;

        /* The options of Listen, in the order of the table; NULL: not given. */
        char *listen[N_LISTEN_OPTIONS];
        int32_t backlog;   /* -1: the most that the kernel allows */
        const char *label; /* the name of listeners without --name=; NULL: none */

        /* Of "listen"; the limits also of "relay". */
        bool accept;
        bool inetd;
        bool wait;
        uint32_t max_connections;            /* 0: no limit; options_get_max_connections() */
        uint32_t max_connections_per_source; /* 0: no limit */
        char *fd_names;                      /* of --fd-name=, separated by colons; NULL: none */

        /* Of "listen" and "run". */
        KillMode kill_mode;
        uint64_t kill_after_usec; /* UINT64_MAX: never */
        bool restart;
        bool start_on_demand; /* of "listen" */
        char **environment;   /* of --setenv=: "NAME=VALUE", with a NULL at the end; NULL: none */
        size_t n_environment;

        /* Of "relay". */
        ProxyProtocol proxy_protocol;
        uint64_t exit_idle_usec; /* 0: never */

        uint64_t given; /* a bit for each option of the table in options.c */

        uint8_t ports[(UINT16_MAX + 1) / 8]; /* of --port=: a bit for each */

        char **command; /* the arguments after "--", with a NULL at the end; NULL: there is no "--" */

        sd_bus *bus; /* NULL before context_connect() */
} Context;

/* Whether the port was given with --port=. */
static inline bool context_has_port(const Context *c, uint16_t port) {
        return (c->ports[port / 8] >> (port % 8) & 1) != 0;
}
