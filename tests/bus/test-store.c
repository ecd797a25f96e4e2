/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What outlives the service's process, with a service manager of the test's own, which can do what systemd
 * does not: hand back what is damaged, what somebody else has left, or nothing. The real one is in
 * machine/test-restart.c. */

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/state.h"
#include "bus/fixture.h"
#include "bus/pull.h"

#define FIRST_FD 3

/* An fd store: names and descriptors. */
typedef struct Kept {
        char *name;
        int fd;
} Kept;

typedef struct Manager {
        int socket;
        char *variable;
        sd_event_source *source;
        GPtrArray *kept; /* Kept */
        bool deaf;
} Manager;

typedef struct StoreFixture {
        TestBus *bus;
        TestClient *client;
        TestService *service;
        Manager *manager;
} StoreFixture;

static void kept_free(void *data) {
        Kept *kept = data;

        close_fd(kept->fd);
        g_free(kept->name);
        g_free(kept);
}

static void manager_add(Manager *m, const char *name, int fd) {
        Kept *kept = g_new0(Kept, 1);

        *kept = (Kept) { .name = g_strdup(name), .fd = fd };
        g_ptr_array_add(m->kept, kept);
}

static void manager_remove(Manager *m, const char *name) {
        for (unsigned i = m->kept->len; i > 0; i--)
                if (streq(((Kept *) m->kept->pdata[i - 1])->name, name))
                        g_ptr_array_remove_index(m->kept, i - 1);
}

static int manager_find(Manager *m, const char *name) {
        for (unsigned i = 0; i < m->kept->len; i++)
                if (streq(((Kept *) m->kept->pdata[i])->name, name))
                        return ((Kept *) m->kept->pdata[i])->fd;
        return -1;
}

static void manager_hear(Manager *m) {
        char text[256], control[CMSG_SPACE(4 * sizeof(int))];
        const char *name;

        for (;;) {
                struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
                struct msghdr message = {
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof(control),
                };
                ssize_t n = recvmsg(m->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                struct cmsghdr *c;

                if (n < 0)
                        return;
                text[n] = '\0';
                name = strstr(text, "FDNAME=");
                if (!name)
                        continue;
                name += strlen("FDNAME=");
                if (g_str_has_prefix(text, "FDSTOREREMOVE=1\n"))
                        manager_remove(m, name);
                else {
                        g_assert_true(g_str_has_prefix(text, "FDSTORE=1\nFDPOLL=0\n"));
                        c = CMSG_FIRSTHDR(&message);
                        g_assert_nonnull(c);
                        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
                                manager_add(m, name, ((int *) CMSG_DATA(c))[i]);
                }
        }
}

static int on_notification(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        manager_hear(userdata);
        return 0;
}

static Manager *manager_make(TestBus *bus) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        Manager *m = g_new0(Manager, 1);

        g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", test_bus_directory(bus));
        m->kept = g_ptr_array_new_with_free_func(kept_free);
        m->variable = g_strdup_printf("NOTIFY_SOCKET=%s", address.sun_path);
        m->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(bind(m->socket, (struct sockaddr *) &address, sizeof(address)));
        g_assert_cmpint(sd_event_add_io(test_event(), &m->source, m->socket, POLLIN, on_notification, m), >=,
                        0);
        return m;
}

static void manager_unmake(Manager *m) {
        sd_event_source_disable_unref(m->source);
        g_ptr_array_unref(m->kept);
        close(m->socket);
        g_free(m->variable);
        g_free(m);
}

static void manager_set_deaf(Manager *m, bool deaf) {
        g_assert_cmpint(sd_event_source_set_enabled(m->source, deaf ? SD_EVENT_OFF : SD_EVENT_ON), >=, 0);
}

