/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/cli/terminal.h"
#include "ctl/service/client.h"
#include "ctl/service/listener.h"
#include "ctl/service/monitor.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"
#include "ctl/show/output.h"
#include "ctl/verbs/verbs.h"

typedef struct View {
        const Context *context;
        Output *output;
        Monitor *monitor;
        char **paths; /* with a NULL at the end; NULL: all listeners */
        bool colour;
} View;

DEFINE_CLEANUP(Output, output_free)
DEFINE_CLEANUP(Monitor, monitor_free)

static const char *get_name(MonitorEventType type) {
        static const char *const names[] = {
                [MONITOR_CONNECTION] = "connection", [MONITOR_CONNECTIONS] = "connections",
                [MONITOR_REFUSED] = "refused",       [MONITOR_ERROR] = "error",
                [MONITOR_PENDING] = "pending",       [MONITOR_LISTENING] = "listening",
                [MONITOR_CLOSED] = "closed",         [MONITOR_SERVICE] = "service",
        };

        return names[type];
}

static int add_details(json_object *o, const MonitorEvent *e) {
        switch (e->type) {

        case MONITOR_CONNECTION:
                return json_add_number(o, "serial", e->serial) ?:
                       json_add_string(o, "remoteAddress", e->remote_address ?: "") ?:
                       json_add_number(o, "remotePort", e->remote_port) ?:
                       json_add_string(o, "localAddress", e->local_address ?: "") ?:
                       json_add_number(o, "localPort", e->local_port) ?:
                       json_add_string(o, "binaryType", e->binary_type ?: "");

        case MONITOR_CONNECTIONS:
        case MONITOR_REFUSED:
                return json_add_number(o, "count", e->count);

        case MONITOR_ERROR:
                return json_add_string(o, "message", e->message) ?:
                       json_add_string(o, "filename", e->filename) ?:
                       json_add_number(o, "lineNumber", e->line) ?:
                       json_add_number(o, "columnNumber", e->column);

        case MONITOR_LISTENING:
                return json_add_string(o, "localAddress", e->local_address ?: "") ?:
                       json_add_number(o, "localPort", e->local_port) ?:
                       json_add_string(o, "name", e->name ?: "") ?:
                       json_add_string(o, "delivery", e->delivery ?: "") ?:
                       json_add(o, "persistent", json_object_new_boolean(e->persistent));

        case MONITOR_CLOSED:
                return json_add_string(o, "reason", e->reason);

        case MONITOR_SERVICE:
                return json_add_string(o, "state", e->is_running ? "running" : "stopped");

        default:
                return 0;
        }
}

static char *format_json(const View *v, const struct timespec *now, const MonitorEvent *e) {
        uint64_t usec = (uint64_t) now->tv_sec * 1000000 + (uint64_t) now->tv_nsec / 1000;
        json_object *o = json_object_new_object();
        char *text = NULL;
        int r;

        r = json_add_string(o, "event", get_name(e->type)) ?: json_add_number(o, "realtimeUSec", usec);
        if (r == 0 && e->listener)
                r = json_add_number(o, "listener", strtoull(listener_get_number(e->listener), NULL, 10))
                                    ?: json_add_string(o, "path", e->listener);
        if (r == 0)
                r = json_add_string(o, "client", e->client) ?: add_details(o, e);
        if (r == 0)
                text = json_format(o, v->context->json);

        json_object_put(o);
        return text;
}

/* "[::1]:80", "127.0.0.1:80". */
static const char *format_address(const char *address, uint16_t port, char buffer[static 128]) {
        (void) snprintf(buffer, 128, address && strchr(address, ':') ? "[%s]:%u" : "%s:%u", address ?: "?",
                        port);
        return buffer;
}

static char *format_details(const MonitorEvent *e) {
        _cleanup_free_ char *cause = NULL;
        char remote[128], local[128];
        char *text = NULL;
        int n = -1;

        switch (e->type) {

        case MONITOR_CONNECTION:
                n = asprintf(&text, _("connection %" PRIu64 " from %s to %s, for %s"), e->serial,
                             format_address(e->remote_address, e->remote_port, remote),
                             format_address(e->local_address, e->local_port, local), e->client);
                break;

        case MONITOR_CONNECTIONS:
                n = asprintf(&text,
                             ngettext("%" PRIu64 " connection through the channel of %s",
                                      "%" PRIu64 " connections through the channel of %s", e->count),
                             e->count, e->client);
                break;

        case MONITOR_REFUSED:
                n = asprintf(&text,
                             ngettext("%" PRIu64 " connection refused", "%" PRIu64 " connections refused",
                                      e->count),
                             e->count);
                break;

        case MONITOR_ERROR:
                cause = client_translate_error(e->message);
                if (cause)
                        n = asprintf(&text, _("error: %s (%s:%" PRIu32 ")"), cause, e->filename, e->line);
                break;

        case MONITOR_PENDING:
                n = asprintf(&text, _("a connection waits for %s"), e->client);
                break;

        case MONITOR_LISTENING:
                (void) format_address(e->local_address, e->local_port, local);
                n = e->name && *e->name ? asprintf(&text, _("listening on %s for %s, \"%s\""), local,
                                                   e->client, e->name)
                                        : asprintf(&text, _("listening on %s for %s"), local, e->client);
                break;

        case MONITOR_CLOSED:
                n = asprintf(&text, _("closed (%s)"), e->reason);
                break;

        case MONITOR_SERVICE:
                n = e->is_running ? asprintf(&text, _("service started (%s)"), e->client)
                                  : asprintf(&text, _("service stopped (%s)"), e->client);
                break;
        }

        return n < 0 ? NULL : text;
}

