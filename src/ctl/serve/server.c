/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/server.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/socket.h"
#include "ctl/cli/message.h"
#include "ctl/serve/notify.h"
#include "ctl/serve/signals.h"
#include "ctl/service/process.h"

/* A process that does not end by SIGKILL in this time belongs to another user, or hangs in the kernel. */
#define GIVE_UP_USEC (UINT64_C(10) * 1000 * 1000)

/* As RestartSec=, StartLimitBurst= and StartLimitIntervalSec= of systemd. */
#define RESTART_USEC (UINT64_C(100) * 1000)
#define STARTS_MAX 5
#define STARTS_USEC (UINT64_C(10) * 1000 * 1000)
/* A COMMAND that fails so early may not know how to get its sockets. */
#define EARLY_USEC (UINT64_C(5) * 1000 * 1000)

/* A COMMAND that has bound no port by then may never do so. */
#define READY_USEC (UINT64_C(5) * 1000 * 1000)

typedef enum ServerState {
        SERVER_IDLE,      /* there is no process, and none will be started */
        SERVER_DELAYED,   /* there is none for RESTART_USEC */
        SERVER_ON_DEMAND, /* there is none before the next connection */
        SERVER_RUNNING,
        SERVER_STOPPING, /* all processes got SIGTERM; the first one may have ended */
        SERVER_KILLING,  /* all processes got SIGKILL */
} ServerState;

typedef struct ServerPort {
        int fd;    /* a copy of the socket, because an event loop can have only one source for the original */
        int flags; /* of the open file, which COMMAND can change for all copies */
        sd_event_source *source;
} ServerPort;

struct Server {
        const Context *context;
        const Command *command;
        CommandInput input;
        Lease *lease;
        int (*start_handler)(void *userdata);
        void *userdata;
        sd_event *event;
        NotifyProxy *proxy;     /* NULL: no service manager waits for messages */
        sd_event_source *timer; /* ends the states SERVER_DELAYED, SERVER_STOPPING and SERVER_KILLING; the
                                   message */
        ServerPort *ports;      /* of the sockets of COMMAND */
        size_t n_ports;
        ServerState state;
        pid_t pid;                   /* the first process; 0: it has ended */
        int status;                  /* its exit status */
        int ended_by;                /* the signal, or 0 */
        int last_signal;             /* that the processes got to end, or 0 */
        bool was_patient;            /* a message has told why the tool has not ended yet */
        uint64_t starts[STARTS_MAX]; /* the times of the last ones, in a ring */
        unsigned n_starts;
        sd_event_source *ready_timer; /* NULL: the service manager was told */
        bool had_connection;          /* since the last start */
        bool was_hung_up;             /* SIGHUP since the last start */
        bool ends;                    /* the tool was told to end */
        bool lost;
};

DEFINE_CLEANUP(Server, server_free)

static bool ends_group(const Server *s) {
        return s->context->kill_mode == KILL_MODE_GROUP;
}

/* ------------------------------------------------------------------------------------- the processes' end */

/* Returns the other processes that the signals which end COMMAND are for. */
static int list_others(const Server *s, pid_t **ret) {
        return ends_group(s) ? process_list_descendants(getpid(), ret) : 0;
}

static void send_to_one(pid_t pid, int signal_number) {
        (void) kill(pid, signal_number);
        /* A stopped process gets the signal when it continues. */
        (void) kill(pid, SIGCONT);
}

/* The first process gets the signal even if /proc hides it. */
static void send_to_all(const Server *s, int signal_number) {
        _cleanup_free_ pid_t *pids = NULL;
        int n = list_others(s, &pids);

        if (s->pid > 0)
                send_to_one(s->pid, signal_number);
        for (int i = 0; i < n; i++)
                if (pids[i] != s->pid)
                        send_to_one(pids[i], signal_number);
}

static void forward_to_all(const Server *s, const struct signalfd_siginfo *info) {
        _cleanup_free_ pid_t *pids = NULL;
        int n = list_others(s, &pids);

        if (s->pid > 0)
                signal_forward(info, s->pid);
        for (int i = 0; i < n; i++)
                if (pids[i] != s->pid)
                        signal_forward(info, pids[i]);
}

