/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each connection arrives once, in order, and after its client knows of the listener. */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/macros.h"
#include "bus/fixture.h"

/* In a network of the test's own. */
#define PORT 80

static void test_numbers_connections(Fixture *f, const void *data) {
        g_autofree char *first = test_listen(f->client, 0, -1, NULL);
        g_autofree char *second = test_listen(f->client, 0, -1, NULL);
        uint16_t first_port = test_get_port(f->client, first);
        uint16_t second_port = test_get_port(f->client, second);

        for (unsigned i = 1; i <= 20; i++) {
                _cleanup_close_ int a = test_connect("::1", first_port);
                g_autoptr(TestAccepted) of_first = test_client_wait_accepted(f->client);
                _cleanup_close_ int b = test_connect("::1", second_port);
                g_autoptr(TestAccepted) of_second = test_client_wait_accepted(f->client);

                test_assert_connected(a, of_first->socket);
                test_assert_connected(b, of_second->socket);
                g_assert_cmpstr(of_first->listener, ==, first);
                g_assert_cmpuint(of_first->serial, ==, i);
                g_assert_cmpstr(of_second->listener, ==, second);
                g_assert_cmpuint(of_second->serial, ==, i);
        }
}

/* In the service's process, before it starts: each accept4() waits until the test lets it go on. The
 * descriptor that tells of them goes to the test. */
static void watch_accept(void *data) {
        struct sock_filter instructions[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_accept4, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = { .len = ELEMENTS(instructions), .filter = instructions };
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {
                .header = {
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                },
        };
        struct iovec payload = { .iov_base = (uint64_t[]) { 0 }, .iov_len = sizeof(uint64_t) };
        const struct msghdr message = {
                .msg_iov = &payload,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        const int *channel = data;
        int fd;

        g_assert_no_errno(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        fd = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        g_assert_no_errno(fd);
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        g_assert_no_errno((int) sendmsg(*channel, &message, 0));
}

typedef struct Watched {
        Fixture fixture; /* first, so that a pointer to one is a pointer to the other */
        int accepts;
        sd_event_source *source;
        uint16_t port; /* where a peer connects as soon as the service looks, or 0 */
        int peer;
} Watched;

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Watched *w = userdata;
        struct seccomp_notif notification = {};
        struct seccomp_notif_resp response = { .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };

        if (!(revents & POLLIN))
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);

        g_assert_no_errno(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &notification));
        if (w->port != 0 && w->peer < 0) {
                w->peer = test_connect_start(NULL, "127.0.0.1", w->port);
                g_assert_no_errno(w->peer);
        }
        response.id = notification.id;
        g_assert_no_errno(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &response));
        return 0;
}

static void set_up_watched(Watched *w, const void *data) {
        FixtureOptions options = { .service.setup = watch_accept };
        uint64_t unused;
        int channel[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel));
        options.service.data = &channel[1];
        fixture_set_up(&w->fixture, &options);
        w->accepts = test_channel_receive(channel[0], &unused);
        close_fd(channel[0]);
        close_fd(channel[1]);
        w->peer = -EBADF;
        g_assert_cmpint(sd_event_add_io(test_event(), &w->source, w->accepts, POLLIN, on_accept, w), >=, 0);
}

static void tear_down_watched(Watched *w, const void *data) {
        fixture_tear_down(&w->fixture, data);
        sd_event_source_disable_unref(w->source);
        close_fd(w->accepts);
}

/* The peer is there whenever the service looks for the first time, be that ever so early. */
static void test_replies_first(Watched *w, const void *data) {
        TestClient *client = w->fixture.client;

        if (!test_require_private_network())
                return;

        w->port = PORT;
        for (unsigned i = 0; i < 3; i++) {
                sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                           "Listen");
                g_autoptr(TestCall) call = NULL;
                g_autoptr(TestAccepted) accepted = NULL;
                const char *listener;

                g_assert_cmpint(sd_bus_message_append(message, "ia{sv}i", PORT, 0, -1), >=, 0);
                call = test_call_start(client, message);
                g_assert_null(test_call_error(call));
                g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &listener), >=, 0);

                /* If it has not looked yet, and does so only when somebody knocks. */
                if (w->peer < 0)
                        w->peer = test_connect_start(NULL, "127.0.0.1", PORT);
                accepted = test_client_wait_accepted(client);
                g_assert_cmpstr(accepted->listener, ==, listener);
                g_assert_cmpuint(accepted->order, >, test_call_order(call));
                test_assert_connected(w->peer, accepted->socket);
                w->peer = close_fd(w->peer);
                w->port = 0;
                test_listener_call(client, listener, "Close");
                w->port = PORT;
        }
}

static void test_delivers_each_once(Fixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(GHashTable) peers = g_hash_table_new(NULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        int fds[200];

        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                fds[i] = test_connect_start(NULL, i % 2 == 0 ? "127.0.0.1" : "::1", port);
                g_assert_no_errno(fds[i]);
        }
        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                g_autofree char *own = g_strdup_printf("%5zu", i);

                (void) test_wait_fd(fds[i], POLLOUT);
                test_send(fds[i], own, strlen(own));
        }

        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                char own[6] = "";
                size_t index;

                g_assert_cmpuint(accepted->serial, ==, i + 1);
                test_receive(accepted->socket, own, 5);
                index = strtoul(own, NULL, 10);
                g_assert_cmpuint(index, <, ELEMENTS(fds));
                g_assert_cmpuint(accepted->remote_port, ==, test_local_port(fds[index]));
                g_assert_true(g_hash_table_add(peers, GSIZE_TO_POINTER(index)));
        }

        test_wait_for(test_get_u64(f->client, listener, "Delivered") == ELEMENTS(fds));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, ELEMENTS(fds));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, ELEMENTS(fds));
        for (size_t i = 0; i < ELEMENTS(fds); i++)
                close_fd(fds[i]);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();

#define ADD(name, fixture, set_up, function, tear_down) \
        g_test_add("/order/" name, fixture, NULL, set_up, function, tear_down)
        ADD("connections are numbered for each listener", Fixture, fixture_set_up, test_numbers_connections,
            fixture_tear_down);
        ADD("nothing about a listener is sent before the reply of Listen", Watched, set_up_watched,
            test_replies_first, tear_down_watched);
        ADD("each of a crowd arrives once", Fixture, fixture_set_up, test_delivers_each_once,
            fixture_tear_down);
#undef ADD
        return test_run();
}
