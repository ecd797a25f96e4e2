/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/lease.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "base/socket.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/service/agent.h"
#include "ctl/service/client.h"
#include "ctl/service/firewall.h"

/* How long to wait for the signal Closed after the end of a source. */
#define REASON_USEC (UINT64_C(1) * 1000 * 1000)
/* Short, because the tool is about to end. */
#define CLOSE_TIMEOUT_USEC (UINT64_C(5) * 1000 * 1000)

typedef struct LeasedPort {
        char *path;
        char *address;
        uint16_t port;
        bool is_adopted;    /* an earlier process has created it */
        Firewall *firewall; /* of a port that was requested while the loop runs */
} LeasedPort;

static void leased_port_done(LeasedPort *item) {
        firewall_free(item->firewall);
        free(item->path);
        free(item->address);
}

typedef enum LeaseState {
        LEASE_ACTIVE,
        LEASE_LOST, /* a listener or the bus */
        LEASE_CLOSED,
} LeaseState;

struct Lease {
        Context *context;
        LeasedPort *items;
        int *sockets; /* of the items; -EBADF if a ConnectionSource has it */
        size_t n;
        unsigned n_requests;
        sd_bus_slot *closed, *disconnected;
        sd_event *event; /* borrowed; NULL before lease_start() */
        sd_event_source *reason_timer;
        Firewall *firewall; /* NULL: not asked */
        LeaseState state;
        LeaseLost lost; /* NULL: not to be called, or called already */
        void *userdata;
};

DEFINE_CLEANUP(Lease, lease_free)

/* The call does not start a service that has ended, which has no listener to close. */
static int new_close(const Lease *lease, const char *path, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(lease->context->bus, &m, BUS_NAME, path, LISTENER_INTERFACE,
                                           "Close");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                *ret = TAKE_PTR(m);
        return r;
}

static void set_lost(Lease *lease) {
        LeaseLost lost = TAKE_PTR(lease->lost);

        assert(lease->state == LEASE_ACTIVE);

        lease->state = LEASE_LOST;
        if (lost)
                lost(lease->userdata);
}

static const char *explain(const char *reason) {
        static const struct {
                const char *reason, *text;
        } table[] = {
                { "administrator", N_("an administrator has closed it") },
                { "error",
                  N_("the service failed to serve it; \"journalctl -u tcpserversocketd\" says more") },
                { "interface", N_("its network interface is gone; run the command again when it is back") },
                { "lifeline", N_("its lifeline was closed") },
                { "logout", N_("its user has logged out") },
                { "owner", N_("its owner has closed it") },
                { "shutdown", N_("the service was stopped; run the command again") },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (streq(reason, table[i].reason))
                        return _(table[i].text);

        return reason;
}

/* The policy of the system bus lets only the service send it. */
static int on_closed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *path, *reason;
        Lease *lease = userdata;
        int r;

        r = sd_bus_message_read(m, "os", &path, &reason);
        if (r < 0)
                return 0;

        for (size_t i = 0; i < lease->n && lease->state == LEASE_ACTIVE; i++)
                if (lease->items[i].address && streq(lease->items[i].path, path)) {
                        (void) message_error(-ECONNRESET, _("Port %u is lost: %s."), lease->items[i].port,
                                             explain(reason));
                        set_lost(lease);
                }
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Lease *lease = userdata;

        if (lease->state == LEASE_ACTIVE) {
                (void) message_error(-ECONNRESET,
                                     _("The connection to the bus is lost, and the ports with it; "
                                       "run the command again."));
                set_lost(lease);
        }
        return 0;
}

