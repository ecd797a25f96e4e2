/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* tcpserversocketd: the arguments, the loop, the exit status. */

#include <getopt.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/descriptors.h"
#include "base/i18n.h"
#include "base/linger.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "config.h"
#include "daemon/bus/service.h"
#include "daemon/policy/containment.h"
#include "daemon/policy/settings.h"
#include "daemon/store/store.h"

/* How long the last messages may take to reach the bus. */
#define SHUT_DOWN_USEC (UINT64_C(2) * 1000 * 1000)

static bool arg_user = false;

DEFINE_CLEANUP(Service, service_free)
DEFINE_CLEANUP(Settings, settings_free)
DEFINE_CLEANUP(Store, store_free)

static void help(void) {
        printf(_("%s [OPTIONS...]\n"
                 "\n"
                 "Binds TCP ports for the clients of the bus and hands every accepted connection to them.\n"
                 "\n"
                 "  -h --help       Show this help\n"
                 "     --version    Show the version\n"
                 "     --system     Serve the system bus (default)\n"
                 "     --user       Serve the session bus, for one user's own programs\n"),
               program_invocation_short_name);
}

/* Returns 1 to start the service, 0 after --help or --version, or -EINVAL. */
static int parse_arguments(int argc, char *argv[]) {
        enum {
                ARG_VERSION = 0x100,
                ARG_USER,
                ARG_SYSTEM
        };
        static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                                 { "version", no_argument, NULL, ARG_VERSION },
                                                 { "user", no_argument, NULL, ARG_USER },
                                                 { "system", no_argument, NULL, ARG_SYSTEM },
                                                 {} };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {

                case 'h':
                        help();
                        return 0;

                case ARG_VERSION:
                        (void) puts("tcpserversocketd " PROJECT_VERSION);
                        return 0;

                case ARG_USER:
                        arg_user = true;
                        break;

                case ARG_SYSTEM:
                        arg_user = false;
                        break;

                default:
                        return -EINVAL;
                }

        if (optind < argc) {
                (void) fprintf(stderr, _("%s takes no arguments.\n"), program_invocation_short_name);
                return -EINVAL;
        }

        return 1;
}

/* Without this, glibc raises the threshold when a large message is freed, and keeps the memory of later ones.
 */
static void set_mmap_threshold(void) {
        (void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);
}

static int on_prepare(sd_event_source *source, void *userdata) {
        linger_limit_end();
        return 0;
}

static int block_signals(void) {
        sigset_t mask;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGTERM);
        (void) sigaddset(&mask, SIGINT);
        (void) sigaddset(&mask, SIGHUP);
        return sigprocmask(SIG_BLOCK, &mask, NULL) < 0 ? -errno : 0;
}

static int on_interrupt(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        service_stop(userdata);
        return 0;
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        service_terminate(userdata);
        return 0;
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Service *service = userdata;
        Settings *settings;
        int r;

        (void) sd_notify(false, "RELOADING=1");

        r = settings_load("", &settings);
        if (r == 0)
                service_set_settings(service, settings);
        else {
                log_error("Failed to reload the configuration, keeping the previous one: %s",
                          r < 0 ? strerror(-r) : "parts of it could not be read");
                if (r > 0)
                        (void) settings_free(settings);
        }

        (void) sd_notify(false, "READY=1");
        return 0;
}

static int add_signals(sd_event *event, Service *service) {
        _cleanup_(sd_event_source_unrefp) sd_event_source *interrupt = NULL;
        int r;

        r = sd_event_add_signal(event, NULL, SIGHUP, on_reload, service);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, on_terminate, service);
        if (r >= 0)
                r = sd_event_add_signal(event, &interrupt, SIGINT, on_interrupt, service);
        /* Called before the loop waits, as of any enabled source. */
        if (r >= 0)
                r = sd_event_source_set_prepare(interrupt, on_prepare);
        return r < 0 ? r : sd_event_source_set_floating(interrupt, true);
}

static bool find_out_containment(void) {
        const char *reason;

        if (containment_probe(&reason))
                return true;

        /* With --user, the service has no guard, and the clients are programs of the same user. */
        log_event(arg_user ? LOG_DEBUG : LOG_WARNING, MESSAGE_NOT_CONTAINED_STR, NULL,
                  "Not contained, clients can use their sockets for other connections: %s", reason);
        return false;
}

static int run(void) {
        _cleanup_(settings_freep) Settings *settings = NULL;
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(store_freep) Store *store = NULL;
        _cleanup_(service_freep) Service *s = NULL;
        int r;

        descriptors_raise_limit();
        set_mmap_threshold();

        r = linger_init();
        if (r < 0) {
                log_error("Failed to set up a signal handler: %s", strerror(-r));
                return r;
        }

        /* Until the loop runs, they wait. */
        r = block_signals();
        if (r < 0) {
                log_error("Failed to block signals: %s", strerror(-r));
                return r;
        }

        r = sd_event_default(&event);
        if (r < 0) {
                log_error("Failed to create an event loop: %s", strerror(-r));
                return r;
        }

        r = settings_load("", &settings);
        if (r < 0) {
                log_error("Failed to read the configuration: %s", strerror(-r));
                return r;
        }
        if (r > 0)
                log_error("Failed to read parts of the configuration, only ports and addresses in the other parts are allowed");

        /* With --user, the service is no unit of the service manager, which would keep the store. */
        r = arg_user ? -ENOTSUP : store_new(event, &store);
        if (r < 0 && r != -ENOTSUP) {
                log_error("Failed to open the store for the next process: %s", strerror(-r));
                return r;
        }

        r = arg_user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
        if (r < 0) {
                log_error("Failed to connect to the %s bus: %s", arg_user ? "session" : "system",
                          strerror(-r));
                return r;
        }

        /* If the bus disconnects, the loop ends with an error, and systemd starts the service again. */
        r = sd_bus_set_exit_on_disconnect(bus, true);
        /* The last messages are sent after the loop. */
        if (r >= 0)
                r = sd_bus_set_close_on_exit(bus, false);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = service_new(event, bus, find_out_containment(), settings, store, &s);
        if (r >= 0) {
                settings = NULL; /* consumed */
                r = add_signals(event, s);
        }
        if (r < 0) {
                log_error("Failed to add the service to the bus: %s", strerror(-r));
                return r;
        }

        r = sd_event_loop(event);
        if (r < 0 && sd_event_get_exit_code(event, NULL) < 0)
                log_error("Failed to run the event loop: %s", strerror(-r));
        else if (r != 0 && sd_bus_is_open(bus) <= 0)
                log_error("The connection to the bus is lost%s",
                          store ? ", leaving the listeners to the next process" : "");

        (void) sd_notify(false, "STOPPING=1");
        service_shut_down(s, r != 0, SHUT_DOWN_USEC);
        return r == 0 ? 0 : -EIO;
}

int main(int argc, char *argv[]) {
        int r;

        (void) setlocale(LC_ALL, "");
        (void) bindtextdomain(GETTEXT_PACKAGE, LOCALE_DIR);
        (void) textdomain(GETTEXT_PACKAGE);

        r = parse_arguments(argc, argv);
        if (r > 0) {
                log_open("tcpserversocketd");
                r = run();
                log_close();
        }

        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
