/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Each system call and allocation during Listen, a delivery and the other methods fails once with each
 * possible errno. After any fault, every call has a reply, a connection is delivered or its loss is reported,
 * the next call and the next connection succeed, and the service has as many descriptors as before when the
 * client has left.
 *
 * A failure of the bus connection may end the service, which then logs an error.
 */

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/authority.h"
#include "fault/control.h"
#include "fault/run.h"
#include "fault/scenario.h"

static const struct {
        const char *name;
        int errors[FAULT_ERRORS_MAX];
} kinds[] = {
#define X(kind, name, ...) [FAULT_##kind] = { name, { __VA_ARGS__ } },
        FAULT_KINDS(X)
#undef X
};

static uint64_t get_counter(Run *run, const char *name) {
        sd_bus_message *m = test_message_new(run->client, run->listener, "org.freedesktop.DBus.Properties",
                                             "Get"),
                       *reply;
        uint64_t count = UINT64_MAX;

        must(sd_bus_message_append(m, "ss", TEST_LISTENER_INTERFACE, name));
        g_autoptr(TestCall) call = test_call_start(run->client, m);
        reply = run_ask(run, call, name);
        if (reply)
                must(sd_bus_message_read(reply, "v", "t", &count));
        return count;
}

static bool count_agrees(Run *run) {
        uint64_t accepted = get_counter(run, "Accepted");

        return accepted >= 1 && accepted == get_counter(run, "Delivered") + get_counter(run, "Lost");
}

static bool is_closed(Run *run) {
        return test_client_count_signals(run->client, "Closed") > 0;
}

/* Everything must work after the fault. */
static void check_next(Run *run) {
        bool accepts = !streq(run->scenario->delivery, "socket");

        if (is_closed(run) || !run->listener) {
                run->handle = close_fd(run->handle);
                if (!run_listen(run)) {
                        run_complain(run, "the next Listen fails");
                        return;
                }
        }

        _cleanup_close_ int peer = test_connect_start(NULL, "::1", run->port);
        if (!run->scenario->deliver(run, peer)) {
                run_complain(run, "the next connection does not arrive");
                return;
        }
        if (accepts && !scenario_is_calls(run->scenario) && !run_wait_until(count_agrees(run)))
                run_complain(run,
                             "the counters do not agree: %" G_GUINT64_FORMAT " accepted, %" G_GUINT64_FORMAT
                             " delivered, %" G_GUINT64_FORMAT " lost",
                             get_counter(run, "Accepted"), get_counter(run, "Delivered"),
                             get_counter(run, "Lost"));
        if (!run_call_listener(run, "Close"))
                run_complain(run, "Close fails");
}

static void check_end(Run *run) {
        int status = test_service_wait_exit(run->f->service);

        run->n_ends++;
        if (status != 1) {
                g_autofree char *log = test_service_log(run->f->service);

                run_complain(run, "the service ended with status %d: %s", status, log);
        }
        if (!test_service_has_logged(run->f->service, "<3>"))
                run_complain(run, "the service ended without logging an error");
        run_start_service(run);
}

/* Runs one client with the fault that the control has. */
static void run_once(Run *run, FaultMode mode) {
        _cleanup_close_ int peer = -EBADF;
        bool delivered = false;

        run->pid = test_service_pid(run->f->service);
        run->client = test_client_new(run->f->bus, run->scenario->asks ? test_other_uid(0) : (uid_t) -1);
        test_client_set_calls(run->client, TEST_CALLS_ANSWER);
        run->handle = -EBADF;
        run->lifeline = -EBADF;
        memset(run->control->counts, 0, sizeof(run->control->counts));
        run->control->fired = 0;
        run->control->mode = mode;

        if (run_listen(run)) {
                delivered = true;
                for (unsigned n = 0; delivered && n < run->scenario->n_peers; n++) {
                        (void) close_fd(peer);
                        peer = test_connect_start(NULL, "::1", run->port);
                        delivered = run->scenario->deliver(run, peer);
                }
        }
        run->control->mode = FAULT_OFF;
        run_synchronize(run);

        if (mode == FAULT_COUNT)
                g_assert_true(delivered);
        else if (!run_has_ended(run)) {
                /* The connection arrives later, or its loss is reported. */
                if (run->listener && !delivered && !is_closed(run) && peer >= 0 && test_has_ended(peer) &&
                    !run_wait_until(run_has_ended(run) ||
                                    test_client_count_signals(run->client, "Error") > 0))
                        run_complain(run, "the loss of a connection is not reported");
                if (run->listener && !delivered && !is_closed(run) && !run_has_ended(run) &&
                    !test_has_ended(peer) && !run->scenario->deliver(run, peer))
                        run_complain(run, "the connection never arrives");
                if (!scenario_is_calls(run->scenario) && is_closed(run) &&
                    test_client_count_signals(run->client, "Error") == 0)
                        run_complain(run, "the listener is closed without an error");
                if (!run_has_ended(run))
                        check_next(run);
        }

        run->handle = close_fd(run->handle);
        run->lifeline = close_fd(run->lifeline);
        g_clear_pointer(&run->listener, g_free);
        g_clear_pointer(&run->client, test_client_free);
        if (!run_wait_until(run_has_ended(run) || test_count_fds(run->pid) == run_expected_fds(run)))
                run_complain(run, "%u descriptors instead of %u", test_count_fds(run->pid),
                             run_expected_fds(run));
        if (run_has_ended(run))
                check_end(run);
}

