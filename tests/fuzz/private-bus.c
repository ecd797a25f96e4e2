/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz/private-bus.h"

#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "base/names.h"
#include "fuzz/input.h"
#include "fuzz/message.h"

#define DRIVER "org.freedesktop.DBus"
/* ALLOW_INTERACTIVE_AUTHORIZATION */
#define MAY_ASK UINT8_C(4)
#define WAITING_MAX 256U
#define SERIALS_MAX 1024U
#define TURNS_MAX 10000U

typedef struct Waiting {
        sd_bus_message *calls[WAITING_MAX];
        unsigned first, n;
} Waiting;

struct PrivateBus {
        sd_event *event;
        sd_bus *service;
        sd_bus *server;
        int fd; /* of the server */

        uint32_t serial;
        bool unanswered[SERIALS_MAX]; /* calls by serial */
        uint8_t callers[SERIALS_MAX];

        Waiting driver, polkit, pings, client_calls, received;
        bool hold_driver, lazy;
        uint32_t unread;
        unsigned n_units; /* questions to systemd */
        unsigned n_users; /* questions to logind */
};

static const char *const clients[BUS_CLIENTS] = { ":1.10", ":1.11", ":1.12", ":1.13" };

const char *private_bus_get_client(unsigned client) {
        return clients[client % BUS_CLIENTS];
}

static int find_client(const char *name) {
        for (unsigned i = 0; i < BUS_CLIENTS; i++)
                if (streq(clients[i], name))
                        return (int) i;

        return -1;
}

/* Drops the oldest one if the list is full. */
static void waiting_add(Waiting *w, sd_bus_message *m) {
        if (w->n == WAITING_MAX) {
                sd_bus_message_unref(w->calls[w->first]);
                w->first = (w->first + 1) % WAITING_MAX;
                w->n--;
        }
        w->calls[(w->first + w->n++) % WAITING_MAX] = sd_bus_message_ref(m);
}

static sd_bus_message *waiting_take(Waiting *w) {
        if (w->n == 0)
                return NULL;

        sd_bus_message *m = w->calls[w->first];
        w->first = (w->first + 1) % WAITING_MAX;
        w->n--;
        return m;
}

static void waiting_clear(Waiting *w) {
        sd_bus_message *m;

        while ((m = waiting_take(w)))
                sd_bus_message_unref(m);
}

static void send_as(PrivateBus *b, sd_bus_message *m, const char *sender) {
        fuzz_assert(sd_bus_message_set_sender(m, sender) >= 0);
        (void) sd_bus_send(b->server, m, NULL);
}

static sd_bus_message *new_reply(sd_bus_message *call, BusAnswer answer) {
        sd_bus_message *m;

        if (answer == BUS_ANSWER_ERROR)
                fuzz_assert(sd_bus_message_new_method_errorf(call, &m, SD_BUS_ERROR_FAILED, "Failed") >= 0);
        else
                fuzz_assert(sd_bus_message_new_method_return(call, &m) >= 0);
        return m;
}

static int append_credentials(sd_bus_message *reply, sd_bus_message *call) {
        static const uint32_t uids[BUS_CLIENTS] = { 0, 1000, 1000, 1001 };
        const char *name;

        fuzz_assert(sd_bus_message_rewind(call, true) >= 0);
        fuzz_assert(sd_bus_message_read(call, "s", &name) > 0);
        int client = find_client(name);
        return sd_bus_message_append(reply, "a{sv}", 3, "ProcessID", "u", UINT32_C(42), "UnixUserID", "u",
                                     client >= 0 ? uids[client] : 4711, "LinuxSecurityLabel", "ay", 1, 0);
}

static int append_statistics(sd_bus_message *reply, uint32_t unread) {
        return sd_bus_message_append(reply, "a{sv}", 3, "Serial", "u", UINT32_C(1), "UniqueName", "s",
                                     clients[0], "OutgoingBytes", "u", unread);
}

