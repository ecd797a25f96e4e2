/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/accept.h"

#include <limits.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <time.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/serve/exit-log.h"
#include "ctl/serve/gate.h"
#include "ctl/serve/notify.h"
#include "ctl/serve/signals.h"
#include "ctl/service/connection-source.h"
#include "ctl/service/lease.h"

/* The connection, until the process has it, and the pidfd. */
#define JOB_DESCRIPTORS 2
/* So many connections are accepted before other events have a turn. */
#define BATCH 16
/* After a failure to start a process, and when memory or descriptors are short. */
#define RETRY_USEC (UINT64_C(100) * 1000)

typedef struct Acceptor Acceptor;

typedef struct Job {
        Acceptor *acceptor;
        Connection connection; /* its descriptor until the process has it */
        GateSource *source;
        pid_t pid;
        uint64_t started_usec;
        sd_event_source *child;
        TAILQ_ENTRY(Job) jobs;
} Job;

typedef struct Port {
        Acceptor *acceptor;
        ConnectionSource connections;
        sd_event_source *source;
} Port;

typedef TAILQ_HEAD(JobList, Job) JobList;

struct Acceptor {
        const Command *command;
        bool inetd;
        const char *fd_name;
        Lease *lease;
        sd_event *event;
        Gate *gate;
        ExitLog *exits;
        Port *ports;
        size_t n_ports;
        JobList running, unstarted;
        sd_event_source *retry; /* resumes the gate */
        uint64_t kill_after_usec;
        int ending; /* the signal, or 0 */
        bool lost;
};

/* Pauses the gate. update() arms the timer that tries again after RETRY_USEC. */
static void pause_and_retry(Acceptor *a, int error) {
        message_shortage(error, strerror(-error));
        gate_pause(a->gate);
}

static void job_free(Job *job) {
        sd_event_source_disable_unref(job->child);
        (void) close_fd(job->connection.fd);
        free(job);
}

static void port_close(Port *port) {
        port->source = sd_event_source_disable_unref(port->source);
        connection_source_done(&port->connections);
}

static void take_connections(Port *port, unsigned max) {
        Acceptor *a = port->acceptor;
        int r;

        r = gate_take(a->gate, &port->connections, max);
        if (r > 0 || (r == 0 && !a->lost))
                return;

        port_close(port);
        if (!a->lost)
                lease_source_ended(a->lease);
}

static bool has_ended(const Acceptor *a) {
        if (a->ending == 0 && !a->lost)
                return false;

        for (size_t i = 0; i < a->n_ports; i++)
                if (a->ports[i].connections.fd >= 0)
                        return false;

        return gate_get_entered(a->gate) == 0;
}

