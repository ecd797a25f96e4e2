/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/run/run.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>

#include "base/address.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/socket.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/run/bind-calls.h"
#include "ctl/run/socket-options.h"
#include "ctl/serve/accept-watch.h"
#include "ctl/serve/server.h"
#include "ctl/service/lease.h"
#include "ctl/service/port-holders.h"

/* COMMAND has closed its sockets of a port if connections wait for so long and no process of it has one. */
#define CLOSED_USEC (UINT64_C(1) * 1000 * 1000)

typedef struct Run Run;

/* Two calls with the same key are for the same port. */
typedef struct PortKey {
        Address address;
        bool ipv6_only;
        bool free_bind;
        char interface[IF_NAMESIZE]; /* empty: any */
} PortKey;

typedef struct RunPort {
        Run *run;
        PortKey key;
        LeaseRequest *request;           /* NULL: it was answered */
        int fd;                          /* belongs to the lease */
        STAILQ_HEAD(, BindCall) waiting; /* for the answer */
        sd_event_source *input, *timer;
        LIST_ENTRY(RunPort) ports;
} RunPort;

struct Run {
        const Context *context;
        Lease *lease;
        Server *server;
        BindCalls **calls; /* the last one is that of the running COMMAND */
        size_t n_calls;
        AcceptWatch *accepting;
        LIST_HEAD(, RunPort) ports;
};

DEFINE_CLEANUP(AcceptWatch, accept_watch_free)
DEFINE_CLEANUP(Lease, lease_free)
DEFINE_CLEANUP(Server, server_free)

/* --------------------------------------------------------------------------------- which calls to answer */

static bool option_is_set(int fd, int level, int option) {
        socklen_t size = sizeof(int);
        int value = 0;

        return getsockopt(fd, level, option, &value, &size) >= 0 && value != 0;
}

static void make_key(const BindCall *call, PortKey *ret) {
        socklen_t size = sizeof(ret->interface);

        *ret = (PortKey) {
                .address = call->address,
                .ipv6_only = call->address.sa.sa_family == AF_INET6 && socket_is_ipv6_only(call->fd),
                /* One option for both families since Linux 3.3 (ip(7)). */
                .free_bind = option_is_set(call->fd, IPPROTO_IP, IP_FREEBIND),
        };
        if (getsockopt(call->fd, SOL_SOCKET, SO_BINDTODEVICE, ret->interface, &size) < 0)
                *ret->interface = '\0';
}

static bool keys_equal(const PortKey *a, const PortKey *b) {
        return address_equals(&a->address, &b->address) && a->ipv6_only == b->ipv6_only &&
               a->free_bind == b->free_bind && streq(a->interface, b->interface);
}

/* Whether the kernel refuses the address for its port. The tool has the rights of COMMAND, apart from those
 * that a set-user-ID program would have, which the filter rules out. The port is not bound, not even for a
 * moment: the socket already has another one, which the kernel notices after it has checked the rights. */
static bool is_refused(const PortKey *key) {
        int family = key->address.sa.sa_family, free_bind = key->free_bind;
        _cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Address any = address_any(family);

        if (fd < 0)
                return false;

        (void) bind(fd, &any.sa, any.size);
        (void) setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &free_bind, sizeof(free_bind));
        return bind(fd, &key->address.sa, key->address.size) < 0 && (errno == EACCES || errno == EPERM);
}

static bool is_same_file(int a, int b) {
        struct stat st_a, st_b;

        return fstat(a, &st_a) >= 0 && fstat(b, &st_b) >= 0 && st_a.st_dev == st_b.st_dev &&
               st_a.st_ino == st_b.st_ino;
}

static bool is_bound(int fd) {
        Address address;

        return socket_get_local_address(fd, &address) >= 0 && address_get_port(&address) != 0;
}

static bool needs_service(const Run *run, const BindCall *call, const PortKey *key) {
        uint16_t port = address_get_port(&key->address);

        /* The service binds ports of the host, and not of another network namespace that COMMAND may be in.
         */
        return port != 0 && socket_is_in_own_network(call->fd) != 0 &&
               (context_has_port(run->context, port) || is_refused(key));
}

/* ------------------------------------------------------------------------------------------- the ports */

static void port_free(RunPort *port) {
        BindCall *call;

        while ((call = STAILQ_FIRST(&port->waiting))) {
                STAILQ_REMOVE_HEAD(&port->waiting, calls_of_port);
                bind_call_fail(call, EACCES);
        }
        accept_watch_remove(port->run->accepting, port->fd);
        lease_request_free(port->request);
        sd_event_source_disable_unref(port->input);
        sd_event_source_disable_unref(port->timer);
        LIST_REMOVE(port, ports);
        free(port);
}