static void answer_driver(PrivateBus *b, sd_bus_message *call, BusAnswer answer) {
        const char *member = sd_bus_message_get_member(call);
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        m = new_reply(call, answer);
        if (answer == BUS_ANSWER_ERROR)
                ;
        else if (answer == BUS_ANSWER_MALFORMED)
                fuzz_assert(sd_bus_message_append(m, "ay", 1, 0x2a) >= 0);
        else if (streq(member, "GetConnectionCredentials"))
                fuzz_assert(append_credentials(m, call) >= 0);
        else if (streq(member, "RequestName") || streq(member, "ReleaseName"))
                fuzz_assert(sd_bus_message_append(m, "u", 1) >= 0);
        else if (streq(member, "GetNameOwner"))
                fuzz_assert(sd_bus_message_append(m, "s", BUS_LOGIND) >= 0);
        else if (streq(member, "Hello"))
                fuzz_assert(sd_bus_message_append(m, "s", ":1.1") >= 0);
        else if (streq(member, "GetConnectionStats"))
                fuzz_assert(append_statistics(m, b->unread) >= 0);
        else if (streq(member, "GetId"))
                fuzz_assert(sd_bus_message_append(m, "s", "0123456789abcdef0123456789abcdef") >= 0);

        send_as(b, m, answer == BUS_ANSWER_FORGED ? clients[3] : DRIVER);
}

/* Half of the clients' processes are known. */
static void answer_unit(PrivateBus *b, sd_bus_message *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        m = new_reply(call, b->n_units++ % 2 == 0 ? BUS_ANSWER_YES : BUS_ANSWER_ERROR);
        if (!sd_bus_message_is_method_error(m, NULL))
                fuzz_assert(sd_bus_message_append(m, "o", "/org/freedesktop/systemd1/unit/a_2eservice") >= 0);
        send_as(b, m, ":1.0");
}

/* A third of the users is known, a third is not, and the question fails for the others. */
static void answer_user(PrivateBus *b, sd_bus_message *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;

        switch (b->n_users++ % 3) {

        case 0:
                fuzz_assert(sd_bus_message_new_method_return(call, &m) >= 0);
                fuzz_assert(sd_bus_message_append(m, "o", "/org/freedesktop/login1/user/_1") >= 0);
                break;

        case 1:
                fuzz_assert(sd_bus_message_new_method_errorf(call, &m, "org.freedesktop.login1.NoSuchUser",
                                                             "No such user") >= 0);
                break;

        default:
                m = new_reply(call, BUS_ANSWER_ERROR);
        }
        send_as(b, m, BUS_LOGIND);
}

static void check_signal(sd_bus_message *m) {
        static const struct {
                const char *member;
                const char *signature;
        } signals[] = {
                { "AcceptSocket", "ohsqa{sv}" },
                { "Pending", "o" },
                { "Error", "ossuu" },
                { "Closed", "os" },
        };
        const char *destination = sd_bus_message_get_destination(m);

        /* Sent to detect whether the bus reports refused signals; and the end of sd-bus's connection. */
        if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, "Test") > 0 ||
            sd_bus_message_is_signal(m, "org.freedesktop.DBus.Local", "Disconnected") > 0)
                return;
        if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties", "PropertiesChanged") > 0) {
                fuzz_assert(sd_bus_message_has_signature(m, "sa{sv}as") > 0);
                return;
        }

        fuzz_assert(destination && find_client(destination) >= 0);
        for (size_t i = 0; i < ELEMENTS(signals); i++)
                if (sd_bus_message_is_signal(m, MANAGER_INTERFACE, signals[i].member) > 0) {
                        fuzz_assert(sd_bus_message_has_signature(m, signals[i].signature) > 0);
                        return;
                }
        fuzz_assert(!"a signal that is not in the interface");
}

static void check_reply(PrivateBus *b, sd_bus_message *m) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        uint64_t serial;

        fuzz_assert(sd_bus_message_get_reply_cookie(m, &serial) >= 0);
        fuzz_assert(serial > 0 && serial < SERIALS_MAX);
        fuzz_assert(b->unanswered[serial]);
        fuzz_assert(streq(sd_bus_message_get_destination(m), clients[b->callers[serial]]));
        b->unanswered[serial] = false;

        if (error) {
                fuzz_assert(strncmp(error->name, "org.freedesktop.DBus.Error.", 27) == 0 ||
                            strncmp(error->name, "org.example.TCPServerSocket.Error.", 34) == 0);
                fuzz_assert(error->message && *error->message);
        }
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *destination = sd_bus_message_get_destination(m);
        PrivateBus *b = userdata;
        uint8_t type;

        fuzz_assert(sd_bus_message_get_type(m, &type) >= 0);
        if (type == SD_BUS_MESSAGE_SIGNAL)
                check_signal(m);
        else if (type != SD_BUS_MESSAGE_METHOD_CALL)
                check_reply(b, m);
        else if (destination && streq(destination, DRIVER)) {
                if (b->hold_driver)
                        waiting_add(&b->driver, m);
                else
                        answer_driver(b, m, BUS_ANSWER_YES);
                return 1;
        } else if (sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager", "GetUnitByPID") > 0)
                answer_unit(b, m);
        else if (sd_bus_message_is_method_call(m, "org.freedesktop.login1.Manager", "GetUser") > 0)
                answer_user(b, m);
        else if (sd_bus_message_is_method_call(m, "org.freedesktop.PolicyKit1.Authority",
                                               "CheckAuthorization") > 0)
                waiting_add(&b->polkit, m);
        else if (sd_bus_message_is_method_call(m, CLIENT_INTERFACE, "AcceptSocket") > 0) {
                fuzz_assert(sd_bus_message_has_signature(m, "ohsqa{sv}") > 0);
                fuzz_assert(destination && find_client(destination) >= 0);
                waiting_add(&b->client_calls, m);
        } else if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Peer", "Ping") > 0)
                waiting_add(&b->pings, m);
        else if (sd_bus_message_is_method_call(m, "org.freedesktop.PolicyKit1.Authority",
                                               "CancelCheckAuthorization") <= 0)
                fuzz_assert(streq(destination, "org.freedesktop.systemd1"));

        if (b->lazy)
                waiting_add(&b->received, m);
        return 1;
}