static int arm_retry(Acceptor *a) {
        int r;

        if (!gate_is_paused(a->gate) || sd_event_source_get_enabled(a->retry, NULL) > 0)
                return 0;

        r = sd_event_source_set_time_relative(a->retry, RETRY_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(a->retry, SD_EVENT_ONESHOT);
}

/* Called after each event: watches the sources only while a connection may be accepted. */
static void update(Acceptor *a) {
        int r;

        for (size_t i = 0; i < a->n_ports; i++) {
                /* The service has closed the channel: the event loop reports nothing more about it. */
                if (a->lost && a->ports[i].connections.fd >= 0)
                        take_connections(a->ports + i, UINT_MAX);
                if (a->ports[i].source)
                        (void) sd_event_source_set_enabled(a->ports[i].source,
                                                           gate_is_open(a->gate) ? SD_EVENT_ON
                                                                                 : SD_EVENT_OFF);
        }

        r = arm_retry(a);
        if (r < 0 || has_ended(a))
                (void) sd_event_exit(a->event, r);
}

static int on_exit_of_command(sd_event_source *source, const siginfo_t *info, void *userdata) {
        char peer[EXIT_LOG_PEER_MAX];
        Job *job = userdata;
        Acceptor *a = job->acceptor;

        if (a->command->own_group)
                command_kill(a->command, job->pid, SIGTERM);
        exit_log_add_end(a->exits, info, job->started_usec,
                         exit_log_format_peer(&job->connection.remote, peer));
        TAILQ_REMOVE(&a->running, job, jobs);
        gate_exit(a->gate, job->source);
        job_free(job);
        update(a);
        return 0;
}

/* On a shortage it is watched later: until then a child that has ended remains a zombie. */
static void watch_job(Job *job) {
        Acceptor *a = job->acceptor;
        int r;

        r = sd_event_add_child(a->event, &job->child, job->pid, WEXITED, on_exit_of_command, job);
        if (r < 0 && errno_is_transient(r))
                pause_and_retry(a, r);
        else if (r < 0)
                (void) sd_event_exit(a->event,
                                     message_error(r, _("Failed to wait for a process: %s."), strerror(-r)));
}

static void start_job(Job *job) {
        Acceptor *a = job->acceptor;
        char peer[EXIT_LOG_PEER_MAX];
        Address local;
        CommandInput input = {
                .fds = &job->connection.fd,
                .n_fds = 1,
                .names = a->fd_name,
                .remote = &job->connection.remote,
                .local = &local,
                .inetd = a->inetd,
        };
        int r;

        r = connection_get_local(&job->connection, &local);
        if (r >= 0)
                r = command_start(a->command, &input, &job->pid);
        if (r < 0) {
                TAILQ_INSERT_HEAD(&a->unstarted, job, jobs);
                pause_and_retry(a, r);
                return;
        }

        job->connection.fd = close_fd(job->connection.fd);
        job->started_usec = clock_get_usec();
        TAILQ_INSERT_TAIL(&a->running, job, jobs);
        exit_log_add_start(a->exits, job->pid, exit_log_format_peer(&job->connection.remote, peer));
        watch_job(job);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Acceptor *a = userdata;
        Job *job;

        gate_resume(a->gate);
        TAILQ_FOREACH(job, &a->running, jobs)
                if (!job->child && !gate_is_paused(a->gate))
                        watch_job(job);
        while (!gate_is_paused(a->gate) && (job = TAILQ_FIRST(&a->unstarted))) {
                TAILQ_REMOVE(&a->unstarted, job, jobs);
                start_job(job);
        }
        update(a);
        return 0;
}

static void on_enter(const Connection *connection, GateSource *source, void *userdata) {
        Acceptor *a = userdata;
        Job *job;

        job = malloc(sizeof(*job));
        if (!job) {
                (void) close_fd(connection->fd);
                (void) sd_event_exit(a->event, message_oom());
                return;
        }

        *job = (Job) { .acceptor = a, .connection = *connection, .source = source };
        /* Jobs that wait already come first. */
        if (gate_is_paused(a->gate))
                TAILQ_INSERT_TAIL(&a->unstarted, job, jobs);
        else
                start_job(job);
        if (gate_begin_full(a->gate))
                gate_print_full(a->gate);
}

static int on_connections(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Port *port = userdata;

        take_connections(port, BATCH);
        update(port->acceptor);
        return 0;
}

static void kill_all(Acceptor *a) {
        Job *job;

        TAILQ_FOREACH(job, &a->running, jobs)
                command_kill(a->command, job->pid, SIGKILL);
}

static int on_kill(sd_event_source *source, uint64_t usec, void *userdata) {
        message_info(_("Processes of COMMAND have not ended in time and are killed; see --kill-after=."));
        kill_all(userdata);
        return 0;
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata) {
        const Acceptor *a = userdata;

        if (!TAILQ_EMPTY(&a->running))
                command_print_wait(TAILQ_FIRST(&a->running)->pid, a->ending);
        return 0;
}

static void stop(Acceptor *a, int signal_number) {
        Job *job;

        if (a->ending != 0)
                return;

        a->ending = signal_number;
        notify_stopping();
        exit_log_finish(a->exits);
        gate_drop_held(a->gate);
        while ((job = TAILQ_FIRST(&a->unstarted))) {
                TAILQ_REMOVE(&a->unstarted, job, jobs);
                gate_exit(a->gate, job->source);
                job_free(job);
        }
        for (size_t i = 0; i < a->n_ports; i++)
                port_close(a->ports + i);
        lease_close(a->lease);
        if (!a->command->own_group)
                return;
        if (a->kill_after_usec != UINT64_MAX)
                (void) sd_event_add_time_relative(a->event, NULL, CLOCK_MONOTONIC, a->kill_after_usec, 0,
                                                  on_kill, a);
        if (a->kill_after_usec > COMMAND_PATIENCE_USEC)
                (void) sd_event_add_time_relative(a->event, NULL, CLOCK_MONOTONIC, COMMAND_PATIENCE_USEC, 0,
                                                  on_patience, a);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Acceptor *a = userdata;
        Job *job;

        /* As by a second Ctrl+C. */
        if (info->ssi_signo == SIGINT && a->ending != 0 && a->command->own_group)
                kill_all(a);
        if (signal_ends((int) info->ssi_signo))
                stop(a, (int) info->ssi_signo);

        TAILQ_FOREACH(job, &a->running, jobs)
                command_forward(a->command, job->pid, info);

        signal_stop(info);
        update(a);
        return 0;
}

/* Connections in a channel have been delivered: only this process has them, and serves them before it
 * ends. */
static void on_lost(void *userdata) {
        Acceptor *a = userdata;

        gate_print_entered(a->gate);
        a->lost = true;
        /* Frees the other ports; nothing more is put into their channels. */
        lease_close(a->lease);
        for (size_t i = 0; i < a->n_ports; i++)
                if (!a->ports[i].connections.is_channel)
                        port_close(a->ports + i);
        update(a);
}

static int take_ports(Acceptor *a, const Context *c, int argc, char *argv[]) {
        _cleanup_(endpoints_done) Endpoints endpoints = {};
        int r;

        r = endpoints_parse(argv + 1, (size_t) argc - 1, !options_find_listen(c, "ipv6Only"), &endpoints);
        if (r < 0)
                return r;
        a->ports = calloc(endpoints.n, sizeof(*a->ports));
        if (!a->ports)
                return message_oom();

        for (size_t i = 0; i < endpoints.n; i++) {
                Port *port = a->ports + a->n_ports;

                r = lease_take_connections(a->lease, endpoints.items + i, false, &port->connections);
                if (r < 0)
                        return r;
                port->acceptor = a;
                a->n_ports++;
        }
        return 0;
}

static int watch(Acceptor *a) {
        int r;

        r = sd_event_default(&a->event);
        if (r >= 0)
                r = exit_log_new(a->event, &a->exits);
        if (r >= 0)
                r = signals_add(a->event, on_signal, a);
        if (r >= 0)
                r = sd_event_add_time(a->event, &a->retry, CLOCK_MONOTONIC, 0, 0, on_retry, a);
        if (r >= 0)
                r = sd_event_source_set_enabled(a->retry, SD_EVENT_OFF);
        for (size_t i = 0; i < a->n_ports && r >= 0; i++)
                r = sd_event_add_io(a->event, &a->ports[i].source, a->ports[i].connections.fd, EPOLLIN,
                                    on_connections, a->ports + i);
        if (r < 0)
                return message_error(r, _("Failed to wait for connections: %s."), strerror(-r));

        r = lease_start(a->lease, a->event, on_lost, a);
        if (r >= 0)
                notify_ready(a->event, a->lease);
        return r;
}

static int run(Acceptor *a, int argc, char *argv[], Context *c) {
        int r;

        r = gate_new_within_limits(options_get_max_connections(c, MAX_CONNECTIONS_OF_LISTEN),
                                   c->max_connections_per_source, JOB_DESCRIPTORS, on_enter, a, &a->gate);
        if (r < 0)
                return message_oom();
        r = lease_new(c, &a->lease);
        if (r < 0)
                return r;
        r = take_ports(a, c, argc, argv);
        if (r < 0)
                return r;
        r = watch(a);
        if (r < 0)
                return r;

        r = sd_event_loop(a->event);
        if (r < 0)
                return message_error(r, _("Failed to wait for events: %s."), strerror(-r));

        return a->lost && a->ending == 0 ? -ECONNRESET : 0;
}

static void free_jobs(JobList *list) {
        Job *job;

        while ((job = TAILQ_FIRST(list))) {
                TAILQ_REMOVE(list, job, jobs);
                gate_exit(job->acceptor->gate, job->source);
                job_free(job);
        }
}

static void acceptor_done(Acceptor *a) {
        if (a->gate)
                gate_drop_held(a->gate);
        free_jobs(&a->unstarted);
        free_jobs(&a->running);
        for (size_t i = 0; i < a->n_ports; i++)
                port_close(a->ports + i);
        free(a->ports);
        gate_free(a->gate);
        (void) exit_log_free(a->exits);
        if (a->lease)
                lease_close(a->lease);
        lease_free(a->lease);
        sd_event_source_disable_unref(a->retry);
        sd_event_unref(a->event);
}

int accept_connections(int argc, char *argv[], Context *c, const Command *command) {
        Acceptor a = {
                .command = command,
                .inetd = c->inetd,
                .kill_after_usec = c->kill_after_usec,
                .fd_name = c->fd_names ?: "connection",
                .running = TAILQ_HEAD_INITIALIZER(a.running),
                .unstarted = TAILQ_HEAD_INITIALIZER(a.unstarted),
        };
        int r;

        r = run(&a, argc, argv, c);
        acceptor_done(&a);
        if (r >= 0 && a.ending != 0)
                signal_end_self(a.ending);
        return r;
}
