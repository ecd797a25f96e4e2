/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/server.h"

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/signals.h"

struct Server {
        const Command *command;
        sd_event *event;
        pid_t pid;    /* 0: not started */
        int ended_by; /* the signal, or 0 */
        bool lost;
};

DEFINE_CLEANUP(Server, server_free)

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Server *s = userdata;

        if (s->pid > 0)
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

int server_new(const Command *command, Server **ret) {
        _cleanup_(server_freep) Server *s = NULL;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return message_oom();

        s->command = command;
        r = sd_event_default(&s->event);
        if (r >= 0)
                r = signals_add(s->event, on_signal, s);
        if (r < 0)
                return message_error(r, _("Failed to wait for signals: %s."), strerror(-r));

        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;

        sd_event_unref(s->event);
        free(s);
        return NULL;
}

sd_event *server_get_event(Server *s) {
        return s->event;
}

int server_start(Server *s, const CommandInput *input) {
        int r;

        r = command_start(s->command, input, &s->pid);
        if (r >= 0)
                r = sd_event_add_child(s->event, NULL, s->pid, WEXITED, on_exit_of_command, s);
        return r < 0 ? message_error(r, _("Failed to start a process: %s."), strerror(-r)) : 0;
}

void server_lose(Server *s) {
        s->lost = true;
        if (s->pid > 0)
                (void) kill(s->pid, SIGTERM);
}

int server_run(Server *s) {
        int r;

        r = sd_event_loop(s->event);
        if (r < 0)
                return message_error(r, _("Failed to wait for events: %s."), strerror(-r));

        return s->lost ? -ECONNRESET : r;
}

void server_repeat_signal(const Server *s) {
        if (s->ended_by != 0)
                signal_end_self(s->ended_by);
}
