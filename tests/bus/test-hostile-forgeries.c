/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages that no library sends: replies without calls, forged signals, signals to the service. */

#include <sys/syscall.h>
#include <sys/un.h>

#include "bus/hostile.h"
#include "fuzz/message.h"

static unsigned pick(unsigned n) {
        return (unsigned) g_test_rand_int_range(0, (int) n);
}

/* A connection of another user, byte by byte. */
static int connect_raw(TestBus *bus, uid_t uid) {
        const char *path = strchr(test_bus_address(bus), '=') + 1;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_autofree char *id = g_strdup_printf("%u", (unsigned) uid);
        g_autoptr(GString) hello = g_string_new(NULL);
        FuzzMessage *m = g_new0(FuzzMessage, 1);
        char answer[512];
        uid_t own = geteuid();

        g_assert_no_errno(fd);
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        g_assert_no_errno(syscall(SYS_setresuid, -1, uid, -1));
        g_assert_no_errno(connect(fd, (struct sockaddr *) &address, sizeof(address)));
        g_assert_no_errno(syscall(SYS_setresuid, -1, own, -1));

        g_string_append_len(hello, "\0AUTH EXTERNAL ", 15);
        for (const char *c = id; *c; c++)
                g_string_append_printf(hello, "%02x", (unsigned) *c);
        g_string_append(hello, "\r\n");
        g_assert_cmpint(send(fd, hello->str, hello->len, MSG_NOSIGNAL), ==, hello->len);
        (void) test_wait_fd(fd, POLLIN);
        g_assert_cmpint(recv(fd, answer, sizeof(answer), 0), >, 0);
        g_assert_true(memcmp(answer, "OK ", 3) == 0);
        g_assert_cmpint(send(fd, "NEGOTIATE_UNIX_FD\r\n", 19, MSG_NOSIGNAL), ==, 19);
        (void) test_wait_fd(fd, POLLIN);
        g_assert_cmpint(recv(fd, answer, sizeof(answer), 0), >, 0);
        g_assert_true(memcmp(answer, "AGREE_UNIX_FD", 13) == 0);
        g_assert_cmpint(send(fd, "BEGIN\r\n", 7, MSG_NOSIGNAL), ==, 7);

        message_begin(m, MESSAGE_CALL, 0, 1);
        message_add_field(m, FIELD_PATH, "/org/freedesktop/DBus");
        message_add_field(m, FIELD_INTERFACE, "org.freedesktop.DBus");
        message_add_field(m, FIELD_MEMBER, "Hello");
        message_add_field(m, FIELD_DESTINATION, "org.freedesktop.DBus");
        message_begin_body(m, NULL);
        message_end(m);
        g_assert_true(message_send(m, fd));
        /* Until it has been read, the bus takes no descriptors. */
        (void) test_wait_fd(fd, POLLIN);
        g_free(m);
        return fd;
}

static void add_service(FuzzMessage *m, Hostile *h) {
        message_add_field(m, FIELD_DESTINATION,
                          pick(2) ? test_bus_service_owner(h->fixture.bus) : TEST_BUS_NAME);
        if (pick(2))
                message_add_field(m, FIELD_SENDER, "org.freedesktop.DBus");
}

static void make_reply(FuzzMessage *m, Hostile *h, uint32_t serial) {
        bool error = pick(2);

        message_begin(m, error ? MESSAGE_ERROR : MESSAGE_RETURN, 1, serial);
        message_add_number(m, FIELD_REPLY_SERIAL, 1 + pick(200));
        if (error)
                message_add_field(m, FIELD_ERROR_NAME, SD_BUS_ERROR_NOT_SUPPORTED);
        add_service(m, h);
        message_begin_body(m, "u");
        message_append_u32(m, 0);
}