int lease_new(Context *c, Lease **ret) {
        _cleanup_(lease_freep) Lease *lease = NULL;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        lease = calloc(1, sizeof(*lease));
        if (!lease)
                return message_oom();
        lease->context = c;

        r = sd_bus_match_signal(c->bus, &lease->closed, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "Closed",
                                on_closed, lease);
        if (r >= 0)
                r = sd_bus_match_signal(c->bus, &lease->disconnected, NULL, "/org/freedesktop/DBus/Local",
                                        "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, lease);
        if (r < 0)
                return client_error(c, r, NULL, _("Failed to subscribe to signals of the service"));

        *ret = TAKE_PTR(lease);
        return 0;
}

Lease *lease_free(Lease *lease) {
        if (!lease)
                return NULL;

        /* Also a persistent listener, if the user does not know its port yet. */
        if (!lease->event)
                lease_close(lease);

        sd_bus_slot_unref(lease->closed);
        sd_bus_slot_unref(lease->disconnected);
        sd_event_source_disable_unref(lease->reason_timer);
        firewall_free(lease->firewall);
        for (size_t i = 0; i < lease->n; i++) {
                (void) close_fd(lease->sockets[i]);
                leased_port_done(lease->items + i);
        }
        free(lease->items);
        free(lease->sockets);
        free(lease);
        return NULL;
}

static int make_room(Lease *lease) {
        LeasedPort *items;
        int *sockets;

        items = realloc(lease->items, (lease->n + 1) * sizeof(*items));
        if (!items)
                return message_oom();
        lease->items = items;

        sockets = realloc(lease->sockets, (lease->n + 1) * sizeof(*sockets));
        if (!sockets)
                return message_oom();
        lease->sockets = sockets;
        return 0;
}

/* Whether another process has created the listener, by the number that the bus has told the service. */
static int query_creator(Context *c, const char *path, sd_bus_error *error, bool *ret_is_adopted) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        const char *name;
        uint32_t creator;
        pid_t own;
        int r;

        r = sd_bus_get_property_trivial(c->bus, BUS_NAME, path, LISTENER_INTERFACE, "OwnerPID", error, 'u',
                                        &creator);
        if (r >= 0)
                r = sd_bus_get_unique_name(c->bus, &name);
        if (r < 0)
                return r;

        *ret_is_adopted = sd_bus_get_name_creds(c->bus, name, SD_BUS_CREDS_PID, &creds) >= 0 &&
                          sd_bus_creds_get_pid(creds, &own) >= 0 && (uint32_t) own != creator;
        return 0;
}

/* Gets the address and the port that are bound. */
static int query_port(Context *c, LeasedPort *item) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = 0;

        if (options_listen_is_true(c, "persistent"))
                r = query_creator(c, item->path, &error, &item->is_adopted);
        if (r >= 0)
                r = sd_bus_get_property_trivial(c->bus, BUS_NAME, item->path, LISTENER_INTERFACE, "LocalPort",
                                                &error, 'q', &item->port);
        if (r >= 0)
                r = sd_bus_get_property_string(c->bus, BUS_NAME, item->path, LISTENER_INTERFACE,
                                               "LocalAddress", &error, &item->address);

        return r < 0 ? client_error(c, r, &error, _("Failed to get the address of the new listener")) : 0;
}

typedef struct Answer {
        bool is_there;
        int fd;
        sd_bus_error error;
} Answer;

/* Returns the descriptor of a reply, or a negative errno. */
static int read_descriptor(sd_bus_message *m) {
        int r, fd;

        if (sd_bus_message_is_method_error(m, NULL))
                return -sd_bus_message_get_errno(m);

        r = sd_bus_message_read(m, "h", &fd);
        if (r < 0)
                return r;

        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return fd < 0 ? -errno : fd;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        Answer *answer = userdata;

        answer->is_there = true;
        answer->fd = read_descriptor(m);
        (void) sd_bus_error_copy(&answer->error, sd_bus_message_get_error(m));
        return 0;
}

/* Before it replies, the service calls this process to learn whether the descriptor before this one has
 * arrived. sd_bus_call() would not answer that call while it waits, so the loop here does. */
