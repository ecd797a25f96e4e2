/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* No descriptor of a client enters the service. */

#include "bus/fuse.h"
#include "bus/hostile.h"

/* NULL: the descriptors are of /dev/null. */
static TestFuse *fuse;

static void append_descriptors(sd_bus_message *m, unsigned n) {
        _cleanup_close_ int fd = fuse ? test_fuse_open(fuse) : open("/dev/null", O_RDWR | O_CLOEXEC);

        g_assert_no_errno(fd);
        while (n-- > 0)
                must(sd_bus_message_append(m, "h", fd));
}

static void assert_denied(TestClient *client, sd_bus_message *m, unsigned n) {
        append_descriptors(m, n);
        g_autoptr(TestCall) call = test_call_start(client, m);
        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_ACCESS_DENIED);
}

static void send_in_calls(Hostile *h) {
        static const unsigned numbers[] = { 1, 16 };
        const struct {
                const char *path, *interface, *member;
        } calls[] = {
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping" },
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties", "GetAll" },
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Introspectable", "Introspect" },
                { "/org/freedesktop/LogControl1", "org.freedesktop.DBus.Properties", "Get" },
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "ListListeners" },
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "NoSuchMethod" },
                { h->listener, TEST_LISTENER_INTERFACE, "Accept" },
                { h->listener, TEST_LISTENER_INTERFACE, "Pause" },
                { h->listener, TEST_LISTENER_INTERFACE, "Close" },
        };

        for (unsigned n = 0; n < 2 * G_N_ELEMENTS(numbers); n++) {
                TestClient *client = n % 2 == 0 ? h->attackers[0] : h->fixture.client;
                uint16_t port = test_free_port();

                for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
                        assert_denied(client,
                                      test_message_new(client, calls[i].path, calls[i].interface,
                                                       calls[i].member),
                                      numbers[n / 2]);
                sd_bus_message *m = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                     "Listen");
                must(sd_bus_message_append(m, "ia{sv}i", (int) port, 0, -1));
                assert_denied(client, m, numbers[n / 2]);
                test_client_sync_service(h->fixture.client);
                g_assert_false(test_service_is_listening(h->fixture.service, port));
        }
        hostile_assert_healthy(h);
}

HOSTILE_TEST("calls with a descriptor are refused by the bus, also those of root") {
        send_in_calls(h);
}

static int on_accept_socket(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        g_autoptr(sd_bus_message) reply = NULL;
        unsigned *n = userdata;

        if (sd_bus_message_is_method_call(m, TEST_MANAGER_INTERFACE ".Client", "AcceptSocket") <= 0)
                return 0;
        if ((*n)++ % 2 == 0)
                must(sd_bus_message_new_method_return(m, &reply));
        else
                must(sd_bus_message_new_method_errorf(m, &reply, SD_BUS_ERROR_FAILED, "Failed"));
        append_descriptors(reply, 1);
        must(sd_bus_send(sd_bus_message_get_bus(m), reply, NULL));
        return 1;
}

static void send_in_replies(Hostile *h) {
        unsigned fds, n_calls = 0;

        test_settle(h->fixture.client);
        fds = test_service_count_fds(h->fixture.service);
        g_autoptr(TestClient) client = test_client_new(h->fixture.bus, (uid_t) -1);
        must(sd_bus_add_filter(test_client_bus(client), NULL, on_accept_socket, &n_calls));
        g_autofree char *listener = test_listen(client, 0, -1, "localAddress", "s", "127.0.0.1", TEST_CALL,
                                                NULL);
        uint16_t port = test_get_port(client, listener);
        _cleanup_close_ G_GNUC_UNUSED int first = test_connect("127.0.0.1", port);
        _cleanup_close_ G_GNUC_UNUSED int second = test_connect("127.0.0.1", port);

        test_wait_for(n_calls == 2);
        test_client_sync(client);
        test_client_sync_service(client);
        g_assert_cmpuint(test_get_u64(client, listener, "Delivered"), ==, test_bus_is_broker() ? 1 : 0);
        g_assert_cmpuint(test_get_u64(client, listener, "Refused"), ==, test_bus_is_broker() ? 1 : 0);
        hostile_assert_healthy(h);
        g_clear_pointer(&client, test_client_free);
        test_wait_for(test_service_count_fds(h->fixture.service) == fds);
}

/* dbus-broker has no policy for replies. */
HOSTILE_TEST("dbus-daemon passes on no reply with a descriptor") {
        send_in_replies(h);
}

static int count_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        unsigned *count = userdata;
        uint8_t type;

        must(sd_bus_message_get_type(m, &type));
        if (type == SD_BUS_MESSAGE_SIGNAL && g_strcmp0(sd_bus_message_get_interface(m), "com.example") == 0)
                (*count)++;
        return 0;
}

