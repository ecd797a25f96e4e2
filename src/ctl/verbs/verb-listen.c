/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen": one process of COMMAND gets the listening sockets, as from socket activation. With --accept:
 * accept.c, with --wait: wait-server.c. */

#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/run/run.h"
#include "ctl/serve/accept-watch.h"
#include "ctl/serve/accept.h"
#include "ctl/serve/command.h"
#include "ctl/serve/server.h"
#include "ctl/serve/signals.h"
#include "ctl/serve/wait-server.h"
#include "ctl/service/lease.h"
#include "ctl/verbs/verbs.h"

DEFINE_CLEANUP(Lease, lease_free)
DEFINE_CLEANUP(AcceptWatch, accept_watch_free)
DEFINE_CLEANUP(Server, server_free)

static void on_lost(void *userdata) {
        server_lose(userdata);
}

static size_t count_names(const char *names) {
        size_t n = 1;

        for (; *names; names++)
                n += *names == ':';
        return n;
}

/* Names the sockets by --fd-name=, or by their ports, so that a program can tell several apart. */
static char *make_names(const Context *c, const Lease *h) {
        char *names = NULL;
        size_t size;
        FILE *f;

        if (c->fd_names && count_names(c->fd_names) > 1)
                return strdup(c->fd_names);

        f = open_memstream(&names, &size);
        if (!f)
                return NULL;

        for (size_t i = 0; i < lease_get_n(h); i++) {
                if (i > 0)
                        (void) fputc(':', f);
                if (c->fd_names)
                        (void) fputs(c->fd_names, f);
                else
                        (void) fprintf(f, "%u", lease_get_port(h, i));
        }

        return text_finish(f, &names);
}

static int start(Server *s, const char *names, Lease *lease) {
        return server_start(s,
                            &(CommandInput) {
                                            .fds = lease_get_sockets(lease),
                                            .n_fds = lease_get_n(lease),
                                            .names = names,
                                            .keeps_input = true,
                                            .ends_with_tool = true,
                            },
                            lease);
}

static int take_sockets(const Context *c, Lease *h, int argc, char *argv[]) {
        _cleanup_(endpoints_done) Endpoints endpoints = {};
        int r;

        r = endpoints_parse(argv + 1, (size_t) argc - 1, !options_find_listen(c, "ipv6Only"), &endpoints);
        if (r >= 0 && c->fd_names && count_names(c->fd_names) > 1 && count_names(c->fd_names) != endpoints.n)
                r = message_error(-EINVAL,
                                  _("Option --fd-name= has %zu names for %zu ports; give one name for all "
                                    "ports, or one for each."),
                                  count_names(c->fd_names), endpoints.n);
        for (size_t i = 0; i < endpoints.n && r >= 0; i++)
                r = lease_take_socket(h, endpoints.items + i);
        return r;
}

int verb_run(int argc, char *argv[], Context *c) {
        Command command;
        int r;

        if (!c->command || !c->command[0])
                return message_error(-EINVAL, _("Missing command to run."));

        c->label = basename(c->command[0]);
        command_init(&command, c->command, c->environment);
        r = command_check(&command);
        return r != 0 ? r : run_command(c, &command);
}

/* Options for a COMMAND that accepts the connections itself. */
static int check_accept(const Context *c) {
        static const char *const others[] = { "restart", "start-on-demand" };

        for (size_t i = 0; i < ELEMENTS(others); i++)
                if (options_is_given(c, others[i]))
                        return message_error(-EINVAL, _("Option --%s cannot be combined with --%s."),
                                             others[i], c->inetd ? "inetd" : "accept");
        if (c->inetd && c->fd_names)
                return message_error(-EINVAL, _("Option --%s cannot be combined with --%s."), "fd-name",
                                     "inetd");
        if (c->fd_names && count_names(c->fd_names) > 1)
                return message_error(-EINVAL,
                                     _("With --accept, option --fd-name= can have one name only, that "
                                       "of the connection."));
        return 0;
}

int verb_listen(int argc, char *argv[], Context *c) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        _cleanup_(server_freep) Server *server = NULL;
        _cleanup_(accept_watch_freep) AcceptWatch *watch = NULL;
        _cleanup_free_ char *names = NULL;
        Command command;
        int r;

        if (!c->command || !c->command[0])
                return message_error(-EINVAL, _("Missing command to run; write it after \"--\"."));

        c->label = basename(c->command[0]);
        command_init(&command, c->command, c->environment);
        r = command_check(&command);
        if (r != 0)
                return r;

        if (c->accept) {
                /* They do not use the terminal. */
                command.own_group = c->kill_mode == KILL_MODE_GROUP;
                r = check_accept(c);
                if (r < 0)
                        return r;
        }
        if (c->wait && !c->inetd)
                return message_error(-EINVAL, _("Option --wait needs --inetd."));
        if (c->accept && !c->wait)
                return accept_connections(argc, argv, c, &command);
        if (c->max_connections > 0 || c->max_connections_per_source > 0)
                return message_error(-EINVAL,
                                     _("COMMAND accepts connections itself, so --%s= is not possible; use "
                                       "--accept, or --inetd without --wait."),
                                     c->max_connections > 0 ? "max-connections"
                                                            : "max-connections-per-source");

        r = lease_new(c, &lease);
        if (r >= 0)
                r = take_sockets(c, lease, argc, argv);
        if (r >= 0 && c->wait) {
                r = wait_server_run(c, &command, lease);
                if (r > 0)
                        signal_end_self(r);
                return r;
        }
        if (r >= 0)
                r = server_new(c, &command, &server);
        if (r >= 0)
                r = lease_start(lease, server_get_event(server), on_lost, server);
        if (r >= 0) {
                names = make_names(c, lease);
                r = names ? start(server, names, lease) : message_oom();
        }
        /* COMMAND works as well without it. */
        if (r >= 0 && accept_watch_new(server_get_event(server), false, &watch) >= 0)
                for (size_t i = 0; i < lease_get_n(lease); i++)
                        (void) accept_watch_add(watch, lease_get_sockets(lease)[i], lease_get_port(lease, i));
        if (r >= 0)
                r = server_run(server);
        if (lease)
                lease_close(lease);
        if (r >= 0)
                server_repeat_signal(server);
        return r;
}