static int take_descriptor(Context *c, const char *path, const char *member) {
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        Answer answer = { .fd = -EBADF };
        int r;

        r = sd_bus_call_method_async(c->bus, &slot, BUS_NAME, path, LISTENER_INTERFACE, member, on_answer,
                                     &answer, NULL);
        while (r >= 0 && !answer.is_there) {
                r = sd_bus_process(c->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(c->bus, UINT64_MAX);
        }

        if (r < 0 || answer.fd < 0)
                (void) client_error(c, r < 0 ? r : answer.fd, &answer.error, _("Failed to take the port"));
        sd_bus_error_free(&answer.error);
        return r < 0 ? r : answer.fd;
}

/* Refuses options that have no use for the tool, although the service accepts them. */
static int check_options(const Context *c, const char *delivery) {
        if (options_listen_is_true(c, "acknowledge"))
                return message_error(-EINVAL,
                                     _("Option --acknowledge is only for delivery \"signal\", which no verb "
                                       "uses; leave it out."));
        /* With a socket, the service refuses the option. */
        if (options_listen_is_true(c, "paused") && !options_listen_is_true(c, "persistent") &&
            streq(delivery, "channel"))
                return message_error(
                                -EINVAL,
                                _("Option --paused needs --persistent, or no program could resume the listener."));
        return 0;
}

static int take(Lease *lease, const Endpoint *endpoint, const char *delivery) {
        char *path;
        LeasedPort *item;
        int r, fd;

        assert(!lease->event && lease->state != LEASE_CLOSED);

        r = check_options(lease->context, delivery);
        if (r < 0)
                return r;
        r = make_room(lease);
        if (r < 0)
                return r;

        r = client_listen(lease->context, endpoint, delivery, &path);
        if (r < 0)
                return r;

        /* From here on lease_free() closes the listener. */
        item = lease->items + lease->n;
        *item = (LeasedPort) { .path = path };
        lease->sockets[lease->n++] = -EBADF;

        r = query_port(lease->context, item);
        if (r < 0)
                return r;
        fd = take_descriptor(lease->context, path, streq(delivery, "socket") ? "TakeSocket" : "OpenChannel");
        if (fd < 0)
                return fd;

        lease->sockets[lease->n - 1] = fd;
        return 0;
}

static bool query_socket_delivery(Context *c) {
        int allowed;

        /* On an error here, Listen fails, too, with a message. */
        if (sd_bus_get_property_trivial(c->bus, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE,
                                        "AllowSocketDelivery", NULL, 'b', &allowed) < 0)
                return true;

        return allowed;
}

/* Returns the key of an option that contradicts the delivery "socket", which the user has not given, or NULL.
 */
static const char *find_other_option(const Context *c) {
        return options_find_listen(c, "allowFrom")    ? "allowFrom"
               : options_find_listen(c, "acceptRate") ? "acceptRate"
               : options_listen_is_true(c, "paused")  ? "paused"
                                                      : NULL;
}

int lease_take_socket(Lease *lease, const Endpoint *endpoint) {
        const char *wanted = options_find_listen(lease->context, "delivery");
        const char *other = find_other_option(lease->context);

        if (wanted && !streq(wanted, "socket"))
                return message_error(
                                -EINVAL,
                                _("COMMAND accepts connections itself, so --delivery= can only be \"socket\"; "
                                  "or use --accept."));

        if (other)
                return message_error(-EINVAL,
                                     _("COMMAND accepts connections itself, so --%s is not possible; use "
                                       "--accept."),
                                     options_get_name(other));

        return take(lease, endpoint, "socket");
}

/* Prefers the socket itself, which is fastest, and leaves connections in the kernel until they are accepted.
 * A channel is needed if the service has to refuse, pace or pause connections, or does not allow sockets. */
static const char *choose_delivery(Lease *lease) {
        Context *c = lease->context;

        if (options_find_listen(c, "allowFrom") || options_find_listen(c, "acceptRate") ||
            options_listen_is_true(c, "paused") || !query_socket_delivery(c))
                return "channel";

        return "socket";
}

int lease_take_connections(Lease *lease, const Endpoint *endpoint, bool non_blocking, ConnectionSource *ret) {
        const char *delivery = options_find_listen(lease->context, "delivery");
        int r;

        if (delivery && !streq(delivery, "socket") && !streq(delivery, "channel"))
                return message_error(-EINVAL,
                                     _("Option --delivery= can only be \"socket\" or \"channel\" here."));
        if (!delivery)
                delivery = choose_delivery(lease);

        r = take(lease, endpoint, delivery);
        if (r < 0)
                return r;

        r = connection_source_init(ret, TAKE_FD(lease->sockets[lease->n - 1]), streq(delivery, "channel"),
                                   non_blocking || options_listen_is_true(lease->context, "nonBlocking"));
        if (r < 0) {
                connection_source_done(ret);
                return message_error(r, _("Failed to set up the descriptor from the service: %s."),
                                     strerror(-r));
        }
        return 0;
}

size_t lease_get_n(const Lease *lease) {
        return lease->n;
}

const int *lease_get_sockets(const Lease *lease) {
        return lease->sockets;
}

uint16_t lease_get_port(const Lease *lease, size_t i) {
        assert(i < lease->n);

        return lease->items[i].port;
}

char *lease_format_addresses(const Lease *lease) {
        char *addresses = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&addresses, &size);
        if (!f)
                return NULL;

        for (size_t i = 0; i < lease->n; i++)
                (void) fprintf(f, strchr(lease->items[i].address, ':') ? "%s[%s]:%u" : "%s%s:%u",
                               i > 0 ? ", " : "", lease->items[i].address, lease->items[i].port);

        return text_finish(f, &addresses);
}