static void arm_timer(Server *s, uint64_t usec) {
        if (sd_event_source_set_time_relative(s->timer, usec) >= 0)
                (void) sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

/* Waits for the processes to end, after the signal was sent. */
static void wait_for_end(Server *s, int signal_number) {
        s->last_signal = signal_number;
        if (!s->was_patient)
                arm_timer(s, COMMAND_PATIENCE_USEC);
}

static void stop(Server *s) {
        send_to_all(s, SIGTERM);
        if (s->state != SERVER_RUNNING)
                return;
        if (!ends_group(s)) {
                wait_for_end(s, SIGTERM);
                return;
        }

        s->state = SERVER_STOPPING;
        s->was_patient = s->context->kill_after_usec <= COMMAND_PATIENCE_USEC;
        arm_timer(s, MIN(s->context->kill_after_usec, COMMAND_PATIENCE_USEC));
}

static void kill_all(Server *s) {
        send_to_all(s, SIGKILL);
        s->state = SERVER_KILLING;
        arm_timer(s, GIVE_UP_USEC);
}

/* ---------------------------------------------------------------------------------------------- the start */

static void delay(Server *s) {
        s->state = SERVER_DELAYED;
        arm_timer(s, RESTART_USEC);
}

static int start_process(Server *s) {
        int r;

        for (size_t i = 0; i < s->n_ports; i++)
                (void) fcntl(s->ports[i].fd, F_SETFL, s->ports[i].flags);

        r = s->start_handler ? s->start_handler(s->userdata) : 0;
        if (r < 0)
                return r;

        r = command_start(s->command, &s->input, &s->pid);
        if (r < 0 && s->state != SERVER_IDLE && (r == -EAGAIN || r == -ENOMEM)) {
                message_shortage(r, strerror(-r));
                delay(s);
                return 0;
        }
        if (r < 0)
                return message_error(r, _("Failed to start a process: %s."), strerror(-r));

        s->state = SERVER_RUNNING;
        s->starts[s->n_starts++ % STARTS_MAX] = clock_get_usec();
        s->had_connection = s->was_hung_up = false;
        return 0;
}

/* Starts COMMAND, now or with the next connection. */
static int begin(Server *s) {
        int r = 0;

        if (s->context->start_on_demand)
                s->state = SERVER_ON_DEMAND;
        else
                r = start_process(s);
        if (r < 0)
                return r;

        for (size_t i = 0; i < s->n_ports; i++)
                (void) sd_event_source_set_enabled(s->ports[i].source, SD_EVENT_ONESHOT);
        if (s->n_ports > 0)
                notify_ready(s->event, s->lease);
        return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Server *s = userdata;

        if (s->state == SERVER_ON_DEMAND) {
                /* The service has revoked the socket. */
                if (revents & (EPOLLHUP | EPOLLERR))
                        lease_source_ended(s->lease);
                else if (start_process(s) < 0)
                        return sd_event_exit(s->event, EXIT_FAILURE);
        }
        s->had_connection = true;
        return 0;
}

/* ------------------------------------------------------------------------------------------------ the end */

static int end(Server *s) {
        s->state = SERVER_IDLE;
        return sd_event_exit(s->event, s->status);
}

/* Tells a user why the tool has not ended yet, and how to end it. */
static void print_patience(const Server *s) {
        _cleanup_free_ pid_t *pids = NULL;
        int n = list_others(s, &pids);
        pid_t last = s->pid > 0 ? s->pid : n > 0 ? pids[0] : 0;

        if (s->state == SERVER_STOPPING && last > 0)
                command_print_wait(last, SIGTERM);
        else if (s->pid > 0 && s->last_signal == SIGTERM)
                message_info(_("COMMAND has not ended after SIGTERM; \"kill -KILL %d\" kills it."), s->pid);
        else if (s->pid > 0)
                message_info(_("COMMAND has not ended after SIG%s; \"kill %d\" sends it SIGTERM."),
                             sigabbrev_np(s->last_signal), getpid());
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *s = userdata;

        switch (s->state) {

        case SERVER_DELAYED:
                return begin(s) < 0 ? sd_event_exit(s->event, EXIT_FAILURE) : 0;

        case SERVER_RUNNING:
                print_patience(s);
                s->was_patient = true;
                return 0;

        case SERVER_STOPPING:
                if (!TAKE(s->was_patient, true)) {
                        print_patience(s);
                        if (s->context->kill_after_usec != UINT64_MAX)
                                arm_timer(s, s->context->kill_after_usec - COMMAND_PATIENCE_USEC);
                        return 0;
                }
                message_info(_("Processes of COMMAND have not ended in time and are killed; see --kill-after=."));
                kill_all(s);
                return 0;

        case SERVER_KILLING:
                if (s->pid > 0)
                        s->status = EXIT_FAILURE;
                (void) message_error(-ETIMEDOUT, _("Failed to kill the processes of COMMAND."));
                return end(s);

        default:
                return 0;
        }
}

static bool has_queued(const Server *s) {
        for (size_t i = 0; i < s->n_ports; i++)
                if (socket_has_input(s->ports[i].fd))
                        return true;

        return false;
}

static bool is_early(const Server *s) {
        return s->n_ports > 0 && !s->ends &&
               clock_get_usec() < s->starts[(s->n_starts - 1) % STARTS_MAX] + EARLY_USEC;
}

/* COMMAND was executed, and has failed before it accepted a connection. */
static bool has_failed_early(const Server *s) {
        return is_early(s) && s->status != 0 && s->status != EXIT_NOT_FOUND && s->status != EXIT_CANNOT_RUN &&
               (!s->had_connection || has_queued(s));
}

/* Other processes live on, as of a daemon that ends its first process when it is ready. */
static bool has_left_early(const Server *s) {
        return is_early(s) && !ends_group(s) && s->status == 0 && s->ended_by == 0;
}

static bool is_over_limit(const Server *s) {
        return s->n_starts >= STARTS_MAX &&
               clock_get_usec() < s->starts[s->n_starts % STARTS_MAX] + STARTS_USEC;
}

/* A SIGHUP that ends COMMAND was meant for the tool as well, if it got one. */
static bool restarts(const Server *s) {
        return s->context->restart && !s->ends && !(s->ended_by == SIGHUP && s->was_hung_up);
}

/* Prints how COMMAND has ended, and the consequence. */
static void print_end(const Server *s, const char *consequence) {
        if (s->ended_by != 0)
                message_info(_("COMMAND was terminated by signal %s; %s"), sigabbrev_np(s->ended_by) ?: "?",
                             consequence);
        else
                message_info(_("COMMAND has ended with status %d; %s"), s->status, consequence);
}

static int finish(Server *s) {
        (void) sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
        s->was_patient = false;
        if (!restarts(s)) {
                if (has_failed_early(s))
                        print_end(s,
                                  _("does it take descriptor 3? Try \"tcpserversocketctl run\", see LISTENING in "
                                    "tcpserversocketctl(1)."));
                else if (has_left_early(s))
                        message_info(_("COMMAND has ended, which closes its ports; a server has to stay in the "
                                       "foreground."));
                return end(s);
        }

        if (is_over_limit(s)) {
                (void) message_error(
                                -ECANCELED,
                                _("COMMAND was started %d times within %d seconds and is not started again."),
                                STARTS_MAX, (int) (STARTS_USEC / 1000 / 1000));
                s->status = s->status ?: EXIT_FAILURE;
                return end(s);
        }

        print_end(s, s->context->start_on_demand ? _("it is started again with the next connection.")
                                                 : _("it is started again."));
        delay(s);
        return 0;
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
                        /* Keep-alives of COMMAND have ended. */
                        (void) sd_event_set_watchdog(s->event, true);
                        s->status = info.si_code == CLD_EXITED ? info.si_status : 0;
                        s->ended_by = info.si_code == CLD_EXITED ? 0 : info.si_status;
                }
        }
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *unused, void *userdata) {
        Server *s = userdata;
        bool others = reap(s) && ends_group(s);

        if (s->state < SERVER_RUNNING || s->pid > 0)
                return 0;
        if (!others)
                return finish(s);

        if (s->state == SERVER_RUNNING) {
                /* A daemon ends its first process when it is ready. */
                if (s->status == 0 && s->ended_by == 0 && !s->ends)
                        message_info(_("COMMAND has ended, and its other processes end with it; a server has to "
                                       "stay in the foreground."));
                stop(s);
        } else if (s->state == SERVER_KILLING)
                /* A child of a process may be younger than the list of processes. */
                send_to_all(s, SIGKILL);
        return 0;
}

