/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/wait-server.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/clock.h"
#include "base/episode.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/socket.h"
#include "ctl/cli/message.h"
#include "ctl/serve/exit-log.h"
#include "ctl/serve/notify.h"
#include "ctl/serve/signals.h"

/* Until the next start, so that a COMMAND which leaves the connections in the queue does not run all the
 * time. Without a failure it may only be slower than its peers, and the pause is short. */
#define PAUSE_USEC (UINT64_C(50) * 1000)
#define PAUSE_AFTER_FAILURE_USEC (UINT64_C(1000) * 1000)
/* When memory or descriptors are short. */
#define RETRY_USEC (UINT64_C(100) * 1000)
/* So many ends in a row with a queue that is no shorter: COMMAND seems not to accept. */
#define IDLE_ENDS_MAX 10
/* The message about it is printed again after a time without such ends. */
#define IDLE_QUIET_USEC (UINT64_C(60) * 1000 * 1000)

typedef struct WaitServer WaitServer;

typedef struct WaitPort {
        WaitServer *server;
        int fd;    /* of the lease */
        int flags; /* of the open file, which COMMAND can change for all copies */
        uint16_t number;
        pid_t pid; /* 0: no process runs */
        uint64_t started_usec;
        uint32_t n_queued;         /* when the process was started */
        unsigned n_idle_ends;      /* in a row */
        sd_event_source *readable; /* enabled while no process runs, for one event */
        sd_event_source *child;
        sd_event_source *timer;
} WaitPort;

struct WaitServer {
        const Context *context;
        const Command *command;
        Lease *lease;
        sd_event *event;
        ExitLog *exits;
        WaitPort *ports;
        size_t n_ports;
        Episode idle;
        int ending; /* the signal, or 0 */
        bool lost;
};

static bool is_ending(const WaitServer *s) {
        return s->ending != 0 || s->lost;
}

static const char *describe(const WaitPort *p, char buffer[static EXIT_LOG_PEER_MAX]) {
        (void) snprintf(buffer, EXIT_LOG_PEER_MAX, _("port %u"), p->number);
        return buffer;
}

static void exit_if_idle(WaitServer *s) {
        for (size_t i = 0; i < s->n_ports; i++)
                if (s->ports[i].pid > 0)
                        return;

        if (is_ending(s))
                (void) sd_event_exit(s->event, 0);
}

static void set_timer(WaitPort *p, uint64_t usec) {
        int r;

        r = sd_event_source_set_time_relative(p->timer, usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
        if (r < 0)
                (void) sd_event_exit(p->server->event,
                                     message_error(r, _("Failed to set a timer: %s."), strerror(-r)));
}

/* Returns how long to wait before the next process is started. */
static uint64_t judge_end(WaitPort *p, const siginfo_t *info) {
        WaitServer *s = p->server;
        bool failed = info->si_code != CLD_EXITED || info->si_status != 0;
        uint32_t n_queued = socket_count_queued(p->fd);

        if (n_queued == 0 || n_queued < p->n_queued) {
                p->n_idle_ends = 0;
                return 0;
        }

        if (++p->n_idle_ends >= IDLE_ENDS_MAX &&
            episode_add_failure(&s->idle, clock_get_usec(), IDLE_QUIET_USEC))
                message_info(_("COMMAND ends, but connections still wait at port %u; with --wait it has to accept "
                               "them from its standard input."),
                             p->number);
        return failed ? PAUSE_AFTER_FAILURE_USEC : PAUSE_USEC;
}

static int on_exit_of_command(sd_event_source *source, const siginfo_t *info, void *userdata) {
        char what[EXIT_LOG_PEER_MAX];
        WaitPort *p = userdata;
        uint64_t usec;

        exit_log_add_end(p->server->exits, info, p->started_usec, describe(p, what));
        if (p->server->command->own_group)
                command_kill(p->server->command, p->pid, SIGTERM);
        p->child = sd_event_source_disable_unref(p->child);
        p->pid = 0;
        if (is_ending(p->server)) {
                exit_if_idle(p->server);
                return 0;
        }

        usec = judge_end(p, info);
        if (usec > 0)
                set_timer(p, usec);
        else
                (void) sd_event_source_set_enabled(p->readable, SD_EVENT_ONESHOT);
        return 0;
}

/* On a shortage it is watched later: until then a child that has ended remains a zombie. */
static void watch_process(WaitPort *p) {
        WaitServer *s = p->server;
        int r;

        r = sd_event_add_child(s->event, &p->child, p->pid, WEXITED, on_exit_of_command, p);
        if (r >= 0)
                return;

        message_shortage(r, strerror(-r));
        set_timer(p, RETRY_USEC);
}

static void start(WaitPort *p) {
        CommandInput input = { .fds = &p->fd, .n_fds = 1, .inetd = true, .ends_with_tool = true };
        char what[EXIT_LOG_PEER_MAX];
        WaitServer *s = p->server;
        int r;

        (void) fcntl(p->fd, F_SETFL, p->flags);
        p->n_queued = socket_count_queued(p->fd);
        p->started_usec = clock_get_usec();
        r = command_start(s->command, &input, &p->pid);
        if (r < 0) {
                p->pid = 0;
                message_shortage(r, strerror(-r));
                set_timer(p, RETRY_USEC);
                return;
        }

        exit_log_add_start(s->exits, p->pid, describe(p, what));
        watch_process(p);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        WaitPort *p = userdata;

        if (p->pid > 0)
                watch_process(p);
        else if (!is_ending(p->server))
                (void) sd_event_source_set_enabled(p->readable, SD_EVENT_ONESHOT);
        return 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        WaitPort *p = userdata;

        /* The service has revoked the socket. */
        if (revents & (EPOLLHUP | EPOLLERR))
                lease_source_ended(p->server->lease);
        else
                start(p);
        return 0;
}

static void kill_all(const WaitServer *s, int signal_number) {
        for (size_t i = 0; i < s->n_ports; i++)
                if (s->ports[i].pid > 0)
                        command_kill(s->command, s->ports[i].pid, signal_number);
}

static int on_kill(sd_event_source *source, uint64_t usec, void *userdata) {
        message_info(_("Processes of COMMAND have not ended in time and are killed; see --kill-after=."));
        kill_all(userdata, SIGKILL);
        return 0;
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        const WaitServer *s = userdata;

        for (size_t i = 0; i < s->n_ports; i++)
                if (s->ports[i].pid > 0) {
                        command_print_wait(s->ports[i].pid, s->lost ? SIGTERM : s->ending);
                        break;
                }
        return 0;
}

/* Starts no process from now on. */
static void stop(WaitServer *s) {
        exit_log_finish(s->exits);
        for (size_t i = 0; i < s->n_ports; i++)
                (void) sd_event_source_set_enabled(s->ports[i].readable, SD_EVENT_OFF);
        lease_close(s->lease);
        if (!s->command->own_group)
                return;
        if (s->context->kill_after_usec != UINT64_MAX)
                (void) sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC,
                                                  s->context->kill_after_usec, 0, on_kill, s);
        if (s->context->kill_after_usec > COMMAND_PATIENCE_USEC)
                (void) sd_event_add_time_relative(s->event, NULL, CLOCK_MONOTONIC, COMMAND_PATIENCE_USEC, 0,
                                                  on_patience, s);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        WaitServer *s = userdata;

        /* As by a second Ctrl+C. */
        if (info->ssi_signo == SIGINT && s->ending != 0 && s->command->own_group)
                kill_all(s, SIGKILL);
        if (signal_ends((int) info->ssi_signo) && s->ending == 0) {
                s->ending = (int) info->ssi_signo;
                notify_stopping();
                stop(s);
        }

        for (size_t i = 0; i < s->n_ports; i++)
                if (s->ports[i].pid > 0)
                        command_forward(s->command, s->ports[i].pid, info);

        signal_stop(info);
        exit_if_idle(s);
        return 0;
}