static void announce(const Lease *lease, size_t i) {
        const LeasedPort *item = lease->items + i;

        message_info(strchr(item->address, ':') ? _("Listening on [%s]:%u.") : _("Listening on %s:%u."),
                     item->address, item->port);
}

/* Asks about n of the ports, the first one is items[first]. Without an answer, the tool works as well. */
static void ask_firewall(Lease *lease, size_t first, size_t n, const char *interface, Firewall **ret) {
        _cleanup_free_ Address *addresses = NULL;
        const Context *c = lease->context;

        /* The firewall of a container is its own, but the interfaces here are not those of the container. */
        if (c->quiet || c->machine || n == 0)
                return;

        addresses = calloc(n, sizeof(*addresses));
        if (!addresses)
                return;
        for (size_t i = 0; i < n; i++) {
                if (address_parse(lease->items[first + i].address, addresses + i) < 0)
                        return;
                address_set_port(addresses + i, lease->items[first + i].port);
        }

        (void) firewall_ask(lease->event, interface, addresses, n, ret);
}

int lease_start(Lease *lease, sd_event *event, LeaseLost lost, void *userdata) {
        int r;

        /* No authorization is needed from here on, and COMMAND gets the terminal. */
        agent_close();

        if (lease->state != LEASE_ACTIVE)
                return -ECONNRESET;

        /* lease_close() needs the bus after the end of the loop. */
        r = sd_bus_set_close_on_exit(lease->context->bus, false);
        if (r >= 0)
                r = sd_bus_attach_event(lease->context->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return message_error(r, _("Failed to wait for the bus: %s."), strerror(-r));

        lease->event = event;
        lease->lost = lost;
        lease->userdata = userdata;
        for (size_t i = 0; i < lease->n; i++)
                announce(lease, i);
        ask_firewall(lease, 0, lease->n, options_find_listen(lease->context, "interface"), &lease->firewall);
        return 0;
}

/* ----------------------------------------------------------------------------------- while the loop runs */

struct LeaseRequest {
        Lease *lease;
        Endpoint endpoint;
        char *path; /* of the listener, once it is there */
        sd_bus_slot *slot;
        LeaseTaken taken;
        void *userdata;
};

static void close_listener(const Lease *lease, const char *path) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        if (new_close(lease, path, &m) >= 0 && sd_bus_message_set_expect_reply(m, false) >= 0)
                (void) sd_bus_send(lease->context->bus, m, NULL);
}

LeaseRequest *lease_request_free(LeaseRequest *request) {
        if (!request)
                return NULL;

        /* If the reply of Listen is still to come, the service closes the listener when the tool ends. */
        if (request->path && !options_listen_is_true(request->lease->context, "persistent"))
                close_listener(request->lease, request->path);
        if (--request->lease->n_requests == 0)
                agent_close();
        sd_bus_slot_unref(request->slot);
        endpoint_done(&request->endpoint);
        free(request->path);
        free(request);
        return NULL;
}

/* Adds the listener with its socket to the lease. Consumes fd and path. */
static int add_socket(Lease *lease, char *path, int fd) {
        _cleanup_free_ char *owned = path, *address = NULL;
        _cleanup_close_ int socket = fd;
        char text[ADDRESS_STRING_MAX];
        Address local;
        int r;

        r = socket_get_local_address(fd, &local);
        if (r < 0)
                return r;
        address = strdup(address_format(&local, text));
        if (!address || make_room(lease) < 0)
                return -ENOMEM;

        lease->items[lease->n] = (LeasedPort) {
                .path = TAKE_PTR(owned),
                .address = TAKE_PTR(address),
                .port = address_get_port(&local),
        };
        lease->sockets[lease->n++] = TAKE_FD(socket);
        return 0;
}