/* In the child: all that is kept, from FIRST_FD on. */
static void pass_kept(void *data) {
        Manager *m = data;
        GString *names = g_string_new(NULL);
        g_autofree char *pid = g_strdup_printf("%d", (int) getpid());
        g_autofree char *number = g_strdup_printf("%u", m->kept->len);
        g_autofree int *high = g_new0(int, m->kept->len);

        if (m->kept->len == 0) {
                g_string_free(names, true);
                return;
        }

        for (unsigned i = 0; i < m->kept->len; i++) {
                Kept *kept = m->kept->pdata[i];

                high[i] = fcntl(kept->fd, F_DUPFD, FIRST_FD + (int) m->kept->len);
                g_assert_no_errno(high[i]);
                g_string_append_printf(names, "%s%s", i > 0 ? ":" : "", kept->name);
        }
        for (unsigned i = 0; i < m->kept->len; i++) {
                g_assert_no_errno(dup2(high[i], FIRST_FD + (int) i));
                close(high[i]);
        }
        g_setenv("LISTEN_PID", pid, true);
        g_setenv("LISTEN_FDS", number, true);
        g_setenv("LISTEN_FDNAMES", names->str, true);
        g_string_free(names, true);
}

static void start_on(StoreFixture *f, TestBus *bus) {
        const char *const environment[] = { f->manager->variable, NULL };
        TestServiceOptions options = { .environment = environment, .setup = pass_kept, .data = f->manager };

        f->service = test_service_new(bus, &options);
}

static void start(StoreFixture *f) {
        start_on(f, f->bus);
}

static void stop(StoreFixture *f) {
        (void) test_service_kill(f->service);
        test_process_pending();
        manager_hear(f->manager);
        g_clear_pointer(&f->service, test_service_free);
}

static void set_up(StoreFixture *f, const void *data) {
        f->bus = test_bus_new(NULL);
        f->manager = manager_make(f->bus);
        start(f);
        f->client = test_client_new(f->bus, (uid_t) -1);
}

static void tear_down(StoreFixture *f, const void *data) {
        g_clear_pointer(&f->client, test_client_free);
        g_clear_pointer(&f->service, test_service_free);
        manager_unmake(f->manager);
        test_bus_free(f->bus);
}

static void assert_delivered(StoreFixture *f, const char *listener, int peer, uint64_t serial) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpstr(accepted->listener, ==, listener);
        g_assert_cmpuint(accepted->serial, ==, serial);
        test_assert_connected(peer, accepted->socket);
}

static void test_goes_on(StoreFixture *f, const void *data) {
        g_autofree char *signals = NULL, *pull = NULL, *channel = NULL, *taken = NULL, *next = NULL;
        _cleanup_close_ int a = -EBADF, b = -EBADF, c = -EBADF, d = -EBADF, ours = -EBADF, listening = -EBADF;
        _cleanup_close_ int socket = -EBADF;
        uint64_t serial;

        signals = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        pull = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        channel = test_listen(f->client, 0, -1, "delivery", "s", "channel", NULL);
        taken = test_listen(f->client, 0, -1, "delivery", "s", "socket", NULL);
        ours = test_listener_call_fd(f->client, channel, "OpenChannel");
        listening = test_listener_call_fd(f->client, taken, "TakeSocket");
        a = test_connect("::1", test_get_port(f->client, signals));
        assert_delivered(f, signals, a, 1);
        b = test_connect("::1", test_get_port(f->client, channel));
        test_wait_for(test_get_u64(f->client, channel, "Accepted") == 1);

        for (unsigned n = 0; n < 3; n++) {
                stop(f);
                start(f);
                assert_delivered(f, signals, a, 1);
        }
        c = test_connect("::1", test_get_port(f->client, pull));
        {
                g_autoptr(GPtrArray) batch = test_accept(f->client, pull, 1, 5000);

                g_assert_cmpuint(batch->len, ==, 1);
                test_assert_connected(c, ((TestAccepted *) batch->pdata[0])->socket);
        }
        socket = test_channel_receive(ours, &serial);
        g_assert_cmpuint(serial, ==, 1);
        test_assert_connected(b, socket);
        test_wait_for(test_get_u64(f->client, channel, "Delivered") == 1);
        d = test_connect("::1", test_get_port(f->client, taken));
        g_assert_cmpuint(test_wait_fd(listening, POLLIN), ==, POLLIN);
        next = test_listen(f->client, 0, -1, NULL);
        g_assert_cmpstr(next, ==, TEST_MANAGER_PATH "/listener/5");
}