PrivateBus *private_bus_new(void) {
        PrivateBus *b;
        int pair[2];

        b = calloc(1, sizeof(*b));
        fuzz_assert(b);
        fuzz_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        fuzz_assert(sd_event_new(&b->event) >= 0);

        b->fd = pair[0];
        fuzz_assert(sd_bus_new(&b->server) >= 0);
        fuzz_assert(sd_bus_set_fd(b->server, pair[0], pair[0]) >= 0);
        fuzz_assert(sd_bus_set_server(b->server, true,
                                      SD_ID128_MAKE(66, 75, 7a, 7a, 66, 75, 7a, 7a, 66, 75, 7a, 7a, 66, 75,
                                                    7a, 7a)) >= 0);
        fuzz_assert(sd_bus_negotiate_fds(b->server, true) >= 0);
        fuzz_assert(sd_bus_add_filter(b->server, NULL, on_message, b) >= 0);
        fuzz_assert(sd_bus_start(b->server) >= 0);

        fuzz_assert(sd_bus_new(&b->service) >= 0);
        fuzz_assert(sd_bus_set_fd(b->service, pair[1], pair[1]) >= 0);
        fuzz_assert(sd_bus_set_bus_client(b->service, true) >= 0);
        fuzz_assert(sd_bus_set_exit_on_disconnect(b->service, true) >= 0);
        fuzz_assert(sd_bus_set_close_on_exit(b->service, false) >= 0);
        fuzz_assert(sd_bus_start(b->service) >= 0);
        fuzz_assert(sd_bus_attach_event(b->service, b->event, SD_EVENT_PRIORITY_NORMAL) >= 0);
        return b;
}

PrivateBus *private_bus_free(PrivateBus *b) {
        waiting_clear(&b->driver);
        waiting_clear(&b->polkit);
        waiting_clear(&b->pings);
        waiting_clear(&b->client_calls);
        waiting_clear(&b->received);
        sd_bus_close_unref(b->service);
        sd_bus_close_unref(b->server);
        sd_event_unref(b->event);
        free(b);
        return NULL;
}

sd_event *private_bus_get_event(PrivateBus *b) {
        return b->event;
}

sd_bus *private_bus_get_service_bus(PrivateBus *b) {
        return b->service;
}

bool private_bus_run(PrivateBus *b) {
        unsigned turns = 0, quiet = 0;

        while (quiet < 2) {
                bool busy = sd_bus_process(b->server, NULL) > 0;

                if (sd_event_get_state(b->event) == SD_EVENT_FINISHED)
                        return false;
                busy = sd_event_run(b->event, 0) > 0 || busy;

                if (!b->lazy && b->pings.n > 0) {
                        private_bus_answer_ping(b, BUS_ANSWER_YES);
                        busy = true;
                }

                quiet = busy ? 0 : quiet + 1;
                fuzz_assert(++turns < TURNS_MAX); /* it spins */
        }

        return sd_event_get_state(b->event) != SD_EVENT_FINISHED && sd_bus_is_open(b->service) > 0;
}

uint32_t private_bus_next_serial(PrivateBus *b) {
        fuzz_assert(b->serial < SERIALS_MAX - 1);
        return ++b->serial;
}