/* A process may not notice that its socket accepts nothing more. */
static void on_lost(void *userdata) {
        WaitServer *s = userdata;

        s->lost = true;
        stop(s);
        kill_all(s, SIGTERM);
        exit_if_idle(s);
}

static int add_port(WaitServer *s, size_t i) {
        WaitPort *p = s->ports + i;
        int r;

        *p = (WaitPort) {
                .server = s,
                .fd = lease_get_sockets(s->lease)[i],
                .number = lease_get_port(s->lease, i),
        };
        s->n_ports++;

        p->flags = fcntl(p->fd, F_GETFL);
        if (p->flags < 0)
                return -errno;
        r = sd_event_add_io(s->event, &p->readable, p->fd, EPOLLIN, on_readable, p);
        if (r >= 0)
                r = sd_event_source_set_enabled(p->readable, SD_EVENT_ONESHOT);
        if (r >= 0)
                r = sd_event_add_time(s->event, &p->timer, CLOCK_MONOTONIC, 0, 0, on_timer, p);
        return r < 0 ? r : sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
}

static int watch(WaitServer *s) {
        size_t n = lease_get_n(s->lease);
        int r;

        s->ports = calloc(n, sizeof(*s->ports));
        if (!s->ports)
                return message_oom();

        r = sd_event_default(&s->event);
        if (r >= 0)
                r = exit_log_new(s->event, &s->exits);
        if (r >= 0)
                r = signals_add(s->event, on_signal, s);
        for (size_t i = 0; i < n && r >= 0; i++)
                r = add_port(s, i);
        if (r < 0)
                return message_error(r, _("Failed to wait for connections: %s."), strerror(-r));

        r = lease_start(s->lease, s->event, on_lost, s);
        if (r >= 0)
                notify_ready(s->event, s->lease);
        return r;
}

static int run(WaitServer *s) {
        int r;

        r = watch(s);
        if (r < 0)
                return r;

        r = sd_event_loop(s->event);
        if (r < 0)
                return message_error(r, _("Failed to wait for events: %s."), strerror(-r));

        return s->ending != 0 ? s->ending : -ECONNRESET;
}

static void wait_server_done(WaitServer *s) {
        for (size_t i = 0; i < s->n_ports; i++) {
                sd_event_source_disable_unref(s->ports[i].readable);
                sd_event_source_disable_unref(s->ports[i].child);
                sd_event_source_disable_unref(s->ports[i].timer);
        }
        free(s->ports);
        (void) exit_log_free(s->exits);
        lease_close(s->lease);
        sd_event_unref(s->event);
}

int wait_server_run(const Context *c, const Command *command, Lease *lease) {
        WaitServer s = { .context = c, .command = command, .lease = lease };
        int r;

        r = run(&s);
        wait_server_done(&s);
        return r;
}