/* Whoever has seen it may say so, and say so again. */
static void test_serials_stay(StoreFixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));

        assert_delivered(f, listener, peer, 1);
        sd_bus_message_unref(test_call(f->client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t", UINT64_C(1)));
        stop(f);
        start(f);
        sd_bus_message_unref(test_call(f->client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t", UINT64_C(1)));
}

/* SIGTERM without a systemd on the bus that could say what it is for. */
static void test_a_stop_leaves_nothing(StoreFixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, "persistent", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        g_autoptr(TestNotice) closed = NULL;

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        g_clear_pointer(&f->service, test_service_free);
        closed = test_client_wait_closed(f->client);
        g_assert_cmpstr(closed->reason, ==, "shutdown");
        manager_hear(f->manager);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

static void test_another_bus(StoreFixture *f, const void *data) {
        g_autofree char *owned = NULL, *persistent = NULL, *error = NULL;
        uint16_t owned_port, persistent_port;
        g_autofree char *owner = g_strdup(test_client_name(f->client));
        TestBus *other;

        owned = test_listen(f->client, 0, -1, NULL);
        owned_port = test_get_port(f->client, owned);
        persistent = test_listen(f->client, 0, -1, "persistent", "b", true, NULL);
        persistent_port = test_get_port(f->client, persistent);
        stop(f);
        g_clear_pointer(&f->client, test_client_free);

        /* Where somebody else has the owner's name, as each bus counts from 1. */
        other = test_bus_new(NULL);
        do {
                g_clear_pointer(&f->client, test_client_free);
                f->client = test_client_new(other, (uid_t) -1);
        } while (!streq(test_client_name(f->client), owner));
        start_on(f, other);
        error = test_listener_call_fails(f->client, owned, "Close");
        g_assert_cmpstr(error, ==, "org.freedesktop.DBus.Error.UnknownObject");
        g_assert_cmpint(test_connect_fails("::1", owned_port), ==, ECONNREFUSED);
        g_assert_false(test_has_owner(f->client, persistent));
        test_listener_call(f->client, persistent, "Adopt");

        _cleanup_close_ int peer = test_connect("::1", persistent_port);

        assert_delivered(f, persistent, peer, 1);
        g_clear_pointer(&f->client, test_client_free);
        g_clear_pointer(&f->service, test_service_free);
        test_bus_free(other);
}

/* As another version would have left it. */
static void test_another_version(StoreFixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL), *log = NULL, *again = NULL;
        uint16_t port = test_get_port(f->client, listener);
        StateHeader header;
        int table;

        stop(f);
        table = manager_find(f->manager, "table");
        g_assert_cmpint(pread(table, &header, sizeof(header), 0), ==, sizeof(header));
        header.version++;
        g_assert_cmpint(pwrite(table, &header, sizeof(header), 0), ==, sizeof(header));
        start(f);
        g_assert_true(test_service_has_logged(f->service, "another version has written it"));
        test_wait_for(f->manager->kept->len == 0);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);

        again = test_listen(f->client, 0, -1, NULL);
        g_assert_cmpstr(again, ==, TEST_MANAGER_PATH "/listener/1");
}

/* Whatever comes back instead of what was kept. */
static void test_strange_things(StoreFixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        int pipe_ends[2], ends[2], table;

        test_wait_for(manager_find(f->manager, "table") >= 0);
        stop(f);
        g_assert_no_errno(pipe2(pipe_ends, O_CLOEXEC));
        manager_add(f->manager, "l7", pipe_ends[0]);
        manager_add(f->manager, "l7", pipe_ends[1]);
        manager_add(f->manager, "c300", open("/dev/null", O_RDONLY | O_CLOEXEC));
        manager_add(f->manager, "c3", open("/dev/null", O_RDONLY | O_CLOEXEC)); /* half of a lane */
        manager_add(f->manager, "stored", open("/", O_RDONLY | O_CLOEXEC));
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        for (unsigned n = 0; n < 50; n++) {
                char bytes[128];

                for (size_t i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (char) g_test_rand_int();
                g_assert_no_errno(send(ends[0], bytes, 1 + n, 0));
        }
        manager_add(f->manager, "c4", ends[0]);
        manager_add(f->manager, "c4", ends[1]);

        start(f);
        test_wait_for(manager_find(f->manager, "l7") < 0 && manager_find(f->manager, "c300") < 0 &&
                      manager_find(f->manager, "c3") < 0 && manager_find(f->manager, "stored") < 0);
        {
                _cleanup_close_ int peer = test_connect("::1", port);

                assert_delivered(f, listener, peer, 1);
        }

        /* A table that would end whoever looks at it. */
        stop(f);
        manager_remove(f->manager, "table");
        table = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        g_assert_no_errno(table);
        manager_add(f->manager, "table", table);
        start(f);
        g_assert_true(test_service_has_logged(f->service, "All listeners are closed"));
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* Every byte of it may be wrong. */
static void test_damage(StoreFixture *f, const void *data) {
        for (unsigned round = 0; round < 20; round++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "persistent", "b", true, NULL);
                StateSlot slots[8];
                int table;

                test_wait_for(manager_find(f->manager, "table") >= 0);
                stop(f);
                table = manager_find(f->manager, "table");
                g_assert_cmpint(pread(table, slots, sizeof(slots), sizeof(StateHeader)), ==, sizeof(slots));
                for (unsigned n = 0; n < 20; n++)
                        ((char *) slots)[g_test_rand_int_range(0, sizeof(slots))] = (char) g_test_rand_int();
                g_assert_cmpint(pwrite(table, slots, sizeof(slots), sizeof(StateHeader)), ==, sizeof(slots));
                start(f);
                test_client_sync_service(f->client);
        }
}

/* Who does not listen to the service does not stop it either, and is told later. */
static void test_a_busy_manager(StoreFixture *f, const void *data) {
        g_auto(GStrv) listeners = g_new0(char *, 1001);
        g_autofree char *last = NULL;
        uint16_t port;

        manager_set_deaf(f->manager, true);
        for (unsigned i = 0; i < 700; i++)
                listeners[i] = test_listen(f->client, 0, -1, NULL);
        last = test_listen(f->client, 0, -1, NULL);
        port = test_get_port(f->client, last);
        {
                _cleanup_close_ int peer = test_connect("::1", port);

                assert_delivered(f, last, peer, 1);
        }
        /* Otherwise the next process would hand it out again. */
        test_wait_for(test_get_u64(f->client, last, "Delivered") == 1);
        manager_set_deaf(f->manager, false);
        test_wait_for(f->manager->kept->len >= 1 + 2 * 128);
        stop(f);
        start(f);

        _cleanup_close_ int peer = test_connect("::1", port);

        assert_delivered(f, last, peer, 2);
}

static void add(const char *path, void (*test)(StoreFixture *f, const void *data)) {
        g_test_add(path, StoreFixture, NULL, set_up, test, tear_down);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);

        add("/store/goes on", test_goes_on);
        add("/store/serials stay known", test_serials_stay);
        add("/store/a stop leaves nothing", test_a_stop_leaves_nothing);
        add("/store/another bus has other owners", test_another_bus);
        add("/store/another version starts anew", test_another_version);
        add("/store/strange things are put away", test_strange_things);
        add("/store/damage is survived", test_damage);
        add("/store/a busy manager is told later", test_a_busy_manager);
        return test_run();
}