static void send_in_signals(Hostile *h) {
        unsigned count = 0;
        sd_bus_slot *filter;

        must(sd_bus_add_filter(test_client_bus(h->fixture.client), &filter, count_signal, &count));
        for (unsigned n_fds = 2; n_fds-- > 0;) {
                g_autoptr(sd_bus_message) m = NULL;

                must(sd_bus_message_new_signal(test_client_bus(h->attackers[0]), &m, "/com/example",
                                               "com.example", "Signal"));
                append_descriptors(m, n_fds);
                must(sd_bus_message_set_destination(m, test_client_name(h->fixture.client)));
                must(sd_bus_send(test_client_bus(h->attackers[0]), m, NULL));
        }
        test_wait_for(count > 0);
        test_client_sync(h->attackers[0]);
        test_client_sync(h->fixture.client);
        g_assert_cmpuint(count, ==, 1);
        sd_bus_slot_unref(filter);
}

HOSTILE_TEST("the service's user receives no signal with a descriptor, even without the service's name") {
        send_in_signals(h);
}

/* Also to the service, without waiting for an answer, and in an option. */
static void send_in_other_ways(Hostile *h) {
        TestClient *attacker = h->attackers[0];
        g_autoptr(sd_bus_message)
                        call = test_message_new(attacker, h->listener, TEST_LISTENER_INTERFACE, "Close"),
                        signal = NULL,
                        listen = test_message_new(attacker, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                  "Listen");

        must(sd_bus_message_set_expect_reply(call, false));
        append_descriptors(call, 1);
        must(sd_bus_send(test_client_bus(attacker), call, NULL));

        must(sd_bus_message_new_signal(test_client_bus(attacker), &signal, "/com/example", "com.example",
                                       "Signal"));
        must(sd_bus_message_set_destination(signal, TEST_BUS_NAME));
        append_descriptors(signal, 1);
        must(sd_bus_send(test_client_bus(attacker), signal, NULL));

        must(sd_bus_message_append(listen, "i", 0));
        must(sd_bus_message_open_container(listen, 'a', "{sv}"));
        must(sd_bus_message_open_container(listen, 'e', "sv"));
        must(sd_bus_message_append(listen, "s", "name"));
        must(sd_bus_message_open_container(listen, 'v', "h"));
        append_descriptors(listen, 1);
        must(sd_bus_message_close_container(listen));
        must(sd_bus_message_close_container(listen));
        must(sd_bus_message_close_container(listen));
        must(sd_bus_message_append(listen, "i", -1));
        must(sd_bus_send(test_client_bus(attacker), listen, NULL));
        test_client_sync(attacker);
        test_client_sync_service(h->fixture.client);
}

/* The process that closes a file of a FUSE file system waits until the client that has mounted it answers,
 * which may be never. Replies on dbus-broker are the exception that SECURITY.md names. */
HOSTILE_TEST("the service closes no file of a client's file system") {
        pid_t service = test_service_pid(h->fixture.service);
        const char *reason;
        unsigned own, all;
        int fd;

        fuse = test_fuse_new(&reason);
        if (!fuse) {
                g_test_skip(reason);
                return;
        }

        fd = test_fuse_open(fuse);
        fd = close_fd(fd);
        g_assert_cmpuint(test_fuse_count_closed_by(fuse, getpid()), ==, 1);

        send_in_calls(h);
        send_in_signals(h);
        send_in_other_ways(h);
        if (!test_bus_is_broker())
                send_in_replies(h);
        hostile_assert_healthy(h);
        own = test_fuse_count_closed_by(fuse, getpid());
        all = test_fuse_count_closed_by(fuse, 0);
        /* The bus, which has closed them. */
        g_assert_cmpuint(all, >, own);
        g_assert_cmpuint(test_fuse_count_closed_by(fuse, service), ==, 0);
        g_clear_pointer(&fuse, test_fuse_free);
}

/* The other end of the channel is shut down for reading. */
HOSTILE_TEST("nothing can be sent into a channel") {
        char control[CMSG_SPACE(sizeof(int))] = {};
        struct iovec iov = { .iov_base = control, .iov_len = 8 };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
        };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        g_autoptr(TestClient) client = test_client_new(h->fixture.bus, (uid_t) -1);
        g_autofree char *listener = test_listen(client, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int channel = test_listener_call_fd(client, listener, "OpenChannel");
        test_settle(client);
        unsigned fds = test_service_count_fds(h->fixture.service);
        *header = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(int)),
                                     .cmsg_level = SOL_SOCKET,
                                     .cmsg_type = SCM_RIGHTS };
        memcpy(CMSG_DATA(header), &channel, sizeof(channel));
        g_assert_cmpint(sendmsg(channel, &message, MSG_NOSIGNAL), <, 0);
        g_assert_cmpint(errno, ==, EPIPE);
        hostile_assert_healthy(h);
        test_wait_for(test_service_count_fds(h->fixture.service) == fds);
}