/* COMMAND is not started again. */
static void set_ending(Server *s) {
        s->ends = true;
        notify_proxy_set_restarting(s->proxy, false);
}

/* The kernel delivers a signal with a lower number first: ^C arrives before the end of COMMAND that it
 * causes. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        int number = (int) info->ssi_signo;
        Server *s = userdata;

        if (signal_ends(number) && s->state < SERVER_RUNNING) {
                s->ended_by = number;
                s->status = 0;
                return end(s);
        }
        /* The terminal is gone; other processes send SIGHUP for another reason. */
        if (signal_ends_server(number) || (number == SIGHUP && info->ssi_code == SI_KERNEL))
                set_ending(s);
        else if (number == SIGHUP)
                s->was_hung_up = true;

        if (number == SIGTERM) {
                notify_stopping();
                stop(s);
        } else if (number == SIGINT && s->state == SERVER_STOPPING)
                kill_all(s);
        else if (signal_ends_server(number)) {
                forward_to_all(s, info);
                if (s->state == SERVER_RUNNING)
                        wait_for_end(s, number);
        } else if (s->pid > 0)
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
        notify_proxy_set_restarting(s->proxy, c->restart);
        if (ends_group(s))
                (void) prctl(PR_SET_CHILD_SUBREAPER, 1);

        *ret = TAKE_PTR(s);
        return 0;
}