/* The memory of a client is freed after its descriptors. */
static bool has_freed(Run *run, int64_t level) {
        uint64_t deadline = test_deadline(100);

        while (run_count_allocations(run) > level && run_wait_step(deadline))
                ;
        return run_count_allocations(run) <= level;
}

/* Returns whether more memory is in use than before, also after another client. */
static bool has_grown(Run *run) {
        int64_t before = run->n_allocations;

        if (before >= 0 && has_freed(run, before))
                return false;

        run_once(run, FAULT_COUNT);
        if (before >= 0 && has_freed(run, before))
                return false;

        run->n_allocations = run_count_allocations(run);
        return before >= 0;
}

static void run_fault(Run *run, FaultKind kind, uint32_t ordinal, int error) {
        unsigned n_ends = run->n_ends;
        bool fired;

        run->control->kind = kind;
        run->control->ordinal = ordinal;
        run->control->error = error;
        g_string_truncate(run->wrong, 0);
        run_once(run, FAULT_FAIL);
        fired = run->control->fired;

        /* A fault may leave memory that is reused later, but must not leave more each time. */
        if (has_grown(run)) {
                run_once(run, FAULT_FAIL);
                if (has_grown(run))
                        run_complain(run, "memory is not freed");
        }

        if (fired)
                run->n_faults++;
        else
                run->n_unreached++;
        if (run->n_ends > n_ends)
                g_string_append_printf(run->ends, " %s %u %s,", kinds[kind].name, ordinal, g_strerror(error));
        if (run->wrong->len == 0)
                return;

        run->n_wrong++;
        g_test_message("%s: %s number %u, %s: %s", run->scenario->name, kinds[kind].name, ordinal,
                       g_strerror(error), run->wrong->str);
}

/* The test plays polkit, and authorizes everything. */
static const FixtureOptions with_polkit = { .bus_xml = TEST_AUTHORITY_XML };

static void test_faults(Fixture *f, const void *data) {
        const char *only = g_getenv("TEST_FAULT_ONLY");
        g_autoptr(TestClient) polkit = NULL;
        uint32_t counts[_FAULT_KIND_MAX];
        FaultLibrary library;
        Run run = { .f = f,
                    .scenario = data,
                    .port = test_free_port(),
                    .wrong = g_string_new(NULL),
                    .ends = g_string_new(NULL) };

        if (run.scenario->asks) {
                if (!test_require_root())
                        return;
                polkit = test_authority_new(f->bus, NULL, NULL);
        }
        fault_library_init(&library, f->bus);
        run.control = library.control;
        run.options.environment = library.environment;
        if (run.scenario->has_keeper) {
                run.keeper = keeper_new(f->bus);
                keeper_set_environment(run.keeper, library.environment);
        }
        run_start_service(&run);
        test_client_sync_service(f->client); /* after its message to the service manager */

        run.fds = test_service_count_fds(f->service);
        /* Twice, as the first run also initializes things. */
        run_once(&run, FAULT_COUNT);
        run_once(&run, FAULT_COUNT);
        memcpy(counts, run.control->counts, sizeof(counts));
        run.n_allocations = run_count_allocations(&run);

        for (size_t kind = 0; kind < _FAULT_KIND_MAX; kind++)
                for (uint32_t ordinal = 0; ordinal < counts[kind]; ordinal++)
                        for (const int *error = kinds[kind].errors; *error != 0; error++)
                                if (!only || streq(only, kinds[kind].name))
                                        run_fault(&run, kind, ordinal, *error);

        g_test_message("%s: %u faults, %u not reached, %u ended the service:%s", run.scenario->name,
                       run.n_faults, run.n_unreached, run.n_ends, run.ends->str);
        g_assert_cmpuint(run.n_wrong, ==, 0);
        g_assert_cmpuint(run.n_faults, >, only ? 0 : 100);
        g_string_free(run.wrong, true);
        g_string_free(run.ends, true);
        g_clear_pointer(&run.keeper, keeper_free);
        fault_library_done(&library);
}

/* The data is a scenario, and no FixtureOptions. */
static void set_up(Fixture *f, const void *data) {
        fixture_set_up(f, ((const Scenario *) data)->asks ? &with_polkit : NULL);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();
        /* So that the service does not inherit descriptors. */
        (void) close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        for (const Scenario *scenario = scenarios; scenario->name; scenario++) {
                g_autofree char *path = g_strdup_printf("/faults/%s", scenario->name);

                g_test_add(path, Fixture, scenario, set_up, test_faults, fixture_tear_down);
        }
        return test_run();
}
