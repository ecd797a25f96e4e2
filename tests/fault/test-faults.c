/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Each system call and allocation on the way of Listen, of a connection and of the other calls fails once, in
 * turn, with each errno that it may fail with. Whatever it is: every call is answered, a connection reaches
 * its client or its loss is told, the next of each works, and when the client has left the service has as
 * many descriptors as before.
 *
 * What only the bus's own connection fails by may end the service, but not without its saying so.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "bus/fixture.h"
#include "bus/pull.h"
#include "fault/fault.h"

#define PATIENCE_MS 6000U

typedef struct Scenario Scenario;

typedef struct Run {
        Fixture *f;
        const Scenario *scenario;
        FaultControl *control;
        TestServiceOptions options;
        uint16_t port;
        pid_t pid;    /* the service's; it may end at any time */
        unsigned fds; /* of the service, without clients */

        TestClient *client;
        char *listener;
        int handle;     /* the channel, or the socket */
        int lifetime;   /* our end */
        GString *ends;  /* what ended the service */
        GString *wrong; /* what did not hold, of this fault */

        int64_t n_allocations; /* of the service, without clients; -1: not known yet */

        unsigned n_faults, n_ends, n_unreached, n_wrong;
} Run;

struct Scenario {
        const char *name;
        const char *delivery;
        bool acknowledge;
        unsigned n_peers; /* one after the other */
        /* Gets a connection to its client, and returns whether it did. */
        bool (*deliver)(Run *run, int peer);
};

static const struct {
        const char *name;
        int errors[FAULT_ERRORS_MAX];
} kinds[] = {
#define X(kind, name, ...) [FAULT_##kind] = { name, { __VA_ARGS__ } },
        FAULT_KINDS(X)
#undef X
};

static bool has_ended(Run *run) {
        return test_service_has_exited(run->f->service);
}

static bool wait_step(uint64_t deadline) {
        if (test_now() > deadline)
                return false;
        g_assert_cmpint(sd_event_run(test_event(), 500), >=, 0);
        return true;
}

/* Without failing the test: the deadline's end is something that was wrong with this fault. */
#define wait_until(condition)                                           \
        ({                                                              \
                uint64_t _deadline = test_deadline(PATIENCE_MS);        \
                bool _holds;                                            \
                while (!(_holds = (condition)) && wait_step(_deadline)) \
                        ;                                               \
                _holds;                                                 \
        })

static void G_GNUC_PRINTF(2, 3) complain(Run *run, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_string_append_vprintf(run->wrong, format, arguments);
        va_end(arguments);
        g_string_append(run->wrong, "; ");
}