Server *server_free(Server *s) {
        if (!s)
                return NULL;

        notify_proxy_free(s->proxy);
        for (size_t i = 0; i < s->n_ports; i++) {
                sd_event_source_disable_unref(s->ports[i].source);
                (void) close_fd(s->ports[i].fd);
        }
        free(s->ports);
        sd_event_source_disable_unref(s->ready_timer);
        sd_event_source_disable_unref(s->timer);
        sd_event_unref(s->event);
        free(s);
        return NULL;
}

sd_event *server_get_event(Server *s) {
        return s->event;
}

void server_set_start_handler(Server *s, int (*handler)(void *userdata), void *userdata) {
        s->start_handler = handler;
        s->userdata = userdata;
}

void server_set_ready(Server *s) {
        if (s->ready_timer)
                notify_ready(s->event, s->lease);
        else
                notify_addresses(s->lease);
        s->ready_timer = sd_event_source_disable_unref(s->ready_timer);
}

static int on_ready_time(sd_event_source *source, uint64_t usec, void *userdata) {
        server_set_ready(userdata);
        return 0;
}

static int add_port(Server *s, int fd) {
        ServerPort *port = s->ports + s->n_ports;
        int r;

        *port = (ServerPort) { .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3), .flags = fcntl(fd, F_GETFL) };
        if (port->fd < 0)
                return -errno;

        s->n_ports++;
        r = sd_event_add_io(s->event, &port->source, port->fd, EPOLLIN, on_connection, s);
        return r < 0 ? r : sd_event_source_set_enabled(port->source, SD_EVENT_OFF);
}

int server_start(Server *s, const CommandInput *input, Lease *lease) {
        int r = 0;

        assert(s->state == SERVER_IDLE && s->n_ports == 0);

        s->input = *input;
        s->input.notify_socket = notify_proxy_get_socket(s->proxy);
        s->lease = lease;
        s->ports = calloc(input->n_fds + 1, sizeof(*s->ports));
        if (!s->ports)
                return message_oom();
        for (size_t i = 0; i < input->n_fds && r >= 0; i++)
                r = add_port(s, input->fds[i]);
        if (r >= 0 && s->n_ports == 0)
                r = sd_event_add_time_relative(s->event, &s->ready_timer, CLOCK_MONOTONIC, READY_USEC, 0,
                                               on_ready_time, s);
        if (r < 0)
                return message_error(r, _("Failed to wait for connections: %s."), strerror(-r));

        return begin(s);
}

void server_lose(Server *s) {
        s->lost = true;
        set_ending(s);
        notify_stopping();
        if (s->state < SERVER_RUNNING)
                (void) end(s);
        else
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
