/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/server.h"

#include <assert.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/notify.h"
#include "ctl/serve/signals.h"
#include "ctl/service/process.h"

/* A process that does not end by SIGKILL in this time belongs to another user, or hangs in the kernel. */
#define GIVE_UP_USEC (UINT64_C(10) * 1000 * 1000)

typedef enum ServerState {
        SERVER_IDLE, /* there is no process */
        SERVER_RUNNING,
        SERVER_STOPPING, /* all processes got SIGTERM; the first one may have ended */
        SERVER_KILLING,  /* all processes got SIGKILL */
} ServerState;

struct Server {
        const Context *context;
        const Command *command;
        sd_event *event;
        NotifyProxy *proxy;     /* NULL: no service manager waits for messages */
        sd_event_source *timer; /* ends the states SERVER_STOPPING and SERVER_KILLING */
        ServerState state;
        pid_t pid;    /* the first process; 0: it has ended */
        int status;   /* its exit status */
        int ended_by; /* the signal, or 0 */
        bool lost;
};

DEFINE_CLEANUP(Server, server_free)

static bool ends_group(const Server *s) {
        return s->context->kill_mode == KILL_MODE_GROUP;
}

/* ------------------------------------------------------------------------------------- the processes' end */

/* Returns the processes that the signals which end COMMAND are for. */
static int list_processes(const Server *s, pid_t **ret) {
        int r = -EINVAL;

        if (ends_group(s))
                r = process_list_descendants(getpid(), ret);
        if (r >= 0)
                return r;

        *ret = malloc(sizeof(**ret));
        if (!*ret || s->pid == 0)
                return 0;
        **ret = s->pid;
        return 1;
}

static void send_to_all(const Server *s, int signal_number) {
        _cleanup_free_ pid_t *pids = NULL;
        int n = list_processes(s, &pids);

        for (int i = 0; i < n; i++) {
                (void) kill(pids[i], signal_number);
                /* A stopped process gets the signal when it continues. */
                (void) kill(pids[i], SIGCONT);
        }
}

static void forward_to_all(const Server *s, const struct signalfd_siginfo *info) {
        _cleanup_free_ pid_t *pids = NULL;
        int n = list_processes(s, &pids);

        for (int i = 0; i < n; i++)
                signal_forward(info, pids[i]);
}

static void arm_timer(Server *s, uint64_t usec) {
        if (sd_event_source_set_time_relative(s->timer, usec) >= 0)
                (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

static void stop(Server *s) {
        send_to_all(s, SIGTERM);
        if (s->state != SERVER_RUNNING || !ends_group(s))
                return;

        s->state = SERVER_STOPPING;
        if (s->context->kill_after_usec != UINT64_MAX)
                arm_timer(s, s->context->kill_after_usec);
}

static void kill_all(Server *s) {
        send_to_all(s, SIGKILL);
        s->state = SERVER_KILLING;
        arm_timer(s, GIVE_UP_USEC);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;

        if (s->state == SERVER_KILLING) {
                (void) message_error(-ETIMEDOUT, _("Failed to kill the processes of COMMAND."));
                return sd_event_exit(s->event, s->pid == 0 ? s->status : EXIT_FAILURE);
        }

        message_info(_("Processes of COMMAND have not ended in time and are killed; see --kill-after=."));
        kill_all(s);
        return 0;
}

static int finish(Server *s) {
        s->state = SERVER_IDLE;
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        return sd_event_exit(s->event, s->status);
}

/* Returns true if there are other children: those of COMMAND that have lost their parents. */
static bool reap(Server *s) {
        siginfo_t info;

        for (;;) {
                info = (siginfo_t) {};
                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0) {
                        if (errno == EINTR)
                                continue;
                        return false;
                }
                if (info.si_pid == 0)
                        return true;
                if (info.si_pid == s->pid) {
                        s->pid = 0;
                        s->status = info.si_code == CLD_EXITED ? info.si_status : 0;
                        s->ended_by = info.si_code == CLD_EXITED ? 0 : info.si_status;
                }
        }
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *unused, void *userdata) {
        Server *s = userdata;
        bool others = reap(s) && ends_group(s);

        if (s->state == SERVER_IDLE || s->pid > 0)
                return 0;
        if (!others)
                return finish(s);

        if (s->state == SERVER_RUNNING)
                stop(s);
        else if (s->state == SERVER_KILLING)
                /* A child of a process may be younger than the list of processes. */
                send_to_all(s, SIGKILL);
        return 0;
}

/* The kernel delivers a signal with a lower number first: ^C arrives before the end of COMMAND that it
 * causes. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        int number = (int) info->ssi_signo;
        Server *s = userdata;

        if (signal_ends_server(number))
                notify_stopping();
        if (number == SIGTERM)
                stop(s);
        else if (number == SIGINT && s->pid == 0 && s->state == SERVER_STOPPING)
                kill_all(s);
        else if (signal_ends_server(number))
                forward_to_all(s, info);
        else if (s->pid > 0)
                signal_forward(info, s->pid);
        signal_stop(info);
        return 0;
}

/* ------------------------------------------------------------------------------------------- the object */

static int watch(Server *s) {
        int r;

        r = sd_event_default(&s->event);
        if (r >= 0)
                r = signals_add(s->event, on_signal, s);
        if (r >= 0)
                r = sd_event_add_signal(s->event, NULL, SIGCHLD, on_child, s);
        if (r >= 0)
                r = sd_event_add_time(s->event, &s->timer, CLOCK_MONOTONIC, 0, 0, on_timer, s);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        return r;
}

int server_new(const Context *c, const Command *command, Server **ret) {
        _cleanup_(server_freep) Server *s = NULL;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return message_oom();

        s->context = c;
        s->command = command;
        r = watch(s);
        if (r < 0)
                return message_error(r, _("Failed to wait for signals: %s."), strerror(-r));
        r = notify_proxy_new(s->event, &s->proxy);
        if (r < 0)
                return message_error(r, _("Failed to wait for messages of COMMAND: %s."), strerror(-r));
        if (ends_group(s))
                (void) prctl(PR_SET_CHILD_SUBREAPER, 1);

        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;

        notify_proxy_free(s->proxy);
        sd_event_source_disable_unref(s->timer);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

sd_event *server_get_event(Server *s) {
        return s->event;
}

int server_start(Server *s, const CommandInput *input, const Lease *lease) {
        CommandInput complete = *input;
        int r;

        assert(s->state == SERVER_IDLE);

        complete.notify_socket = notify_proxy_get_socket(s->proxy);
        r = command_start(s->command, &complete, &s->pid);
        if (r < 0)
                return message_error(r, _("Failed to start a process: %s."), strerror(-r));

        s->state = SERVER_RUNNING;
        notify_ready(s->event, lease);
        return 0;
}

void server_lose(Server *s) {
        s->lost = true;
        notify_stopping();
        stop(s);
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