/* Returns the reply, or NULL for an error, which must be one that clients know. */
static sd_bus_message *ask(Run *run, TestCall *call, const char *what) {
        const sd_bus_error *error;

        if (!wait_until(test_call_is_done(call))) {
                complain(run, "%s is not answered", what);
                return NULL;
        }

        error = sd_bus_message_get_error(test_call_wait(call));
        if (!error)
                return test_call_wait(call);
        if (!g_str_has_prefix(error->name, "org.freedesktop.DBus.Error.") &&
            !g_str_has_prefix(error->name, "org.example.TCPServerSocket.Error."))
                complain(run, "%s says %s", what, error->name);
        /* What the bus says when the service has left it. */
        if ((streq(error->name, SD_BUS_ERROR_NO_REPLY) || streq(error->name, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
             streq(error->name, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) &&
            !wait_until(has_ended(run)))
                complain(run, "%s has no reply", what);
        return NULL;
}

static bool call_listener(Run *run, const char *member) {
        g_autoptr(TestCall) call = test_call_start(
                        run->client,
                        test_message_new(run->client, run->listener, TEST_LISTENER_INTERFACE, member));

        return ask(run, call, member);
}

static bool listen_again(Run *run) {
        sd_bus_message *m = test_message_new(run->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                             "Listen");
        _cleanup_close_ int theirs = -EBADF;
        g_autoptr(TestCall) call = NULL;
        sd_bus_message *reply;
        const char *path;
        const char *const prefixes[] = { "127.0.0.0/8", "::1", NULL };
        int ends[2];

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        theirs = ends[0];
        (void) close_fd(run->lifetime);
        run->lifetime = ends[1];
        g_assert_cmpint(sd_bus_message_append(m, "i", (int) run->port), >=, 0);
        test_message_append_options(m, "delivery", "s", run->scenario->delivery, "localAddress", "s", "::1",
                                    "interface", "s", "lo", "name", "s", "faults", "lifetime", "h", theirs,
                                    streq(run->scenario->delivery, "socket") ? NULL : "allowFrom", "as",
                                    prefixes, run->scenario->acknowledge ? "acknowledge" : NULL, "b", true,
                                    NULL);
        g_assert_cmpint(sd_bus_message_append(m, "i", -1), >=, 0);
        call = test_call_start(run->client, m);
        reply = ask(run, call, "Listen");
        if (!reply)
                return false;

        g_assert_cmpint(sd_bus_message_read(reply, "o", &path), >=, 0);
        g_free(run->listener);
        run->listener = g_strdup(path);
        return true;
}

/* What the service has sent until now has arrived. */
static void synchronize(Run *run) {
        sd_bus_message *m = test_message_new(run->client, TEST_MANAGER_PATH,
                                             "org.freedesktop.DBus.Properties", "GetAll");
        g_autoptr(TestCall) call = NULL;

        g_assert_cmpint(sd_bus_message_append(m, "s", TEST_MANAGER_INTERFACE), >=, 0);
        call = test_call_start(run->client, m);
        (void) ask(run, call, "GetAll");
}

static bool peer_has_ended(int peer) {
        char byte;

        return recv(peer, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || (errno != EAGAIN && errno != ENOTCONN);
}

static bool deliver_signal(Run *run, int peer) {
        g_autoptr(TestAccepted) accepted = NULL;
        g_autoptr(TestCall) call = NULL;
        sd_bus_message *m;

        (void) wait_until(test_client_count_accepted(run->client) > 0 || peer_has_ended(peer) ||
                          has_ended(run));
        if (test_client_count_accepted(run->client) == 0)
                return false;
        accepted = test_client_wait_accepted(run->client);
        test_assert_connected(peer, accepted->socket);
        if (!run->scenario->acknowledge)
                return true;

        m = test_message_new(run->client, run->listener, TEST_LISTENER_INTERFACE, "Acknowledge");
        g_assert_cmpint(sd_bus_message_append(m, "t", accepted->serial), >=, 0);
        call = test_call_start(run->client, m);
        (void) ask(run, call, "Acknowledge");
        return true;
}

static bool deliver_pull(Run *run, int peer) {
        g_autoptr(TestCall) call = test_accept_start(run->client, run->listener, 1, 3000);
        g_autoptr(TestAccepted) accepted = NULL;
        sd_bus_message *reply = ask(run, call, "Accept");

        if (!reply)
                return false;
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"), >, 0);
        if (sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") <= 0)
                return false;
        accepted = test_accepted_read(reply);
        test_assert_connected(peer, accepted->socket);
        return true;
}

static bool get_handle(Run *run, const char *member) {
        g_autoptr(TestCall) call = NULL;
        sd_bus_message *reply;
        int fd;

        if (run->handle >= 0)
                return true;
        call = test_call_start(run->client,
                               test_message_new(run->client, run->listener, TEST_LISTENER_INTERFACE, member));
        reply = ask(run, call, member);
        if (!reply)
                return false;
        g_assert_cmpint(sd_bus_message_read(reply, "h", &fd), >=, 0);
        run->handle = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        g_assert_no_errno(run->handle);
        return true;
}

static bool is_readable(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

static bool deliver_channel(Run *run, int peer) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t serial;

        if (!get_handle(run, "OpenChannel"))
                return false;
        (void) wait_until(is_readable(run->handle) || peer_has_ended(peer) || has_ended(run));
        if (!is_readable(run->handle))
                return false;
        fd = test_channel_receive(run->handle, &serial);
        if (fd < 0)
                return false;
        test_assert_connected(peer, fd);
        return true;
}

static bool deliver_socket(Run *run, int peer) {
        _cleanup_close_ int fd = -EBADF;

        if (!get_handle(run, "TakeSocket"))
                return false;
        (void) wait_until(is_readable(run->handle) || peer_has_ended(peer));
        fd = accept4(run->handle, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
                return false;
        test_assert_connected(peer, fd);
        return true;
}

/* Everything else that a client may call, once. */
static bool deliver_nothing(Run *run, int peer) {
        static const char *const members[] = { "Pause", "Resume" };
        static const struct {
                const char *path, *interface, *member;
        } looks[] = {
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "ListListeners" },
                { TEST_MANAGER_PATH "/listener", "org.freedesktop.DBus.Introspectable", "Introspect" },
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Introspectable", "Introspect" },
        };
        bool good = true;

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                good = call_listener(run, members[i]) && good;
        for (size_t i = 0; i < G_N_ELEMENTS(looks); i++) {
                g_autoptr(TestCall) call = test_call_start(
                                run->client, test_message_new(run->client, looks[i].path, looks[i].interface,
                                                              looks[i].member));

                good = ask(run, call, looks[i].member) && good;
        }
        for (unsigned all = 0; all < 2; all++) {
                sd_bus_message *m = test_message_new(run->client, run->listener,
                                                     "org.freedesktop.DBus.Properties",
                                                     all ? "GetAll" : "Get");
                g_autoptr(TestCall) call = NULL;

                g_assert_cmpint(sd_bus_message_append(m, all ? "s" : "ss", TEST_LISTENER_INTERFACE,
                                                      "LocalPort"),
                                >=, 0);
                call = test_call_start(run->client, m);
                good = ask(run, call, all ? "GetAll" : "Get") && good;
        }
        return good && call_listener(run, "Close") && listen_again(run);
}

static uint64_t get_counter(Run *run, const char *name) {
        sd_bus_message *m = test_message_new(run->client, run->listener, "org.freedesktop.DBus.Properties",
                                             "Get"),
                       *reply;
        g_autoptr(TestCall) call = NULL;
        uint64_t count = UINT64_MAX;

        g_assert_cmpint(sd_bus_message_append(m, "ss", TEST_LISTENER_INTERFACE, name), >=, 0);
        call = test_call_start(run->client, m);
        reply = ask(run, call, name);
        if (reply)
                g_assert_cmpint(sd_bus_message_read(reply, "v", "t", &count), >=, 0);
        return count;
}

static bool count_agrees(Run *run) {
        uint64_t accepted = get_counter(run, "Accepted");

        return accepted >= 1 && accepted == get_counter(run, "Delivered") + get_counter(run, "Lost");
}

static bool is_closed(Run *run) {
        return test_client_count_signals(run->client, "Closed") > 0;
}

/* Nothing fails any more. */
static void check_next(Run *run) {
        bool accepts = !streq(run->scenario->delivery, "socket");
        _cleanup_close_ int peer = -EBADF;

        if (is_closed(run) || !run->listener) {
                run->handle = close_fd(run->handle);
                if (!listen_again(run)) {
                        complain(run, "the next Listen fails");
                        return;
                }
        }

        peer = test_connect_start(NULL, "::1", run->port);
        if (!run->scenario->deliver(run, peer)) {
                complain(run, "the next connection does not arrive");
                return;
        }
        if (accepts && run->scenario->deliver != deliver_nothing && !wait_until(count_agrees(run)))
                complain(run,
                         "the counters do not agree: %" G_GUINT64_FORMAT " accepted, %" G_GUINT64_FORMAT
                         " delivered, %" G_GUINT64_FORMAT " lost",
                         get_counter(run, "Accepted"), get_counter(run, "Delivered"),
                         get_counter(run, "Lost"));
        if (!call_listener(run, "Close"))
                complain(run, "Close fails");
}

static void check_end(Run *run) {
        int status = test_service_wait_exit(run->f->service);

        run->n_ends++;
        if (status != 1) {
                g_autofree char *log = test_service_log(run->f->service);

                complain(run, "the service ended with status %d: %s", status, log);
        }
        if (!test_service_has_logged(run->f->service, "<3>"))
                complain(run, "the service ended and did not say why");
        g_clear_pointer(&run->f->service, test_service_free);
        test_wait_for(!test_bus_service_owner(run->f->bus));
        run->control->allocations = 0;
        run->f->service = test_service_new(run->f->bus, &run->options);
        run->n_allocations = -1;
}

/* One client's life, with what the control says. */
static void run_once(Run *run, FaultMode mode) {
        _cleanup_close_ int peer = -EBADF;
        bool delivered = false;

        run->pid = test_service_pid(run->f->service);
        run->client = test_client_new(run->f->bus, (uid_t) -1);
        run->handle = -EBADF;
        run->lifetime = -EBADF;
        memset(run->control->counts, 0, sizeof(run->control->counts));
        run->control->fired = 0;
        run->control->mode = mode;

        if (listen_again(run)) {
                delivered = true;
                for (unsigned n = 0; delivered && n < run->scenario->n_peers; n++) {
                        (void) close_fd(peer);
                        peer = test_connect_start(NULL, "::1", run->port);
                        delivered = run->scenario->deliver(run, peer);
                }
        }
        run->control->mode = FAULT_OFF;
        synchronize(run);

        if (mode == FAULT_COUNT)
                g_assert_true(delivered);
        else if (!has_ended(run)) {
                /* It was only not taken yet, or it is lost, and then that is told. */
                if (run->listener && !delivered && !is_closed(run) && peer >= 0 && peer_has_ended(peer) &&
                    !wait_until(has_ended(run) || test_client_count_signals(run->client, "Error") > 0))
                        complain(run, "the loss of a connection is not told");
                if (run->listener && !delivered && !is_closed(run) && !has_ended(run) &&
                    !peer_has_ended(peer) && !run->scenario->deliver(run, peer))
                        complain(run, "the connection never arrives");
                if (run->scenario->deliver != deliver_nothing && is_closed(run) &&
                    test_client_count_signals(run->client, "Error") == 0)
                        complain(run, "the listener is closed without an error");
                if (!has_ended(run))
                        check_next(run);
        }

        run->handle = close_fd(run->handle);
        run->lifetime = close_fd(run->lifetime);
        g_clear_pointer(&run->listener, g_free);
        g_clear_pointer(&run->client, test_client_free);
        if (!wait_until(has_ended(run) || test_count_fds(run->pid) == run->fds))
                complain(run, "%u descriptors instead of %u", test_count_fds(run->pid), run->fds);
        if (has_ended(run))
                check_end(run);
}

/* What goes with a client goes after its descriptors. */
static bool has_freed(Run *run, int64_t level) {
        uint64_t deadline = test_deadline(100);

        while (run->control->allocations > level && wait_step(deadline))
                ;
        return run->control->allocations <= level;
}

/* Returns whether there is more than before, also when another client has been served. */
static bool has_grown(Run *run) {
        int64_t before = run->n_allocations;

        if (before >= 0 && has_freed(run, before))
                return false;

        run_once(run, FAULT_COUNT);
        if (before >= 0 && has_freed(run, before))
                return false;

        run->n_allocations = run->control->allocations;
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

        /* A fault may leave something behind that is used the next time, but not another one each time. */
        if (has_grown(run)) {
                run_once(run, FAULT_FAIL);
                if (has_grown(run))
                        complain(run, "memory is not freed");
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

static FaultControl *map_control(Fixture *f, char **ret_path) {
        g_autofree char *path = g_build_filename(test_bus_directory(f->bus), "faults", NULL);
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        void *p;

        g_assert_no_errno(fd);
        g_assert_no_errno(ftruncate(fd, sizeof(FaultControl)));
        p = mmap(NULL, sizeof(FaultControl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        g_assert_true(p != MAP_FAILED);
        *ret_path = g_steal_pointer(&path);
        return p;
}

static void test_faults(Fixture *f, const void *data) {
        const char *only = g_getenv("TEST_FAULT_ONLY");
        uint32_t counts[_FAULT_KIND_MAX];
        g_autofree char *path = NULL;
        Run run = { .f = f,
                    .scenario = data,
                    .port = test_free_port(),
                    .wrong = g_string_new(NULL),
                    .ends = g_string_new(NULL) };

        run.control = map_control(f, &path);
        g_autofree char *variable = g_strdup_printf(FAULT_FILE_VARIABLE "=%s", path);
        g_autofree char *preload = g_strdup_printf("LD_PRELOAD=%s", g_getenv("TEST_FAULT_LIBRARY"));
        const char *const environment[] = { variable, preload, "ASAN_OPTIONS=verify_asan_link_order=0",
                                            NULL };
        run.options.environment = environment;
        fixture_restart_service(f, &run.options);

        run.fds = test_service_count_fds(f->service);
        /* Twice, for what is only done the first time. */
        run_once(&run, FAULT_COUNT);
        run_once(&run, FAULT_COUNT);
        memcpy(counts, run.control->counts, sizeof(counts));
        run.n_allocations = run.control->allocations;

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
        munmap(run.control, sizeof(*run.control));
}

/* The data is the scenario's, not the fixture's. */
static void set_up(Fixture *f, const void *data) {
        fixture_set_up(f, NULL);
}

int main(int argc, char *argv[]) {
        static const Scenario scenarios[] = {
                { "signal", "signal", false, 1, deliver_signal },
                { "acknowledge", "signal", true, 1, deliver_signal },
                { "pull", "pull", false, 1, deliver_pull },
                { "channel", "channel", false, 2, deliver_channel },
                { "socket", "socket", false, 1, deliver_socket },
                { "calls", "signal", false, 1, deliver_nothing },
        };

        test_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
                g_autofree char *path = g_strdup_printf("/faults/%s", scenarios[i].name);

                g_test_add(path, Fixture, &scenarios[i], set_up, test_faults, fixture_tear_down);
        }
        return test_run();
}