static void give(RunPort *port, BindCall *call) {
        message_verbose(_("Process %i has port %u."), (int) call->pid, address_get_port(&call->address));
        socket_copy_options(call->fd, port->fd);
        bind_call_replace(call, port->fd);
}

/* As bind() decides about two listening sockets with one address. */
static void share(RunPort *port, BindCall *call) {
        if (!option_is_set(call->fd, SOL_SOCKET, SO_REUSEPORT) && port_is_held_by_descendant(port->fd) > 0)
                bind_call_fail(call, EADDRINUSE);
        else
                give(port, call);
}

/* The process that connects has waited for CLOSED_USEC, or another one has come. */
static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        RunPort *port = userdata;
        Run *run = port->run;
        int fd = port->fd;

        /* With --persistent, peers wait until the server binds the port again. */
        if (!socket_has_input(port->fd) || options_listen_is_true(run->context, "persistent") ||
            port_is_held_by_descendant(port->fd) != 0)
                return sd_event_source_set_enabled(port->input, SD_EVENT_ONESHOT);

        /* The event loop must not watch a descriptor that is closed. */
        port_free(port);
        lease_drop_socket(run->lease, fd);
        return 0;
}

/* The kernel does not report that a process has closed a socket of which the tool has a copy. Its peers would
 * wait for ever. So the tool looks when a connection has come; at most once in CLOSED_USEC. */
static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        RunPort *port = userdata;
        int r;

        r = sd_event_source_set_time_relative(port->timer, CLOSED_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(port->timer, SD_EVENT_ONESHOT);
}

static int watch(RunPort *port) {
        sd_event *event = server_get_event(port->run->server);
        int r;

        /* The next COMMAND binds the port again. */
        if (port->run->context->restart)
                return 0;

        r = sd_event_add_io(event, &port->input, port->fd, EPOLLIN, on_input, port);
        if (r >= 0)
                r = sd_event_source_set_enabled(port->input, SD_EVENT_ONESHOT);
        if (r >= 0)
                r = sd_event_add_time(event, &port->timer, CLOCK_MONOTONIC, 0, 0, on_timer, port);
        return r < 0 ? r : sd_event_source_set_enabled(port->timer, SD_EVENT_OFF);
}

static void on_taken(int fd, void *userdata) {
        RunPort *port = userdata;
        Run *run = port->run;
        BindCall *call;
        bool is_first = true;

        port->request = NULL;
        if (fd >= 0) {
                port->fd = fd;
                if (watch(port) < 0) {
                        lease_drop_socket(run->lease, fd);
                        fd = message_oom();
                } else
                        /* COMMAND works as well without it. */
                        (void) accept_watch_add(run->accepting, fd, address_get_port(&port->key.address));
        }

        while ((call = STAILQ_FIRST(&port->waiting))) {
                STAILQ_REMOVE_HEAD(&port->waiting, calls_of_port);
                if (fd < 0)
                        bind_call_fail(call, fd == -EADDRINUSE || fd == -EADDRNOTAVAIL ? -fd : EACCES);
                else if (TAKE(is_first, false))
                        give(port, call);
                else
                        share(port, call);
        }
        if (fd < 0)
                port_free(port);
        else
                server_set_ready(run->server);
}

static int request(RunPort *port) {
        char text[ADDRESS_STRING_MAX];
        Endpoint endpoint = {
                .address = (char *) address_format(&port->key.address, text),
                .port = address_get_port(&port->key.address),
                .ipv6_only = port->key.ipv6_only,
                .free_bind = port->key.free_bind,
                .interface = *port->key.interface ? port->key.interface : NULL,
        };

        return lease_request_socket(port->run->lease, &endpoint, on_taken, port, &port->request);
}

static void open_port(Run *run, const PortKey *key, BindCall *call) {
        RunPort *port;

        port = malloc(sizeof(*port));
        if (!port) {
                (void) message_oom();
                bind_call_fail(call, ENOBUFS);
                return;
        }

        *port = (RunPort) { .run = run, .key = *key, .fd = -EBADF };
        STAILQ_INIT(&port->waiting);
        STAILQ_INSERT_TAIL(&port->waiting, call, calls_of_port);
        LIST_INSERT_HEAD(&run->ports, port, ports);
        if (request(port) < 0)
                port_free(port);
}

/* A signal can interrupt bind() after the caller has got the socket: then it calls again, with that one. */
static int judge_repetition(const Run *run, const BindCall *call, const PortKey *key) {
        const RunPort *port;

        LIST_FOREACH(port, &run->ports, ports)
                if (keys_equal(&port->key, key) && is_same_file(port->fd, call->fd))
                        return 0;
        return EINVAL;
}