static void make_signal(FuzzMessage *m, Hostile *h, uint32_t serial) {
        bool drivers = pick(2);
        const char *name = pick(2) ? test_client_name(h->fixture.client)
                                   : test_bus_service_owner(h->fixture.bus);

        message_begin(m, MESSAGE_SIGNAL, 1, serial);
        message_add_field(m, FIELD_PATH, drivers ? "/org/freedesktop/DBus" : TEST_MANAGER_PATH);
        message_add_field(m, FIELD_INTERFACE,
                          drivers ? "org.freedesktop.DBus" : "org.freedesktop.DBus.Local");
        message_add_field(m, FIELD_MEMBER, drivers ? "NameOwnerChanged" : "Signal");
        add_service(m, h);
        message_begin_body(m, "sss");
        message_append_string(m, name);
        message_append_string(m, name);
        message_append_string(m, "");
}

/* The bus ends a connection that claims to be its own; then there is another one. */
HOSTILE_TEST("forged replies and signals are ignored") {
        FuzzMessage *m = g_new0(FuzzMessage, 1);
        int fd = -EBADF;

        for (uint32_t n = 0; n < 4000; n++) {
                char byte;

                if (fd < 0)
                        fd = connect_raw(h->fixture.bus, test_other_uid(0));
                if (n % 2 == 0)
                        make_reply(m, h, n + 2);
                else
                        make_signal(m, h, n + 2);
                message_end(m);
                if (!message_send(m, fd) || recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0)
                        fd = close_fd(fd);
                else
                        while (recv(fd, m->data, sizeof(m->data), MSG_DONTWAIT) > 0)
                                ;
                if (n % 200 == 0)
                        hostile_assert_healthy(h);
        }
        (void) close_fd(fd);
        g_free(m);
}

static int count_signal(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        unsigned *counts = userdata;
        uint8_t type;

        must(sd_bus_message_get_type(message, &type));
        if (type == SD_BUS_MESSAGE_SIGNAL &&
            g_strcmp0(sd_bus_message_get_interface(message), "com.example") == 0)
                counts[0]++;
        if (sd_bus_message_is_method_call(message, TEST_MANAGER_INTERFACE, "Listen") > 0)
                counts[1]++;
        return 0;
}

static void tear_down_signals(Hostile *h, const void *data) {
        hostile_free_attackers(h);
        g_clear_pointer(&h->polkit, test_client_free);
        g_clear_pointer(&h->listener, g_free);
        fixture_tear_down(&h->fixture, NULL);
}

/* A client that owns the service's name receives no signals of others. */
TEST_OF("clients cannot send signals to the service", Hostile, h, hostile_set_up, tear_down_signals, NULL) {
        unsigned counts[2] = {};

        g_clear_pointer(&h->fixture.service, test_service_free);
        test_wait_for(!test_bus_service_owner(h->fixture.bus));
        g_autoptr(TestClient) stand_in = test_client_new(h->fixture.bus, (uid_t) -1);
        must(sd_bus_add_filter(test_client_bus(stand_in), NULL, count_signal, counts));
        test_client_match_everything(stand_in);

        for (unsigned n = 0; n < 2; n++) {
                g_autoptr(sd_bus_message) m = NULL;

                /* First without the name, which proves that it would arrive. */
                if (n == 1)
                        test_call_driver(stand_in, "RequestName", "su", TEST_BUS_NAME, 0);
                must(sd_bus_message_new_signal(test_client_bus(h->attackers[0]), &m, "/com/example",
                                               "com.example", "Signal"));
                must(sd_bus_message_set_destination(m, test_client_name(stand_in)));
                must(sd_bus_send(test_client_bus(h->attackers[0]), m, NULL));
                if (n == 0)
                        test_wait_for(counts[0] == 1);
        }

        /* A later message has arrived, so the forged ones have as well. */
        g_autoptr(sd_bus_message) call = test_message_new(h->attackers[0], TEST_MANAGER_PATH,
                                                          TEST_MANAGER_INTERFACE, "Listen");
        must(sd_bus_send(test_client_bus(h->attackers[0]), call, NULL));
        test_wait_for(counts[1] == 1);
        g_assert_cmpuint(counts[0], ==, 1);
        g_clear_pointer(&stand_in, test_client_free);
}