void private_bus_begin_call(PrivateBus *b,
                            FuzzMessage *m,
                            unsigned client,
                            const char *path,
                            const char *interface,
                            const char *member) {
        uint32_t serial = private_bus_next_serial(b);

        message_begin(m, MESSAGE_CALL, client % BUS_CLIENTS >= 2 ? MAY_ASK : 0, serial);
        message_add_field(m, FIELD_PATH, path);
        message_add_field(m, FIELD_INTERFACE, interface);
        message_add_field(m, FIELD_MEMBER, member);
        message_add_field(m, FIELD_SENDER, private_bus_get_client(client));
        message_add_field(m, FIELD_DESTINATION, BUS_NAME);
        b->unanswered[serial] = true;
        b->callers[serial] = (uint8_t) (client % BUS_CLIENTS);
}

void private_bus_send(PrivateBus *b, FuzzMessage *m) {
        message_end(m);
        (void) message_send(m, b->fd);
}

void private_bus_send_bytes(PrivateBus *b, const void *bytes, size_t size) {
        (void) send(b->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void private_bus_leave(PrivateBus *b, unsigned client) {
        const char *name = private_bus_get_client(client);
        static FuzzMessage m;

        message_begin(&m, MESSAGE_SIGNAL, 1, private_bus_next_serial(b));
        message_add_field(&m, FIELD_PATH, "/org/freedesktop/DBus");
        message_add_field(&m, FIELD_INTERFACE, DRIVER);
        message_add_field(&m, FIELD_MEMBER, "NameOwnerChanged");
        message_add_field(&m, FIELD_SENDER, DRIVER);
        message_begin_body(&m, "sss");
        message_append_string(&m, name);
        message_append_string(&m, name);
        message_append_string(&m, "");
        private_bus_send(b, &m);
}

void private_bus_hold_driver(PrivateBus *b, bool hold) {
        b->hold_driver = hold;
        while (!hold && b->driver.n > 0)
                private_bus_answer_driver(b, BUS_ANSWER_YES);
}

void private_bus_answer_driver(PrivateBus *b, BusAnswer answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = waiting_take(&b->driver);

        if (call)
                answer_driver(b, call, answer);
}

void private_bus_answer_polkit(PrivateBus *b, BusAnswer answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = waiting_take(&b->polkit), *m = NULL;

        if (!call)
                return;

        m = new_reply(call, answer);
        if (answer == BUS_ANSWER_MALFORMED)
                fuzz_assert(sd_bus_message_append(m, "s", "yes") >= 0);
        else if (answer != BUS_ANSWER_ERROR)
                fuzz_assert(sd_bus_message_append(m, "(bba{ss})", answer == BUS_ANSWER_YES,
                                                  answer == BUS_ANSWER_CHALLENGE, 0) >= 0);
        send_as(b, m, ":1.2");
}

void private_bus_answer_client_call(PrivateBus *b, BusAnswer answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = waiting_take(&b->client_calls), *m = NULL;
        const char *error = answer == BUS_ANSWER_NO          ? SD_BUS_ERROR_UNKNOWN_METHOD
                            : answer == BUS_ANSWER_CHALLENGE ? SD_BUS_ERROR_LIMITS_EXCEEDED
                                                             : SD_BUS_ERROR_FAILED;

        if (!call)
                return;

        if (answer == BUS_ANSWER_NO || answer == BUS_ANSWER_CHALLENGE || answer == BUS_ANSWER_ERROR)
                fuzz_assert(sd_bus_message_new_method_errorf(call, &m, error, "Failed") >= 0);
        else
                fuzz_assert(sd_bus_message_new_method_return(call, &m) >= 0);
        if (answer == BUS_ANSWER_MALFORMED)
                fuzz_assert(sd_bus_message_append(m, "ay", 1, 0x2a) >= 0);
        send_as(b, m,
                answer == BUS_ANSWER_FORGED      ? clients[3]
                : answer == BUS_ANSWER_CHALLENGE ? DRIVER
                                                 : sd_bus_message_get_destination(call));
}

void private_bus_answer_ping(PrivateBus *b, BusAnswer answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = waiting_take(&b->pings), *m = NULL;

        if (!call)
                return;

        m = new_reply(call, answer);
        /* The bus replies for a client that has disconnected. */
        send_as(b, m,
                answer == BUS_ANSWER_FORGED ? clients[3]
                : answer == BUS_ANSWER_NO   ? DRIVER
                                            : sd_bus_message_get_destination(call));
}

void private_bus_set_unread(PrivateBus *b, uint32_t bytes) {
        b->unread = bytes;
}

void private_bus_set_lazy(PrivateBus *b, bool lazy) {
        b->lazy = lazy;
        if (!lazy)
                private_bus_release(b);
}

void private_bus_release(PrivateBus *b) {
        waiting_clear(&b->received);
}