/* A thread has one call at a time: a signal has interrupted an earlier one of the same thread. */
static void add_waiting(RunPort *port, BindCall *call) {
        BindCall *earlier;

        STAILQ_FOREACH(earlier, &port->waiting, calls_of_port)
        if (earlier->thread == call->thread) {
                STAILQ_REMOVE(&port->waiting, earlier, BindCall, calls_of_port);
                bind_call_fail(earlier, EINTR);
                break;
        }
        STAILQ_INSERT_TAIL(&port->waiting, call, calls_of_port);
}

static void on_bind(BindCall *call, void *userdata) {
        Run *run = userdata;
        RunPort *port;
        PortKey key;

        make_key(call, &key);
        if (!needs_service(run, call, &key)) {
                bind_call_continue(call);
                /* Port 0 is that of a client, mostly. */
                if (address_get_port(&key.address) != 0)
                        server_set_ready(run->server);
                return;
        }
        if (is_bound(call->fd)) {
                bind_call_fail(call, judge_repetition(run, call, &key));
                return;
        }

        LIST_FOREACH(port, &run->ports, ports)
                if (keys_equal(&port->key, &key)) {
                        if (port->request)
                                add_waiting(port, call);
                        else
                                share(port, call);
                        return;
                }
        open_port(run, &key, call);
}

/* ------------------------------------------------------------------------------------------- the process */

static void on_lost(void *userdata) {
        server_lose(userdata);
}

/* Answers the calls that wait. */
static void forget(Run *run, BindCalls *calls) {
        RunPort *port;

        LIST_FOREACH(port, &run->ports, ports) {
                STAILQ_HEAD(, BindCall) waiting = STAILQ_HEAD_INITIALIZER(waiting);
                BindCall *call;

                STAILQ_CONCAT(&waiting, &port->waiting);
                while ((call = STAILQ_FIRST(&waiting))) {
                        STAILQ_REMOVE_HEAD(&waiting, calls_of_port);
                        if (call->calls == calls)
                                bind_call_fail(call, EACCES);
                        else
                                STAILQ_INSERT_TAIL(&port->waiting, call, calls_of_port);
                }
        }
        bind_calls_free(calls);
}

/* Each COMMAND has a filter of its own. With --kill-mode=process, processes of earlier ones can still be
 * there. */
static int on_start(void *userdata) {
        Run *run = userdata;
        BindCalls **all;
        size_t n = 0;
        int r;

        for (size_t i = 0; i < run->n_calls; i++)
                if (bind_calls_have_ended(run->calls[i]))
                        forget(run, run->calls[i]);
                else
                        run->calls[n++] = run->calls[i];
        run->n_calls = n;

        /* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
        all = reallocarray(run->calls, n + 1, sizeof(*all));
        if (!all)
                return message_oom();
        run->calls = all;

        r = bind_calls_new(server_get_event(run->server), on_bind, run, all + n);
        if (r >= 0)
                run->n_calls++;
        return r;
}

static int load(void *userdata) {
        const Run *run = userdata;

        return bind_calls_load(run->calls[run->n_calls - 1]);
}

static int start(Run *run) {
        server_set_start_handler(run->server, on_start, run);
        return server_start(run->server,
                            &(CommandInput) {
                                            .keeps_input = true,
                                            .ends_with_tool = true,
                                            .prepare = load,
                                            .userdata = run,
                            },
                            run->lease);
}

int run_command(Context *c, const Command *command) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        _cleanup_(server_freep) Server *server = NULL;
        _cleanup_(accept_watch_freep) AcceptWatch *accepting = NULL;
        Run run = { .context = c, .ports = LIST_HEAD_INITIALIZER(run.ports) };
        RunPort *port;
        int r;

        /* Processes that leave their parents remain descendants, which the tool may examine under Yama. */
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        /* A program that tries the same port again and again. */
        message_skip_repeated();

        r = lease_new(c, &lease);
        if (r >= 0)
                r = server_new(c, command, &server);
        if (r >= 0)
                r = lease_start(lease, server_get_event(server), on_lost, server);
        if (r < 0)
                return r;

        r = accept_watch_new(server_get_event(server), true, &accepting);
        if (r < 0)
                return message_oom();

        run.lease = lease;
        run.server = server;
        run.accepting = accepting;
        r = start(&run);
        if (r >= 0)
                r = server_run(server);

        while ((port = LIST_FIRST(&run.ports)))
                port_free(port);
        for (size_t i = 0; i < run.n_calls; i++)
                bind_calls_free(run.calls[i]);
        free(run.calls);
        lease_close(lease);
        if (r >= 0)
                server_repeat_signal(server);
        return r;
}