static int on_socket(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        LeaseRequest *request = userdata;
        Lease *lease = request->lease;
        int fd;

        fd = read_descriptor(m);
        if (fd < 0) {
                (void) client_error(lease->context, fd, sd_bus_message_get_error(m),
                                    _("Failed to take the port"));
                fd = -EACCES;
        } else if (add_socket(lease, TAKE_PTR(request->path), fd) < 0)
                fd = message_oom();
        else {
                size_t i = lease->n - 1;

                announce(lease, i);
                ask_firewall(lease, i, 1,
                             request->endpoint.interface ?: options_find_listen(lease->context, "interface"),
                             &lease->items[i].firewall);
        }

        request->taken(fd, request->userdata);
        lease_request_free(request);
        return 0;
}

static int on_listening(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        LeaseRequest *request = userdata;
        Context *c = request->lease->context;
        int r;

        request->slot = sd_bus_slot_unref(request->slot);
        r = client_listen_finish(c, &request->endpoint, m, &request->path);
        if (r >= 0)
                r = sd_bus_call_method_async(c->bus, &request->slot, BUS_NAME, request->path,
                                             LISTENER_INTERFACE, "TakeSocket", on_socket, request, NULL);
        if (r < 0) {
                request->taken(r, request->userdata);
                lease_request_free(request);
        }
        return 0;
}

static int copy_endpoint(const Endpoint *from, Endpoint *ret) {
        Endpoint copy = *from;

        copy.address = from->address ? strdup(from->address) : NULL;
        copy.interface = from->interface ? strdup(from->interface) : NULL;
        if ((from->address && !copy.address) || (from->interface && !copy.interface)) {
                endpoint_done(&copy);
                return -ENOMEM;
        }

        *ret = copy;
        return 0;
}

int lease_request_socket(Lease *lease,
                         const Endpoint *endpoint,
                         LeaseTaken taken,
                         void *userdata,
                         LeaseRequest **ret) {
        LeaseRequest *request;
        int r;

        assert(lease->event);

        if (lease->state != LEASE_ACTIVE)
                return -ECONNRESET;

        request = malloc(sizeof(*request));
        if (!request)
                return message_oom();
        *request = (LeaseRequest) { .lease = lease, .taken = taken, .userdata = userdata };
        lease->n_requests++;

        r = copy_endpoint(endpoint, &request->endpoint);
        if (r < 0)
                r = message_oom();
        if (r >= 0)
                r = context_open_agent(lease->context);
        if (r >= 0)
                r = client_listen_start(lease->context, endpoint, "socket", on_listening, request,
                                        &request->slot);
        if (r < 0) {
                lease_request_free(request);
                return r;
        }

        *ret = request;
        return 0;
}

void lease_drop_socket(Lease *lease, int fd) {
        size_t i = 0;

        while (i < lease->n && lease->sockets[i] != fd)
                i++;
        assert(i < lease->n);

        if (lease->state == LEASE_ACTIVE)
                close_listener(lease, lease->items[i].path);
        leased_port_done(lease->items + i);
        (void) close_fd(fd);

        lease->n--;
        lease->items[i] = lease->items[lease->n];
        lease->sockets[i] = lease->sockets[lease->n];
}

/* -------------------------------------------------------------------------------------------- the end */

static int on_no_reason(sd_event_source *source, uint64_t usec, void *userdata) {
        Lease *lease = userdata;

        if (lease->state == LEASE_ACTIVE) {
                (void) message_error(-ECONNRESET,
                                     _("The port is lost: the service is gone; run the command again."));
                set_lost(lease);
        }
        return 0;
}

void lease_source_ended(Lease *lease) {
        assert(lease->event);

        if (!lease->reason_timer &&
            sd_event_add_time_relative(lease->event, &lease->reason_timer, CLOCK_MONOTONIC, REASON_USEC, 0,
                                       on_no_reason, lease) < 0)
                (void) on_no_reason(NULL, 0, lease);
}

void lease_close(Lease *lease) {
        bool stays = lease->event && options_listen_is_true(lease->context, "persistent");

        if (TAKE(lease->state, LEASE_CLOSED) == LEASE_CLOSED)
                return;

        (void) sd_bus_detach_event(lease->context->bus);
        if (stays || sd_bus_is_open(lease->context->bus) <= 0)
                return;

        for (const LeasedPort *item = lease->items; item < lease->items + lease->n; item++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

                /* As before, if the tool fails to start. */
                if (item->is_adopted)
                        continue;

                if (new_close(lease, item->path, &m) >= 0)
                        (void) sd_bus_call(lease->context->bus, m, CLOSE_TIMEOUT_USEC, NULL, NULL);
        }
}
