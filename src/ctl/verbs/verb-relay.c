/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay": forwards each connection to a target, as systemd-socket-proxyd does. */

#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/options.h"
#include "ctl/relay/relay.h"
#include "ctl/relay/self-target.h"
#include "ctl/serve/command.h"
#include "ctl/serve/notify.h"
#include "ctl/serve/signals.h"
#include "ctl/service/lease.h"
#include "ctl/verbs/verbs.h"

typedef struct Forwarding {
        Lease *lease;
        Relay *relay;
        sd_event *event;
        sd_event_source *idle_timer;
        uint64_t exit_idle_usec; /* 0: never */
        int ending;              /* the signal, or 0 */
        bool lost;
} Forwarding;

DEFINE_CLEANUP(Relay, relay_free)

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Forwarding *f = userdata;

        signal_stop(info);
        if (!signal_ends((int) info->ssi_signo))
                return 0;

        f->ending = (int) info->ssi_signo;
        notify_stopping();
        return sd_event_exit(f->event, 0);
}

/* Runs once in this time at most, and not for each connection. */
static int on_idle_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Forwarding *f = userdata;
        uint64_t idle_usec = relay_get_idle_usec(f->relay);
        int r;

        if (idle_usec >= f->exit_idle_usec) {
                message_info(_("Ending, because no connection has come in the time of --exit-idle-time=."));
                notify_stopping();
                return sd_event_exit(f->event, 0);
        }

        r = sd_event_source_set_time_relative(source, f->exit_idle_usec - idle_usec);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Connections that exist are served to their end. */
static void on_lost(void *userdata) {
        Forwarding *f = userdata;

        f->lost = true;
        relay_finish(f->relay);
}

static void on_source_ended(void *userdata) {
        Forwarding *f = userdata;

        lease_source_ended(f->lease);
}

static int forward(Forwarding *f, RelayParameters *parameters) {
        _cleanup_(relay_freep) Relay *relay = NULL;
        int r;

        parameters->event = f->event;
        parameters->source_ended = on_source_ended;
        parameters->userdata = f;
        r = relay_new(parameters, &relay);
        if (r >= 0)
                r = signals_add(f->event, on_signal, f);
        if (r >= 0 && f->exit_idle_usec > 0)
                r = sd_event_add_time_relative(f->event, &f->idle_timer, CLOCK_MONOTONIC, f->exit_idle_usec,
                                               0, on_idle_timer, f);
        if (r < 0)
                return message_error(r, _("Failed to wait for connections: %s."), strerror(-r));

        f->relay = relay;
        r = lease_start(f->lease, f->event, on_lost, f);
        if (r < 0)
                return r;

        notify_ready(f->event, f->lease);
        r = relay_run(relay);
        if (r < 0)
                return message_error(r, _("Failed to wait for events: %s."), strerror(-r));

        return f->lost && f->ending == 0 ? -ECONNRESET : 0;
}

static int run(Forwarding *f, const Endpoint *endpoint, const char *to, Context *c) {
        RelayParameters parameters = {
                .proxy_protocol = c->proxy_protocol,
                .max_connections = options_get_max_connections(c, MAX_CONNECTIONS_OF_RELAY),
                .max_connections_per_source = c->max_connections_per_source,
        };
        int r;

        r = sd_event_default(&f->event);
        if (r < 0)
                return message_error(r, _("Failed to set up an event loop: %s."), strerror(-r));
        r = target_parse(to, &parameters.target);
        if (r < 0)
                return r;
        r = target_check(&parameters.target);
        if (r >= 0)
                r = lease_new(c, &f->lease);
        if (r >= 0)
                r = lease_take_connections(f->lease, endpoint, true, &parameters.connections);
        if (r < 0) {
                target_done(&parameters.target);
                return r;
        }

        /* The relay adds no delay and keeps urgent bytes in their place. */
        (void) connection_source_set_verbatim(&parameters.connections);
        parameters.port = lease_get_port(f->lease, 0);
        /* The address of a channel's connections is known only when one arrives. */
        if (!parameters.connections.is_channel)
                r = self_target_remove(&parameters.target, parameters.connections.fd);
        if (r < 0) {
                connection_source_done(&parameters.connections);
                target_done(&parameters.target);
                return r;
        }

        return forward(f, &parameters);
}

int verb_relay(int argc, char *argv[], Context *c) {
        _cleanup_(endpoint_done) Endpoint endpoint = {};
        Forwarding f = { .exit_idle_usec = c->exit_idle_usec };
        Command unused;
        int r;

        r = endpoint_parse(argv[1], &endpoint);
        if (r < 0)
                return r;

        /* Raises RLIMIT_NOFILE, and ignores SIGPIPE. */
        command_init(&unused, NULL, NULL);
        c->label = argv[2];
        r = run(&f, &endpoint, argv[2], c);
        if (f.lease)
                lease_close(f.lease);
        lease_free(f.lease);
        sd_event_source_disable_unref(f.idle_timer);
        sd_event_unref(f.event);

        if (r >= 0 && f.ending != 0)
                signal_end_self(f.ending);
        return r;
}
