/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "fault/run.h"
#include "fault/scenario.h"

bool run_has_ended(Run *run) {
        return test_service_has_exited(run->f->service);
}

bool run_wait_step(uint64_t deadline) {
        if (test_now() > deadline)
                return false;
        must(sd_event_run(test_event(), 500));
        return true;
}

/* The number of queues, each with two ends in the fd store, and those that could not be sent to it. */
static unsigned count_queues(Run *run) {
        g_autofree char *log = test_service_log(run->f->service);
        unsigned n = 0;

        if (run->keeper)
                n = keeper_count(run->keeper) / 2;
        for (const char *s = log; (s = strstr(s, "Failed to send a message about the fd store")); s++)
                n++;
        return n;
}

void run_start_service(Run *run) {
        g_clear_pointer(&run->f->service, test_service_free);
        test_wait_for(!test_bus_service_owner(run->f->bus));
        run->control->allocations = 0;
        run->f->service = run->keeper ? keeper_start(run->keeper, run->f->bus)
                                      : test_service_new(run->f->bus, &run->options);
        run->n_allocations = -1;
}

unsigned run_expected_fds(Run *run) {
        return run->fds + 2 * count_queues(run);
}

int64_t run_count_allocations(Run *run) {
        return run->control->allocations - (int64_t) count_queues(run);
}

void run_complain(Run *run, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_string_append_vprintf(run->wrong, format, arguments);
        va_end(arguments);
        g_string_append(run->wrong, "; ");
}

sd_bus_message *run_ask(Run *run, TestCall *call, const char *what) {
        const sd_bus_error *error;

        if (!run_wait_until(test_call_is_done(call))) {
                run_complain(run, "%s is not answered", what);
                return NULL;
        }

        error = sd_bus_message_get_error(test_call_wait(call));
        if (!error)
                return test_call_wait(call);
        if (!g_str_has_prefix(error->name, "org.freedesktop.DBus.Error.") &&
            !g_str_has_prefix(error->name, "org.example.TCPServerSocket.Error."))
                run_complain(run, "%s says %s", what, error->name);
        /* The errors of the bus when the service has disconnected. */
        if ((streq(error->name, SD_BUS_ERROR_NO_REPLY) || streq(error->name, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
             streq(error->name, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) &&
            !run_wait_until(run_has_ended(run)))
                run_complain(run, "%s has no reply", what);
        return NULL;
}

bool run_call_listener(Run *run, const char *member) {
        g_autoptr(TestCall) call = test_call_start(
                        run->client,
                        test_message_new(run->client, run->listener, TEST_LISTENER_INTERFACE, member));

        return run_ask(run, call, member);
}

/* A call that has failed can be repeated. */
static void open_lifeline(Run *run) {
        bool is_closed = false;

        for (unsigned n = 0; n < 2 && run->lifeline < 0 && !is_closed && !run_has_ended(run); n++) {
                g_autoptr(TestCall) call = test_call_start(
                                run->client, test_message_new(run->client, run->listener,
                                                              TEST_LISTENER_INTERFACE, "OpenLifeline"));
                sd_bus_message *reply = run_ask(run, call, "OpenLifeline");

                if (reply)
                        run->lifeline = test_reply_read_fd(reply);
                else if (test_call_is_done(call))
                        is_closed = sd_bus_message_is_method_error(test_call_wait(call),
                                                                   SD_BUS_ERROR_UNKNOWN_OBJECT);
        }
        if (run->lifeline < 0 && !is_closed && !run_has_ended(run))
                run_complain(run, "OpenLifeline fails twice");
}

/* Ends the listener that the client had. */
/* The port is free when the service has noticed that the lifeline of its listener is closed. */
static void close_lifeline(Run *run) {
        if (run->lifeline < 0)
                return;

        run->lifeline = close_fd(run->lifeline);
        (void) run_wait_until(run_has_ended(run) || !test_service_is_listening(run->f->service, run->port));
}

bool run_listen(Run *run) {
        sd_bus_message *m = test_message_new(run->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                             "Listen");
        const char *path;

        close_lifeline(run);
        must(sd_bus_message_append(m, "i", (int) run->port));
        test_message_append_options(m, "delivery", "s", run->scenario->delivery, "localAddress", "s", "::1",
                                    "interface", "s", "lo", "name", "s", "faults", "persistent", "b",
                                    run->scenario->asks,
                                    streq(run->scenario->delivery, "socket") ? NULL : "allowFrom", "as",
                                    WORDS("127.0.0.0/8", "::1"),
                                    run->scenario->acknowledge ? "acknowledge"
                                    : run->scenario->batch > 0 ? "channelBatch"
                                                               : NULL,
                                    run->scenario->acknowledge ? "b" : "u",
                                    run->scenario->acknowledge ? 1 : run->scenario->batch, NULL);
        must(sd_bus_message_append(m, "i", -1));
        g_autoptr(TestCall) call = test_call_start(run->client, m);
        sd_bus_message *reply = run_ask(run, call, "Listen");
        if (!reply)
                return false;

        must(sd_bus_message_read(reply, "o", &path));
        g_free(run->listener);
        run->listener = g_strdup(path);

        open_lifeline(run);
        return true;
}

void run_synchronize(Run *run) {
        sd_bus_message *m = test_message_new(run->client, TEST_MANAGER_PATH,
                                             "org.freedesktop.DBus.Properties", "GetAll");

        must(sd_bus_message_append(m, "s", TEST_MANAGER_INTERFACE));
        g_autoptr(TestCall) call = test_call_start(run->client, m);
        (void) run_ask(run, call, "GetAll");
}
