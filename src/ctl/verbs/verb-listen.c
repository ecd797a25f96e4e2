/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen": one process of COMMAND gets the listening sockets, as from socket activation. With --accept:
 * accept.c. */

#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/serve/accept.h"
#include "ctl/serve/command.h"
#include "ctl/serve/signals.h"
#include "ctl/service/lease.h"
#include "ctl/verbs/verbs.h"

typedef struct Server {
        Command command;
        Lease *lease;
        sd_event *event;
        pid_t pid;
        int ended_by; /* the signal, or 0 */
        bool lost;
} Server;

DEFINE_CLEANUP(Lease, lease_free)

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Server *s = userdata;

        signal_forward(info, s->pid);
        signal_stop(info);
        return 0;
}

static int on_exit_of_command(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Server *s = userdata;

        if (info->si_code != CLD_EXITED)
                s->ended_by = info->si_status;
        return sd_event_exit(s->event, info->si_code == CLD_EXITED ? info->si_status : 0);
}

/* The socket is closed by the service, which COMMAND may not notice. */
static void on_lost(void *userdata) {
        Server *s = userdata;

        s->lost = true;
        (void) kill(s->pid, SIGTERM);
}

/* Names the sockets by the option --name, or by their ports, so that a program can tell several apart. */
static char *make_names(const Context *c, const Lease *h) {
        const char *name = options_find_listen(c, "name");
        char *names = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&names, &size);
        if (!f)
                return NULL;

        for (size_t i = 0; i < lease_get_n(h); i++) {
                if (i > 0)
                        (void) fputc(':', f);
                if (name && *name != '\0' && !strchr(name, ':'))
                        (void) fputs(name, f);
                else
                        (void) fprintf(f, "%u", lease_get_port(h, i));
        }

        return text_finish(f, &names);
}

static int start(Server *s, const Context *c) {
        _cleanup_free_ char *names = NULL;
        CommandInput input;
        int r;

        names = make_names(c, s->lease);
        if (!names)
                return message_oom();

        input = (CommandInput) {
                .fds = lease_get_sockets(s->lease),
                .n_fds = lease_get_n(s->lease),
                .names = names,
                .keeps_input = true,
                .ends_with_tool = true,
        };
        r = command_start(&s->command, &input, &s->pid);
        if (r >= 0)
                r = sd_event_add_child(s->event, NULL, s->pid, WEXITED, on_exit_of_command, s);
        return r < 0 ? message_error(r, _("Failed to start a process: %s."), strerror(-r)) : 0;
}

static int serve(Server *s, const Context *c) {
        int r;

        r = sd_event_default(&s->event);
        if (r >= 0)
                r = signals_add(s->event, on_signal, s);
        if (r < 0)
                return message_error(r, _("Failed to wait for signals: %s."), strerror(-r));

        r = lease_start(s->lease, s->event, on_lost, s);
        if (r < 0)
                return r;

        r = start(s, c);
        if (r < 0)
                return r;

        r = sd_event_loop(s->event);
        if (r < 0)
                return message_error(r, _("Failed to wait for events: %s."), strerror(-r));

        return s->lost ? -ECONNRESET : r;
}

static int take_sockets(Lease *h, int argc, char *argv[]) {
        for (int i = 1; i < argc; i++) {
                _cleanup_(endpoint_done) Endpoint endpoint = {};
                int r;

                r = endpoint_parse(argv[i], &endpoint);
                if (r >= 0)
                        r = lease_take_socket(h, &endpoint);
                if (r < 0)
                        return r;
        }
        return 0;
}

int verb_listen(int argc, char *argv[], Context *c) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        Server s = {};
        int r;

        if (!c->command || !c->command[0])
                return message_error(-EINVAL, _("Missing command to run; write it after \"--\"."));

        command_init(&s.command, c->command);
        r = command_check(&s.command);
        if (r != 0)
                return r;

        if (c->accept || c->inetd)
                return accept_connections(argc, argv, c, &s.command);
        if (c->max_connections > 0 || c->max_connections_per_source > 0)
                return message_error(-EINVAL, _("COMMAND accepts connections itself; limits need --accept."));

        r = lease_new(c, &lease);
        if (r < 0)
                return r;
        r = take_sockets(lease, argc, argv);
        if (r < 0)
                return r;

        s.lease = lease;
        r = serve(&s, c);
        lease_close(lease);
        sd_event_unref(s.event);
        if (r == 0 && s.ended_by != 0)
                signal_end_self(s.ended_by);
        return r;
}