static char *format_text(const View *v, const struct timespec *now, const MonitorEvent *e) {
        _cleanup_free_ char *details = format_details(e), *safe = NULL;
        const char *colour = "";
        struct tm local;
        char date[64], *text;
        int n;

        safe = details ? text_escape(details, TEXT_ESCAPE_BYTES) : NULL;
        if (!safe || !localtime_r(&now->tv_sec, &local) ||
            strftime(date, sizeof(date), "%b %d %T", &local) == 0)
                return NULL;

        if (v->colour && e->type == MONITOR_ERROR)
                colour = COLOUR_ERROR;
        else if (v->colour && (e->type == MONITOR_CLOSED || (e->type == MONITOR_SERVICE && !e->is_running)))
                colour = COLOUR_WARNING;
        if (e->listener)
                n = asprintf(&text, _("%s.%06ld listener %s: %s%s%s"), date, now->tv_nsec / 1000,
                             listener_get_number(e->listener), colour, safe, *colour ? COLOUR_OFF : "");
        else
                n = asprintf(&text, "%s.%06ld %s%s%s", date, now->tv_nsec / 1000, colour, safe,
                             *colour ? COLOUR_OFF : "");
        if (n < 0)
                return NULL;

        return text;
}

static void on_event(const MonitorEvent *e, void *userdata) {
        _cleanup_free_ char *line = NULL;
        struct timespec now;
        View *v = userdata;
        bool wanted = !v->paths || !e->listener;

        for (char **path = v->paths; path && *path && !wanted; path++)
                wanted = streq(*path, e->listener);
        if (!wanted)
                return;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        line = v->context->json == JSON_OFF ? format_text(v, &now, e) : format_json(v, &now, e);
        if (line)
                output_line(v->output, line);
}

/* Leaves the bus before the process stops: a monitor that does not read would stall the service. */
static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        View *v = userdata;
        int r;

        monitor_disconnect(v->monitor);
        (void) raise(SIGSTOP);
        r = monitor_reconnect(v->monitor);
        return r < 0 ? sd_event_exit(sd_event_source_get_event(source), EXIT_FAILURE) : 0;
}

static int find_paths(Context *c, int argc, char *argv[], char **paths) {
        int r;

        for (int i = 1; i < argc; i++) {
                r = query_path(c, argv[i], paths + i - 1);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int run(Context *c, char **paths) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(output_freep) Output *output = NULL;
        _cleanup_(monitor_freep) Monitor *monitor = NULL;
        View v = { .context = c, .paths = *paths ? paths : NULL, .colour = terminal_has_colour(stdout) };
        sigset_t stop;
        int r;

        (void) sigemptyset(&stop);
        (void) sigaddset(&stop, SIGTSTP);
        (void) sigprocmask(SIG_BLOCK, &stop, NULL);

        r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTSTP, on_stop, &v);
        if (r < 0)
                return message_error(r, _("Failed to set up an event loop: %s."), strerror(-r));

        r = output_new(event, &output);
        if (r < 0)
                return r;
        v.output = output;

        r = monitor_new(c, event, on_event, &v, &monitor);
        if (r < 0)
                return r;
        v.monitor = monitor;

        message_info(_("Monitoring listeners; press Ctrl-C to stop."));
        r = sd_event_loop(event);
        return r < 0 ? message_error(r, _("Failed to monitor the bus: %s."), strerror(-r)) : r;
}

int verb_monitor(int argc, char *argv[], Context *c) {
        char **paths;
        int r;

        paths = calloc((size_t) argc, sizeof(*paths));
        if (!paths)
                return message_oom();

        r = find_paths(c, argc, argv, paths);
        if (r >= 0)
                r = run(c, paths);

        for (char **path = paths; *path; path++)
                free(*path);
        free(paths);
        return r;
}
